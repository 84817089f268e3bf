/* The native C interface of robot-ipc.
 *
 * Generated from platform-linux/src/ffi; do not edit. After a change there:
 *     ROBOT_IPC_BLESS=1 cargo test -p robot-ipc-tests --test header
 */

#ifndef RIPC_H
#define RIPC_H

#include <stddef.h>
#include <stdint.h>

// As `max_size`: take the size that the variable has; it has to exist then.
#define RIPC_ADOPT_SIZE UINT64_MAX

// As `memory`: each page comes when it is touched first.
#define RIPC_MEMORY_ON_DEMAND 1

// As `memory`: all pages are there when the object is open.
#define RIPC_MEMORY_PREFAULTED 2

// As `memory`: all pages are there, and stay. Needs room below `RLIMIT_MEMLOCK`, or
// `CAP_IPC_LOCK`; `RIPC_PERMISSION_DENIED` if there is none.
#define RIPC_MEMORY_LOCKED 3

// The writer did not say how its bytes were made.
#define RIPC_ENCODING_UNSPECIFIED 0

// Bytes as they are, such as a C struct.
#define RIPC_ENCODING_RAW 1

// A Python pickle.
#define RIPC_ENCODING_PICKLE 2

// The postcard format of a serde value.
#define RIPC_ENCODING_POSTCARD 3

// Of a call: no dispatcher has taken it yet.
#define RIPC_CALL_QUEUED 0

// Of a call: it is running.
#define RIPC_CALL_RUNNING 1

// Of a call: it has ended, in whichever way.
#define RIPC_CALL_ENDED 2

// Of a call that was taken back: it will never start.
#define RIPC_NEVER_STARTED 0

// Of a call that was taken back: it is running, and its response will be discarded.
#define RIPC_STILL_RUNNING 1

// Of a call that was taken back: it had ended, and its response is discarded.
#define RIPC_HAD_ENDED 2

// As an outcome: the function returned the bytes.
#define RIPC_REPLY_RETURNED 0

// As an outcome: the function raised an error, and the bytes describe it.
#define RIPC_REPLY_RAISED 1

// As an outcome: the function returned nothing.
#define RIPC_REPLY_NOTHING 2

