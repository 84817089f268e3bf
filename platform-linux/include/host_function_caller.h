/* Calling host functions. See robot_ipc.h for what all functions have in common.
 *
 *     host_function_caller add = link_host_function("add", sizeof(struct two), sizeof(int));
 *     if (!add || call_host_function(add, &two) || get_response_host_function(add, &sum))
 *         fprintf(stderr, "%s\n", ripc_last_error());
 *
 * Sizes are in bytes, and the same on both sides; who comes second with others gets an
 * error that names all of them. Each caller gets the responses of its own calls and no
 * others. Of one function 16 calls can be under way at a time, 14 of one process; those
 * whose response nobody has fetched count.
 */
#ifndef ROBOT_IPC_HOST_FUNCTION_CALLER_H
#define ROBOT_IPC_HOST_FUNCTION_CALLER_H

#include <stddef.h>

#include "robot_ipc_constant.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A function to be called: a handle, to be passed back as it is. Seen as a number it is
 * positive and fits an int. */
typedef struct _s_host_function_caller *host_function_caller;

/* Opens the function `name`, whose arguments have `sz_arg` bytes and whose result has
 * `sz_ret`, up to 1073741824 (1 GiB) each. Nobody has to serve it yet. With `sz_ret` 0 no
 * call wants a response, and it is delivered even if its caller has gone. NULL on failure:
 * the name or a size cannot be used, or it exists with other sizes and somebody has it
 * open (EINVAL), it is somebody else's (EACCES), there is no room (ENOSPC). */
host_function_caller link_host_function(const char *name, const size_t sz_arg,
                                        const size_t sz_ret);

/* Lets go of the handle and takes its calls back: those that have not started and want a
 * response never will. Threads that wait for a response get a failure. */
int unlink_host_function(host_function_caller p);

/* Calls the function with the `sz_arg` bytes at `arg`, and does not wait for it. Waits for
 * at most a second for room. EAGAIN: there is none, or this process has as many responses
 * to fetch as it may have. */
int call_host_function(host_function_caller p, const void *arg);

/* Waits for the response of the oldest call of this handle that may still bring one, and
 * copies its `sz_ret` bytes to `ret_buf`; what a function of another language did not
 * return of them is zero. Calls that ended without a response are passed over.
 *
 * Failures: none can come, or nothing was called (ENODATA, returned as WARN_SHM_NOREAD);
 * the function failed (EREMOTEIO); its process died in the middle, and the call may or may
 * not have done its work (EOWNERDEAD); nobody has served it for a second, though somebody
 * did (ECONNREFUSED); a signal arrived (EINTR: nothing is lost, ask again). The bytes at
 * `ret_buf` are undefined then. */
int get_response_host_function(host_function_caller p, void *ret_buf);

#ifdef __cplusplus
}
#endif

#endif /* ROBOT_IPC_HOST_FUNCTION_CALLER_H */
