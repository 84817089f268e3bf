/* The native C interface, each function once, with what goes wrong. */
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

int main(void)
{
    values();
    in_place();
    mistakes();
    removal();
    printf("%s %s\n", ripc_version(), ripc_build_id());
    return 0;
}
