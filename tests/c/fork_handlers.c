/* A program with fork handlers of its own, which it registers before it opens its
 * first variable: `lock` or `child`. A hang ends with SIGALRM's message. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <ripc.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
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
            _exit(1);                                                                       \
        }                                                                                   \
    } while (0)

static void end_of_patience(int number)
{
    static const char text[] = "a deadlock: nothing went on for 20 s\n";
    (void)number;
    (void)!write(2, text, sizeof text - 1);
    _exit(1);
}

static void open_and_write(void)
{
    ripc_variable *variable;
    CHECK(ripc_variable_open("forks", NULL, &variable) == RIPC_OK);
    CHECK(ripc_variable_write(variable, "written", 7, RIPC_ENCODING_RAW, -1, NULL) == RIPC_OK);
    ripc_variable_free(variable);
}

/* Forks; the child ends at once, and well. */
static void fork_once(void)
{
    int status = -1;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static pthread_mutex_t mine = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool is_over;

static void take_mine(void)
{
    pthread_mutex_lock(&mine);
}

static void release_mine(void)
{
    pthread_mutex_unlock(&mine);
}

static void *open_under_mine(void *unused)
{
    while (!is_over) {
        take_mine();
        open_and_write();
        release_mine();
        sched_yield();
    }
    return unused;
}

/* Against a fork that takes the library's lock before the program's own, while
 * another thread holds that and opens a variable. */
static void forks_beside_a_thread_that_opens_under_a_lock(void)
{
    pthread_t thread;
    CHECK(pthread_atfork(take_mine, release_mine, release_mine) == 0);
    open_and_write();
    CHECK(pthread_create(&thread, NULL, open_under_mine, NULL) == 0);
    for (int number = 0; number < 300; number++) {
        fork_once();
    }
    is_over = 1;
    CHECK(pthread_join(thread, NULL) == 0);
}

static void in_child(void)
{
    alarm(20); /* it has no alarm of its parent's */
    open_and_write();
}

/* Against a child in which the library is still locked, or still takes itself for
 * its parent, when the program's own handler runs. */
static void a_child_opens_in_its_handler(void)
{
    char value[8] = "";
    ripc_sample sample;
    ripc_variable *variable;
    CHECK(pthread_atfork(NULL, NULL, in_child) == 0);
    CHECK(ripc_variable_open("forks", NULL, &variable) == RIPC_OK);
    CHECK(ripc_variable_write(variable, "before", 6, RIPC_ENCODING_RAW, -1, NULL) == RIPC_OK);
    fork_once();
    CHECK(ripc_variable_read(variable, value, sizeof value, -1, &sample) == RIPC_OK);
    CHECK(sample.version == 2 && sample.length == 7 && memcmp(value, "written", 7) == 0);
    ripc_variable_free(variable);
}

int main(int count, char **arguments)
{
    const char *part = count == 2 ? arguments[1] : "";
    struct sigaction action = {.sa_handler = end_of_patience};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    alarm(20);
    if (strcmp(part, "lock") == 0) {
        forks_beside_a_thread_that_opens_under_a_lock();
    } else if (strcmp(part, "child") == 0) {
        a_child_opens_in_its_handler();
    } else {
        CHECK(!"either lock or child");
    }
    puts("done");
    return 0;
}