// What a call came to. Numbers never change their meaning.
enum ripc_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // It was done.
  RIPC_OK = 0,
  // Nobody has written a value yet.
  RIPC_NEVER_WRITTEN = 1,
  // Nothing happened in time.
  RIPC_TIMED_OUT = 2,
  // A signal arrived during a wait; call again to go on waiting.
  RIPC_INTERRUPTED = 3,
  // Somebody else has written meanwhile.
  RIPC_CHANGED = 4,
  // The value is older than it may be.
  RIPC_TOO_OLD = 5,
  // The buffer has fewer bytes than the value; the sample tells how many.
  RIPC_BUFFER_TOO_SMALL = 6,
  // The value has more bytes than the object can hold.
  RIPC_TOO_LARGE = 7,
  // The value is encoded in another way than asked for.
  RIPC_WRONG_ENCODING = 8,
  // Every slot but the latest is taken.
  RIPC_NO_FREE_SLOT = 9,
  // Others were faster all the time.
  RIPC_CONTENDED = 10,
  // The value cannot be borrowed or loaned.
  RIPC_CANNOT_BORROW = 11,
  // As many processes as possible use the object already.
  RIPC_TOO_MANY_PARTICIPANTS = 12,
  // The handle is read-only.
  RIPC_READ_ONLY = 13,
  // Nothing has that name.
  RIPC_NOT_FOUND = 14,
  // The object exists with another size or number of slots.
  RIPC_SIZE_MISMATCH = 15,
  // The name breaks the rules.
  RIPC_BAD_NAME = 16,
  // An option or environment variable cannot be used.
  RIPC_BAD_OPTION = 17,
  // Somebody else owns the file, or more people may use it than was asked.
  RIPC_FOREIGN_OWNER = 18,
  // What has the name is not a segment, or a damaged one.
  RIPC_NOT_A_SEGMENT = 19,
  // The segment is of another version or byte order.
  RIPC_OTHER_FORMAT = 20,
  // The words in memory contradict each other.
  RIPC_CORRUPT = 21,
  // The object was removed.
  RIPC_RETIRED = 22,
  // Somebody took the object's name away.
  RIPC_NAME_REMOVED = 23,
  // Another process is removing the object and has not finished.
  RIPC_BEING_REMOVED = 24,
  // There is no room for the object.
  RIPC_NO_SPACE = 25,
  // The process may not do that.
  RIPC_PERMISSION_DENIED = 26,
  // The age of the value cannot be told.
  RIPC_NO_AGE = 27,
  // The system refused.
  RIPC_SYSTEM = 28,
  // A pointer is null, or an argument makes no sense.
  RIPC_BAD_ARGUMENT = 29,
  // A fault inside the library.
  RIPC_INTERNAL = 30,
  // What the function returned has more bytes than a response can have.
  RIPC_RESPONSE_TOO_LARGE = 31,
  // The function raised an error; the bytes in the buffer describe it.
  RIPC_RAISED = 32,
  // The process that ran the call died; it may or may not have done its work.
  RIPC_DISPATCHER_DIED = 33,
  // Nobody serves the function any more; the call was taken back.
  RIPC_NOT_SERVED = 34,
  // The call was older than its dispatcher allows; it was not run.
  RIPC_CALL_TOO_OLD = 35,
  // No call is outstanding.
  RIPC_NO_CALL = 36,
  // The end of that call was told already, or it was taken back.
  RIPC_REPORTED = 37,
  // For those who keep track of calls they took back; the library itself says
  // `RIPC_REPORTED`.
  RIPC_CANCELLED = 38,
  // This process has as many unfetched answers as it may have.
  RIPC_UNFETCHED = 39,
  // No cell came free in time.
  RIPC_TUNNEL_FULL = 40,
  // Only the dispatcher that this thread is running serves the function.
  RIPC_WOULD_DEADLOCK = 41,
  // The dispatcher has as many functions as it was made for.
  RIPC_TOO_MANY_FUNCTIONS = 42,
  // The dispatcher was stopped.
  RIPC_STOPPED = 43,
  // The dispatcher is at work in another thread, or with a call without a reply; or
  // another thread is using the writer.
  RIPC_BUSY = 44,
  // It belongs to the process that this one was forked from.
  RIPC_FORKED = 45,
  // The object's file was cut short while it was open; see `ripc_survive_truncation`.
  RIPC_TRUNCATED = 46,
  // Another process, or another handle, is the only one who may write the variable.
  RIPC_EXCLUSIVE = 47,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ripc_status ripc_status;
#else
typedef int32_t ripc_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A function to be called. Many threads may use one at once; in a forked child it has
// no calls yet.
typedef struct ripc_caller ripc_caller;

// Serves functions. In a forked child it serves nothing, and can only be freed.
typedef struct ripc_dispatcher ripc_dispatcher;

// The answer of a function that is being run.
typedef struct ripc_reply ripc_reply;

// An open variable. Many threads may use one at once; a forked child may use
// its parent's.
typedef struct ripc_variable ripc_variable;

// The only writer of a variable. One thread at a time writes through it, another one gets
// `RIPC_BUSY` meanwhile. It stays with the process that made it: in a forked child writes
// are `RIPC_FORKED`.
typedef struct ripc_writer ripc_writer;

// How a variable is opened. Call `ripc_variable_options_init` first, then
// change what should be otherwise.
typedef struct ripc_variable_options {
  // Bytes of this struct; set by `ripc_variable_options_init`.
  uint64_t struct_size;
  // How many bytes a value can have, 1 to 1 GiB; 4096 at first.
  // `RIPC_ADOPT_SIZE` takes what exists.
  uint64_t max_size;
  // How many slots, 2 to 62; 0 for 14, or what exists.
  uint32_t slots;
  // Permission bits such as 0660; -1 for what the environment says, or 0600.
  int32_t mode;
  // Not 0: map read-only, create nothing.
  uint32_t read_only;
  // Whether all pages are there before they are used, `RIPC_MEMORY_…`; 0 for what the
  // environment says, or on demand.
  uint32_t memory;
  // How long a write looks for a free slot, in ns; negative for 1 s.
  int64_t write_timeout_ns;
  // The group to share with, by name or number; null for what the
  // environment says, or the process's own.
  const char *group;
  // The folder; null for what the environment says, or /dev/shm.
  const char *directory;
  // The namespace; null for what the environment says, or "default".
  const char *name_space;
} ripc_variable_options;

// What an open variable is.
typedef struct ripc_variable_info {
  // How many bytes a value can have.
  uint64_t max_size;
  // How many slots there are.
  uint32_t slots;
  // 1 if the handle is read-only.
  uint32_t read_only;
} ripc_variable_info;

