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

// The writer did not say how its bytes were made.
#define RIPC_ENCODING_UNSPECIFIED 0

// Bytes as they are, such as a C struct.
#define RIPC_ENCODING_RAW 1

// A Python pickle.
#define RIPC_ENCODING_PICKLE 2

// The postcard format of a serde value.
#define RIPC_ENCODING_POSTCARD 3

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
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ripc_status ripc_status;
#else
typedef int32_t ripc_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// An open variable. Many threads may use one at once; a forked child may use
// its parent's.
typedef struct ripc_variable ripc_variable;

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
  // Zero.
  uint32_t reserved;
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

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The library's version, such as `0.1.0`.
const char *ripc_version(void);

// Tells builds of the library apart: version, a hash of its sources, profile.
const char *ripc_build_id(void);

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

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* RIPC_H */
