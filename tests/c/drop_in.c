/* A program of the earlier C library, as its interface says it may be written. The first
 * argument says which part of it to play; tests/drop_in.rs tells more. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <robot_ipc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                                     \
    do {                                                                                     \
        if (!(condition)) {                                                                  \
            int at = errno;                                                                  \
            fprintf(stderr, "%s:%d: not so: %s (errno %d, last error: %s)\n", __FILE__,      \
                    __LINE__, #condition, at, ripc_last_error());                            \
            exit(1);                                                                         \
        }                                                                                    \
    } while (0)

/* It fails, says so, and leaves that errno. */
#define FAILS(call, number)                                                                  \
    do {                                                                                     \
        errno = 0;                                                                           \
        CHECK((call) != ROBOT_OK);                                                           \
        CHECK(errno == (number));                                                            \
        CHECK(ripc_last_error()[0] != 0);                                                    \
    } while (0)

#define IS_NULL(call, number) FAILS((call) == NULL, number)

static void pause_ms(long milliseconds)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&time, &time) != 0)
        ;
}

static int is_all(const unsigned char *bytes, size_t size, unsigned char value)
{
    for (size_t index = 0; index < size; index++)
        if (bytes[index] != value)
            return 0;
    return 1;
}

static uint64_t boottime(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ------------------------------------------------------------------------- variables */

enum { SIZE = 64 };

static void values(host_variable variable)
{
    unsigned char bytes[SIZE], buffer[SIZE];
    struct timespec time = {1, 1};

    /* Nobody has written. */
    memset(buffer, 0xAA, SIZE);
    CHECK(read_host_variable(variable, buffer, SIZE, SIZE) == 0 && is_all(buffer, SIZE, 0));
    get_host_variable_timestamp(variable, &time);
    CHECK(time.tv_sec == 0 && time.tv_nsec == 0);

    /* Less than its size, read as a whole and in part. */
    memset(bytes, 7, SIZE);
    uint64_t before = boottime();
    CHECK(write_host_variable(variable, bytes, SIZE, 10) == 0);
    get_host_variable_timestamp(variable, &time);
    uint64_t written = (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
    CHECK(before <= written && written <= boottime());
    memset(buffer, 0xAA, SIZE);
    CHECK(read_host_variable(variable, buffer, SIZE, SIZE) == 0);
    CHECK(is_all(buffer, 10, 7) && is_all(buffer + 10, SIZE - 10, 0));
    memset(buffer, 0xAA, SIZE);
    CHECK(read_host_variable(variable, buffer, SIZE, 4) == 0);
    CHECK(is_all(buffer, 4, 7) && is_all(buffer + 4, SIZE - 4, 0xAA));

    /* What is no operation leaves value and buffer alone. */
    memset(buffer, 0xAA, SIZE);
    FAILS(write_host_variable(variable, bytes, SIZE, SIZE + 1), EINVAL);
    FAILS(write_host_variable(variable, bytes, SIZE - 1, 4), EINVAL);
    FAILS(write_host_variable(variable, NULL, SIZE, 4), EINVAL);
    FAILS(read_host_variable(variable, buffer, SIZE, SIZE + 1), EINVAL);
    FAILS(read_host_variable(variable, buffer, SIZE + 1, SIZE), EINVAL);
    FAILS(read_host_variable(variable, NULL, SIZE, 4), EINVAL);
    CHECK(is_all(buffer, SIZE, 0xAA));
    errno = 0;
    get_host_variable_timestamp(variable, NULL);
    CHECK(errno == EINVAL);
    CHECK(read_host_variable(variable, buffer, SIZE, SIZE) == 0);
    CHECK(is_all(buffer, 10, 7) && is_all(buffer + 10, SIZE - 10, 0));
}

static void names(void)
{
    char name[256];
    unsigned char buffer[SIZE] = {0};
    memset(name, 'n', sizeof name);

    /* With a slash or without: the same variable. */
    host_variable with = link_host_variable("/slash", SIZE);
    host_variable without = link_host_variable("slash", SIZE);
    CHECK(with != NULL && without != NULL && with != without);
    CHECK(write_host_variable(with, "x", SIZE, 1) == 0);
    CHECK(read_host_variable(without, buffer, SIZE, 1) == 0 && buffer[0] == 'x');
    CHECK(unlink_host_variable(with, "/slash", SIZE) == 0);
    CHECK(unlink_host_variable(without, "slash", SIZE) == 0);

    name[0] = '/';
    name[201] = 0;
    host_variable longest = link_host_variable(name, SIZE);
    CHECK(longest != NULL);
    CHECK(unlink_host_variable(longest, name, SIZE) == 0);
    name[201] = 'n';
    name[202] = 0;
    IS_NULL(link_host_variable(name, SIZE), EINVAL);
    const char *refused[] = {"", "/", "//two", "in/side", "/in/side", "/.", NULL};
    for (size_t index = 0; index < sizeof refused / sizeof *refused; index++) {
        IS_NULL(link_host_variable(refused[index], SIZE), EINVAL);
        IS_NULL(link_host_function(refused[index], SIZE, SIZE), EINVAL);
    }
}

static void stale_variables(host_variable variable)
{
    unsigned char buffer[SIZE];
    struct timespec time = {1, 1};
    host_function_caller caller = link_host_function("other kind", 1, 1);
    CHECK(caller != NULL);
    CHECK(unlink_host_variable(variable, "variable", SIZE) == 0);
    host_variable foreign[] = {variable, NULL, (host_variable)(void *)caller,
                               (host_variable)(void *)buffer, (host_variable)UINTPTR_MAX};
    for (size_t index = 0; index < sizeof foreign / sizeof *foreign; index++) {
        FAILS(read_host_variable(foreign[index], buffer, SIZE, SIZE), EBADF);
        FAILS(write_host_variable(foreign[index], buffer, SIZE, SIZE), EBADF);
        FAILS(unlink_host_variable(foreign[index], "variable", SIZE), EBADF);
        errno = 0;
        time.tv_sec = 1;
        get_host_variable_timestamp(foreign[index], &time);
        CHECK(errno == EBADF && time.tv_sec == 0);
    }
    CHECK(unlink_host_function(caller) == 0);
}

static int variable(void)
{
    unsigned char buffer[SIZE];
    host_variable first = link_host_variable("variable", SIZE);
    CHECK(first != NULL);
    values(first);
    names();
    IS_NULL(link_host_variable("empty", 0), EINVAL);
    IS_NULL(link_host_variable("huge", SIZE_MAX), EINVAL);
    IS_NULL(link_host_variable("variable", SIZE + 1), EINVAL);
    CHECK(strstr(ripc_last_error(), "64") && strstr(ripc_last_error(), "65"));
    stale_variables(first);
    /* The value outlives the handle. */
    host_variable again = link_host_variable("variable", SIZE);
    CHECK(again != NULL && again != first);
    CHECK(read_host_variable(again, buffer, SIZE, 10) == 0 && is_all(buffer, 10, 7));
    FAILS(read_host_variable(first, buffer, SIZE, 10), EBADF);
    /* However many came after it. */
    host_variable others[1000];
    for (size_t index = 0; index < 1000; index++) {
        others[index] = link_host_variable("variable", SIZE);
        CHECK(others[index] != NULL && others[index] != first);
        FAILS(read_host_variable(first, buffer, SIZE, 10), EBADF);
        if (index % 3 != 0)
            CHECK(unlink_host_variable(others[index], "variable", SIZE) == 0);
    }
    for (size_t index = 0; index < 1000; index += 3)
        CHECK(unlink_host_variable(others[index], "variable", SIZE) == 0);
    CHECK(unlink_host_variable(again, "variable", SIZE) == 0);
    return 0;
}

/* --------------------------------------------------------------------------- threads */

enum { THREADS = 16, WORDS = 512, ROUNDS = 300 };

static host_variable shared_variable;
static host_function_caller shared_caller;
static atomic_int responses[THREADS * ROUNDS];

static void *write_and_read(void *number)
{
    uint64_t words[WORDS];
    uint64_t mine = (uint64_t)(uintptr_t)number;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        for (size_t index = 0; index < WORDS; index++)
            words[index] = mine << 32 | round;
        CHECK(write_host_variable(shared_variable, words, sizeof words, sizeof words) == 0);
        memset(words, 0xAA, sizeof words);
        CHECK(read_host_variable(shared_variable, words, sizeof words, sizeof words) == 0);
        for (size_t index = 0; index < WORDS; index++)
            CHECK(words[index] == words[0]);
        CHECK(words[0] >> 32 < THREADS && (uint32_t)words[0] < ROUNDS);
    }
    return NULL;
}

static void *call_and_fetch(void *number)
{
    uint32_t response;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t argument = (uint32_t)(uintptr_t)number * ROUNDS + round;
        int sent;
        /* Others have yet to fetch. */
        while ((sent = call_host_function(shared_caller, &argument)) == WARN_SHM_QUFULL)
            CHECK(errno == EAGAIN);
        CHECK(sent == 0);
        CHECK(get_response_host_function(shared_caller, &response) == 0);
        CHECK(response < THREADS * ROUNDS);
        atomic_fetch_add(&responses[response], 1);
    }
    return NULL;
}

