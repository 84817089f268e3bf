/* A variable shared with C: writes a pose, reads it back, waits for the next.
 *
 *     cc -Iplatform-linux/include platform-linux/examples/pose.c \
 *        -Ltarget/release -lrobot_ipc -o pose && LD_LIBRARY_PATH=target/release ./pose
 */
#include <ripc.h>
#include <stdio.h>

struct pose {
    double x, y, heading;
};

static int failed(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, ripc_last_error());
    return 1;
}

int main(void)
{
    ripc_variable_options options;
    ripc_variable_options_init(&options);
    options.max_size = sizeof(struct pose);

    ripc_variable *variable;
    if (ripc_variable_open("c-example-pose", &options, &variable) != RIPC_OK)
        return failed("open");

    const struct pose here = {1.5, -2.0, 0.25};
    ripc_sample written;
    if (ripc_variable_write(variable, &here, sizeof here, RIPC_ENCODING_RAW, -1, &written) != RIPC_OK)
        return failed("write");

    struct pose seen;
    ripc_sample sample;
    const int64_t second = 1000000000;
    if (ripc_variable_read(variable, &seen, sizeof seen, second, &sample) != RIPC_OK)
        return failed("read");
    printf("version %llu: %g %g %g\n", (unsigned long long)sample.version, seen.x, seen.y,
           seen.heading);

    /* Nobody else writes here, so this ends after a tenth of a second. */
    ripc_status status = ripc_variable_wait(variable, sample.version, second / 10, NULL);
    printf("wait: %s\n", ripc_status_name(status));

    if (ripc_variable_remove(variable, -1) != RIPC_OK)
        return failed("remove");
    ripc_variable_free(variable);
    return 0;
}
