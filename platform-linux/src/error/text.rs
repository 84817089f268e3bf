//! What an error says: one line, with the values in it and what to do.

use super::{CellHolder, CellHolders, Error, Holder, Holders, Reason, Stage};
use crate::shm::Subject;
use core::fmt;
use robot_ipc_core::participant::{MAX_PARTICIPANTS, MAX_PINNING_PARTICIPANTS};

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Some(subject) => write_about(f, subject, &self.reason),
            None => self.reason.fmt(f),
        }
    }
}

fn write_about(f: &mut fmt::Formatter<'_>, subject: &Subject, reason: &Reason) -> fmt::Result {
    write!(f, "{subject}: {reason}")?;
    // What to do, where that takes the object's name.
    match reason {
        Reason::SizeMismatch { .. }
        | Reason::SlotsMismatch { .. }
        | Reason::FunctionMismatch { .. }
        | Reason::CellsMismatch { .. } => write!(
            f,
            "; ask for the same, or stop its users and remove it with: robot-ipc rm {}",
            Quoted(subject.name())
        ),
        Reason::Truncated { .. } => write!(
            f,
            "; remove it and open it again: robot-ipc rm --force {}",
            Quoted(subject.name())
        ),
        Reason::Header(_) | Reason::NotAFile { .. } => {
            write!(
                f,
                " ({}); if it is not needed: robot-ipc rm --force {}",
                subject.path().display(),
                Quoted(subject.name())
            )
        }
        Reason::ForeignOwner { .. } => write!(
            f,
            " ({}); if it should not be there, its owner or root can remove it: robot-ipc rm --force {}",
            subject.path().display(),
            Quoted(subject.name())
        ),
        Reason::NoSpace { .. } | Reason::PermissionDenied { .. } => {
            write!(f, " ({})", subject.path().display())
        }
        _ => Ok(()),
    }
}

/// A name as a shell takes it; control characters are only shown.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |letter: char| letter.is_alphanumeric() || "._-+:@".contains(letter);
        if self.0.chars().all(plain) {
            f.write_str(self.0)
        } else {
            write!(f, "'{}'", self.0.escape_debug())
        }
    }
}

