/* Serving host functions. See robot_ipc.h for what all functions have in common.
 *
 *     static void *add(const void *args)
 *     {
 *         const struct two *two = (const struct two *)args;
 *         static int sum;
 *         sum = two->a + two->b;
 *         return &sum;
 *     }
 *
 *     host_function_dispatcher dispatcher = create_host_function_dispatcher(1);
 *     if (!dispatcher ||
 *         attach_host_function(dispatcher, "add", add, sizeof(struct two), sizeof(int)) ||
 *         start_host_function_dispatcher(dispatcher))
 *         fprintf(stderr, "%s\n", ripc_last_error());
 *
 * A dispatcher runs one call at a time, in a thread of the library's. In a forked child it
 * serves nothing and can only be deleted.
 */
#ifndef ROBOT_IPC_HOST_FUNCTION_RECEIVER_H
#define ROBOT_IPC_HOST_FUNCTION_RECEIVER_H

#include <stddef.h>

#include "robot_ipc_constant.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Serves functions: a handle, to be passed back as it is. Seen as a number it is positive
 * and fits an int. */
typedef struct _s_host_function_dispatcher *host_function_dispatcher;

/* A function. `args` are the `sz_arg` bytes of its arguments, aligned to 64 bytes, which
 * nobody else can change and which are gone when it returns. Returns where the `sz_ret`
 * bytes of its result lie: all of them have to be readable, and stay so until this
 * dispatcher calls a function again. NULL: there is no response. It has to return: neither
 * longjmp, nor a C++ exception, nor the end of its thread may take it away. */
typedef void *(*host_function)(const void *args);
/* The same, with what it was attached with. */
typedef void *(*host_function_ex)(const void *args, void *user_data);

/* Makes a dispatcher for up to `n` functions: 1 to 512, else NULL (EINVAL). */
host_function_dispatcher create_host_function_dispatcher(const size_t n);

/* Serves the function `name` with `f`, whose arguments have `sz_arg` bytes and whose
 * result has `sz_ret`: both as its callers say. Also after the start. EEXIST: the
 * dispatcher has that function; ENOSPC: it has `n` of them, or there is no room; others as
 * link_host_function. */
int attach_host_function(host_function_dispatcher p, const char *name, host_function f,
                         const size_t sz_arg, const size_t sz_ret);

/* The same, for a function that also gets `user_data`. */
int attach_host_function_ex(host_function_dispatcher p, const char *name, host_function_ex f,
                            void *user_data, const size_t sz_arg, const size_t sz_ret);

/* Serves in the background, until the dispatcher is deleted. EBUSY: it does already. */
int start_host_function_dispatcher(host_function_dispatcher p);

/* Stops serving, waits for a call in progress (unless this is called from within it), and
 * lets go of the handle. Calls that are queued wait for another dispatcher. */
int delete_host_function_dispatcher(host_function_dispatcher p);

#ifdef __cplusplus
}
#endif

#endif /* ROBOT_IPC_HOST_FUNCTION_RECEIVER_H */
