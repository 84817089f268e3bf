/* The native C interface, each function once, with what goes wrong. */
#include <pthread.h>
#include <ripc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                    \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition,              \
                    ripc_last_error());                                                     \
            exit(1);                                                                        \
        }                                                                                   \
    } while (0)

static void values(void)
{
    ripc_variable *variable;
    ripc_sample sample = {0};
    char buffer[4096];
    CHECK(ripc_variable_open("native", NULL, &variable) == RIPC_OK);
    CHECK(ripc_variable_read(variable, buffer, sizeof buffer, -1, &sample) == RIPC_NEVER_WRITTEN);
    CHECK(strstr(ripc_last_error(), "variable 'native': nobody has written") != NULL);

    CHECK(ripc_variable_write(variable, "hello", 5, RIPC_ENCODING_RAW, -1, &sample) == RIPC_OK);
    CHECK(sample.version == 1 && sample.length == 5 && sample.encoding == RIPC_ENCODING_RAW);
    CHECK(ripc_variable_write(variable, NULL, 0, 77, -1, NULL) == RIPC_OK);
    CHECK(ripc_variable_latest(variable, &sample) == RIPC_OK);
    CHECK(sample.version == 2 && sample.length == 0 && sample.encoding == 77);

    CHECK(ripc_variable_write_if(variable, 1, "no", 2, RIPC_ENCODING_RAW, -1, NULL) == RIPC_CHANGED);
    CHECK(ripc_variable_write_if(variable, 2, "yes", 3, RIPC_ENCODING_RAW, -1, NULL) == RIPC_OK);
    uint64_t version = 0, age = 0;
    CHECK(ripc_variable_version(variable, &version) == RIPC_OK && version == 3);
    CHECK(ripc_variable_age(variable, &age) == RIPC_OK && age < 60000000000u);

    CHECK(ripc_variable_read(variable, buffer, 2, -1, &sample) == RIPC_BUFFER_TOO_SMALL);
    CHECK(sample.length == 3 && memcmp(buffer, "ye", 2) == 0);
    CHECK(ripc_variable_read(variable, buffer, sizeof buffer, 0, &sample) == RIPC_TOO_OLD);
    CHECK(ripc_variable_wait(variable, 2, -1, &version) == RIPC_OK && version == 3);
    CHECK(ripc_variable_wait(variable, 3, 1000000, NULL) == RIPC_TIMED_OUT);

    static char large[4097];
    CHECK(ripc_variable_write(variable, large, sizeof large, 1, -1, NULL) == RIPC_TOO_LARGE);
    CHECK(strstr(ripc_last_error(), "4097") && strstr(ripc_last_error(), "4096"));
    ripc_variable_free(variable);
}

