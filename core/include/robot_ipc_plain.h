/* Plain variables for firmware in C: one file, no library, no operating system.
 *
 * A plain variable has one fixed writer, which only loads and stores; all others only read.
 * So a microcontroller without compare-and-swap can be that writer, or a reader, in RAM that
 * it shares with a processor that runs Linux. There, or in other firmware, the same bytes are
 * a `HostVariable` opened read-only, or a `PlainVariable` in Rust (crate robot-ipc-core), whose
 * module `variable::plain` says what happens, and why, in which order. A test of robot-ipc
 * holds the two against each other.
 *
 *     static _Alignas(64) unsigned char memory[RIPC_PLAIN_SIZE(4, 16)];
 *     ripc_plain wheels;
 *     ripc_plain_create(&wheels, memory, sizeof memory, 4, 16);   // by its writer, once
 *     ripc_plain_write(&wheels, speeds, 16, RIPC_PLAIN_RAW, 0);
 *
 *     ripc_plain_open(&wheels, memory, sizeof memory);            // by readers
 *     ripc_plain_read(&wheels, buffer, sizeof buffer, &sample);
 *
 * It needs a compiler with GCC's __atomic_thread_fence (tested: GCC and clang), and
 * a processor that loads and stores aligned 32 bits at once. Memory that two processors share
 * has to be mapped uncached, or be coherent.
 */
#ifndef ROBOT_IPC_PLAIN_H
#define ROBOT_IPC_PLAIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How bytes were made: nobody says; as they are. */
#define RIPC_PLAIN_UNSPECIFIED 0u
#define RIPC_PLAIN_RAW 1u

/* Bytes of a variable with so many slots (2 to 62; 3 or more if a read may be interrupted by
 * a write) for values of up to so many bytes. */
#define RIPC_PLAIN_SIZE(slots, max_size) \
    (2624u + (uint32_t)(slots) * (64u + (((uint32_t)(max_size) + 63u) & ~63u)))

typedef enum {
    RIPC_PLAIN_OK = 0,
    /* Nobody has written yet. */
    RIPC_PLAIN_NEVER_WRITTEN,
    /* The value is larger than the variable's values can be, or the buffer is smaller than
     * the value; `sample.length` says how large that is. */
    RIPC_PLAIN_TOO_LARGE,
    /* It was written anew while it was read, again and again. Try again. */
    RIPC_PLAIN_CONTENDED,
    /* The memory is not aligned to 64 bytes, too small for so many slots of that size, or
     * these are beyond the limits. */
    RIPC_PLAIN_BAD_GEOMETRY,
    /* There is no plain variable of this version and byte order. */
    RIPC_PLAIN_NOT_ONE,
    /* The words in memory contradict each other. */
    RIPC_PLAIN_CORRUPT
} ripc_plain_status;

/* An open variable. Each side has its own. */
typedef struct {
    unsigned char *memory;
    uint32_t slots;
    uint32_t max_size;
    uint32_t stride;
} ripc_plain;

/* What stands beside a value, all of one and the same write. */
typedef struct {
    /* Counts the writes, from 1. */
    uint64_t version;
    /* As its writer gave it; 0 for none. */
    uint64_t time_ns;
    uint32_t length;
    uint32_t encoding;
} ripc_plain_sample;

/* ------------------------------------------------------------------ how it is made */

enum {
    RIPC_PLAIN_HEADER_WORDS = 64,
    RIPC_PLAIN_LATEST = 2304,
    RIPC_PLAIN_SLOTS = 2624,
    /* Of a slot's head. */
    RIPC_PLAIN_STAMP = 0,
    RIPC_PLAIN_HIGH = 4,
    RIPC_PLAIN_LENGTH = 8,
    RIPC_PLAIN_ENCODING = 12,
    RIPC_PLAIN_TIME = 16,
    RIPC_PLAIN_PAYLOAD = 64,
    RIPC_PLAIN_NO_SLOT = 63,
    RIPC_PLAIN_ATTEMPTS = 16
};

/* Volatile and not atomic: where there is no compare-and-swap, compilers make a call of each
 * atomic load. Each is one access, and the fences order them. */
static inline uint32_t ripc_plain_load(const ripc_plain *variable, uint32_t offset)
{
    return *(const volatile uint32_t *)(const volatile void *)(variable->memory + offset);
}