static void in_threads(void *(*work)(void *))
{
    pthread_t threads[THREADS];
    for (size_t index = 0; index < THREADS; index++)
        CHECK(pthread_create(&threads[index], NULL, work, (void *)index) == 0);
    for (size_t index = 0; index < THREADS; index++)
        CHECK(pthread_join(threads[index], NULL) == 0);
}

static void *same(const void *args)
{
    static uint32_t result;
    memcpy(&result, args, sizeof result);
    return &result;
}

static int threads(void)
{
    size_t size = sizeof(uint64_t[WORDS]);
    shared_variable = link_host_variable("shared", size);
    CHECK(shared_variable != NULL);
    in_threads(write_and_read);
    CHECK(unlink_host_variable(shared_variable, "shared", size) == 0);

    host_function_dispatcher dispatcher = create_host_function_dispatcher(1);
    CHECK(attach_host_function(dispatcher, "same", same, 4, 4) == 0);
    CHECK(start_host_function_dispatcher(dispatcher) == 0);
    shared_caller = link_host_function("same", 4, 4);
    CHECK(shared_caller != NULL);
    in_threads(call_and_fetch);
    for (size_t index = 0; index < THREADS * ROUNDS; index++)
        CHECK(atomic_load(&responses[index]) == 1);
    CHECK(unlink_host_function(shared_caller) == 0);
    CHECK(delete_host_function_dispatcher(dispatcher) == 0);
    return 0;
}