impl fmt::Display for Reason {
    #[allow(clippy::too_many_lines)] // one line or two for each reason
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::BadName { what, name, reason } => {
                write!(f, "the name {name} of a {what} is refused: {reason}")
            }
            Reason::BadOption {
                option,
                value,
                reason,
            } => write!(f, "{option} cannot be {value}: {reason}"),
            Reason::NotFound => {
                f.write_str("there is none of that name, and this handle does not create it")
            }
            Reason::SizeMismatch { existing, asked } => write!(
                f,
                "it exists for values of up to {existing} bytes, and max_size {asked} was asked for"
            ),
            Reason::SlotsMismatch { existing, asked } => {
                write!(
                    f,
                    "it exists with {existing} slots, and {asked} were asked for"
                )
            }
            Reason::TooLarge { size, max_size } => write!(
                f,
                "the value has {size} bytes and max_size is {max_size}; the value before it stays"
            ),
            Reason::BufferTooSmall { size, needed } => {
                write!(f, "the value has {needed} bytes, the buffer {size}")
            }
            Reason::NeverWritten => f.write_str("nobody has written a value yet"),
            Reason::TooOld { age, max_age } => {
                write!(
                    f,
                    "the latest value is {age:?} old, and {max_age:?} is the limit"
                )
            }
            Reason::NoAge { reason } => write!(f, "the age of the value cannot be told: {reason}"),
            Reason::Decode(error) => error.fmt(f),
            Reason::Encode(explanation) => {
                write!(f, "the value cannot be encoded: {explanation}")
            }
            Reason::ForeignOwner {
                uid,
                gid,
                mode,
                reason,
            } => write!(
                f,
                "it is refused, because {reason}: owner {uid}, group {gid}, mode {mode:04o}; \
                 values of others are taken only if mode and group were asked for"
            ),
            Reason::NotAFile { what } => write!(f, "what has its name is {what}, not a segment"),
            Reason::Header(error) => write!(f, "it cannot be used: {error}"),
            Reason::Corrupt => {
                f.write_str("its memory is damaged: words in it contradict each other")
            }
            Reason::Retired => f.write_str("it was removed while it was open; open it again"),
            Reason::Truncated { size, needed } => {
                f.write_str("its file was truncated while it was in use")?;
                match size {
                    Some(size) => write!(f, ", to {size} of {needed} bytes")?,
                    None => write!(f, ", and had {needed} bytes")?,
                }
                f.write_str("; what was in it is lost")
            }
            Reason::RetiredByOwner { uid } => write!(
                f,
                "it is retired, and this user may not take the name away; its owner, user {uid}, or root can"
            ),
            Reason::NameRemoved => f.write_str(
                "its file was removed or replaced by somebody else; those who have it open \
                 no longer meet those who open it now; open it again",
            ),
            Reason::BeingRemoved => {
                f.write_str("another process is removing it and has not finished")
            }
            Reason::NoFreeSlot { slots, holders } => {
                write!(f, "none of its {slots} slots is free: ")?;
                write_holders(f, holders)
            }
            Reason::Contended { tried } => {
                write!(f, "other processes were faster each time, for {tried:?}")
            }
            Reason::Changed { version } => {
                write!(
                    f,
                    "somebody else has written meanwhile: version {version} is the latest"
                )
            }
            Reason::CannotBorrow { slots: 2, .. } => {
                f.write_str("with 2 slots nothing can be borrowed or loaned; it takes 3")
            }
            Reason::CannotBorrow { slots, holders, .. } => {
                write!(
                    f,
                    "so many of its {slots} slots are taken that another borrow or loan would leave \
                     too few to writers: "
                )?;
                write_holders(f, holders)
            }
            Reason::ExclusiveWriter { pid } => write!(
                f,
                "process {pid} is its exclusive writer; nobody else can write it until that ends or \
                 lets go of it"
            ),
            Reason::TooManyBorrowers => write!(
                f,
                "only the first {MAX_PINNING_PARTICIPANTS} processes that use it can borrow; read it instead"
            ),
            Reason::TooManyParticipants => {
                write!(
                    f,
                    "{MAX_PARTICIPANTS} processes use it already, which is the limit"
                )
            }
            Reason::ReadOnly { operation } => {
                write!(f, "this handle was opened read-only and cannot {operation}")
            }
            Reason::NotLocked {
                size,
                limit: Some(limit),
            } => write!(
                f,
                "its {size} bytes cannot be locked into memory: this process may lock {limit} \
                 bytes in all; raise RLIMIT_MEMLOCK (`ulimit -l`) or give it CAP_IPC_LOCK"
            ),
            Reason::NotLocked { size, limit: None } => write!(
                f,
                "its {size} bytes cannot be locked into memory: there is not enough of it"
            ),
            Reason::TimedOut { waited } => write!(f, "nothing was written within {waited:?}"),
            Reason::Interrupted => f.write_str("a signal interrupted the wait"),
            Reason::NoSpace { needed, free } => write!(
                f,
                "it needs {needed} bytes and {free} are free; use fewer slots or cells or smaller sizes, \
                 or enlarge the file system"
            ),
            Reason::FunctionMismatch { existing, asked } => write!(
                f,
                "it exists with max_argument_size {} and max_response_size {}, and {} and {} were asked for",
                existing.max_argument_size,
                existing.max_response_size,
                asked.max_argument_size,
                asked.max_response_size
            ),
            Reason::CellsMismatch { existing, asked } => {
                write!(f, "it exists with {existing} cells, and {asked} were asked for")
            }
            Reason::ArgumentsTooLarge {
                size,
                max_argument_size,
            } => write!(
                f,
                "the arguments have {size} bytes and max_argument_size is {max_argument_size}; nothing was sent"
            ),
            Reason::ResponseTooLarge {
                size,
                max_response_size,
            } => write!(
                f,
                "what the function returned has {size} bytes and max_response_size is {max_response_size}; \
                 it was run"
            ),
            Reason::Raised { text } => write!(f, "the function raised: {text}"),
            Reason::DispatcherDied => f.write_str(
                "the process that ran the call died, or the function did not come back; \
                 it may or may not have done its work",
            ),
            Reason::NotServed => f.write_str(
                "nobody serves it any more, though somebody did when the call was made; \
                 the call was taken back and will not run",
            ),
            Reason::CallTooOld { max_age } => write!(
                f,
                "the call was older than the {max_age:?} that its dispatcher allows; it was not run"
            ),
            Reason::NoCall => f.write_str("no call is outstanding: there is no response to wait for"),
            Reason::Reported => f.write_str(
                "the end of that call was told already, or is so long ago that it was forgotten: \
                 it ended without an answer",
            ),
            Reason::CallTimedOut { waited, stage } => match stage {
                Stage::NotServed => {
                    write!(f, "no response within {waited:?}: nobody serves the function")
                }
                Stage::Queued { pid } => write!(
                    f,
                    "no response within {waited:?}: the call has not started yet; process {pid} serves the function"
                ),
                Stage::Running { pid } => write!(
                    f,
                    "no response within {waited:?}: process {pid} is running the call"
                ),
            },
            Reason::NothingToServe { waited } => {
                write!(f, "no call arrived within {waited:?}")
            }
            Reason::RetiredCall => f.write_str(
                "it was removed while the call was waiting, which may or may not have run; open it again",
            ),
            Reason::Unfetched { count } => write!(
                f,
                "this process has {count} answers that it has not fetched, and may have no more calls \
                 in it; fetch them with next_response (get_response in Python)"
            ),
            Reason::TunnelFull { cells, holders } => {
                let quota = cells.saturating_sub(2).max(1);
                write!(
                    f,
                    "no cell came free (of its {cells} cells one process may have {quota}): "
                )?;
                write_cell_holders(f, holders)
            }
            Reason::WouldDeadlock => f.write_str(
                "only the dispatcher that this thread is running serves it, and it cannot while this \
                 thread waits; serve it by another dispatcher",
            ),
            Reason::TooManyFunctions { max_functions } => write!(
                f,
                "the dispatcher has {max_functions} functions already, which is what it was made for"
            ),
            Reason::AddedAlready => f.write_str("the dispatcher serves it already"),
            Reason::NoSuchFunction => f.write_str("the dispatcher has no such function"),
            Reason::Stopped => f.write_str("the dispatcher was stopped"),
            Reason::Busy => f.write_str(
                "the dispatcher is at work in another thread, or with a call that has no reply yet",
            ),
            Reason::Forked { what } => write!(
                f,
                "{what} belongs to the process that this one was forked from; make another one here"
            ),
            Reason::PermissionDenied { operation } => write!(f, "this process may not {operation}"),
            Reason::System { operation, errno } => write!(f, "could not {operation}: {errno}"),
        }
    }
}

fn write_holders(f: &mut fmt::Formatter<'_>, holders: &Holders) -> fmt::Result {
    if holders.is_empty() {
        return f.write_str("held only for moments; try again");
    }
    for (index, Holder { pid, slots }) in holders.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}process {pid} holds {slots}")?;
    }
    Ok(())
}

fn write_cell_holders(f: &mut fmt::Formatter<'_>, holders: &CellHolders) -> fmt::Result {
    if holders.is_empty() {
        return f.write_str("taken only for moments; try again");
    }
    for (index, holder) in holders.iter().enumerate() {
        let CellHolder {
            pid,
            cells,
            unfetched,
        } = holder;
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}process {pid} has {cells} calls in it")?;
        if *unfetched > 0 {
            write!(
                f,
                ", {unfetched} of them with answers that it has not fetched"
            )?;
        }
    }
    Ok(())
}