// What stands beside a value, all of one and the same write.
typedef struct ripc_sample {
  // Counts the writes, from 1.
  uint64_t version;
  // CLOCK_BOOTTIME of the write in ns; 0 if its writer has no clock.
  uint64_t time_ns;
  // Bytes of the value.
  uint32_t length;
  // How they were made, `RIPC_ENCODING_…`.
  uint32_t encoding;
} ripc_sample;

// A slot to be filled in place. Lives where the caller wants, and must not be
// copied, nor be used for another loan before it has ended; ends with
// `ripc_loan_publish` or `ripc_loan_free`. A loan that failed has ended.
typedef struct ripc_loan {
  // The library's.
  uint64_t opaque[12];
} ripc_loan;

// A value read in place. Lives where the caller wants, and must not be copied,
// nor be used for another borrow before it has ended; ends with
// `ripc_borrow_free`. A borrow that failed has ended.
typedef struct ripc_borrow {
  // The library's.
  uint64_t opaque[12];
} ripc_borrow;

// How a function is opened, by those who call it and by those who serve it. Call
// `ripc_function_options_init` first, then change what should be otherwise.
typedef struct ripc_function_options {
  // Bytes of this struct; set by `ripc_function_options_init`.
  uint64_t struct_size;
  // How many bytes the arguments can have, 1 to 1 GiB; 4096 at first.
  // `RIPC_ADOPT_SIZE`: this size and the next one are what exists.
  uint64_t max_argument_size;
  // How many bytes a response can have, up to 1 GiB; 4096 at first. 0: calls are
  // one-way.
  uint64_t max_response_size;
  // How many calls can be under way at a time, 1 to 64; 0 for 16, or what exists.
  uint32_t cells;
  // Permission bits such as 0660; -1 for what the environment says, or 0600.
  int32_t mode;
  // Whether all pages are there before they are used, `RIPC_MEMORY_…`; 0 for what the
  // environment says, or on demand.
  uint32_t memory;
  // Zero.
  uint32_t reserved;
  // Callers: how long a call waits for a free cell, in ns; negative for 1 s.
  int64_t send_timeout_ns;
  // Dispatchers: calls that are older are not run, in ns; negative for no limit.
  int64_t max_age_ns;
  // Callers: how long a wait spins before it sleeps, in ns; negative for 200 µs.
  int64_t spin_ns;
  // The group to share with, by name or number; null for what the
  // environment says, or the process's own.
  const char *group;
  // The folder; null for what the environment says, or /dev/shm.
  const char *directory;
  // The namespace; null for what the environment says, or "default".
  const char *name_space;
} ripc_function_options;

// What an open function is.
typedef struct ripc_function_info {
  // How many bytes the arguments can have.
  uint64_t max_argument_size;
  // How many bytes a response can have; 0: calls are one-way.
  uint64_t max_response_size;
  // How many calls can be under way at a time.
  uint32_t cells;
  // How many one-way calls were queued in a function of other sizes that nobody
  // used, and that opening this one replaced.
  uint32_t lost_calls;
} ripc_function_info;

// What stands beside a response.
typedef struct ripc_response {
  // Which call this is about, also with a status other than `RIPC_OK`; 0: none.
  uint64_t call;
  // Bytes of the response; with `RIPC_BUFFER_TOO_SMALL` how many it takes.
  uint32_t length;
  // How they were made, `RIPC_ENCODING_…`.
  uint32_t encoding;
  // 1 if the function returned something; 0 if it returned nothing.
  uint32_t has_value;
  // Zero.
  uint32_t reserved;
} ripc_response;

// How a dispatcher is made. Call `ripc_dispatcher_options_init` first.
typedef struct ripc_dispatcher_options {
  // Bytes of this struct; set by `ripc_dispatcher_options_init`.
  uint64_t struct_size;
  // How many functions will be added, 1 to 512; 16 at first. More than 127 at a time
  // cost a sleeping thread each.
  uint32_t max_functions;
  // Not 0: sleep as on a kernel older than 5.16, by one sleeping thread for each
  // function.
  uint32_t one_word_sleep;
  // How long it spins for the next call before it sleeps, in ns; negative for 200 µs.
  int64_t spin_ns;
} ripc_dispatcher_options;