/* ------------------------------------------------------------------------- functions */

static void *odd_only(const void *args)
{
    static int result;
    int number = *(const int *)args;
    result = number * 10;
    return number % 2 != 0 ? &result : NULL;
}

static void *add_to(const void *args, void *user_data)
{
    int *sum = (int *)user_data;
    *sum += *(const int *)args;
    return sum;
}

static atomic_int begun, ended;

static void *slowly(const void *args)
{
    static char result;
    (void)args;
    atomic_store(&begun, 1);
    pause_ms(300);
    atomic_store(&ended, 1);
    return &result;
}

static void *notice(const void *args)
{
    (void)args;
    atomic_store(&begun, 1);
    return NULL;
}

static host_function_dispatcher deleted_from_within;

static void *delete_it(const void *args)
{
    (void)args;
    atomic_store(&ended, delete_host_function_dispatcher(deleted_from_within) == 0 ? 1 : 2);
    return NULL;
}

static void no_operation(int number)
{
    (void)number;
}

static void wait_for(atomic_int *flag)
{
    for (int round = 0; atomic_load(flag) == 0; round++) {
        CHECK(round < 60000);
        pause_ms(1);
    }
}

static void calls_and_responses(void)
{
    int result = 0, sum = 0;
    host_function_dispatcher dispatcher = create_host_function_dispatcher(3);
    CHECK(dispatcher != NULL && (uintptr_t)dispatcher <= INT32_MAX);
    CHECK(attach_host_function(dispatcher, "/odd only", odd_only, 4, 4) == 0);
    FAILS(attach_host_function(dispatcher, "odd only", odd_only, 4, 4), EEXIST);
    FAILS(attach_host_function(dispatcher, "none", NULL, 4, 4), EINVAL);
    FAILS(attach_host_function_ex(dispatcher, "none", NULL, &sum, 4, 4), EINVAL);
    FAILS(attach_host_function(dispatcher, NULL, odd_only, 4, 4), EINVAL);
    FAILS(attach_host_function(dispatcher, "huge", odd_only, SIZE_MAX, 4), EINVAL);
    CHECK(start_host_function_dispatcher(dispatcher) == 0);
    FAILS(start_host_function_dispatcher(dispatcher), EBUSY);

    host_function_caller odd = link_host_function("odd only", 4, 4);
    CHECK(odd != NULL && (uintptr_t)odd <= INT32_MAX);
    IS_NULL(link_host_function("odd only", 4, 5), EINVAL);
    FAILS(attach_host_function(dispatcher, "odd only", odd_only, 5, 4), EINVAL);
    FAILS(call_host_function(odd, NULL), EINVAL);
    CHECK(get_response_host_function(odd, &result) == WARN_SHM_NOREAD && errno == ENODATA);

    /* Calls without a response are passed over, and alone they bring none. */
    for (int number = 0; number < 6; number++)
        CHECK(call_host_function(odd, &number) == 0);
    FAILS(get_response_host_function(odd, NULL), EINVAL);
    for (int number = 1; number < 6; number += 2) {
        CHECK(get_response_host_function(odd, &result) == 0);
        CHECK(result == number * 10);
    }
    CHECK(get_response_host_function(odd, &result) == WARN_SHM_NOREAD && errno == ENODATA);
    CHECK(call_host_function(odd, &(int){2}) == 0);
    CHECK(get_response_host_function(odd, &result) == WARN_SHM_NOREAD && errno == ENODATA);

    /* Attached after the start; and no more than there may be. */
    CHECK(attach_host_function_ex(dispatcher, "add to", add_to, &sum, 4, 4) == 0);
    host_function_caller add = link_host_function("/add to", 4, 4);
    for (int number = 1; number < 4; number++) {
        CHECK(call_host_function(add, &number) == 0);
        CHECK(get_response_host_function(add, &result) == 0);
    }
    CHECK(result == 6);
    CHECK(attach_host_function(dispatcher, "third", odd_only, 4, 4) == 0);
    FAILS(attach_host_function(dispatcher, "fourth", odd_only, 4, 4), ENOSPC);

    CHECK(unlink_host_function(odd) == 0);
    CHECK(unlink_host_function(add) == 0);
    CHECK(delete_host_function_dispatcher(dispatcher) == 0);
    FAILS(call_host_function(odd, &result), EBADF);
    FAILS(get_response_host_function(odd, &result), EBADF);
    FAILS(unlink_host_function(odd), EBADF);
    FAILS(unlink_host_function(NULL), EBADF);
    FAILS(call_host_function((host_function_caller)(void *)&result, &result), EBADF);
    FAILS(attach_host_function(dispatcher, "late", odd_only, 4, 4), EBADF);
    FAILS(start_host_function_dispatcher(dispatcher), EBADF);
    FAILS(start_host_function_dispatcher((host_function_dispatcher)(void *)&sum), EBADF);
    FAILS(delete_host_function_dispatcher(dispatcher), EBADF);
    FAILS(delete_host_function_dispatcher(NULL), EBADF);
    IS_NULL(create_host_function_dispatcher(0), EINVAL);
    IS_NULL(create_host_function_dispatcher(513), EINVAL);
    IS_NULL(create_host_function_dispatcher(SIZE_MAX), EINVAL);
}