static void prepared(void)
{
    ripc_variable *variable;
    char buffer[4096];
    CHECK(ripc_variable_open("prepared", NULL, &variable) == RIPC_OK);
    ripc_prepared_read read = {variable, buffer, sizeof buffer, -1, RIPC_ENCODING_RAW, 0, {0}};
    ripc_prepared_write write = {variable, 0, RIPC_ENCODING_RAW, 0};
    CHECK(ripc_read_prepared(&read) == RIPC_NEVER_WRITTEN);
    CHECK(ripc_write_prepared(&write, "hello", 5) == RIPC_OK);
    CHECK(ripc_read_prepared(&read) == RIPC_OK);
    CHECK(read.sample.version == 1 && read.sample.length == 5 && memcmp(buffer, "hello", 5) == 0);
    read.capacity = 2;
    memset(buffer, 0, sizeof buffer);
    CHECK(ripc_read_prepared(&read) == RIPC_BUFFER_TOO_SMALL && read.sample.length == 5);
    CHECK(memcmp(buffer, "he", 3) == 0);
    read.capacity = sizeof buffer;
    read.max_age_ns = 0;
    CHECK(ripc_read_prepared(&read) == RIPC_TOO_OLD && read.sample.version == 1);
    read.max_age_ns = -1;
    read.encoding = RIPC_ENCODING_PICKLE;
    CHECK(ripc_read_prepared(&read) == RIPC_WRONG_ENCODING);
    CHECK(strstr(ripc_last_error(), "another way") && memcmp(buffer, "hello", 5) == 0);
    write.encoding = RIPC_ENCODING_UNSPECIFIED;
    CHECK(ripc_write_prepared(&write, NULL, 0) == RIPC_OK);
    CHECK(ripc_read_prepared(&read) == RIPC_OK && read.sample.length == 0);
    CHECK(ripc_write_prepared(&write, buffer, 4097) == RIPC_TOO_LARGE);
    CHECK(ripc_read_prepared(&read) == RIPC_OK && read.sample.version == 2);
    read.variable = write.variable = NULL;
    CHECK(ripc_read_prepared(&read) == RIPC_BAD_ARGUMENT);
    CHECK(ripc_write_prepared(&write, "hello", 5) == RIPC_BAD_ARGUMENT);
    CHECK(ripc_read_prepared(NULL) == RIPC_BAD_ARGUMENT);
    CHECK(ripc_write_prepared(NULL, "hello", 5) == RIPC_BAD_ARGUMENT);
    ripc_variable_free(variable);
}

static void in_place(void)
{
    ripc_variable *variable;
    CHECK(ripc_variable_open("native", NULL, &variable) == RIPC_OK);
    ripc_loan loan;
    void *data = NULL;
    size_t capacity = 0;
    ripc_sample sample;
    CHECK(ripc_variable_loan(variable, &loan, &data, &capacity) == RIPC_OK);
    CHECK(capacity == 4096 && (uintptr_t)data % 64 == 0);
    memcpy(data, "in place", 8);
    CHECK(ripc_loan_publish(&loan, 8, RIPC_ENCODING_RAW, &sample) == RIPC_OK);
    CHECK(ripc_loan_publish(&loan, 8, RIPC_ENCODING_RAW, &sample) == RIPC_BAD_ARGUMENT);
    ripc_loan_free(&loan);
    CHECK(ripc_variable_loan(variable, &loan, &data, NULL) == RIPC_OK);
    memcpy(data, "dropped!", 8);
    ripc_loan_free(&loan);

    ripc_borrow borrow;
    const void *seen = NULL;
    CHECK(ripc_variable_borrow(variable, &borrow, &seen, &sample) == RIPC_OK);
    ripc_variable_free(variable); /* the borrow lives on */
    CHECK(sample.length == 8 && memcmp(seen, "in place", 8) == 0);
    ripc_borrow_free(&borrow);
    ripc_borrow_free(&borrow);
}

/* Fills `opaque`, of `size` bytes, as a struct on the stack may be found: with
 * garbage (0), the bytes of one that is in use (1), or only the first word of
 * those, and garbage behind it (2). */
static void soil(void *opaque, const void *in_use, size_t size, int how)
{
    memset(opaque, 0xAA, size);
    memcpy(opaque, in_use, how == 0 ? 0 : how == 1 ? size : sizeof(uint64_t));
}

/* Against a loan that fails and leaves in its struct what looks like a loan, so
 * that freeing it crashes, or ends the one whose bytes those are. */
