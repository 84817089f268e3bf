/* Host variables and host functions between the processes of one Linux computer: the C
 * interface of programs that were written for the earlier C library. Link with
 * -lrobot_ipc. This includes the four headers that make it up; each can be included alone.
 *
 * A host variable is a named latest value: any process may read and write it. A host
 * function is a named function of one process that any other may call. Nothing runs in
 * the background, and a process that is killed harms nobody.
 *
 * All of it may be used by many threads at once, one and the same handle too. Names are
 * UTF-8 of 1 to 200 bytes without '/' in them; one '/' in front is dropped. Objects lie in
 * /dev/shm and belong to the user who made them.
 *
 * What can go wrong: link_... and create_... return NULL, the other functions a number
 * that is not 0 (see robot_ipc_constant.h). Then errno is set, and ripc_last_error() has
 * a text that says what was wrong and what to do. NULL, a handle that was let go of, and a
 * number that is no handle are errors (EINVAL, EBADF), not crashes.
 *
 * ripc.h, of the same library, can do more: options, time limits, waiting for changes,
 * values in place. Both can be used in one program, on the same objects.
 */
#ifndef ROBOT_IPC_H
#define ROBOT_IPC_H

#include "host_function_caller.h"
#include "host_function_receiver.h"
#include "host_variable.h"
#include "robot_ipc_constant.h"

#endif /* ROBOT_IPC_H */