static inline void ripc_plain_store(const ripc_plain *variable, uint32_t offset, uint32_t word)
{
    *(volatile uint32_t *)(volatile void *)(variable->memory + offset) = word;
}

/* The word that leads to the latest value, to be loaded before what it leads to. */
static inline uint32_t ripc_plain_latest(const ripc_plain *variable)
{
    uint32_t latest = ripc_plain_load(variable, RIPC_PLAIN_LATEST);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return latest;
}

static inline uint32_t ripc_plain_slot(const ripc_plain *variable, uint32_t slot)
{
    return RIPC_PLAIN_SLOTS + slot * variable->stride;
}

/* Words of the header, before the checksum. */
static inline void ripc_plain_header(uint32_t *words, uint32_t slots, uint32_t max_size)
{
    static const unsigned char magic[8] = {'R', 'O', 'B', 'O', 'T', 'I', 'P', 'C'};
    uint32_t index;
    for (index = 0; index < RIPC_PLAIN_HEADER_WORDS; index++) {
        words[index] = 0;
    }
    for (index = 0; index < 8; index++) {
        ((unsigned char *)words)[index] = magic[index];
    }
    words[2] = 2;           /* format version */
    words[3] = 0x0A0B0C0Du; /* byte order */
    words[4] = 1;           /* a variable */
    words[5] = 1;           /* plain */
    words[6] = RIPC_PLAIN_SIZE(slots, max_size);
    words[8] = slots;
    words[9] = max_size;
    words[10] = 64u + ((max_size + 63u) & ~63u);
    words[11] = RIPC_PLAIN_SLOTS;
}

static inline uint32_t ripc_plain_checksum(const uint32_t *words)
{
    uint32_t sum = 0x811C9DC5u, index;
    for (index = 0; index < RIPC_PLAIN_HEADER_WORDS - 1; index++) {
        sum = (sum ^ words[index]) * 0x01000193u;
    }
    return sum;
}

/* Whether so many slots of that size lie within the limits and the memory. */
static inline int ripc_plain_fits(const void *memory, size_t size, uint32_t slots,
                                  uint32_t max_size)
{
    uint64_t needed;
    if (((uintptr_t)memory & 63u) != 0 || slots < 2 || slots > 62 || max_size == 0 ||
        max_size > (1u << 30)) {
        return 0;
    }
    needed = 2624u + (uint64_t)slots * (64u + (((uint64_t)max_size + 63u) & ~(uint64_t)63u));
    return needed <= size && needed <= UINT32_MAX;
}

static inline void ripc_plain_set(ripc_plain *variable, void *memory, uint32_t slots,
                                  uint32_t max_size)
{
    variable->memory = (unsigned char *)memory;
    variable->slots = slots;
    variable->max_size = max_size;
    variable->stride = 64u + ((max_size + 63u) & ~63u);
}

/* Makes a variable in `memory`, aligned to 64 bytes. Done by its writer, before anybody looks;
 * the header's first bytes are written last. A writer that starts again with memory that kept
 * its bytes opens the variable instead, and goes on where it was. */
static inline ripc_plain_status ripc_plain_create(ripc_plain *variable, void *memory, size_t size,
                                                  uint32_t slots, uint32_t max_size)
{
    uint32_t words[RIPC_PLAIN_HEADER_WORDS], offset;
    if (!ripc_plain_fits(memory, size, slots, max_size)) {
        return RIPC_PLAIN_BAD_GEOMETRY;
    }
    ripc_plain_set(variable, memory, slots, max_size);
    for (offset = 0; offset < RIPC_PLAIN_SIZE(slots, max_size); offset += 4) {
        ripc_plain_store(variable, offset, 0);
    }
    ripc_plain_store(variable, RIPC_PLAIN_LATEST, RIPC_PLAIN_NO_SLOT);
    ripc_plain_header(words, slots, max_size);
    words[RIPC_PLAIN_HEADER_WORDS - 1] = ripc_plain_checksum(words);
    for (offset = RIPC_PLAIN_HEADER_WORDS; offset-- > 0;) {
        if (offset == 1) {
            /* All of it before the first bytes, by which others know it. */
            __atomic_thread_fence(__ATOMIC_RELEASE);
        }
        ripc_plain_store(variable, 4 * offset, words[offset]);
    }
    return RIPC_PLAIN_OK;
}