// A function: gets the `size` bytes of its arguments, which nobody else can change and
// which are gone when it returns. Returns 0, after `ripc_reply_set` if there is
// something to return; any other number tells the caller that it failed. It has to
// return: neither `longjmp` nor the end of its thread may take it away.
typedef int32_t (*ripc_function)(const void *arguments,
                                 size_t size,
                                 uint32_t encoding,
                                 struct ripc_reply *reply,
                                 void *user_data);

// A call that is to be served.
typedef struct ripc_call {
  // Which function, as `ripc_dispatcher_add` gave it.
  uint64_t function;
  // A private copy of the arguments, valid until the reply.
  const void *arguments;
  // When it was made: CLOCK_BOOTTIME in ns; 0 if that is not known.
  uint64_t time_ns;
  // Bytes of the arguments.
  uint32_t size;
  // How they were made, `RIPC_ENCODING_…`.
  uint32_t encoding;
  // 0 for a one-way call.
  uint32_t wants_response;
  // Zero.
  uint32_t reserved;
} ripc_call;

// What `ripc_read_prepared` needs, and where it puts what it finds.
typedef struct ripc_prepared_read {
  // An open variable.
  const struct ripc_variable *variable;
  // Where the value goes.
  void *buffer;
  // Bytes of the buffer.
  uint64_t capacity;
  // How old the value may be; negative for no limit.
  int64_t max_age_ns;
  // How the value has to be made, `RIPC_ENCODING_…`, unless its writer did not say.
  uint32_t encoding;
  // Zero.
  uint32_t reserved;
  // Out: what stands beside the value.
  struct ripc_sample sample;
} ripc_prepared_read;

// What `ripc_write_prepared` needs.
typedef struct ripc_prepared_write {
  // An open variable.
  const struct ripc_variable *variable;
  // How long to look for a free slot; negative for the handle's own limit.
  int64_t timeout_ns;
  // How the bytes are made, `RIPC_ENCODING_…`.
  uint32_t encoding;
  // Zero.
  uint32_t reserved;
} ripc_prepared_write;

// What `ripc_writer_write_prepared` needs.
typedef struct ripc_prepared_writer {
  // A writer.
  const struct ripc_writer *writer;
  // How long to look for a free slot; negative for the variable's own limit.
  int64_t timeout_ns;
  // How the bytes are made, `RIPC_ENCODING_…`.
  uint32_t encoding;
  // Zero.
  uint32_t reserved;
} ripc_prepared_writer;

// What `ripc_call_prepared` needs, and where it puts what it finds.
typedef struct ripc_prepared_call {
  // An open function.
  const struct ripc_caller *caller;
  // Where the response goes.
  void *buffer;
  // Bytes of the buffer.
  uint64_t capacity;
  // How long to wait for the response; negative: without end.
  int64_t timeout_ns;
  // How the arguments are made, `RIPC_ENCODING_…`.
  uint32_t encoding;
  // Zero.
  uint32_t reserved;
  // Out: the response. If nothing was sent its `call` is 0.
  struct ripc_response response;
} ripc_prepared_call;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The library's version, such as `0.1.0`.
const char *ripc_version(void);

// Tells builds of the library apart: version, a hash of its sources, profile.
const char *ripc_build_id(void);

// From now on this process survives that the file of a variable or function which it
// has open is cut short. Without this it is ended by SIGBUS as soon as it touches what
// is gone.
//
// Whatever uses the object from then on fails with `RIPC_TRUNCATED`. A value that was
// borrowed, or is being filled in place, turns into zeros under its user's eyes;
// publishing it fails. The object can only be removed and made anew.
//
// It handles SIGBUS for the whole process; a SIGBUS that does not come from such a file
// goes to whoever handled it before. Call it once and early, but after what does the
// same for the program; calling it again changes nothing. It does not help threads that
// block SIGBUS, and it is inherited by forked children.
ripc_status ripc_survive_truncation(void);

// What went wrong in the last call of this thread that failed, as one line.
// Valid until the next call of this function in this thread; empty if none did.
const char *ripc_last_error(void);

// The name of a status, such as `"RIPC_TOO_LARGE"`; `"unknown"` for a number
// that is none.
const char *ripc_status_name(int32_t status);

// Sets every option to its default.
//
// The caller promises:
// `options` is null or may be written.
void ripc_variable_options_init(struct ripc_variable_options *options);