static void deleting(void)
{
    char result;
    host_function_dispatcher dispatcher = create_host_function_dispatcher(1);
    CHECK(attach_host_function(dispatcher, "slowly", slowly, 1, 1) == 0);
    CHECK(start_host_function_dispatcher(dispatcher) == 0);
    host_function_caller caller = link_host_function("slowly", 1, 1);
    uint64_t start = boottime();
    CHECK(call_host_function(caller, "x") == 0);
    CHECK(boottime() - start < 300000000 && atomic_load(&ended) == 0); /* it did not wait */
    wait_for(&begun);
    CHECK(delete_host_function_dispatcher(dispatcher) == 0);
    CHECK(atomic_load(&ended) == 1);
    CHECK(get_response_host_function(caller, &result) == 0);
    CHECK(unlink_host_function(caller) == 0);

    atomic_store(&ended, 0);
    deleted_from_within = create_host_function_dispatcher(1);
    CHECK(attach_host_function(deleted_from_within, "delete it", delete_it, 1, 1) == 0);
    CHECK(start_host_function_dispatcher(deleted_from_within) == 0);
    caller = link_host_function("delete it", 1, 1);
    CHECK(call_host_function(caller, "x") == 0);
    FAILS(get_response_host_function(caller, &result), ENODATA);
    wait_for(&ended);
    CHECK(atomic_load(&ended) == 1);
    FAILS(delete_host_function_dispatcher(deleted_from_within), EBADF);
    CHECK(unlink_host_function(caller) == 0);
}