/* Finds the variable that was made in `memory`. */
static inline ripc_plain_status ripc_plain_open(ripc_plain *variable, void *memory, size_t size)
{
    uint32_t found[RIPC_PLAIN_HEADER_WORDS], words[RIPC_PLAIN_HEADER_WORDS], index;
    if (((uintptr_t)memory & 63u) != 0 || size < RIPC_PLAIN_SLOTS) {
        return RIPC_PLAIN_BAD_GEOMETRY;
    }
    variable->memory = (unsigned char *)memory;
    for (index = 0; index < RIPC_PLAIN_HEADER_WORDS; index++) {
        found[index] = ripc_plain_load(variable, 4 * index);
        if (index == 1) {
            __atomic_thread_fence(__ATOMIC_ACQUIRE);
        }
    }
    if (found[RIPC_PLAIN_HEADER_WORDS - 1] != ripc_plain_checksum(found)) {
        return RIPC_PLAIN_NOT_ONE;
    }
    if (!ripc_plain_fits(memory, size, found[8], found[9])) {
        return RIPC_PLAIN_BAD_GEOMETRY;
    }
    ripc_plain_header(words, found[8], found[9]);
    for (index = 0; index < 12; index++) {
        if (found[index] != words[index]) {
            return RIPC_PLAIN_NOT_ONE;
        }
    }
    ripc_plain_set(variable, memory, found[8], found[9]);
    return RIPC_PLAIN_OK;
}

/* --------------------------------------------------------------------- read and write */

/* The version that `latest` stands for, in `*version`; 0 if its slot does not hold it. */
static inline int ripc_plain_version_of(const ripc_plain *variable, uint32_t latest,
                                        uint64_t *version)
{
    uint32_t slot = latest & 63u, head, stamp, high;
    if (slot == RIPC_PLAIN_NO_SLOT) {
        *version = 0;
        return 1;
    }
    if (slot >= variable->slots) {
        return 0;
    }
    head = ripc_plain_slot(variable, slot);
    stamp = ripc_plain_load(variable, head + RIPC_PLAIN_STAMP);
    high = ripc_plain_load(variable, head + RIPC_PLAIN_HIGH);
    *version = (uint64_t)high << 31 | stamp >> 1;
    /* Pairs with the fence of a write: `high` belongs to `stamp` if that is there still. */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return (stamp & 1u) == 0 && ((stamp >> 1) & 0xFFFFFFu) == latest >> 8 &&
           ripc_plain_load(variable, head + RIPC_PLAIN_STAMP) == stamp;
}

/* Makes `size` bytes the latest value. For the one writer, and not while it is at it, in an
 * interrupt for example: two writes at once mix their values. */
static inline ripc_plain_status ripc_plain_write(const ripc_plain *variable, const void *value,
                                                 uint32_t size, uint32_t encoding,
                                                 uint64_t time_ns)
{
    const unsigned char *bytes = (const unsigned char *)value;
    uint32_t latest = ripc_plain_load(variable, RIPC_PLAIN_LATEST);
    uint32_t slot = latest & 63u, head, low, index;
    uint64_t version;
    if (size > variable->max_size) {
        return RIPC_PLAIN_TOO_LARGE;
    }
    if (!ripc_plain_version_of(variable, latest, &version)) {
        return RIPC_PLAIN_CORRUPT;
    }
    slot = slot + 1 < variable->slots ? slot + 1 : 0;
    version = (version + 1) & (UINT64_MAX >> 1);
    low = (uint32_t)version & 0x7FFFFFFFu;
    head = ripc_plain_slot(variable, slot);
    ripc_plain_store(variable, head + RIPC_PLAIN_STAMP, low << 1 | 1u);
    /* Who reads any of the following sees the busy stamp, too. */
    __atomic_thread_fence(__ATOMIC_RELEASE);
    for (index = 0; index < size; index += 4) {
        uint32_t word = 0, count = size - index < 4 ? size - index : 4;
        __builtin_memcpy(&word, bytes + index, count);
        ripc_plain_store(variable, head + RIPC_PLAIN_PAYLOAD + index, word);
    }
    ripc_plain_store(variable, head + RIPC_PLAIN_LENGTH, size);
    ripc_plain_store(variable, head + RIPC_PLAIN_ENCODING, encoding);
    ripc_plain_store(variable, head + RIPC_PLAIN_TIME, (uint32_t)time_ns);
    ripc_plain_store(variable, head + RIPC_PLAIN_TIME + 4, (uint32_t)(time_ns >> 32));
    ripc_plain_store(variable, head + RIPC_PLAIN_HIGH, (uint32_t)(version >> 31));
    ripc_plain_store(variable, head + RIPC_PLAIN_STAMP, low << 1);
    /* All of the above before the word that leads to it. */
    __atomic_thread_fence(__ATOMIC_RELEASE);
    ripc_plain_store(variable, RIPC_PLAIN_LATEST, (low & 0xFFFFFFu) << 8 | slot);
    return RIPC_PLAIN_OK;
}