// Opens the variable `name`, or creates it. `options` may be null for the
// defaults. Let go of it with `ripc_variable_free`.
//
// The caller promises:
// - `name` is a NUL-terminated string, `options` null or initialised;
// - `variable` may be written.
ripc_status ripc_variable_open(const char *name,
                               const struct ripc_variable_options *options,
                               struct ripc_variable **variable);

// Lets go of a handle; the variable and its value stay. Null is ignored.
//
// The caller promises:
// `variable` is null or came from `ripc_variable_open`, and is not used again.
void ripc_variable_free(struct ripc_variable *variable);

// What the variable is.
//
// The caller promises:
// `variable` is open; `info` may be written.
ripc_status ripc_variable_get_info(const struct ripc_variable *variable,
                                   struct ripc_variable_info *info);

// Makes the `size` bytes at `data` the latest value. `timeout_ns` limits the
// search for a free slot; negative for the handle's own limit. `sample`, if not
// null, gets what was written.
//
// The caller promises:
// `variable` is open, `data` has `size` readable bytes, `sample` is null or may
// be written.
ripc_status ripc_variable_write(const struct ripc_variable *variable,
                                const void *data,
                                size_t size,
                                uint32_t encoding,
                                int64_t timeout_ns,
                                struct ripc_sample *sample);

// As `ripc_variable_write`, but only if `version` is the latest (0: if nobody
// has written yet); else `RIPC_CHANGED`.
//
// The caller promises:
// As `ripc_variable_write`.
ripc_status ripc_variable_write_if(const struct ripc_variable *variable,
                                   uint64_t version,
                                   const void *data,
                                   size_t size,
                                   uint32_t encoding,
                                   int64_t timeout_ns,
                                   struct ripc_sample *sample);

// Copies the latest value to `buffer`, which has `capacity` bytes. A value
// older than `max_age_ns` is `RIPC_TOO_OLD`; negative for no limit. `sample`, if
// not null, gets what stands beside the value, also with `RIPC_TOO_OLD`,
// `RIPC_NO_AGE` and `RIPC_BUFFER_TOO_SMALL`; what fits the buffer is in it then.
//
// The caller promises:
// `variable` is open, `buffer` has `capacity` writable bytes, `sample` is null
// or may be written.
ripc_status ripc_variable_read(const struct ripc_variable *variable,
                               void *buffer,
                               size_t capacity,
                               int64_t max_age_ns,
                               struct ripc_sample *sample);

// What stands beside the latest value, without copying it.
//
// The caller promises:
// `variable` is open; `sample` may be written.
ripc_status ripc_variable_latest(const struct ripc_variable *variable,
                                 struct ripc_sample *sample);

// The latest version; 0 before the first write.
//
// The caller promises:
// `variable` is open; `version` may be written.
ripc_status ripc_variable_version(const struct ripc_variable *variable,
                                  uint64_t *version);

// How long ago the latest value was written, in ns.
//
// The caller promises:
// `variable` is open; `age_ns` may be written.
ripc_status ripc_variable_age(const struct ripc_variable *variable, uint64_t *age_ns);

// Waits until the latest version is not `since` any more, for at most
// `timeout_ns` (negative: without end). `version`, if not null, gets the new one.
//
// The caller promises:
// `variable` is open; `version` is null or may be written.
ripc_status ripc_variable_wait(const struct ripc_variable *variable,
                               uint64_t since,
                               int64_t timeout_ns,
                               uint64_t *version);

// Removes the variable from the machine: every handle on it fails from now on,
// this one too (it still has to be freed). Waits for somebody else who is
// removing it, for at most `timeout_ns` (negative: 1 s).
//
// The caller promises:
// `variable` is open.
ripc_status ripc_variable_remove(const struct ripc_variable *variable,
                                 int64_t timeout_ns);

// How long a write looks for a free slot by default, in ns.
int64_t ripc_default_write_timeout_ns(void);

// Takes a slot to fill it in place: `capacity` bytes at `data`, aligned to 64.
// They hold some older value.
//
// The caller promises:
// `variable` is open; `loan` may be written, `data` and `capacity` too or null.
ripc_status ripc_variable_loan(const struct ripc_variable *variable,
                               struct ripc_loan *loan,
                               void **data,
                               size_t *capacity);

// Makes the first `size` bytes of a loan the latest value. The loan ends in any
// case.
//
// The caller promises:
// `loan` was filled by `ripc_variable_loan` and not copied; `sample` is null or
// may be written.
ripc_status ripc_loan_publish(struct ripc_loan *loan,
                              size_t size,
                              uint32_t encoding,
                              struct ripc_sample *sample);

