/* What functions return, and the text that belongs to it. See robot_ipc.h. */
#ifndef ROBOT_IPC_CONSTANT_H
#define ROBOT_IPC_CONSTANT_H

#ifdef __cplusplus
extern "C" {
#endif

/* Done. Anything else: not done. */
#define ROBOT_OK 0

/* There is no response, and none can come. */
#define WARN_SHM_NOREAD 100
/* As many calls are under way as can be, or as many responses wait to be fetched. */
#define WARN_SHM_QUFULL 101

/* No slot came free for the value within a second, or writers were faster than the reader
 * for as long. */
#define ERR_SHM_AQMETALOCK 200
/* The time of the value cannot be told. No function returns it. */
#define ERR_SHM_NOWRITETIME 201
/* It could not be done: errno and ripc_last_error() say why. */
#define ERR_PIPE_REQ 202
/* The other side has gone, or the object was removed. */
#define ERR_PIPE_CLOSE 203

/* What lies in memory is damaged. */
#define FATAL_SHM_CORRUPT 300

/* What went wrong in the last call of this thread that failed, as one line; empty if none
 * did. Valid until this thread asks again. */
const char *ripc_last_error(void);

#ifdef __cplusplus
}
#endif

#endif /* ROBOT_IPC_CONSTANT_H */