static void failed_loans(ripc_variable *variable, ripc_variable *const *failing, int how)
{
    ripc_loan loan, failed;
    void *data, *none = NULL;
    CHECK(ripc_variable_loan(variable, &loan, &data, NULL) == RIPC_OK);
    static const ripc_status statuses[] = {RIPC_CANNOT_BORROW, RIPC_READ_ONLY, RIPC_BAD_ARGUMENT};
    for (int number = 0; number < 3; number++) {
        soil(&failed, &loan, sizeof failed, how);
        CHECK(ripc_variable_loan(failing[number], &failed, &none, NULL) == statuses[number]);
        ripc_loan_free(&failed);
        ripc_loan_free(&failed);
        soil(&failed, &loan, sizeof failed, how);
        CHECK(ripc_variable_loan(failing[number], &failed, &none, NULL) == statuses[number]);
        CHECK(ripc_loan_publish(&failed, 1, RIPC_ENCODING_RAW, NULL) == RIPC_BAD_ARGUMENT);
    }
    CHECK(none == NULL);

    /* The one that did not fail still has its slot, the only one to lend. */
    CHECK(ripc_variable_loan(variable, &failed, &none, NULL) == RIPC_CANNOT_BORROW);
    memcpy(data, "loan", 4);
    CHECK(ripc_loan_publish(&loan, 4, RIPC_ENCODING_RAW, NULL) == RIPC_OK);
}

/* Against the same of a borrow. */
static void failed_borrows(ripc_variable *variable, ripc_variable *const *failing, int how)
{
    ripc_borrow borrow, failed;
    const void *seen, *none = NULL;
    CHECK(ripc_variable_borrow(variable, &borrow, &seen, NULL) == RIPC_OK);
    static const ripc_status statuses[] = {RIPC_CANNOT_BORROW, RIPC_READ_ONLY, RIPC_BAD_ARGUMENT};
    for (int number = 0; number < 3; number++) {
        soil(&failed, &borrow, sizeof failed, how);
        CHECK(ripc_variable_borrow(failing[number], &failed, &none, NULL) == statuses[number]);
        ripc_borrow_free(&failed);
        ripc_borrow_free(&failed);
    }
    CHECK(none == NULL);

    /* The one that did not fail still has its slot, the only one to lend. */
    CHECK(ripc_variable_write(variable, "next", 4, RIPC_ENCODING_RAW, -1, NULL) == RIPC_OK);
    CHECK(ripc_variable_borrow(variable, &failed, &none, NULL) == RIPC_CANNOT_BORROW);
    CHECK(ripc_variable_write(variable, "last", 4, RIPC_ENCODING_RAW, -1, NULL) == RIPC_OK);
    CHECK(memcmp(seen, "loan", 4) == 0);
    ripc_borrow_free(&borrow);
}

static void in_place_failed(void)
{
    ripc_variable *two_slots, *three_slots, *read_only;
    ripc_variable_options options;
    ripc_variable_options_init(&options);
    options.write_timeout_ns = 1000000;
    options.slots = 2;
    CHECK(ripc_variable_open("two slots", &options, &two_slots) == RIPC_OK);
    CHECK(ripc_variable_write(two_slots, "first", 5, RIPC_ENCODING_RAW, -1, NULL) == RIPC_OK);
    options.slots = 3;
    CHECK(ripc_variable_open("three slots", &options, &three_slots) == RIPC_OK);
    options.read_only = 1;
    CHECK(ripc_variable_open("three slots", &options, &read_only) == RIPC_OK);
    for (int how = 0; how < 3; how++) {
        ripc_variable *const failing[] = {two_slots, read_only, NULL};
        failed_loans(three_slots, failing, how);
        failed_borrows(three_slots, failing, how);
    }
    ripc_variable_free(two_slots);
    ripc_variable_free(three_slots);
    ripc_variable_free(read_only);
}

/* Against options that are taken for others: no mode is negative but -1, and what
 * is no word of RIPC_MEMORY_ may be one some day. */
