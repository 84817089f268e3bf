/* Host functions from C: each function of the interface once, with what goes wrong. */
#include <pthread.h>
#include <ripc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition)                                                                    \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition,              \
                    ripc_last_error());                                                     \
            exit(1);                                                                        \
        }                                                                                   \
    } while (0)

static const int64_t LONG = 60000000000;

static int32_t twice(const void *bytes, size_t size, uint32_t encoding, ripc_reply *reply,
                     void *user_data)
{
    char answer[128];
    ++*(int *)user_data;
    if (size == 0)
        return 0; /* nothing to return */
    if (size == 1)
        return 42; /* fails without a word */
    if (size == 2)
        return ripc_reply_fail(reply, "on purpose");
    memcpy(answer, bytes, size);
    memcpy(answer + size, bytes, size);
    CHECK(ripc_reply_set(reply, "the last one counts", 19, 0) == RIPC_OK);
    CHECK(ripc_reply_set(NULL, "x", 1, 0) == RIPC_BAD_ARGUMENT);
    CHECK(ripc_reply_fail(reply, NULL) == RIPC_BAD_ARGUMENT);
    return ripc_reply_set(reply, answer, 2 * size, encoding);
}

static ripc_function_options sized(uint64_t arguments, uint64_t response)
{
    ripc_function_options options;
    ripc_function_options_init(&options);
    options.max_argument_size = arguments;
    options.max_response_size = response;
    return options;
}

static void prepared(void)
{
    ripc_dispatcher *dispatcher = NULL;
    int runs = 0;
    ripc_function_options options = sized(64, 100), one_way = sized(64, 0);
    CHECK(ripc_dispatcher_new(NULL, &dispatcher) == RIPC_OK);
    CHECK(ripc_dispatcher_add(dispatcher, "prepared", &options, twice, &runs, NULL) == RIPC_OK);
    CHECK(ripc_dispatcher_add(dispatcher, "sent", &one_way, twice, &runs, NULL) == RIPC_OK);
    CHECK(ripc_dispatcher_start(dispatcher) == RIPC_OK);
    ripc_caller *caller = NULL, *sender = NULL;
    CHECK(ripc_caller_open("prepared", &options, &caller) == RIPC_OK);
    CHECK(ripc_caller_open("sent", &one_way, &sender) == RIPC_OK);

    char buffer[100];
    ripc_prepared_call call = {caller, buffer, sizeof buffer, LONG, 77, 0, {0}};
    CHECK(ripc_call_prepared(&call, "abc", 3) == RIPC_OK && memcmp(buffer, "abcabc", 6) == 0);
    CHECK(call.response.call != 0 && call.response.length == 6 && call.response.encoding == 77);
    CHECK(call.response.has_value == 1);
    uint64_t first = call.response.call;
    CHECK(ripc_call_prepared(&call, NULL, 0) == RIPC_OK && call.response.has_value == 0);
    CHECK(call.response.call != first);
    CHECK(ripc_call_prepared(&call, "ab", 2) == RIPC_RAISED);
    CHECK(call.response.length == 10 && memcmp(buffer, "on purpose", 10) == 0);
    CHECK(ripc_call_prepared(&call, buffer, 65) == RIPC_TOO_LARGE && call.response.call == 0);

    /* With these the call is under way, or its response there. */
    ripc_response response;
    call.capacity = 5;
    CHECK(ripc_call_prepared(&call, "abc", 3) == RIPC_BUFFER_TOO_SMALL);
    CHECK(call.response.length == 6);
    CHECK(ripc_caller_response_of(caller, call.response.call, buffer, 6, LONG, &response) ==
          RIPC_OK);
    CHECK(response.call == call.response.call && memcmp(buffer, "abcabc", 6) == 0);
    CHECK(ripc_dispatcher_stop(dispatcher) == RIPC_OK);
    call.timeout_ns = 1000000;
    CHECK(ripc_call_prepared(&call, "abc", 3) == RIPC_TIMED_OUT && call.response.call != 0);
    CHECK(ripc_caller_cancel(caller, call.response.call, NULL) == RIPC_OK);

    call.caller = sender;
    CHECK(ripc_call_prepared(&call, "abc", 3) == RIPC_OK && call.response.call != 0);
    CHECK(call.response.has_value == 0);
    call.caller = NULL;
    CHECK(ripc_call_prepared(&call, "abc", 3) == RIPC_BAD_ARGUMENT && call.response.call == 0);
    CHECK(ripc_call_prepared(NULL, "abc", 3) == RIPC_BAD_ARGUMENT);
    CHECK(runs == 4);
    ripc_dispatcher_free(dispatcher);
    ripc_caller_free(caller);
    ripc_caller_free(sender);
}