// Gives a loan back unpublished; the latest value stays. A loan that has ended
// is ignored.
//
// The caller promises:
// `loan` is null or was filled by `ripc_variable_loan` and not copied.
void ripc_loan_free(struct ripc_loan *loan);

// Pins the latest value to read it where it lies: `sample->length` bytes at
// `data`, aligned to 64, unchanged until `ripc_borrow_free`.
//
// The caller promises:
// `variable` is open; `borrow` may be written, `data` and `sample` too or null.
ripc_status ripc_variable_borrow(const struct ripc_variable *variable,
                                 struct ripc_borrow *borrow,
                                 const void **data,
                                 struct ripc_sample *sample);

// Gives a borrowed value back. A borrow that has ended is ignored.
//
// The caller promises:
// `borrow` is null or was filled by `ripc_variable_borrow` and not copied.
void ripc_borrow_free(struct ripc_borrow *borrow);

// Becomes the only writer of the variable, until `ripc_writer_free` or the end of this
// process: all other writes, also through `variable`, are `RIPC_EXCLUSIVE` then, and
// those through `writer` are the fastest there are. `RIPC_EXCLUSIVE` too if there is one
// already; a dead one is not in the way. Waits for writes and loans that are under way,
// for at most `timeout_ns`; negative for the handle's own limit. The writer may outlive
// `variable`.
//
// `without_time`: not 0 to write values without the time, which asks no clock and is twice
// as fast; asking for their age is `RIPC_NO_AGE`.
//
// The caller promises:
// `variable` is open; `writer` may be written.
ripc_status ripc_variable_lead(const struct ripc_variable *variable,
                               uint32_t without_time,
                               int64_t timeout_ns,
                               struct ripc_writer **writer);

// Makes the `size` bytes at `data` the latest value. While all slots are borrowed it looks
// for a free one for at most `timeout_ns`; negative for the variable's own limit. `sample`,
// if not null, gets what was written.
//
// The caller promises:
// `writer` came from `ripc_variable_lead`, `data` has `size` readable bytes, `sample` is
// null or may be written.
ripc_status ripc_writer_write(const struct ripc_writer *writer,
                              const void *data,
                              size_t size,
                              uint32_t encoding,
                              int64_t timeout_ns,
                              struct ripc_sample *sample);

// Lets others write again, and frees the writer. In a forked child it only frees the
// child's copy. Null is ignored.
//
// The caller promises:
// `writer` is null or came from `ripc_variable_lead`, and is not used again, nor by
// another thread meanwhile.
void ripc_writer_free(struct ripc_writer *writer);

// Sets every option to its default.
//
// The caller promises:
// `options` is null or may be written.
void ripc_function_options_init(struct ripc_function_options *options);

// Opens the function `name` to call it; nobody has to serve it yet. `options` may be
// null for the defaults. Let go of it with `ripc_caller_free`.
//
// The caller promises:
// - `name` is a NUL-terminated string, `options` null or initialised;
// - `caller` may be written.
ripc_status ripc_caller_open(const char *name,
                             const struct ripc_function_options *options,
                             struct ripc_caller **caller);

// Lets go of a handle and takes its calls back: those that have not started never
// will. One-way calls are delivered all the same. Null is ignored.
//
// The caller promises:
// `caller` is null or came from `ripc_caller_open`, and is not used again.
void ripc_caller_free(struct ripc_caller *caller);

// What the function is.
//
// The caller promises:
// `caller` is open; `info` may be written.
ripc_status ripc_caller_get_info(const struct ripc_caller *caller,
                                 struct ripc_function_info *info);

// Calls the function with the `size` bytes at `data`, and returns once they lie in a
// cell: it does not wait for the function. `timeout_ns` limits the wait for a free
// cell; negative for the handle's own limit. `call`, if not null, gets the call's
// number among those of this handle, which is not 0.
//
// The caller promises:
// `caller` is open, `data` has `size` readable bytes, `call` is null or may be written.
ripc_status ripc_caller_call(const struct ripc_caller *caller,
                             const void *data,
                             size_t size,
                             uint32_t encoding,
                             int64_t timeout_ns,
                             uint64_t *call);

