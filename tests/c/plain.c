/* A plain variable from C, by the header for firmware: one side, of which Rust is the other.
 *
 *     write FILE COUNT    makes the variable, and writes so many values
 *     read FILE COUNT     reads until that version, and looks whether each value is whole
 */
#include "robot_ipc_plain.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { SLOTS = 3, SIZE = 1000 };

static void fill(unsigned char *value, uint32_t number)
{
    for (int index = 0; index < SIZE; index += 4) {
        memcpy(value + index, &number, 4);
    }
}

static int fail(const char *what, uint64_t number)
{
    fprintf(stderr, "%s: %llu\n", what, (unsigned long long)number);
    return 1;
}

static int write_values(void *memory, size_t size, uint32_t count)
{
    ripc_plain variable;
    unsigned char value[SIZE + 1] = {0};
    if (ripc_plain_create(&variable, memory, size - 64, SLOTS, SIZE) != RIPC_PLAIN_BAD_GEOMETRY ||
        ripc_plain_create(&variable, memory, size, 63, SIZE) != RIPC_PLAIN_BAD_GEOMETRY) {
        return fail("what does not fit is made", 0);
    }
    if (ripc_plain_create(&variable, memory, size, SLOTS, SIZE) != RIPC_PLAIN_OK) {
        return fail("it is not made", 0);
    }
    puts("made");
    fflush(stdout);
    getchar();
    for (uint32_t number = 1; number <= count; number++) {
        fill(value, number);
        if (ripc_plain_write(&variable, value, SIZE, RIPC_PLAIN_RAW, number) != RIPC_PLAIN_OK) {
            return fail("a write failed", number);
        }
        if (number == count / 2) {
            /* As after a restart with the memory as it was. */
            if (ripc_plain_open(&variable, memory, size) != RIPC_PLAIN_OK) {
                return fail("it is not found again", number);
            }
        }
    }
    if (ripc_plain_write(&variable, value, SIZE + 1, 0, 0) != RIPC_PLAIN_TOO_LARGE) {
        return fail("a value that is too large is written", SIZE + 1);
    }
    return 0;
}

static int read_values(void *memory, size_t size, uint32_t count)
{
    ripc_plain variable;
    ripc_plain_sample sample = {0, 0, 0, 0};
    unsigned char value[SIZE], whole[SIZE];
    uint64_t last = 0, version;
    if (ripc_plain_open(&variable, memory, size) != RIPC_PLAIN_OK) {
        return fail("it is not found", 0);
    }
    if (variable.slots != SLOTS || variable.max_size != SIZE) {
        return fail("of another geometry", variable.slots);
    }
    if (ripc_plain_read(&variable, value, SIZE, &sample) != RIPC_PLAIN_NEVER_WRITTEN ||
        ripc_plain_version(&variable, &version) != RIPC_PLAIN_OK || version != 0) {
        return fail("it was written", 0);
    }
    puts("open");
    fflush(stdout);
    while (last < count) {
        ripc_plain_status status = ripc_plain_read(&variable, value, SIZE, &sample);
        if (status == RIPC_PLAIN_NEVER_WRITTEN || status == RIPC_PLAIN_CONTENDED) {
            continue;
        }
        if (status != RIPC_PLAIN_OK || sample.length != SIZE) {
            return fail("a read failed", status);
        }
        if (sample.version < last) {
            return fail("it goes back", last);
        }
        last = sample.version;
        fill(whole, (uint32_t)last);
        if (memcmp(value, whole, SIZE) != 0) {
            return fail("a mixed value", last);
        }
    }
    if (ripc_plain_read(&variable, value, 8, &sample) != RIPC_PLAIN_TOO_LARGE ||
        sample.length != SIZE || ripc_plain_version(&variable, &version) != RIPC_PLAIN_OK ||
        version != count) {
        return fail("the last one is another", version);
    }
    memset(memory, 'x', 1);
    return ripc_plain_open(&variable, memory, size) == RIPC_PLAIN_NOT_ONE ? 0 : 1;
}

int main(int count, char **words)
{
    struct stat stat;
    int file = count == 4 ? open(words[2], O_RDWR) : -1;
    if (file < 0 || fstat(file, &stat) != 0) {
        return fail("write or read, a file and a number", 0);
    }
    size_t size = (size_t)stat.st_size;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    uint32_t number = (uint32_t)strtoul(words[3], NULL, 10);
    if (memory == MAP_FAILED) {
        return fail("no memory", size);
    }
    return words[1][0] == 'w' ? write_values(memory, size, number)
                              : read_values(memory, size, number);
}