static void calls(void)
{
    ripc_dispatcher_options chosen;
    ripc_dispatcher_options_init(&chosen);
    chosen.max_functions = 1;
    ripc_dispatcher *dispatcher = NULL;
    CHECK(ripc_dispatcher_new(&chosen, &dispatcher) == RIPC_OK);
    int runs = 0;
    uint64_t number = 0;
    ripc_function_options options = sized(64, 100);
    CHECK(ripc_dispatcher_add(dispatcher, "twice", &options, twice, &runs, &number) == RIPC_OK);
    CHECK(ripc_dispatcher_add(dispatcher, "more", &options, twice, &runs, NULL) ==
          RIPC_TOO_MANY_FUNCTIONS);
    CHECK(ripc_dispatcher_start(dispatcher) == RIPC_OK);
    CHECK(ripc_dispatcher_start(dispatcher) == RIPC_BUSY);
    ripc_function_info info;
    CHECK(ripc_dispatcher_get_info(dispatcher, number, &info) == RIPC_OK);
    CHECK(info.max_argument_size == 64 && info.max_response_size == 100 && info.cells == 16);

    ripc_caller *caller = NULL;
    ripc_function_options adopt = sized(RIPC_ADOPT_SIZE, 0);
    CHECK(ripc_caller_open("twice", &adopt, &caller) == RIPC_OK);
    CHECK(ripc_caller_get_info(caller, &info) == RIPC_OK);
    CHECK(info.max_argument_size == 64 && info.max_response_size == 100 && info.lost_calls == 0);

    char buffer[100];
    ripc_response response;
    uint64_t call = 0;
    CHECK(ripc_caller_next_response(caller, buffer, sizeof buffer, 0, &response) == RIPC_NO_CALL);
    CHECK(ripc_caller_call(caller, "abc", 3, 77, -1, &call) == RIPC_OK && call != 0);
    CHECK(ripc_caller_response_of(caller, call, buffer, 5, LONG, &response) ==
          RIPC_BUFFER_TOO_SMALL);
    CHECK(response.call == call && response.length == 6);
    CHECK(ripc_caller_response_of(caller, call, buffer, 6, LONG, &response) == RIPC_OK);
    CHECK(response.has_value == 1 && response.length == 6 && response.encoding == 77);
    CHECK(memcmp(buffer, "abcabc", 6) == 0);
    CHECK(ripc_caller_response_of(caller, call, buffer, 6, LONG, &response) == RIPC_REPORTED);

    CHECK(ripc_caller_call(caller, NULL, 0, 0, -1, NULL) == RIPC_OK);
    CHECK(ripc_caller_call(caller, "a", 1, 0, -1, NULL) == RIPC_OK);
    CHECK(ripc_caller_call(caller, "ab", 2, 0, -1, NULL) == RIPC_OK);
    static const char large[65];
    CHECK(ripc_caller_call(caller, large, 51, 0, -1, NULL) == RIPC_OK);
    CHECK(ripc_caller_next_response(caller, buffer, 100, LONG, &response) == RIPC_RAISED);
    CHECK(strstr(ripc_last_error(), "status 42"));
    CHECK(ripc_caller_next_response(caller, buffer, 100, LONG, &response) == RIPC_RAISED);
    CHECK(response.length == 10 && memcmp(buffer, "on purpose", 10) == 0);
    CHECK(ripc_caller_next_response(caller, buffer, 100, LONG, &response) ==
          RIPC_RESPONSE_TOO_LARGE);
    CHECK(strstr(ripc_last_error(), "102") && strstr(ripc_last_error(), "100"));
    CHECK(ripc_caller_next_response(caller, buffer, 100, LONG, &response) == RIPC_OK);
    CHECK(response.has_value == 0);
    CHECK(runs == 5);
    CHECK(ripc_caller_call(caller, large, 65, 0, -1, NULL) == RIPC_TOO_LARGE);
    CHECK(strstr(ripc_last_error(), "65") && strstr(ripc_last_error(), "64"));

    ripc_caller *other = NULL;
    ripc_function_options wrong = sized(32, 16);
    CHECK(ripc_caller_open("twice", &wrong, &other) == RIPC_SIZE_MISMATCH && other == NULL);
    CHECK(strstr(ripc_last_error(), "64") && strstr(ripc_last_error(), "100") &&
          strstr(ripc_last_error(), "32") && strstr(ripc_last_error(), "16"));

    CHECK(ripc_dispatcher_stop(dispatcher) == RIPC_OK);
    uint32_t progress = 9, withdrawal = 9;
    CHECK(ripc_caller_call(caller, "abc", 3, 0, -1, &call) == RIPC_OK);
    CHECK(ripc_caller_response_of(caller, call, buffer, 100, 1000000, &response) == RIPC_TIMED_OUT);
    CHECK(response.call == call && strstr(ripc_last_error(), "nobody serves"));
    CHECK(ripc_caller_progress(caller, call, &progress) == RIPC_OK && progress == RIPC_CALL_QUEUED);
    CHECK(ripc_caller_cancel(caller, call, &withdrawal) == RIPC_OK);
    CHECK(withdrawal == RIPC_NEVER_STARTED);
    CHECK(ripc_caller_progress(caller, call, &progress) == RIPC_OK && progress == RIPC_CALL_ENDED);
    CHECK(ripc_caller_cancel(caller, call, &withdrawal) == RIPC_OK);
    CHECK(withdrawal == RIPC_HAD_ENDED);
    CHECK(ripc_caller_call(caller, "abc", 3, 0, -1, NULL) == RIPC_OK);
    CHECK(ripc_caller_withdraw_all(caller) == RIPC_OK);
    CHECK(ripc_caller_next_response(caller, buffer, 100, 0, &response) == RIPC_NO_CALL);

    CHECK(ripc_dispatcher_remove(dispatcher, number) == RIPC_OK);
    CHECK(ripc_dispatcher_remove(dispatcher, number) == RIPC_BAD_ARGUMENT);
    ripc_dispatcher_free(dispatcher);
    CHECK(runs == 5);
    CHECK(ripc_caller_remove(caller, -1) == RIPC_OK);
    CHECK(ripc_caller_call(caller, "abc", 3, 0, -1, NULL) == RIPC_RETIRED);
    ripc_caller_free(caller);
}