// Waits for the response of the oldest call of this handle that may still bring one,
// for at most `timeout_ns` (negative: without end), and copies it to `buffer`, which
// has `capacity` bytes. Calls that ended without a response are passed over; if all
// have, `has_value` is 0, once. If none is outstanding: `RIPC_NO_CALL`. With one-way
// calls `has_value` is 0 at once. `RIPC_TIMED_OUT` and `RIPC_BUFFER_TOO_SMALL` lose
// nothing: ask again. With `RIPC_RAISED` the bytes describe the error: text, and after
// a NUL whatever the encoding says.
//
// The caller promises:
// `caller` is open, `buffer` has `capacity` writable bytes, `response` is null or may
// be written.
ripc_status ripc_caller_next_response(const struct ripc_caller *caller,
                                      void *buffer,
                                      size_t capacity,
                                      int64_t timeout_ns,
                                      struct ripc_response *response);

// As `ripc_caller_next_response`, for one call. If its end was told already:
// `RIPC_REPORTED`.
//
// The caller promises:
// As `ripc_caller_next_response`.
ripc_status ripc_caller_response_of(const struct ripc_caller *caller,
                                    uint64_t call,
                                    void *buffer,
                                    size_t capacity,
                                    int64_t timeout_ns,
                                    struct ripc_response *response);

// Where a call is, `RIPC_CALL_…`; changes nothing.
//
// The caller promises:
// `caller` is open; `progress` may be written.
ripc_status ripc_caller_progress(const struct ripc_caller *caller,
                                 uint64_t call,
                                 uint32_t *progress);

// Takes a call back: it never starts later, and a response is discarded.
// `withdrawal`, if not null, gets what came of it: `RIPC_NEVER_STARTED`,
// `RIPC_STILL_RUNNING` or `RIPC_HAD_ENDED`.
//
// The caller promises:
// `caller` is open; `withdrawal` is null or may be written.
ripc_status ripc_caller_cancel(const struct ripc_caller *caller,
                               uint64_t call,
                               uint32_t *withdrawal);

// Takes all calls of this handle back, as `ripc_caller_free` does.
//
// The caller promises:
// `caller` is open.
ripc_status ripc_caller_withdraw_all(const struct ripc_caller *caller);

// Removes the function from the machine: every handle on it fails from now on, this
// one too (it still has to be freed). Waits for somebody else who is removing it, for
// at most `timeout_ns` (negative: 1 s).
//
// The caller promises:
// `caller` is open.
ripc_status ripc_caller_remove(const struct ripc_caller *caller, int64_t timeout_ns);

// Sets every option to its default.
//
// The caller promises:
// `options` is null or may be written.
void ripc_dispatcher_options_init(struct ripc_dispatcher_options *options);

// Makes a dispatcher. `options` may be null for the defaults. Let go of it with
// `ripc_dispatcher_free`.
//
// The caller promises:
// `options` is null or initialised; `dispatcher` may be written.
ripc_status ripc_dispatcher_new(const struct ripc_dispatcher_options *options,
                                struct ripc_dispatcher **dispatcher);

// Stops a dispatcher and lets go of it: its functions are not served any more. Waits
// for a call that its own thread is running. A call from `ripc_dispatcher_next_call`
// that has no reply yet is given up. Null is ignored.
//
// The caller promises:
// `dispatcher` is null or came from `ripc_dispatcher_new`, and is not used again, by no
// thread.
void ripc_dispatcher_free(struct ripc_dispatcher *dispatcher);

// Adds the function `name`; also while the dispatcher is at work. `options` may be null
// for the defaults. `callback` may be null: then only `ripc_dispatcher_next_call` can
// serve it. `function`, if not null, gets its number.
//
// The caller promises:
// - `dispatcher` is open, `name` a NUL-terminated string, `options` null or
//   initialised, `function` null or writable;
// - `callback` can be called with `user_data` from any thread, one at a time, until the
//   function is removed.
ripc_status ripc_dispatcher_add(const struct ripc_dispatcher *dispatcher,
                                const char *name,
                                const struct ripc_function_options *options,
                                ripc_function callback,
                                void *user_data,
                                uint64_t *function);

// Inside a function: what it returns. The last one counts; the bytes are copied.
//
// The caller promises:
// `reply` is what the function was given, and it has not returned; `data` has `size`
// readable bytes.
ripc_status ripc_reply_set(struct ripc_reply *reply,
                           const void *data,
                           size_t size,
                           uint32_t encoding);

// Inside a function: it failed, and its caller gets `text`.
//
// The caller promises:
// `reply` is what the function was given, and it has not returned; `text` is a
// NUL-terminated string.
ripc_status ripc_reply_fail(struct ripc_reply *reply, const char *text);