static void options_that_mean_nothing(void)
{
    ripc_variable *variable = NULL;
    ripc_variable_options options;
    ripc_variable_options_init(&options);
    options.mode = -5;
    CHECK(ripc_variable_open("meaningless", &options, &variable) == RIPC_BAD_ARGUMENT);
    CHECK(strstr(ripc_last_error(), "has to be -1 or more") != NULL);
    options.mode = INT32_MIN;
    CHECK(ripc_variable_open("meaningless", &options, &variable) == RIPC_BAD_ARGUMENT);
    options.mode = -1;
    options.memory = 7;
    CHECK(ripc_variable_open("meaningless", &options, &variable) == RIPC_BAD_ARGUMENT);
    CHECK(strstr(ripc_last_error(), "RIPC_MEMORY_") != NULL);
    options.memory = RIPC_MEMORY_PREFAULTED;
    options.max_size = RIPC_ADOPT_SIZE; /* nothing was created */
    CHECK(ripc_variable_open("meaningless", &options, &variable) == RIPC_NOT_FOUND);
    CHECK(variable == NULL);
}

static void exclusive(void)
{
    ripc_variable *variable, *other;
    ripc_writer *writer = NULL, *second = NULL;
    ripc_sample sample;
    uint64_t age;
    CHECK(ripc_variable_open("led", NULL, &variable) == RIPC_OK);
    CHECK(ripc_variable_open("led", NULL, &other) == RIPC_OK);
    CHECK(ripc_variable_lead(NULL, 0, -1, &writer) == RIPC_BAD_ARGUMENT && writer == NULL);
    CHECK(ripc_variable_lead(variable, 0, -1, NULL) == RIPC_BAD_ARGUMENT);

    /* A loan that is under way is waited for, and what has failed keeps nobody out. */
    ripc_loan loan;
    void *data;
    CHECK(ripc_variable_loan(other, &loan, &data, NULL) == RIPC_OK);
    CHECK(ripc_variable_lead(variable, 0, 1000000, &writer) == RIPC_NO_FREE_SLOT);
    CHECK(writer == NULL && ripc_variable_write(other, "free", 4, 1, -1, NULL) == RIPC_OK);
    ripc_loan_free(&loan);

    CHECK(ripc_variable_lead(variable, 0, -1, &writer) == RIPC_OK);
    CHECK(ripc_variable_lead(other, 0, -1, &second) == RIPC_EXCLUSIVE && second == NULL);
    CHECK(ripc_variable_write(variable, "no", 2, 1, -1, NULL) == RIPC_EXCLUSIVE);
    CHECK(ripc_variable_write(other, "no", 2, 1, -1, NULL) == RIPC_EXCLUSIVE);
    CHECK(strstr(ripc_last_error(), "is its exclusive writer") != NULL);
    CHECK(strcmp(ripc_status_name(RIPC_EXCLUSIVE), "RIPC_EXCLUSIVE") == 0);

    ripc_variable_free(variable); /* the writer lives on */
    CHECK(ripc_writer_write(writer, "hello", 5, RIPC_ENCODING_RAW, -1, &sample) == RIPC_OK);
    CHECK(sample.version == 2 && sample.length == 5 && sample.encoding == RIPC_ENCODING_RAW);
    CHECK(ripc_variable_age(other, &age) == RIPC_OK && age < 60000000000u);
    static char large[4097];
    ripc_prepared_writer prepared = {writer, -1, RIPC_ENCODING_PICKLE, 0};
    CHECK(ripc_writer_write_prepared(&prepared, "prepared", 8) == RIPC_OK);
    CHECK(ripc_variable_latest(other, &sample) == RIPC_OK);
    CHECK(sample.version == 3 && sample.length == 8 && sample.encoding == RIPC_ENCODING_PICKLE);
    CHECK(ripc_writer_write_prepared(&prepared, large, sizeof large) == RIPC_TOO_LARGE);
    prepared.writer = NULL;
    CHECK(ripc_writer_write_prepared(&prepared, "x", 1) == RIPC_BAD_ARGUMENT);
    CHECK(ripc_writer_write_prepared(NULL, "x", 1) == RIPC_BAD_ARGUMENT);
    CHECK(ripc_writer_write(writer, large, sizeof large, 1, -1, NULL) == RIPC_TOO_LARGE);
    CHECK(ripc_writer_write(writer, NULL, 1, 1, -1, NULL) == RIPC_BAD_ARGUMENT);
    CHECK(ripc_writer_write(NULL, "x", 1, 1, -1, NULL) == RIPC_BAD_ARGUMENT);
    ripc_writer_free(writer);
    ripc_writer_free(NULL);
    CHECK(ripc_variable_write(other, "free", 4, 1, -1, NULL) == RIPC_OK);

    CHECK(ripc_variable_lead(other, 1, -1, &writer) == RIPC_OK);
    CHECK(ripc_writer_write(writer, NULL, 0, 77, -1, &sample) == RIPC_OK);
    CHECK(sample.version == 5 && sample.time_ns == 0 && sample.encoding == 77);
    CHECK(ripc_variable_age(other, &age) == RIPC_NO_AGE);
    ripc_writer_free(writer);
    ripc_variable_free(other);
}