/* Copies the latest value into `buffer`. What is there after an error is unspecified. */
static inline ripc_plain_status ripc_plain_read(const ripc_plain *variable, void *buffer,
                                                uint32_t capacity, ripc_plain_sample *sample)
{
    unsigned char *bytes = (unsigned char *)buffer;
    uint32_t attempt;
    for (attempt = 0; attempt < RIPC_PLAIN_ATTEMPTS; attempt++) {
        /* Pairs with the last store of a write. */
        uint32_t latest = ripc_plain_latest(variable);
        uint32_t slot = latest & 63u, head, stamp, length, index;
        if (slot == RIPC_PLAIN_NO_SLOT) {
            return RIPC_PLAIN_NEVER_WRITTEN;
        }
        if (slot >= variable->slots) {
            return RIPC_PLAIN_CORRUPT;
        }
        head = ripc_plain_slot(variable, slot);
        stamp = ripc_plain_load(variable, head + RIPC_PLAIN_STAMP);
        if ((stamp & 1u) != 0 || ((stamp >> 1) & 0xFFFFFFu) != latest >> 8) {
            continue;
        }
        sample->version = (uint64_t)ripc_plain_load(variable, head + RIPC_PLAIN_HIGH) << 31 |
                          stamp >> 1;
        sample->length = ripc_plain_load(variable, head + RIPC_PLAIN_LENGTH);
        sample->encoding = ripc_plain_load(variable, head + RIPC_PLAIN_ENCODING);
        sample->time_ns =
            ripc_plain_load(variable, head + RIPC_PLAIN_TIME) |
            (uint64_t)ripc_plain_load(variable, head + RIPC_PLAIN_TIME + 4) << 32;
        length = sample->length < capacity ? sample->length : capacity;
        length = length < variable->max_size ? length : variable->max_size;
        for (index = 0; index < length; index += 4) {
            uint32_t word = ripc_plain_load(variable, head + RIPC_PLAIN_PAYLOAD + index);
            __builtin_memcpy(bytes + index, &word, length - index < 4 ? length - index : 4);
        }
        /* None of the loads above may be done after the next one. */
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (ripc_plain_load(variable, head + RIPC_PLAIN_STAMP) != stamp) {
            continue;
        }
        if (sample->length > variable->max_size) {
            return RIPC_PLAIN_CORRUPT;
        }
        return sample->length > capacity ? RIPC_PLAIN_TOO_LARGE : RIPC_PLAIN_OK;
    }
    return RIPC_PLAIN_CONTENDED;
}

/* The latest version, 0 before the first write: to poll for a change. */
static inline ripc_plain_status ripc_plain_version(const ripc_plain *variable, uint64_t *version)
{
    uint32_t attempt;
    for (attempt = 0; attempt < RIPC_PLAIN_ATTEMPTS; attempt++) {
        uint32_t latest = ripc_plain_latest(variable);
        if (ripc_plain_version_of(variable, latest, version)) {
            return RIPC_PLAIN_OK;
        }
        if ((latest & 63u) != RIPC_PLAIN_NO_SLOT && (latest & 63u) >= variable->slots) {
            return RIPC_PLAIN_CORRUPT;
        }
    }
    return RIPC_PLAIN_CONTENDED;
}

#ifdef __cplusplus
}
#endif

#endif
