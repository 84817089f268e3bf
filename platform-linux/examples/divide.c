/* A function that one process offers and any other may call.
 *
 *     cc -Iplatform-linux/include platform-linux/examples/divide.c \
 *        -Ltarget/release -lrobot_ipc -o divide && export LD_LIBRARY_PATH=target/release
 *     ./divide serve &
 *     ./divide call 1 4
 */
#include <ripc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arguments {
    double dividend, divisor;
};

static int failed(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, ripc_last_error());
    return 1;
}

/* Runs in the dispatcher's thread, one call at a time. */
static int32_t divide(const void *bytes, size_t size, uint32_t encoding, ripc_reply *reply,
                      void *user_data)
{
    struct arguments arguments;
    (void)user_data;
    if (size != sizeof arguments || encoding != RIPC_ENCODING_RAW)
        return ripc_reply_fail(reply, "the arguments are not two doubles");
    memcpy(&arguments, bytes, sizeof arguments);
    if (arguments.divisor == 0)
        return ripc_reply_fail(reply, "division by zero");
    double quotient = arguments.dividend / arguments.divisor;
    return ripc_reply_set(reply, &quotient, sizeof quotient, RIPC_ENCODING_RAW);
}

/* Both sides name the same sizes. */
static ripc_function_options options(void)
{
    ripc_function_options options;
    ripc_function_options_init(&options);
    options.max_argument_size = sizeof(struct arguments);
    options.max_response_size = 64; /* enough for an error's text, too */
    return options;
}

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
    (void)signal;
    stopped = 1;
}

static int serve(void)
{
    ripc_dispatcher *dispatcher;
    ripc_function_options sizes = options();
    if (ripc_dispatcher_new(NULL, &dispatcher) != RIPC_OK)
        return failed("dispatcher");
    if (ripc_dispatcher_add(dispatcher, "c-example-divide", &sizes, divide, NULL, NULL) != RIPC_OK)
        return failed("add");
    signal(SIGINT, stop);
    signal(SIGTERM, stop);
    /* In this thread, in slices: a signal just before one is noticed behind it. */
    ripc_status status = RIPC_TIMED_OUT;
    while (!stopped && (status == RIPC_TIMED_OUT || status == RIPC_INTERRUPTED))
        status = ripc_dispatcher_run(dispatcher, 100000000);
    if (!stopped)
        return failed("run");
    ripc_dispatcher_free(dispatcher);
    return 0;
}

static int call(const char *dividend, const char *divisor)
{
    ripc_caller *caller;
    ripc_function_options sizes = options();
    const struct arguments arguments = {atof(dividend), atof(divisor)};
    if (ripc_caller_open("c-example-divide", &sizes, &caller) != RIPC_OK)
        return failed("open");

    uint64_t number;
    if (ripc_caller_call(caller, &arguments, sizeof arguments, RIPC_ENCODING_RAW, -1, &number) !=
        RIPC_OK)
        return failed("call");
    /* There is time to do something else here. */
    char buffer[64];
    ripc_response response;
    const int64_t limit = 5000000000;
    if (ripc_caller_response_of(caller, number, buffer, sizeof buffer, limit, &response) != RIPC_OK) {
        failed("divide");
        ripc_caller_free(caller); /* takes the call back if it has not started */
        return 1;
    }
    double quotient;
    memcpy(&quotient, buffer, sizeof quotient);
    printf("%g\n", quotient);
    ripc_caller_free(caller);
    return 0;
}

int main(int count, char **words)
{
    if (count == 2 && strcmp(words[1], "serve") == 0)
        return serve();
    if (count == 4 && strcmp(words[1], "call") == 0)
        return call(words[2], words[3]);
    fprintf(stderr, "usage: %s serve | call DIVIDEND DIVISOR\n", words[0]);
    return 2;
}