/* Against two threads in one writer, which would fill the same slot: each writes values
 * of one letter, for as long as it takes to meet the other one. */
enum { MANY = 1 << 20 };

struct at_work {
    ripc_writer *writer;
    char letter;
    uint64_t written, refused;
    int *met;
};

static void *write_letters(void *argument)
{
    struct at_work *work = argument;
    char *letters = malloc(MANY);
    CHECK(letters != NULL);
    memset(letters, work->letter, MANY);
    for (int rounds = 0; rounds < 50 || !__atomic_load_n(work->met, __ATOMIC_RELAXED); rounds++) {
        ripc_status status = ripc_writer_write(work->writer, letters, MANY, 1, -1, NULL);
        CHECK(status == RIPC_OK || status == RIPC_BUSY);
        if (status == RIPC_BUSY) {
            CHECK(strstr(ripc_last_error(), "used by another thread") != NULL);
            __atomic_store_n(work->met, 1, __ATOMIC_RELAXED);
        }
        *(status == RIPC_OK ? &work->written : &work->refused) += 1;
    }
    free(letters);
    return NULL;
}

static void exclusive_threads(void)
{
    ripc_variable *variable;
    ripc_writer *writer;
    ripc_variable_options options;
    ripc_variable_options_init(&options);
    options.max_size = MANY;
    options.slots = 4;
    CHECK(ripc_variable_open("led by two", &options, &variable) == RIPC_OK);
    CHECK(ripc_variable_lead(variable, 0, -1, &writer) == RIPC_OK);
    int met = 0;
    struct at_work works[] = {{writer, 'a', 0, 0, &met}, {writer, 'b', 0, 0, &met}};
    pthread_t threads[2];
    for (int number = 0; number < 2; number++)
        CHECK(pthread_create(&threads[number], NULL, write_letters, &works[number]) == 0);
    char *value = malloc(MANY);
    CHECK(value != NULL);
    ripc_sample sample = {0};
    for (int rounds = 0; rounds < 100; rounds++) {
        ripc_status status = ripc_variable_read(variable, value, MANY, -1, &sample);
        if (status == RIPC_NEVER_WRITTEN)
            continue;
        CHECK(status == RIPC_OK && sample.length == MANY);
        CHECK(memcmp(value, value + 1, MANY - 1) == 0);
    }
    for (int number = 0; number < 2; number++)
        CHECK(pthread_join(threads[number], NULL) == 0);
    CHECK(works[0].refused + works[1].refused > 0);
    CHECK(ripc_variable_latest(variable, &sample) == RIPC_OK);
    CHECK(sample.version == works[0].written + works[1].written);
    ripc_writer_free(writer);
    CHECK(ripc_variable_remove(variable, -1) == RIPC_OK);
    ripc_variable_free(variable);
    free(value);
}

