/* One side of each pair in tests/pairs.rs, in C. */
#include <robot_ipc.h>
#include <stdio.h>

#include "reading.h"

#define CHECK(condition)                                                                     \
    do {                                                                                     \
        if (!(condition)) {                                                                  \
            fprintf(stderr, "C: not so: %s (%s)\n", #condition, ripc_last_error());          \
            return 1;                                                                        \
        }                                                                                    \
    } while (0)

static struct reading answer;

static void *next(const void *argument)
{
    const struct reading *asked = (const struct reading *)argument;
    if (!is_reading(asked, LARGE))
        return NULL;
    answer = reading_of(asked->count + 1);
    return &answer;
}

int main(int count, char **arguments)
{
    struct reading it = reading_of(LARGE);
    CHECK(count == 3);
    const char *role = arguments[1], *name = arguments[2];
    if (strcmp(role, "write") == 0) {
        host_variable variable = link_host_variable(name, sizeof it);
        CHECK(variable != NULL);
        CHECK(write_host_variable(variable, &it, sizeof it, sizeof it) == 0);
    } else if (strcmp(role, "read") == 0) {
        host_variable variable = link_host_variable(name, sizeof it);
        CHECK(variable != NULL);
        memset(&it, 0xAA, sizeof it);
        CHECK(read_host_variable(variable, &it, sizeof it, sizeof it) == 0);
        CHECK(is_reading(&it, LARGE));
    } else if (strcmp(role, "serve") == 0) {
        host_function_dispatcher dispatcher = create_host_function_dispatcher(1);
        CHECK(dispatcher != NULL);
        CHECK(attach_host_function(dispatcher, name, next, sizeof it, sizeof it) == 0);
        CHECK(start_host_function_dispatcher(dispatcher) == 0);
        puts("ready");
        fflush(stdout);
        while (getchar() != EOF)
            ;
        CHECK(delete_host_function_dispatcher(dispatcher) == 0);
    } else {
        host_function_caller caller = link_host_function(name, sizeof it, sizeof it);
        CHECK(caller != NULL);
        CHECK(call_host_function(caller, &it) == 0);
        memset(&it, 0xAA, sizeof it);
        CHECK(get_response_host_function(caller, &it) == 0);
        CHECK(is_reading(&it, LARGE + 1));
        CHECK(unlink_host_function(caller) == 0);
    }
    return 0;
}