static ripc_caller *asker;

static void *ask(void *unused)
{
    char buffer[64];
    ripc_response response;
    (void)unused;
    for (int round = 0; round < 3; ++round) {
        uint64_t call;
        CHECK(ripc_caller_call(asker, &round, sizeof round, 0, -1, &call) == RIPC_OK);
        ripc_status status =
            ripc_caller_response_of(asker, call, buffer, sizeof buffer, LONG, &response);
        if (round == 0)
            CHECK(status == RIPC_OK && response.length == 5 && memcmp(buffer, "hello", 5) == 0);
        if (round == 1)
            CHECK(status == RIPC_RAISED && strcmp(ripc_last_error(),
                  "function 'by-hand': the function raised: Oh: no") == 0);
        if (round == 2)
            CHECK(status == RIPC_OK && response.has_value == 0);
    }
    return NULL;
}

static void by_hand(void)
{
    ripc_dispatcher *dispatcher;
    uint64_t number;
    CHECK(ripc_dispatcher_new(NULL, &dispatcher) == RIPC_OK);
    CHECK(ripc_dispatcher_add(dispatcher, "by-hand", NULL, NULL, NULL, &number) == RIPC_OK);
    CHECK(ripc_dispatcher_add(dispatcher, "by-hand", NULL, NULL, NULL, NULL) == RIPC_BAD_ARGUMENT);
    CHECK(ripc_caller_open("by-hand", NULL, &asker) == RIPC_OK);
    ripc_call call;
    CHECK(ripc_dispatcher_next_call(dispatcher, 0, &call) == RIPC_TIMED_OUT);
    CHECK(ripc_dispatcher_reply(dispatcher, RIPC_REPLY_NOTHING, NULL, 0, 0) == RIPC_NO_CALL);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, ask, NULL) == 0);
    for (int round = 0; round < 3; ++round) {
        int said;
        CHECK(ripc_dispatcher_next_call(dispatcher, LONG, &call) == RIPC_OK);
        CHECK(call.function == number && call.size == sizeof said && call.wants_response == 1);
        CHECK(call.time_ns != 0);
        memcpy(&said, call.arguments, sizeof said);
        CHECK(said == round);
        CHECK(ripc_dispatcher_next_call(dispatcher, 0, &call) == RIPC_BUSY);
        CHECK(ripc_dispatcher_reply(dispatcher, 3, NULL, 0, 0) == RIPC_BAD_ARGUMENT);
        const char *text = round == 0 ? "hello" : "Oh: no\0and more";
        size_t size = round == 0 ? 5 : 15;
        CHECK(ripc_dispatcher_reply(dispatcher, (uint32_t)round, text, round == 2 ? 0 : size,
                                    RIPC_ENCODING_PICKLE) == RIPC_OK);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(ripc_dispatcher_stop(dispatcher) == RIPC_OK);
    CHECK(ripc_dispatcher_next_call(dispatcher, 0, &call) == RIPC_STOPPED);
    CHECK(ripc_dispatcher_resume(dispatcher) == RIPC_OK);
    CHECK(ripc_dispatcher_next_call(dispatcher, 0, &call) == RIPC_TIMED_OUT);
    CHECK(ripc_dispatcher_run(dispatcher, 1000000) == RIPC_TIMED_OUT);

    uint64_t made;
    CHECK(ripc_caller_call(asker, "x", 1, 0, -1, &made) == RIPC_OK);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        /* Both belong to the parent. */
        char buffer[8];
        if (ripc_dispatcher_next_call(dispatcher, 0, &call) != RIPC_FORKED ||
            ripc_caller_response_of(asker, made, buffer, 8, 0, NULL) != RIPC_FORKED)
            _exit(1);
        ripc_dispatcher_free(dispatcher);
        ripc_caller_free(asker);
        _exit(0);
    }
    int status = 1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(ripc_dispatcher_next_call(dispatcher, LONG, &call) == RIPC_OK && call.size == 1);
    ripc_dispatcher_free(dispatcher); /* with a call that has no reply */
    char buffer[8];
    CHECK(ripc_caller_response_of(asker, made, buffer, 8, LONG, NULL) == RIPC_DISPATCHER_DIED);
    ripc_caller_free(asker);
}

