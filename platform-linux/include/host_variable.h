/* Host variables: named latest values. See robot_ipc.h for what all functions have in
 * common.
 *
 *     host_variable pose = link_host_variable("pose", sizeof(struct pose));
 *     if (!pose || write_host_variable(pose, &here, sizeof here, sizeof here))
 *         fprintf(stderr, "%s\n", ripc_last_error());
 *
 * Sizes are in bytes. The size of a variable is fixed when it is created, and the same for
 * everybody: `size` always is the one it was linked with, and `op_size`, of at most as
 * many bytes, says how many an operation moves. A reader sees the value before or after a
 * write, never a mixture, and nobody waits for anybody who was killed.
 */
#ifndef ROBOT_IPC_HOST_VARIABLE_H
#define ROBOT_IPC_HOST_VARIABLE_H

#include <stddef.h>
#include <time.h>

#include "robot_ipc_constant.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An open variable: a handle, to be passed back as it is. */
typedef struct _s_host_variable *host_variable;

/* Opens the variable `name`, or creates it, for values of up to `size` bytes: 1 to
 * 1073741824 (1 GiB). NULL on failure: the name or the size cannot be used, or it exists
 * with another size (EINVAL), it is somebody else's (EACCES), there is no room (ENOSPC). */
host_variable link_host_variable(const char *name, const size_t size);

/* Copies the first `op_size` bytes of the latest value to `buf`. Bytes that nobody has
 * written are zero: all of them before the first write, the rest of a shorter value.
 * EIDRM: the variable was removed. */
int read_host_variable(host_variable p, void *buf, const size_t size, const size_t op_size);

/* Makes the `op_size` bytes at `data` the latest value, which then has that length.
 * EAGAIN: every slot has been taken for a second, by processes that were stopped while
 * they wrote. EIDRM: the variable was removed. */
int write_host_variable(host_variable p, const void *data, const size_t size,
                        const size_t op_size);

/* When the latest value was written: the time of CLOCK_BOOTTIME. Zero if nobody has
 * written yet, and on failure, which errno tells. */
void get_host_variable_timestamp(host_variable p, struct timespec *ret);

/* Lets go of the handle. The variable and its value stay, for everybody. `name` and `size`
 * are those it was linked with. */
int unlink_host_variable(host_variable p, const char *name, const size_t size);

#ifdef __cplusplus
}
#endif

#endif /* ROBOT_IPC_HOST_VARIABLE_H */