/* No arguments; no result: nobody waits, and nobody has to. */
static void nothing_to_say(void)
{
    atomic_store(&begun, 0);
    host_function_dispatcher dispatcher = create_host_function_dispatcher(1);
    CHECK(attach_host_function(dispatcher, "notice", notice, 0, 0) == 0);
    host_function_caller caller = link_host_function("notice", 0, 0);
    CHECK(call_host_function(caller, NULL) == 0);
    FAILS(get_response_host_function(caller, NULL), ENODATA);
    CHECK(unlink_host_function(caller) == 0);
    CHECK(start_host_function_dispatcher(dispatcher) == 0);
    wait_for(&begun);
    CHECK(delete_host_function_dispatcher(dispatcher) == 0);
}

static host_function_caller waiting_for;
static atomic_int waiting;

static void *wait_for_response(void *number)
{
    char result;
    (void)number;
    atomic_store(&waiting, 1);
    FAILS(get_response_host_function(waiting_for, &result), ENODATA);
    return NULL;
}

/* A signal ends a wait and loses nothing; so does letting go of the handle. */
static void ending_a_wait(void)
{
    char result = 0;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = no_operation;
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    host_function_caller caller = link_host_function("slowly", 1, 1);
    CHECK(call_host_function(caller, "x") == 0);
    ualarm(50000, 50000);
    FAILS(get_response_host_function(caller, &result), EINTR);
    ualarm(0, 0);
    host_function_dispatcher dispatcher = create_host_function_dispatcher(1);
    CHECK(attach_host_function(dispatcher, "slowly", slowly, 1, 1) == 0);
    CHECK(start_host_function_dispatcher(dispatcher) == 0);
    CHECK(get_response_host_function(caller, &result) == 0);
    CHECK(delete_host_function_dispatcher(dispatcher) == 0);

    pthread_t thread;
    waiting_for = link_host_function("never served", 1, 1);
    CHECK(call_host_function(waiting_for, "x") == 0);
    CHECK(pthread_create(&thread, NULL, wait_for_response, NULL) == 0);
    wait_for(&waiting);
    pause_ms(50);
    CHECK(unlink_host_function(waiting_for) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(unlink_host_function(caller) == 0);
}

/* A forked child uses its parent's handles, and lets go of them without harm to it. */
static void forked(void)
{
    int sum = 0, result = 0, status = 0;
    host_variable variable = link_host_variable("forked", 4);
    host_function_dispatcher dispatcher = create_host_function_dispatcher(1);
    CHECK(attach_host_function_ex(dispatcher, "forked", add_to, &sum, 4, 4) == 0);
    CHECK(start_host_function_dispatcher(dispatcher) == 0);
    host_function_caller caller = link_host_function("forked", 4, 4);
    CHECK(call_host_function(caller, &(int){2}) == 0);
    pid_t child = fork();
    if (child == 0) {
        FAILS(get_response_host_function(caller, &result), ENODATA);
        CHECK(call_host_function(caller, &(int){40}) == 0);
        CHECK(get_response_host_function(caller, &result) == 0 && result == 42);
        CHECK(write_host_variable(variable, &result, 4, 4) == 0);
        CHECK(unlink_host_variable(variable, "forked", 4) == 0);
        CHECK(unlink_host_function(caller) == 0);
        FAILS(start_host_function_dispatcher(dispatcher), EPERM);
        CHECK(delete_host_function_dispatcher(dispatcher) == 0);
        _exit(0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    CHECK(get_response_host_function(caller, &result) == 0 && result == 2);
    CHECK(call_host_function(caller, &(int){1}) == 0);
    CHECK(get_response_host_function(caller, &result) == 0 && result == 43);
    CHECK(read_host_variable(variable, &result, 4, 4) == 0 && result == 42);
    CHECK(unlink_host_variable(variable, "forked", 4) == 0);
    CHECK(unlink_host_function(caller) == 0);
    CHECK(delete_host_function_dispatcher(dispatcher) == 0);
}

static int functions(void)
{
    forked();
    calls_and_responses();
    deleting();
    nothing_to_say();
    ending_a_wait();
    return 0;
}

/* --------------------------------------------------- parts of tests between processes */

/* put NAME SIZE BYTE COUNT: writes COUNT bytes. */
static int put(char **argument)
{
    size_t size = strtoull(argument[1], NULL, 10), count = strtoull(argument[3], NULL, 10);
    unsigned char *bytes = malloc(size);
    memset(bytes, atoi(argument[2]), size);
    host_variable variable = link_host_variable(argument[0], size);
    CHECK(variable != NULL);
    CHECK(write_host_variable(variable, bytes, size, count) == 0);
    CHECK(unlink_host_variable(variable, argument[0], size) == 0);
    free(bytes);
    return 0;
}

/* get NAME SIZE: says all its bytes. */
static int get(char **argument)
{
    size_t size = strtoull(argument[1], NULL, 10);
    unsigned char *bytes = malloc(size);
    memset(bytes, 0xAA, size);
    host_variable variable = link_host_variable(argument[0], size);
    CHECK(variable != NULL);
    CHECK(read_host_variable(variable, bytes, size, size) == 0);
    for (size_t index = 0; index < size; index++)
        printf("%02x", bytes[index]);
    printf("\n");
    free(bytes);
    return 0;
}

/* scribble NAME SIZE: writes patterns until it is killed. */
static int scribble(char **argument)
{
    size_t size = strtoull(argument[1], NULL, 10);
    uint64_t *words = malloc(size);
    host_variable variable = link_host_variable(argument[0], size);
    CHECK(variable != NULL);
    printf("ready\n");
    fflush(stdout);
    for (uint64_t round = (uint64_t)getpid() << 32;; round++) {
        for (size_t index = 0; index < size / 8; index++)
            words[index] = round;
        CHECK(write_host_variable(variable, words, size, size) == 0);
    }
}

static size_t argument_size, result_size;
static unsigned char *result_bytes;

/* Byte i of the result is byte i of the arguments, repeated, plus i. */
static void transformed(unsigned char *result, const unsigned char *argument)
{
    for (size_t index = 0; index < result_size; index++)
        result[index] = (unsigned char)(argument[index % argument_size] + index);
}

static void *transform(const void *args)
{
    CHECK((uintptr_t)args % 64 == 0);
    transformed(result_bytes, (const unsigned char *)args);
    return result_bytes;
}

static void *hang(const void *args)
{
    (void)args;
    printf("hangs\n");
    fflush(stdout);
    for (;;)
        pause_ms(1000);
    return NULL;
}

/* serve|hang NAME ARGUMENT_SIZE RESULT_SIZE: until its input ends. */
static int serve(char **argument, host_function function)
{
    argument_size = strtoull(argument[1], NULL, 10);
    result_size = strtoull(argument[2], NULL, 10);
    result_bytes = malloc(result_size);
    host_function_dispatcher dispatcher = create_host_function_dispatcher(1);
    CHECK(attach_host_function(dispatcher, argument[0], function, argument_size,
                               result_size) == 0);
    CHECK(start_host_function_dispatcher(dispatcher) == 0);
    printf("ready\n");
    fflush(stdout);
    while (getchar() != EOF)
        ;
    CHECK(delete_host_function_dispatcher(dispatcher) == 0);
    free(result_bytes);
    return 0;
}

/* call NAME ARGUMENT_SIZE RESULT_SIZE SEED BURSTS: each burst of 5 calls gets its own
 * responses, in their order. */
static int call(char **argument)
{
    argument_size = strtoull(argument[1], NULL, 10);
    result_size = strtoull(argument[2], NULL, 10);
    unsigned seed = (unsigned)atoi(argument[3]);
    int bursts = atoi(argument[4]);
    unsigned char *arguments = malloc(5 * argument_size);
    unsigned char *expected = malloc(result_size), *result = malloc(result_size);
    host_function_caller caller = link_host_function(argument[0], argument_size, result_size);
    CHECK(caller != NULL);
    for (int burst = 0; burst < bursts; burst++) {
        for (size_t index = 0; index < 5 * argument_size; index++)
            arguments[index] = (unsigned char)((seed = seed * 1103515245 + 12345) >> 16);
        for (size_t number = 0; number < 5; number++)
            CHECK(call_host_function(caller, arguments + number * argument_size) == 0);
        for (size_t number = 0; number < 5; number++) {
            memset(result, 0xAA, result_size);
            CHECK(get_response_host_function(caller, result) == 0);
            transformed(expected, arguments + number * argument_size);
            CHECK(memcmp(result, expected, result_size) == 0);
        }
    }
    CHECK(unlink_host_function(caller) == 0);
    free(arguments);
    free(expected);
    free(result);
    return 0;
}

/* ask NAME ARGUMENT_SIZE RESULT_SIZE: one call; says what came of it. */
static int ask(char **argument)
{
    argument_size = strtoull(argument[1], NULL, 10);
    result_size = strtoull(argument[2], NULL, 10);
    unsigned char *arguments = calloc(1, argument_size), *result = malloc(result_size);
    memset(result, 0xAA, result_size);
    host_function_caller caller = link_host_function(argument[0], argument_size, result_size);
    CHECK(caller != NULL);
    CHECK(call_host_function(caller, arguments) == 0);
    int status = get_response_host_function(caller, result);
    printf("%d %d ", status, status == 0 ? 0 : errno);
    for (size_t index = 0; index < result_size; index++)
        printf("%02x", result[index]);
    printf(" %s\n", status == 0 ? "" : ripc_last_error());
    free(arguments);
    free(result);
    return 0;
}

int main(int count, char **argument)
{
    const char *part = count > 1 ? argument[1] : "";
    if (strcmp(part, "variable") == 0)
        return variable();
    if (strcmp(part, "threads") == 0)
        return threads();
    if (strcmp(part, "functions") == 0)
        return functions();
    if (strcmp(part, "put") == 0 && count == 6)
        return put(argument + 2);
    if (strcmp(part, "get") == 0 && count == 4)
        return get(argument + 2);
    if (strcmp(part, "scribble") == 0 && count == 4)
        return scribble(argument + 2);
    if (strcmp(part, "serve") == 0 && count == 5)
        return serve(argument + 2, transform);
    if (strcmp(part, "hang") == 0 && count == 5)
        return serve(argument + 2, hang);
    if (strcmp(part, "call") == 0 && count == 7)
        return call(argument + 2);
    if (strcmp(part, "ask") == 0 && count == 5)
        return ask(argument + 2);
    fprintf(stderr, "no such part: %s\n", part);
    return 2;
}