static void mistakes(void)
{
    ripc_caller *caller = NULL;
    ripc_dispatcher *dispatcher = NULL;
    ripc_function_options options = {0};
    CHECK(ripc_caller_open("name", &options, &caller) == RIPC_BAD_ARGUMENT);
    CHECK(ripc_caller_open(NULL, NULL, &caller) == RIPC_BAD_ARGUMENT);
    CHECK(ripc_caller_open("name", NULL, NULL) == RIPC_BAD_ARGUMENT);
    CHECK(ripc_caller_open("a/b", NULL, &caller) == RIPC_BAD_NAME);
    options = sized(0, 0);
    CHECK(ripc_caller_open("name", &options, &caller) == RIPC_BAD_OPTION);
    options = sized(RIPC_ADOPT_SIZE, RIPC_ADOPT_SIZE);
    CHECK(ripc_caller_open("none-such", &options, &caller) == RIPC_NOT_FOUND);
    options = sized(1, 1);
    options.cells = 65;
    CHECK(ripc_caller_open("name", &options, &caller) == RIPC_BAD_OPTION);
    CHECK(ripc_caller_call(NULL, "x", 1, 0, -1, NULL) == RIPC_BAD_ARGUMENT);
    CHECK(ripc_dispatcher_next_call(NULL, 0, NULL) == RIPC_BAD_ARGUMENT);
    ripc_dispatcher_options chosen;
    ripc_dispatcher_options_init(&chosen);
    chosen.max_functions = 513;
    CHECK(ripc_dispatcher_new(&chosen, &dispatcher) == RIPC_BAD_OPTION && dispatcher == NULL);
    CHECK(strstr(ripc_last_error(), "513"));
    ripc_caller_free(NULL);
    ripc_dispatcher_free(NULL);
}

int main(void)
{
    calls();
    prepared();
    by_hand();
    mistakes();
    printf("%s\n", ripc_build_id());
    return 0;
}