// Does not serve a function any more. A call of it that is running is waited for, except
// from within: afterwards `user_data` is not used again.
//
// The caller promises:
// `dispatcher` is open.
ripc_status ripc_dispatcher_remove(const struct ripc_dispatcher *dispatcher,
                                   uint64_t function);

// What a function is.
//
// The caller promises:
// `dispatcher` is open; `info` may be written.
ripc_status ripc_dispatcher_get_info(const struct ripc_dispatcher *dispatcher,
                                     uint64_t function,
                                     struct ripc_function_info *info);

// Serves in a thread of the library's, until the dispatcher is stopped or freed.
//
// The caller promises:
// `dispatcher` is open.
ripc_status ripc_dispatcher_start(const struct ripc_dispatcher *dispatcher);

// Serves in the calling thread until the dispatcher is stopped, for at most
// `timeout_ns` (negative: without end; then `RIPC_TIMED_OUT`). `RIPC_INTERRUPTED` after
// a signal.
//
// The caller promises:
// `dispatcher` is open.
ripc_status ripc_dispatcher_run(const struct ripc_dispatcher *dispatcher,
                                int64_t timeout_ns);

// Stops serving: callers know. Waits for a call that the library's own thread is
// running. `ripc_dispatcher_next_call` returns `RIPC_STOPPED` from now on.
//
// The caller promises:
// `dispatcher` is open.
ripc_status ripc_dispatcher_stop(const struct ripc_dispatcher *dispatcher);

// After a stop: lets `ripc_dispatcher_next_call` go on.
//
// The caller promises:
// `dispatcher` is open.
ripc_status ripc_dispatcher_resume(const struct ripc_dispatcher *dispatcher);

// For those who bring a thread of their own: waits for the next call, for at most
// `timeout_ns` (negative: without end). It has to be ended by `ripc_dispatcher_reply`
// before the next one is asked for. `RIPC_TIMED_OUT`, `RIPC_STOPPED`,
// `RIPC_INTERRUPTED`. If another status comes with a `function` that is not 0, that one
// was removed from the machine and is not served any more; go on with the others.
//
// The caller promises:
// `dispatcher` is open; `call` may be written.
ripc_status ripc_dispatcher_next_call(const struct ripc_dispatcher *dispatcher,
                                      int64_t timeout_ns,
                                      struct ripc_call *call);

// Ends the call that `ripc_dispatcher_next_call` gave. `outcome` is `RIPC_REPLY_…`.
// `RIPC_RESPONSE_TOO_LARGE`: so much cannot be returned, and the caller was told so.
//
// The caller promises:
// `dispatcher` is open; `data` has `size` readable bytes.
ripc_status ripc_dispatcher_reply(const struct ripc_dispatcher *dispatcher,
                                  uint32_t outcome,
                                  const void *data,
                                  size_t size,
                                  uint32_t encoding);

// As `ripc_variable_read`. A value that is encoded in another way than asked for is
// `RIPC_WRONG_ENCODING`, and in the buffer all the same.
//
// The caller promises:
// `read` is null, or what it says holds: its variable is open, its buffer has so many
// writable bytes, and nobody else uses it meanwhile.
ripc_status ripc_read_prepared(struct ripc_prepared_read *read);

// As `ripc_variable_write`.
//
// The caller promises:
// `write` is null or leads to an open variable; `data` has `size` readable bytes.
ripc_status ripc_write_prepared(const struct ripc_prepared_write *write,
                                const void *data,
                                uint32_t size);

// As `ripc_writer_write`.
//
// The caller promises:
// `writer` is null, or its writer came from `ripc_variable_lead`; `data` has `size`
// readable bytes.
ripc_status ripc_writer_write_prepared(const struct ripc_prepared_writer *writer,
                                       const void *data,
                                       uint32_t size);

// Calls the function, as `ripc_caller_call` does but without waiting for a free cell, and
// waits for the response of that very call, as `ripc_caller_response_of` does. If
// `response.call` is 0 nothing was sent; else the call is under way, and goes on, with
// whichever status it does not end.
//
// The caller promises:
// `call` is null, or what it says holds: its caller is open, its buffer has so many
// writable bytes, and nobody else uses it meanwhile. `data` has `size` readable bytes.
ripc_status ripc_call_prepared(struct ripc_prepared_call *call,
                               const void *data,
                               uint32_t size);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* RIPC_H */