static void mistakes(void)
{
    ripc_variable *variable = NULL;
    ripc_variable_options options;
    ripc_variable_options_init(&options);
    CHECK(ripc_variable_open(NULL, NULL, &variable) == RIPC_BAD_ARGUMENT);
    CHECK(ripc_variable_open("x", NULL, NULL) == RIPC_BAD_ARGUMENT);
    CHECK(ripc_variable_open("a/b", NULL, &variable) == RIPC_BAD_NAME);
    CHECK(ripc_variable_write(NULL, "x", 1, 1, -1, NULL) == RIPC_BAD_ARGUMENT);
    options.max_size = 8;
    CHECK(ripc_variable_open("native", &options, &variable) == RIPC_SIZE_MISMATCH);
    CHECK(strstr(ripc_last_error(), "robot-ipc rm native") != NULL);
    options.max_size = RIPC_ADOPT_SIZE;
    CHECK(ripc_variable_open("no such variable", &options, &variable) == RIPC_NOT_FOUND);
    options.mode = 0777;
    CHECK(ripc_variable_open("native", &options, &variable) == RIPC_BAD_OPTION);
    options.mode = -1;
    options.struct_size = 3;
    CHECK(ripc_variable_open("native", &options, &variable) == RIPC_BAD_ARGUMENT);

    ripc_variable_options_init(&options);
    options.read_only = 1;
    options.max_size = RIPC_ADOPT_SIZE;
    ripc_variable_info info;
    CHECK(ripc_variable_open("native", &options, &variable) == RIPC_OK);
    CHECK(ripc_variable_get_info(variable, &info) == RIPC_OK);
    CHECK(info.max_size == 4096 && info.slots == 14 && info.read_only == 1);
    CHECK(ripc_variable_write(variable, "x", 1, 1, -1, NULL) == RIPC_READ_ONLY);
    CHECK(ripc_variable_remove(variable, -1) == RIPC_READ_ONLY);
    ripc_variable_free(variable);
    ripc_variable_free(NULL);
    CHECK(strcmp(ripc_status_name(RIPC_TOO_LARGE), "RIPC_TOO_LARGE") == 0);
}

static void removal(void)
{
    ripc_variable *first, *second;
    CHECK(ripc_variable_open("native", NULL, &first) == RIPC_OK);
    CHECK(ripc_variable_remove(first, -1) == RIPC_OK);
    CHECK(ripc_variable_write(first, "x", 1, 1, -1, NULL) == RIPC_RETIRED);
    CHECK(ripc_variable_open("native", NULL, &second) == RIPC_OK);
    CHECK(ripc_variable_write(second, "x", 1, 1, -1, NULL) == RIPC_OK);
    CHECK(ripc_variable_remove(second, -1) == RIPC_OK);
    ripc_variable_free(first);
    ripc_variable_free(second);
}

static void truncation(void)
{
    ripc_variable *variable;
    char path[1024];
    CHECK(ripc_survive_truncation() == RIPC_OK);
    CHECK(ripc_variable_open("native", NULL, &variable) == RIPC_OK);
    CHECK(ripc_variable_write(variable, "x", 1, 1, -1, NULL) == RIPC_OK);
    snprintf(path, sizeof path, "%s/robot-ipc.%s.variable.native", getenv("ROBOT_IPC_DIR"),
             getenv("ROBOT_IPC_NAMESPACE"));
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    fclose(file);
    CHECK(ripc_variable_write(variable, "x", 1, 1, -1, NULL) == RIPC_TRUNCATED);
    CHECK(strstr(ripc_last_error(), "was truncated while it was in use, to 0 of") != NULL);
    CHECK(ripc_variable_remove(variable, -1) == RIPC_OK);
    ripc_variable_free(variable);
}

int main(void)
{
    values();
    prepared();
    in_place();
    in_place_failed();
    exclusive();
    exclusive_threads();
    options_that_mean_nothing();
    mistakes();
    removal();
    truncation();
    printf("%s %s\n", ripc_version(), ripc_build_id());
    return 0;
}
