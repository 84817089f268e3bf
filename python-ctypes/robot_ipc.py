"""Host variables and host functions: named values that every process of this machine may
read and write, and named functions that one process offers and every process may call.

    >>> from robot_ipc import HostVariable
    >>> pose = HostVariable("pose")
    >>> pose.data = {"x": 1.0, "y": 2.0}        # in one process
    >>> pose.data                               # in any other
    {'x': 1.0, 'y': 2.0}

    >>> from robot_ipc import HostFunctionDispatcher
    >>> dispatcher = HostFunctionDispatcher()   # in one process
    >>> dispatcher.add("divide", lambda a, b: a / b)
    >>> dispatcher.start()
    >>> from robot_ipc import HostFunctionCaller
    >>> divide = HostFunctionCaller("divide")   # in any other
    >>> divide(1, 4)
    >>> divide.get_response()
    0.25

There is no broker and no daemon, only shared memory. A process that is killed, at
whichever instruction, harms nobody: the latest value stays whole, and whoever waits for
an answer of the dead is told.

**What you read is a copy.** ``pose.data["x"] = 5.0`` changes that copy and nothing
else; nobody will ever see it. Write it back, or use ``update``, which loses no change
of anybody else:

    >>> value = pose.data
    >>> value["x"] = 5.0
    >>> pose.data = value                       # good if nobody else writes
    >>> pose.update(lambda value: {**value, "x": 5.0})      # good in any case
    {'x': 5.0, 'y': 2.0}

**A call is a message.** ``divide(1, 4)`` returns once the arguments are on their way, and
never waits for the function: for that there are ``get_response()``, which goes by the
order of the calls, and the handle that the call returned. ``call`` does both steps:

    >>> handle = divide(1, 5)
    >>> handle.result(timeout=1.0)              # of that very call
    0.2
    >>> divide.call(1, 0, timeout=1.0)
    Traceback (most recent call last):
    robot_ipc.RemoteError: function 'divide' raised ZeroDivisionError: division by zero

A call that wants a response is *withdrawn* when ``call`` times out or is interrupted, when
its handle is cancelled, and when its caller closes or dies: it never starts later. With
``max_sz_ret=0`` calls are *one-way*: they are delivered even if their caller has gone.

**Unpickling runs code.** Values, arguments and responses are pickled, so whoever may write
a variable or use a function decides what the others execute. By default that is this user
alone.

Index
-----
HostVariable(name, max_size=4096, ...)  opens a variable, or creates it

    .data                 the latest value, to be read and assigned
    .read(...)            the latest value, with a default or an age limit
    .sample()             value, version, timestamp and age of one and the same write
    .write(value)         as assigning, and returns the version
    .update(change)       read, change, write, and again if somebody else has written
    .wait(timeout)        the next value
    .version  .timestamp  .age              of the latest value
    .name  .max_size  .slots  .read_only    of the variable and this handle
    .close()              lets go of the variable; its value stays. Also: ``with``
    .unlink()             removes the variable from the machine

Sample                  what ``sample()`` returns

HostFunctionCaller(name, max_sz_args=4096, max_sz_ret=4096, ...)    to call a function

    caller(*args, **kwargs)     sends a call, and returns its handle
    .get_response(timeout)      the response to the oldest call that may still bring one
    .call(..., timeout)         both steps
    .name  .max_sz_args  .max_sz_ret  .cells  .lost_calls
    .close()              withdraws what is outstanding. Also: ``with``
    .unlink()             removes the function's memory from the machine

Call                    the handle of one call

    .result(timeout)      its response; also ``await``
    .done()               whether it has ended
    .cancel()             withdraws it

HostFunctionDispatcher(max_func_count=16, ...)      offers functions

    .add(name, foo, max_sz_args=4096, max_sz_ret=4096, ...)
                          offers `foo`; without `foo` a decorator. Also: ``attach``
    .remove(name)         offers it no longer
    .start()              runs calls in a daemon thread
    .run(timeout)         runs them in this thread
    .stop()               ends that
    .max_func_count  .lost_calls
    .close()              lets go of all functions. Also: ``with``, and ``del``

build_id()              which build of the library is loaded

Exceptions, all of them a ``RobotIpcError``; in brackets what they are besides:

    RobotIpcError
     ├── LibraryNotFound (ImportError)          no librobot_ipc.so
     ├── VersionMismatch (ImportError)          one of another version than this file
     ├── BadName (ValueError)                   the name breaks the rules
     ├── BadOption (ValueError)                 an option cannot be used
     ├── NotFound (FileNotFoundError)           nothing has that name
     ├── SizeMismatch                           it has another size or number of slots, cells
     ├── ForeignOwner (PermissionError)         somebody else's, or open to others
     ├── PermissionDenied (PermissionError)     the process may not do that
     ├── NotASegment                            the file is something else, or damaged
     ├── OtherFormat                            of another version or byte order
     ├── NoSpace (OSError)                      /dev/shm is full
     ├── NeverWritten                           there is no value yet
     ├── TooOld                                 the value is older than it may be
     ├── NoAge                                  its age cannot be told
     ├── WrongEncoding                          the value was not written by Python
     ├── CannotUnpickle                         its class, for one, is missing here
     ├── TooLarge (ValueError)                  it exceeds max_size, or max_sz_args
     ├── ReadOnly                               the handle is read-only
     ├── NoFreeSlot                             other processes hold every slot
     ├── Contended                              others were faster each time
     ├── TooManyParticipants                    255 processes use it already
     ├── TimedOut (TimeoutError)                nothing was written, or answered, in time
     ├── RemoteError                            the function raised; with its traceback
     ├── ResponseTooLarge (ValueError)          what it returned exceeds max_sz_ret
     ├── DispatcherDied                         while it ran the call
     ├── NotServed                              nobody serves the function any more
     ├── CallTooOld                             the call exceeded its dispatcher's max_age
     ├── NoCallOutstanding                      there is no response to wait for
     ├── Cancelled                              the call was withdrawn by ``cancel``
     ├── UnfetchedResponses                     this process never fetched its responses
     ├── TunnelFull                             no room for a call within send_timeout
     ├── WouldDeadlock                          the function is served by this very thread
     ├── TooManyFunctions (ValueError)          more than max_func_count
     ├── Stopped                                the dispatcher was stopped
     ├── Busy                                   the dispatcher is run by another thread
     ├── Forked                                 it belongs to the parent process
     ├── Retired                                the variable or function was removed
     ├── NameRemoved                            its file was removed, say by ``rm``
     ├── BeingRemoved                           somebody is removing it, and hangs
     ├── Corrupt                                words in memory contradict each other
     ├── Closed (ValueError)                    this handle was closed
     ├── SystemFailure (OSError)                the system refused
     └── InternalError                          a fault in the library; please report it

A value that cannot be pickled raises what ``pickle`` raises. Whenever a write raises,
the value before it stays; whenever a call raises, nothing was sent.

What functions raise is logged in the process that runs them, by ``logging``, under the
name ``robot_ipc``.

Environment
-----------
ROBOT_IPC_LIBRARY       the library to load, and no other
ROBOT_IPC_NAMESPACE     keeps robots, or tests, apart; "default" unless set
ROBOT_IPC_DIR           the folder of the shared memory; /dev/shm unless set
ROBOT_IPC_MODE, ROBOT_IPC_GROUP     mode and group of handles that ask for none

Processes and threads
---------------------
Many threads may use one handle at once. Variables and callers work in a forked child, and
can be pickled, by their names, to be sent to a process that ``multiprocessing`` starts in
another way. A dispatcher, and a call under way, stay with the process that made them.
Ctrl-C interrupts whatever waits.
"""

import atexit
import ctypes
import logging
import math
import operator
import os
import pickle
import sysconfig
import threading
import time
import traceback
import weakref
from collections import deque
from itertools import starmap
from typing import (
    Any,
    Callable,
    Deque,
    Dict,
    Generator,
    Generic,
    Iterator,
    List,
    NamedTuple,
    NoReturn,
    Optional,
    Set,
    Tuple,
    Type,
    TypeVar,
    Union,
    overload,
)

__version__ = "0.1.0"

__all__ = [
    "BadName",
    "BadOption",
    "BeingRemoved",
    "Busy",
    "Call",
    "CallTooOld",
    "Cancelled",
    "CannotUnpickle",
    "Closed",
    "Contended",
    "Corrupt",
    "DispatcherDied",
    "ForeignOwner",
    "Forked",
    "HostFunctionCaller",
    "HostFunctionDispatcher",
    "HostVariable",
    "InternalError",
    "LibraryNotFound",
    "NameRemoved",
    "NeverWritten",
    "NoAge",
    "NoCallOutstanding",
    "NoFreeSlot",
    "NoSpace",
    "NotASegment",
    "NotFound",
    "NotServed",
    "OtherFormat",
    "PermissionDenied",
    "ReadOnly",
    "RemoteError",
    "ResponseTooLarge",
    "Retired",
    "RobotIpcError",
    "Sample",
    "SizeMismatch",
    "Stopped",
    "SystemFailure",
    "TimedOut",
    "TooLarge",
    "TooManyFunctions",
    "TooManyParticipants",
    "TooOld",
    "TunnelFull",
    "UnfetchedResponses",
    "VersionMismatch",
    "WouldDeadlock",
    "WrongEncoding",
    "build_id",
]

T = TypeVar("T")
_Default = TypeVar("_Default")
_Struct = TypeVar("_Struct", bound=ctypes.Structure)
_Foo = TypeVar("_Foo", bound=Callable[..., Any])

_log = logging.getLogger("robot_ipc")


# ----------------------------------------------------------------------- exceptions
# The tree is drawn in the module's docstring.


class RobotIpcError(Exception):
    """Anything that this module reports by itself. The text has the values in it."""


class LibraryNotFound(RobotIpcError, ImportError):
    """librobot_ipc.so was not found; the text lists every place that was looked at."""


class VersionMismatch(RobotIpcError, ImportError):
    """The library that was found is of another version than this file."""


class BadName(RobotIpcError, ValueError):
    """A name is not 1 to 200 bytes of UTF-8 without ``/``, NUL and leading dot.

    A namespace has 1 to 32 bytes under the same rules.
    """


class BadOption(RobotIpcError, ValueError):
    """An option, or the environment variable that stands in for it, cannot be used."""


class NotFound(RobotIpcError, FileNotFoundError):
    """Nothing has that name, and ``read_only`` or a size of None creates nothing."""


class SizeMismatch(RobotIpcError):
    """Sizes differ: those that exist and those asked for, or a value's and its format's.

    Also for the number of slots, or cells.
    """


class ForeignOwner(RobotIpcError, PermissionError):
    """It is somebody else's, or more people may use it than was asked for."""


class PermissionDenied(RobotIpcError, PermissionError):
    """The process may not do that to the file."""


class NotASegment(RobotIpcError):
    """What has the file name of the variable or function is something else, or damaged."""


class OtherFormat(RobotIpcError):
    """It was made by another version of the format, or in another byte order."""


class NoSpace(RobotIpcError, OSError):
    """There is no room for it; the text says how much it needs and what is free."""


class NeverWritten(RobotIpcError):
    """Nobody has written a value yet."""


class TooOld(RobotIpcError):
    """The latest value is older than ``max_age``."""


class NoAge(RobotIpcError):
    """The age cannot be told: no clock at the writer, or a clock of another namespace."""


class WrongEncoding(RobotIpcError):
    """The value is encoded in another way than this handle reads, such as a C struct."""


class CannotUnpickle(RobotIpcError):
    """Unpickling a value, arguments or a response raised; that is the ``__cause__``."""


class TooLarge(RobotIpcError, ValueError):
    """Once pickled it has more bytes than ``max_size``, or ``max_sz_args``.

    The value before stays, or nothing was sent.
    """


class ReadOnly(RobotIpcError):
    """The handle was opened with ``read_only=True``."""


class NoFreeSlot(RobotIpcError):
    """Within ``write_timeout`` no slot came free; the text says which processes hold them."""


class Contended(RobotIpcError):
    """Other processes were faster each time this was tried."""


class TooManyParticipants(RobotIpcError):
    """As many processes as possible, 255, write the variable, or use the function, already."""


class TimedOut(RobotIpcError, TimeoutError):
    """Nothing was written, or no response came, within the time limit.

    For a response the text says whether anybody serves the function.
    """


class RemoteError(RobotIpcError):
    """The function raised. The ``__cause__`` is what it raised, if that can be unpickled.

    >>> try:
    ...     divide.call(1, 0)
    ... except RemoteError as error:
    ...     print(error.type_name, "|", error.message)
    ZeroDivisionError | division by zero
    """

    type_name: str
    """The type of the exception, with its module unless it is a built-in one. Empty if a
    function in another language did not tell."""
    message: str
    """The text of the exception."""
    remote_traceback: str
    """The traceback of the process that ran the function; empty if there is none."""
    function: str
    """The name of the function; empty if it is not known."""

    def __init__(
        self, type_name: str, message: str, remote_traceback: str = "", function: str = ""
    ) -> None:
        super().__init__(type_name, message, remote_traceback, function)
        self.type_name = type_name
        self.message = message
        self.remote_traceback = remote_traceback
        self.function = function

    def __str__(self) -> str:
        who = "function {!r}".format(self.function) if self.function else "the function"
        parts = [part for part in (self.type_name, self.message) if part]
        text = "{} raised {}".format(who, ": ".join(parts) or "an error")
        if not self.remote_traceback:
            return text
        where = "\n\nIn the process that ran it:\n\n"
        return text + where + self.remote_traceback.rstrip("\n")


class ResponseTooLarge(RobotIpcError, ValueError):
    """What the function returned has, once pickled, more than ``max_sz_ret`` bytes."""


class DispatcherDied(RobotIpcError):
    """The process that ran the call died. The call may or may not have done its work."""


class NotServed(RobotIpcError):
    """Nobody serves the function any more, though somebody did when the call was made.

    The call was withdrawn: it will not run.
    """


class CallTooOld(RobotIpcError):
    """When its turn came the call was older than its dispatcher's ``max_age``. It did not run."""


class NoCallOutstanding(RobotIpcError):
    """There is no call whose response is still to be fetched."""


class Cancelled(RobotIpcError):
    """The call was given up by ``cancel``; if it has a response, that was discarded."""


class UnfetchedResponses(RobotIpcError):
    """This process has as many responses that it never fetched as it may have.

    The text says how many. Fetch them with ``get_response``, or by their handles.
    """


class TunnelFull(RobotIpcError):
    """Within ``send_timeout`` there was no room for the call; the text says whose calls
    take it, and how many of them have responses that nobody fetched."""


class WouldDeadlock(RobotIpcError):
    """A function waits for one that only its own dispatcher, that is its thread, serves."""


class TooManyFunctions(RobotIpcError, ValueError):
    """The dispatcher has ``max_func_count`` functions already."""


class Stopped(RobotIpcError):
    """The dispatcher was stopped."""


class Busy(RobotIpcError):
    """The dispatcher is run by another thread, or the response fetched by one."""


class Forked(RobotIpcError):
    """The dispatcher or call belongs to the process that this one was forked from."""


class Retired(RobotIpcError):
    """The variable or function was removed while it was open. Open it again.

    A call that was under way may or may not have run.
    """


class NameRemoved(RobotIpcError):
    """Its file was removed or replaced behind its back. Open it again."""


class BeingRemoved(RobotIpcError):
    """Another process is removing it and does not get on with it."""


class Corrupt(RobotIpcError):
    """Its memory is damaged: words in it contradict each other."""


class Closed(RobotIpcError, ValueError):
    """The handle was closed."""


class SystemFailure(RobotIpcError, OSError):
    """The system refused something; the text says what, and why."""


class InternalError(RobotIpcError):
    """A fault inside the library or this file. Please report it."""


# ---------------------------------------------------------------- finding the library

_LIBRARY_FILE = "librobot_ipc.so"
_LIBRARY_VARIABLE = "ROBOT_IPC_LIBRARY"


def _places() -> Iterator[Tuple[str, str]]:
    """Where the library may lie, in order: a path, or a bare name for the loader; and why."""
    unresolved = os.path.dirname(os.path.abspath(__file__))
    resolved = os.path.dirname(os.path.realpath(__file__))
    yield os.path.join(resolved, _LIBRARY_FILE), "beside this file"
    if unresolved != resolved:
        yield os.path.join(unresolved, _LIBRARY_FILE), "beside the link to this file"
    for path in _workspace_builds(resolved):
        yield path, "the workspace's build"
    for folder in _library_folders(resolved):
        yield os.path.join(folder, _LIBRARY_FILE), "the prefix that this file is installed under"
    yield _LIBRARY_FILE, "the system's loader"


def _workspace_builds(folder: str) -> List[str]:
    """What cargo built, the newest first, if this file lies in the source tree."""
    workspace = os.path.dirname(folder)
    if not os.path.isfile(os.path.join(workspace, "Cargo.toml")):
        return []
    targets = [os.path.join(workspace, "target")]
    if os.environ.get("CARGO_TARGET_DIR"):
        targets.append(os.path.join(workspace, os.environ["CARGO_TARGET_DIR"]))
    # `cargo run` and `cargo test` leave a fresh library in `deps` only.
    paths = [
        os.path.join(target, profile, _LIBRARY_FILE)
        for target in targets
        for profile in ("release", "debug", "release/deps", "debug/deps")
    ]
    found = [(os.stat(path).st_mtime_ns, path) for path in paths if os.path.isfile(path)]
    return [path for _, path in sorted(found, reverse=True)] or paths


def _library_folders(folder: str) -> List[str]:
    """Where a prefix keeps its libraries, if this file lies in PREFIX/share/SOMETHING or
    in PREFIX/lib/pythonX.Y/site-packages. Elsewhere nothing is guessed: a folder next door
    may be anybody's."""
    above, last = os.path.split(os.path.dirname(folder))
    if last == "share":
        prefix = above
    elif last.startswith("python") and os.path.basename(above) in ("lib", "lib64"):
        prefix = os.path.dirname(above)
    else:
        return []
    folders = [os.path.join(prefix, "lib"), os.path.join(prefix, "lib64")]
    multiarch = sysconfig.get_config_var("MULTIARCH")
    if multiarch:
        folders.append(os.path.join(prefix, "lib", multiarch))
    return folders


def _load() -> Tuple[ctypes.CDLL, ctypes.PyDLL]:
    """The first library there is, twice: calls through the second keep the interpreter's
    lock (see `_QUICK_SIZE`)."""
    chosen = os.environ.get(_LIBRARY_VARIABLE)
    if chosen:
        places = [(os.path.abspath(chosen), "named by " + _LIBRARY_VARIABLE)]
        looked_at = []
    else:
        places = list(_places())
        looked_at = ["{}: not set".format(_LIBRARY_VARIABLE)]
    for path, why in places:
        if os.path.isabs(path) and not os.path.exists(path):
            looked_at.append("{} ({}): no such file".format(path, why))
            continue
        try:
            library = ctypes.CDLL(path)
            _check_version(library, path)
            return library, ctypes.PyDLL(path)
        except (OSError, AttributeError) as error:
            looked_at.append("{} ({}): {}".format(path, why, error))
    raise LibraryNotFound(
        "{} was not found, or cannot be loaded. Looked at, in this order:\n  {}\n"
        "Install it, put it beside robot_ipc.py, or name it in {}.".format(
            _LIBRARY_FILE, "\n  ".join(looked_at), _LIBRARY_VARIABLE
        )
    )


def _check_version(library: ctypes.CDLL, path: str) -> None:
    library.ripc_version.restype = ctypes.c_char_p
    version = library.ripc_version().decode()
    if version != __version__:
        raise VersionMismatch(
            "{} has version {}, and {} has version {}; both have to be of one version".format(
                path, version, os.path.abspath(__file__), __version__
            )
        )


_library, _quick_library = _load()


def build_id() -> str:
    """Tells builds of the loaded library apart: version, a hash of its sources, profile.

    >>> build_id()
    '0.1.0+0123456789abcdef.release'
    """
    return _text(_library.ripc_build_id())


# ------------------------------------------------------------------ the C interface
# Each function is documented in platform-linux/include/ripc.h. This file knows no layout
# of shared memory: only the structs of the C interface.


class _Options(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint64),
        ("max_size", ctypes.c_uint64),
        ("slots", ctypes.c_uint32),
        ("mode", ctypes.c_int32),
        ("read_only", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("write_timeout_ns", ctypes.c_int64),
        ("group", ctypes.c_char_p),
        ("directory", ctypes.c_char_p),
        ("name_space", ctypes.c_char_p),
    ]


class _Stamp(ctypes.Structure):
    """What stands beside a value: `ripc_sample`."""

    _fields_ = [
        ("version", ctypes.c_uint64),
        ("time_ns", ctypes.c_uint64),
        ("length", ctypes.c_uint32),
        ("encoding", ctypes.c_uint32),
    ]


class _Info(ctypes.Structure):
    _fields_ = [
        ("max_size", ctypes.c_uint64),
        ("slots", ctypes.c_uint32),
        ("read_only", ctypes.c_uint32),
    ]


class _FunctionOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint64),
        ("max_argument_size", ctypes.c_uint64),
        ("max_response_size", ctypes.c_uint64),
        ("cells", ctypes.c_uint32),
        ("mode", ctypes.c_int32),
        ("send_timeout_ns", ctypes.c_int64),
        ("max_age_ns", ctypes.c_int64),
        ("spin_ns", ctypes.c_int64),
        ("group", ctypes.c_char_p),
        ("directory", ctypes.c_char_p),
        ("name_space", ctypes.c_char_p),
    ]


class _FunctionInfo(ctypes.Structure):
    _fields_ = [
        ("max_argument_size", ctypes.c_uint64),
        ("max_response_size", ctypes.c_uint64),
        ("cells", ctypes.c_uint32),
        ("lost_calls", ctypes.c_uint32),
    ]


class _Response(ctypes.Structure):
    """What stands beside a response: `ripc_response`."""

    _fields_ = [
        ("call", ctypes.c_uint64),
        ("length", ctypes.c_uint32),
        ("encoding", ctypes.c_uint32),
        ("has_value", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class _DispatcherOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint64),
        ("max_functions", ctypes.c_uint32),
        ("one_word_sleep", ctypes.c_uint32),
        ("spin_ns", ctypes.c_int64),
    ]


class _TakenCall(ctypes.Structure):
    """A call that is to be run and replied to: `ripc_call`."""

    _fields_ = [
        ("function", ctypes.c_uint64),
        ("arguments", ctypes.c_void_p),
        ("time_ns", ctypes.c_uint64),
        ("size", ctypes.c_uint32),
        ("encoding", ctypes.c_uint32),
        ("wants_response", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


_ADOPT_SIZE = 2**64 - 1
_UNSPECIFIED, _RAW, _PICKLE = 0, 1, 2
_ENCODINGS = {0: "unspecified", 1: "raw", 2: "pickle", 3: "postcard"}

_OK = 0
_NEVER_WRITTEN = 1
_TIMED_OUT = 2
_INTERRUPTED = 3
_CHANGED = 4
_BUFFER_TOO_SMALL = 6
_TOO_LARGE = 7
_NO_FREE_SLOT = 9
_CONTENDED = 10
_CORRUPT = 21
_RETIRED = 22
_NAME_REMOVED = 23
_BEING_REMOVED = 24
_NO_AGE = 27
_RESPONSE_TOO_LARGE = 31
_RAISED = 32
_DISPATCHER_DIED = 33
_NOT_SERVED = 34
_CALL_TOO_OLD = 35
_REPORTED = 37
_CANCELLED = 38
_TUNNEL_FULL = 40
_STOPPED = 43
_BUSY = 44
_FORKED = 45

# How far a call is, what became of one that was given up, and how one ended.
_ENDED = 2
_NEVER_STARTED = 0
_REPLY_RETURNED, _REPLY_RAISED, _REPLY_NOTHING = 0, 1, 2

# After these a write may succeed a moment later.
_TRY_AGAIN = (_INTERRUPTED, _NO_FREE_SLOT, _CONTENDED)

# What a status is raised as; whatever is not here is an InternalError.
_ERRORS: Dict[int, Type[RobotIpcError]] = {
    _NEVER_WRITTEN: NeverWritten,
    _TIMED_OUT: TimedOut,
    5: TooOld,
    _TOO_LARGE: TooLarge,
    8: WrongEncoding,
    _NO_FREE_SLOT: NoFreeSlot,
    _CONTENDED: Contended,
    12: TooManyParticipants,
    13: ReadOnly,
    14: NotFound,
    15: SizeMismatch,
    16: BadName,
    17: BadOption,
    18: ForeignOwner,
    19: NotASegment,
    20: OtherFormat,
    _CORRUPT: Corrupt,
    _RETIRED: Retired,
    _NAME_REMOVED: NameRemoved,
    _BEING_REMOVED: BeingRemoved,
    25: NoSpace,
    26: PermissionDenied,
    _NO_AGE: NoAge,
    28: SystemFailure,
    _RESPONSE_TOO_LARGE: ResponseTooLarge,
    _DISPATCHER_DIED: DispatcherDied,
    _NOT_SERVED: NotServed,
    _CALL_TOO_OLD: CallTooOld,
    36: NoCallOutstanding,
    _CANCELLED: Cancelled,
    39: UnfetchedResponses,
    _TUNNEL_FULL: TunnelFull,
    41: WouldDeadlock,
    42: TooManyFunctions,
    _STOPPED: Stopped,
    _BUSY: Busy,
    _FORKED: Forked,
}

# With these a call has ended, and the library tells it once.
_ENDS = frozenset(
    (
        _OK,
        _RAISED,
        _RESPONSE_TOO_LARGE,
        _DISPATCHER_DIED,
        _NOT_SERVED,
        _CALL_TOO_OLD,
        _RETIRED,
        _NAME_REMOVED,
    )
)


def _bind(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(library, name)
    function.restype = result
    function.argtypes = arguments
    return function


_pointer, _size, _status = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int32
_u32, _u64, _i64, _chars = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int64, ctypes.c_char_p
_write_arguments = (_pointer, _pointer, _size, _u32, _i64, _pointer)
_write_if_arguments = (_pointer, _u64, _pointer, _size, _u32, _i64, _pointer)
_read_arguments = (_pointer, _pointer, _size, _i64, _pointer)

_bind(_library, "ripc_build_id", _chars)
_last_error = _bind(_library, "ripc_last_error", _chars)
_options_init = _bind(_library, "ripc_variable_options_init", None, _pointer)
_variable_open = _bind(_library, "ripc_variable_open", _status, _chars, _pointer, _pointer)
_variable_free = _bind(_library, "ripc_variable_free", None, _pointer)
_get_info = _bind(_library, "ripc_variable_get_info", _status, _pointer, _pointer)
_write = _bind(_library, "ripc_variable_write", _status, *_write_arguments)
_write_if = _bind(_library, "ripc_variable_write_if", _status, *_write_if_arguments)
_read = _bind(_library, "ripc_variable_read", _status, *_read_arguments)
_wait = _bind(_library, "ripc_variable_wait", _status, _pointer, _u64, _i64, _pointer)
_remove = _bind(_library, "ripc_variable_remove", _status, _pointer, _i64)
_quick_write = _bind(_quick_library, "ripc_variable_write", _status, *_write_arguments)
_quick_write_if = _bind(_quick_library, "ripc_variable_write_if", _status, *_write_if_arguments)
_quick_read = _bind(_quick_library, "ripc_variable_read", _status, *_read_arguments)
_latest = _bind(_quick_library, "ripc_variable_latest", _status, _pointer, _pointer)
_version = _bind(_quick_library, "ripc_variable_version", _status, _pointer, _pointer)
_age = _bind(_quick_library, "ripc_variable_age", _status, _pointer, _pointer)

_call_arguments = (_pointer, _pointer, _size, _u32, _i64, _pointer)
_next_response_arguments = (_pointer, _pointer, _size, _i64, _pointer)
_response_of_arguments = (_pointer, _u64, _pointer, _size, _i64, _pointer)
_reply_arguments = (_pointer, _u32, _pointer, _size, _u32)

_function_options_init = _bind(_library, "ripc_function_options_init", None, _pointer)
_caller_open = _bind(_library, "ripc_caller_open", _status, _chars, _pointer, _pointer)
_caller_free = _bind(_library, "ripc_caller_free", None, _pointer)
_caller_get_info = _bind(_library, "ripc_caller_get_info", _status, _pointer, _pointer)
_caller_remove = _bind(_library, "ripc_caller_remove", _status, _pointer, _i64)
_call = _bind(_library, "ripc_caller_call", _status, *_call_arguments)
_quick_call = _bind(_quick_library, "ripc_caller_call", _status, *_call_arguments)
_next_response = _bind(
    _library, "ripc_caller_next_response", _status, *_next_response_arguments
)
_quick_next_response = _bind(
    _quick_library, "ripc_caller_next_response", _status, *_next_response_arguments
)
_response_of = _bind(_library, "ripc_caller_response_of", _status, *_response_of_arguments)
_quick_response_of = _bind(
    _quick_library, "ripc_caller_response_of", _status, *_response_of_arguments
)
_progress = _bind(_quick_library, "ripc_caller_progress", _status, _pointer, _u64, _pointer)
_cancel = _bind(_quick_library, "ripc_caller_cancel", _status, _pointer, _u64, _pointer)

_dispatcher_options_init = _bind(_library, "ripc_dispatcher_options_init", None, _pointer)
_dispatcher_new = _bind(_library, "ripc_dispatcher_new", _status, _pointer, _pointer)
_dispatcher_free = _bind(_library, "ripc_dispatcher_free", None, _pointer)
_add = _bind(
    _library,
    "ripc_dispatcher_add",
    _status,
    _pointer,
    _chars,
    _pointer,
    _pointer,
    _pointer,
    _pointer,
)
_remove_function = _bind(_library, "ripc_dispatcher_remove", _status, _pointer, _u64)
_function_info = _bind(
    _library, "ripc_dispatcher_get_info", _status, _pointer, _u64, _pointer
)
_resume = _bind(_library, "ripc_dispatcher_resume", _status, _pointer)
_stop = _bind(_library, "ripc_dispatcher_stop", _status, _pointer)
_next_call = _bind(_library, "ripc_dispatcher_next_call", _status, _pointer, _i64, _pointer)
_reply = _bind(_library, "ripc_dispatcher_reply", _status, *_reply_arguments)
_quick_reply = _bind(_quick_library, "ripc_dispatcher_reply", _status, *_reply_arguments)


def _text(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _check(status: int) -> None:
    """Raises what the last call of this thread came to."""
    if status != _OK:
        raise _ERRORS.get(status, InternalError)(_text(_last_error()))


# ----------------------------------------------------------------------- numbers

# Up to this size a value is copied faster than another thread could use the
# interpreter: calls keep its lock then. Letting go of it would let a busy thread take
# it, for 5 ms at a time, at every read and write.
_QUICK_SIZE = 1 << 16

# A signal that arrives just before a system call does not interrupt it, so nothing
# waits in the library for longer than this, in seconds. Between two slices Python runs
# signal handlers. Whoever has waited for a while gets longer slices: they cost a core
# less than a thousandth of its time.
_SLICE = 0.05
_LONG_SLICE = 0.25
_A_WHILE = 1.0

# How long `unlink` waits for another process that is removing the variable, in seconds.
_REMOVE_TIMEOUT = 1.0

# An update that loses is tried again at least so often, and as long as a write may take.
_UPDATE_ATTEMPTS = 1000

# Fixed, not the highest that the running Python knows: processes of different Pythons
# share variables, and every Python that this file supports reads 5. The library's own
# command reads it too.
_PROTOCOL = 5

_NO_LIMIT = -1
_LONGEST = 2**63 - 1

_nanoseconds_since_boot = time.clock_gettime_ns
_BOOT_CLOCK = time.CLOCK_BOOTTIME


def _nanoseconds(seconds: float, option: str) -> int:
    """A time limit as the library takes it; infinity is none."""
    if not seconds >= 0:
        text = "{} cannot be used: it has to be 0 s or more, and {!r} was given"
        raise BadOption(text.format(option, seconds))
    nanoseconds = seconds * 1e9
    if nanoseconds < _LONGEST:
        return int(nanoseconds)
    return _NO_LIMIT if math.isinf(seconds) else _LONGEST


class _Slices:
    """Cuts a time limit into slices."""

    __slots__ = ("_deadline", "_left", "_short_until")

    def __init__(self, seconds: Optional[float]) -> None:
        now = time.monotonic()
        self._left = math.inf if seconds is None else seconds
        self._deadline = now + self._left
        self._short_until = now + _A_WHILE

    def next_ns(self) -> int:
        """How long the next one is."""
        slice_length = _SLICE if time.monotonic() < self._short_until else _LONG_SLICE
        return int(min(self._left, slice_length) * 1e9)

    def is_over(self) -> bool:
        """Whether the limit is reached; to be asked behind each slice."""
        self._left = max(self._deadline - time.monotonic(), 0.0)
        return self._left == 0.0


# --------------------------------------------------------------------- arguments


class _NotGiven(int):
    """The default of an option: the number that holds if nothing else is known.

    Someone who passes the same number means it: a variable that exists with another one
    is then refused."""


class _NotGivenOctal(_NotGiven):
    def __repr__(self) -> str:
        return oct(self)


class _Missing:
    """The default of `default`, and of `foo`."""

    def __repr__(self) -> str:
        return "<none>"


_MAX_SIZE = _NotGiven(4096)
_MAX_SZ = _NotGiven(4096)
_SLOTS = _NotGiven(14)
_MODE = _NotGivenOctal(0o600)
_MISSING: Any = _Missing()


def _integer(value: Any, option: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        text = "{} has to be an integer, not {}".format(option, type(value).__name__)
        raise TypeError(text) from None


def _number(value: Any, option: str, bits: int, least: int = 0) -> int:
    """An option of so many bits. The library judges it; but C would cut larger numbers."""
    number = _integer(value, option)
    if not least <= number < 2**bits:
        text = "{} cannot be {}: it has to be {} or more and less than {}"
        raise BadOption(text.format(option, number, least, 2**bits))
    return number


def _name_bytes(name: Any, what: str) -> bytes:
    if not isinstance(name, str):
        raise TypeError("{} has to be a str, not {}".format(what, type(name).__name__))
    # The library judges names; but C would take a NUL for the end.
    if "\0" in name:
        text = "the name of a {} is refused: {!r} contains a NUL byte"
        raise BadName(text.format(what, name))
    return name.encode("utf-8", "surrogatepass")


def _option_bytes(text: Union[str, bytes], option: str) -> bytes:
    encoded = os.fsencode(text)
    if b"\0" in encoded:
        raise BadOption("{} cannot be used: {!r} contains a NUL byte".format(option, text))
    return encoded


def _group_bytes(group: Union[str, int]) -> bytes:
    if isinstance(group, str):
        return _option_bytes(group, "group")
    return str(_integer(group, "group")).encode()


def _fill_place(
    options: Union[_Options, _FunctionOptions],
    mode: Optional[int],
    group: Union[str, int, None],
    directory: Union[str, "os.PathLike[str]", None],
    namespace: Optional[str],
) -> None:
    """What variables and functions have in common: where they are, and for whom."""
    if mode is not None and not isinstance(mode, _NotGiven):
        options.mode = _number(mode, "mode", 31)
    if group is not None:
        options.group = _group_bytes(group)
    if directory is not None:
        options.directory = _option_bytes(os.fspath(directory), "directory")
    if namespace is not None:
        options.name_space = _name_bytes(namespace, "namespace")


def _given(**options: Any) -> Dict[str, Any]:
    """Without the defaults: what is needed to open the same again elsewhere."""
    return {name: value for name, value in options.items() if not isinstance(value, _NotGiven)}


# ------------------------------------------------------------------------- codecs


class _PickleCodec:
    """Any object, pickled."""

    encoding = _PICKLE

    def encode(self, value: Any) -> Tuple[Any, int]:
        """Where its bytes lie, and how many they are."""
        data = pickle.dumps(value, _PROTOCOL)
        return data, len(data)

    def decode(self, view: memoryview, stamp: _Stamp, name: str) -> Any:
        """What the bytes in `view` are; they may be overwritten afterwards."""
        try:
            return pickle.loads(view)
        except Exception as error:
            what = "variable {!r}: version {}".format(name, stamp.version)
            raise _cannot_unpickle(what, len(view), error) from error

    def decode_part(self, data: Union[bytes, memoryview], part: str, name: str) -> Any:
        """What the bytes of a call are: `part` is "the arguments" or "the response"."""
        try:
            return pickle.loads(data)
        except Exception as error:
            what = "function {!r}: {}".format(name, part)
            raise _cannot_unpickle(what, len(data), error) from error


def _cannot_unpickle(what: str, size: int, error: Exception) -> CannotUnpickle:
    text = "{} ({} bytes) cannot be unpickled here: {}: {}"
    return CannotUnpickle(text.format(what, size, type(error).__name__, error))


class _RawCodec:
    """Instances of one ctypes.Structure, as they lie in memory."""

    encoding = _RAW

    def __init__(
        self, data_format: Any, option: str = "data_format", of: str = "the variable takes"
    ) -> None:
        if not (isinstance(data_format, type) and issubclass(data_format, ctypes.Structure)):
            text = "{} has to be a subclass of ctypes.Structure, not {!r}"
            raise TypeError(text.format(option, data_format))
        _refuse_pointers(data_format, data_format.__name__, option)
        self.data_format = data_format
        self.option = option
        self.of = of
        self.size = ctypes.sizeof(data_format)
        if self.size == 0:
            raise BadOption("{} cannot be used: {} has no bytes".format(option, self.name))

    @property
    def name(self) -> str:
        return self.data_format.__name__

    def encode(self, value: Any) -> Tuple[Any, int]:
        if not isinstance(value, self.data_format):
            text = "{} instances of its {} {}, not of {}"
            raise TypeError(text.format(self.of, self.option, self.name, type(value).__name__))
        return ctypes.byref(value), self.size

    def decode(self, view: memoryview, stamp: _Stamp, name: str) -> Any:
        if len(view) != self.size:
            text = "variable {!r}: version {} has {} bytes, and {} has {}"
            raise SizeMismatch(text.format(name, stamp.version, len(view), self.name, self.size))
        return self.data_format.from_buffer_copy(view)

    def decode_part(self, data: Union[bytes, memoryview], part: str, name: str) -> Any:
        if len(data) != self.size:
            text = "function {!r}: {} has {} bytes, and {} has {}"
            raise SizeMismatch(text.format(name, part, len(data), self.name, self.size))
        return self.data_format.from_buffer_copy(data)


_Codec = Union[_PickleCodec, _RawCodec]


# The type codes of ctypes that are numbers or characters; all others are addresses.
_NUMBER_CODES = tuple("bBhHiIlLqQfdgcu?")


def _refuse_pointers(kind: Any, path: str, option: str) -> None:
    """An address means nothing in another process, and following it can crash."""
    if issubclass(kind, (ctypes.Structure, ctypes.Union)):
        for owner in kind.__mro__:
            for field in owner.__dict__.get("_fields_", ()):
                _refuse_pointers(field[1], "{}.{}".format(path, field[0]), option)
    elif issubclass(kind, ctypes.Array):
        _refuse_pointers(kind._type_, path + "[]", option)
    elif getattr(kind, "_type_", None) not in _NUMBER_CODES:
        raise TypeError(
            "{} cannot be used: {} is a pointer, which means nothing in another "
            "process; for its bytes alone declare c_size_t".format(option, path)
        )


# ------------------------------------------------------------------------- handles


class _Scratch:
    """Where one read puts its bytes, and what stands beside them. Whoever takes it has it
    alone, also against signal handlers and against unpickling that reads another variable."""

    __slots__ = ("capacity", "address", "view", "stamp", "stamp_address", "_buffer")

    def __init__(self, capacity: int, stamp: Any) -> None:
        self.capacity = capacity
        buffer = bytearray(capacity)
        self._buffer = (ctypes.c_char * capacity).from_buffer(buffer)
        self.address = ctypes.c_void_p(ctypes.addressof(self._buffer))
        self.view = memoryview(buffer)
        self.stamp = stamp
        self.stamp_address = ctypes.c_void_p(ctypes.addressof(stamp))


def _again_if_interrupted(function: Any, *arguments: Any) -> None:
    """Calls the library until no signal comes in between, and checks the status."""
    status = _INTERRUPTED
    while status == _INTERRUPTED:
        status = function(*arguments)
    _check(status)


class _Handle:
    """An open variable of the library's. Every call keeps a reference to it meanwhile,
    so that closing in one thread frees nothing that another one is using."""

    __slots__ = ("pointer", "max_size", "slots", "read_only", "read", "scratches")

    def __init__(self, name: bytes, options: _Options) -> None:
        self.pointer = ctypes.c_void_p()
        _again_if_interrupted(
            _variable_open, name, ctypes.byref(options), ctypes.byref(self.pointer)
        )
        info = _Info()
        _check(_get_info(self.pointer, ctypes.byref(info)))
        self.max_size: int = info.max_size
        self.slots: int = info.slots
        self.read_only = bool(info.read_only)
        self.read = _quick_read if self.max_size <= _QUICK_SIZE else _read
        # Not in use at the moment; as many as there were reads at the same time.
        self.scratches: List[_Scratch] = []

    def __del__(self, free: Any = _variable_free) -> None:
        if self.pointer:
            free(self.pointer)

    def take_scratch(self) -> _Scratch:
        try:
            return self.scratches.pop()
        except IndexError:
            return _Scratch(min(self.max_size, _QUICK_SIZE), _Stamp())


def _unlink(remove: Any, pointer: ctypes.c_void_p) -> None:
    """Removes the object from the machine; waits for somebody else who is doing that."""
    slices = _Slices(_REMOVE_TIMEOUT)
    while True:
        status = remove(pointer, slices.next_ns())
        if status not in (_BEING_REMOVED, _INTERRUPTED) or slices.is_over():
            return _check(status)


class Sample(NamedTuple):
    """A value and what stands beside it, all of one and the same write.

    >>> pose.sample()
    Sample(value={'x': 1.0}, version=7, timestamp=81230045310, age=0.0021)
    """

    value: Any
    """The value."""
    version: int
    """Counts the writes, from 1."""
    timestamp: int
    """When it was written: ``time.clock_gettime_ns(time.CLOCK_BOOTTIME)``, nanoseconds
    since boot. 0 if the writer has no clock."""
    age: Optional[float]
    """How old it was when it was read, in seconds. None if that cannot be told: a writer
    without a clock, or with that of another time namespace."""


def _open_again(kind: Any, name: str, options: Dict[str, Any]) -> Any:
    """Unpickles a handle."""
    return kind(name, **options)


class HostVariable(Generic[T]):
    """A named latest value that every process of this machine may read and write.

    Opens the variable, or creates it. Opening is the slow part, so keep the handle;
    reading and writing a small value make no system call.

    >>> pose = HostVariable("pose")
    >>> pose.data = {"x": 1.0}
    >>> pose.data
    {'x': 1.0}

    Annotate it if a type checker shall know what is in it:

    >>> pose: HostVariable[Dict[str, float]] = HostVariable("pose")

    name
        1 to 200 bytes of UTF-8, without ``/`` and NUL, not starting with a dot.
    max_size
        How many bytes a value may have once it is pickled: 1 byte to 1 GiB (2**30).
        The smaller, the faster. All users of a variable name the same size; ``None``
        takes the size it has, and creates nothing. With a ``data_format`` the size of
        that, unless told otherwise.
    slots
        In how many places values can be written, read and held at the same time: 2 to 62.
        If not given, 14 for a new variable, and for one that exists whatever it has.
    mode, group
        Who may use a new variable, as permission bits (``0o660``) and a group by name or
        number. An existing one that is somebody else's, or that others may write, is
        refused with `ForeignOwner` unless it grants no more than is asked for here. If not
        given, the environment variables ``ROBOT_IPC_MODE`` and ``ROBOT_IPC_GROUP`` count,
        and then this user alone.
    read_only
        Only to read: the memory is mapped so, and nothing is created. `wait` then looks
        every 10 ms at least, instead of being woken.
    data_format
        A subclass of ``ctypes.Structure``: the value is not pickled, but lies in memory
        as C, C++ and Rust see it. Values are instances of that class.
    directory, namespace
        Where the variable is, instead of ``ROBOT_IPC_DIR`` and ``ROBOT_IPC_NAMESPACE``.
    write_timeout
        How long a write looks for a free slot, in seconds; None for as long as it takes.
        Slots are taken for microseconds, so only stopped processes, and those that borrow
        many values, can make it wait.

    Raises `BadName`, `BadOption`, `SizeMismatch`, `ForeignOwner`, `NotFound`, `NoSpace`,
    `NotASegment`, `OtherFormat`, `Retired`, `BeingRemoved`, `PermissionDenied`,
    `SystemFailure`.

    A handle can be pickled: the receiver opens the variable by its name, in the place
    that its own environment names unless `directory` and `namespace` were given.
    """

    __slots__ = (
        "_name",
        "_options",
        "_codec",
        "_encoding",
        "_encode",
        "_decode",
        "_write_timeout",
        "_handle",
        "__weakref__",
    )

    @overload
    def __init__(
        self: "HostVariable[Any]",
        name: str,
        max_size: Optional[int] = ...,
        *,
        slots: Optional[int] = ...,
        mode: Optional[int] = ...,
        group: Union[str, int, None] = ...,
        read_only: bool = ...,
        data_format: None = ...,
        directory: Union[str, "os.PathLike[str]", None] = ...,
        namespace: Optional[str] = ...,
        write_timeout: Optional[float] = ...,
    ) -> None: ...

    @overload
    def __init__(
        self: "HostVariable[_Struct]",
        name: str,
        max_size: Optional[int] = ...,
        *,
        slots: Optional[int] = ...,
        mode: Optional[int] = ...,
        group: Union[str, int, None] = ...,
        read_only: bool = ...,
        data_format: Type[_Struct],
        directory: Union[str, "os.PathLike[str]", None] = ...,
        namespace: Optional[str] = ...,
        write_timeout: Optional[float] = ...,
    ) -> None: ...

    def __init__(
        self,
        name: str,
        max_size: Optional[int] = _MAX_SIZE,
        *,
        slots: Optional[int] = _SLOTS,
        mode: Optional[int] = _MODE,
        group: Union[str, int, None] = None,
        read_only: bool = False,
        data_format: Optional[Type[ctypes.Structure]] = None,
        directory: Union[str, "os.PathLike[str]", None] = None,
        namespace: Optional[str] = None,
        write_timeout: Optional[float] = 1.0,
    ) -> None:
        self._name = name
        self._handle: Optional[_Handle] = None
        self._options = _given(
            max_size=max_size,
            slots=slots,
            mode=mode,
            group=group,
            read_only=read_only,
            data_format=data_format,
            directory=directory,
            namespace=namespace,
            write_timeout=write_timeout,
        )
        self._codec: _Codec = _PickleCodec()
        if data_format is not None:
            self._codec = _RawCodec(data_format)
            if isinstance(max_size, _NotGiven):
                max_size = self._codec.size
        self._encoding = self._codec.encoding
        self._encode: Callable[[Any], Tuple[Any, int]] = self._codec.encode
        self._decode: Callable[[memoryview, _Stamp, str], Any] = self._codec.decode
        if write_timeout is not None:
            _nanoseconds(write_timeout, "write_timeout")
        self._write_timeout = write_timeout

        options = _Options()
        _options_init(ctypes.byref(options))
        if max_size is None:
            options.max_size = _ADOPT_SIZE
        else:
            options.max_size = _number(max_size, "max_size", 32)
        if slots is not None and not isinstance(slots, _NotGiven):
            # 0 would leave it to the library.
            options.slots = _number(slots, "slots", 32, 2)
        options.read_only = bool(read_only)
        _fill_place(options, mode, group, directory, namespace)
        self._check_fits(max_size)
        handle = _Handle(_name_bytes(name, "variable"), options)
        self._check_fits(handle.max_size)
        self._handle = handle

    def _check_fits(self, max_size: Optional[int]) -> None:
        """Refuses a variable that can never hold its data_format."""
        codec = self._codec
        if isinstance(codec, _RawCodec) and max_size is not None and max_size < codec.size:
            text = "variable {!r}: max_size is {} bytes, and its data_format {} has {}"
            raise SizeMismatch(text.format(self._name, max_size, codec.name, codec.size))

    # ------------------------------------------------------------ what it is

    @property
    def name(self) -> str:
        """The variable's name."""
        return self._name

    @property
    def max_size(self) -> int:
        """How many bytes a value may have once it is pickled.

        >>> HostVariable("pose", max_size=None).max_size
        4096
        """
        return self._open_handle().max_size

    @property
    def slots(self) -> int:
        """In how many places values can be written, read and held at the same time."""
        return self._open_handle().slots

    @property
    def read_only(self) -> bool:
        """Whether this handle was opened only to read."""
        return self._open_handle().read_only

    def __repr__(self) -> str:
        handle = self._handle
        if handle is None:
            return "<HostVariable {!r}: closed>".format(self._name)
        version = ctypes.c_uint64()
        if _version(handle.pointer, ctypes.byref(version)) == _OK:
            state = "version {}".format(version.value)
        else:
            state = "removed"
        text = "<HostVariable {!r}: max_size {}, slots {}, {}>"
        return text.format(self._name, handle.max_size, handle.slots, state)

    # ------------------------------------------------------------------ read

    @property
    def data(self) -> T:
        """The latest value. Take it as a simple local variable: whenever you assign to it,
        the value is everybody's.

        >>> pose.data = {"x": 1.0}
        >>> pose.data["x"]
        1.0

        **What you read is a copy**: ``pose.data["x"] = 2.0`` changes that and nothing else.
        Write it back, or use `update`.

        Reading raises `NeverWritten`, `WrongEncoding`, `CannotUnpickle`, `Retired`,
        `Corrupt`, `Contended`, `Closed`; assigning raises what `write` does. If it raises,
        the value before stays.
        """
        handle = self._handle or self._refuse()
        return self._value(handle, _NO_LIMIT)

    @data.setter
    def data(self, value: T) -> None:
        handle = self._handle or self._refuse()
        data, size = self._encode(value)
        status = self._put(handle, None, data, size, None)
        if status:
            _check(status)

    @overload
    def read(self, *, max_age: Optional[float] = ...) -> T: ...

    @overload
    def read(
        self, default: _Default, *, max_age: Optional[float] = ...
    ) -> Union[T, _Default]: ...

    def read(self, default: Any = _MISSING, *, max_age: Optional[float] = None) -> Any:
        """The latest value.

        >>> pose.read(default=None)             # before anybody has written
        >>> pose.read(max_age=0.1)
        {'x': 1.0}

        default
            What to return as long as nobody has written, instead of `NeverWritten`.
        max_age
            How old the value may be, in seconds; older is `TooOld`, whatever the default.

        Raises what reading `data` does, and `NoAge`.
        """
        handle = self._handle or self._refuse()
        limit = _NO_LIMIT if max_age is None else _nanoseconds(max_age, "max_age")
        if default is _MISSING:
            return self._value(handle, limit)
        try:
            return self._value(handle, limit)
        except NeverWritten:
            return default

    def sample(self) -> Sample:
        """The latest value, with version, timestamp and age of that very write.

        >>> pose.sample().version
        1

        Raises what reading `data` does.
        """
        handle = self._handle or self._refuse()
        # With a limit, however long, the library says whether the age can be told. The
        # value is there in both cases.
        scratch, status = self._bytes(handle, _LONGEST)
        now = _nanoseconds_since_boot(_BOOT_CLOCK)
        if status != _NO_AGE:
            _check(status)
        stamp = scratch.stamp
        version, timestamp = stamp.version, stamp.time_ns
        age = None if status == _NO_AGE else max(now - timestamp, 0) / 1e9
        return Sample(self._decoded(handle, scratch), version, timestamp, age)

    def _value(self, handle: _Handle, max_age_ns: int) -> T:
        scratch, status = self._bytes(handle, max_age_ns)
        if status:
            _check(status)
        return self._decoded(handle, scratch)

    def _bytes(self, handle: _Handle, max_age_ns: int) -> Tuple[_Scratch, int]:
        """The bytes of the latest value, and what the library says about them."""
        scratch = handle.take_scratch()
        while True:
            status = handle.read(
                handle.pointer, scratch.address, scratch.capacity, max_age_ns, scratch.stamp_address
            )
            if status == _OK:
                return scratch, status
            if status == _INTERRUPTED:
                continue
            # Also with another status a sample is there, and the value may be cut.
            if status in (_BUFFER_TOO_SMALL, _NO_AGE) and scratch.stamp.length > scratch.capacity:
                capacity = min(handle.max_size, 2 * scratch.stamp.length)
                scratch = _Scratch(capacity, _Stamp())
                continue
            return scratch, status

    def _decoded(self, handle: _Handle, scratch: _Scratch) -> T:
        """What the bytes are. If that raises, nobody uses them again."""
        stamp = scratch.stamp
        encoding = stamp.encoding
        if encoding != self._encoding and encoding != _UNSPECIFIED:
            self._refuse_encoding(encoding)
        value: T = self._decode(scratch.view[: stamp.length], stamp, self._name)
        handle.scratches.append(scratch)
        return value

    def _refuse_encoding(self, found: int) -> NoReturn:
        name = _ENCODINGS.get(found, "number {}".format(found))
        expected = _ENCODINGS[self._encoding]
        hint = {
            _RAW: "; open it with the data_format that its writers use",
            _PICKLE: "; open it without data_format",
        }.get(found, "")
        text = "variable {!r}: the value is encoded as {}, and {} is what this handle reads{}"
        raise WrongEncoding(text.format(self._name, name, expected, hint))

    # ----------------------------------------------------------------- write

    def write(self, value: T) -> int:
        """Makes `value` the latest value, as assigning to `data` does. Returns its version.

        >>> pose.write({"x": 1.0})
        2

        Raises `TooLarge`, `NoFreeSlot`, `Contended`, `ReadOnly`, `TooManyParticipants`,
        `Retired`, `NameRemoved`, `Corrupt`, `Closed`; what ``pickle`` raises for an object
        that cannot be pickled; TypeError for a value that is not of the data_format. The
        value before stays then.
        """
        handle = self._handle or self._refuse()
        data, size = self._encode(value)
        stamp = _Stamp()
        _check(self._put(handle, None, data, size, ctypes.byref(stamp)))
        return int(stamp.version)

    def update(self, change: Callable[[T], T], *, default: Any = _MISSING) -> T:
        """Replaces the latest value by what `change` makes of it; no change is lost.

        `change` gets a copy of its own and returns the new value. It is called again, with
        the newer value, if somebody else has written meanwhile, so it should do nothing
        else. Returns the value that was written.

        >>> counter.update(lambda count: count + 1, default=0)
        1

        default
            What `change` gets as long as nobody has written, instead of `NeverWritten`.

        Raises what `data` and `write` do; `Contended` if others were faster a thousand
        times and for as long as `write_timeout`; TypeError if `change` returns None, which is a forgotten ``return``: to store
        None, use `write`. The value before stays then.
        """
        handle = self._handle or self._refuse()
        start = time.monotonic()
        attempts = 0
        while True:
            scratch, status = self._bytes(handle, _NO_LIMIT)
            if status == _NEVER_WRITTEN and default is not _MISSING:
                version, value = 0, default
            else:
                _check(status)
                version = scratch.stamp.version
                value = self._decoded(handle, scratch)
            changed = change(value)
            if changed is None:
                raise TypeError("change returned None: it has to return the new value")
            data, size = self._encode(changed)
            status = self._put(handle, version, data, size, None)
            if status != _CHANGED:
                _check(status)
                return changed
            attempts += 1
            if attempts >= _UPDATE_ATTEMPTS and self._write_timeout is not None:
                tried = time.monotonic() - start
                if tried >= self._write_timeout:
                    text = "variable {!r}: other processes were faster each of {} times, for {:.3g} s"
                    raise Contended(text.format(self._name, attempts, tried))

    def _put(
        self, handle: _Handle, replaces: Optional[int], data: Any, size: int, stamp: Any
    ) -> int:
        """Writes, if `replaces` is still the latest version (None: in any case), and tries
        again up to the write timeout while no slot is free. Returns the status."""
        pointer, encoding = handle.pointer, self._encoding
        if size <= _QUICK_SIZE:
            if replaces is None:
                status = _quick_write(pointer, data, size, encoding, 0, stamp)
            else:
                status = _quick_write_if(pointer, replaces, data, size, encoding, 0, stamp)
            if status not in _TRY_AGAIN:
                return status  # type: ignore[no-any-return]
        slices = _Slices(self._write_timeout)
        while True:
            time_ns = slices.next_ns()
            if replaces is None:
                status = _write(pointer, data, size, encoding, time_ns, stamp)
            else:
                status = _write_if(pointer, replaces, data, size, encoding, time_ns, stamp)
            is_over = slices.is_over()
            if status != _INTERRUPTED and (status not in _TRY_AGAIN or is_over):
                return status  # type: ignore[no-any-return]

    # ------------------------------------------------------------------ wait

    def wait(self, timeout: Optional[float] = None, *, since: Optional[int] = None) -> T:
        """The next value: waits until somebody has written after this call began.

        >>> pose.wait(timeout=1.0)
        {'x': 2.0}

        timeout
            For how long, in seconds; None for as long as it takes. Ctrl-C always interrupts.
        since
            A version: waits until the latest one is another, which may be at once. So
            nothing is missed between two calls:

            >>> sample = pose.sample()
            >>> while True:
            ...     pose.wait(since=sample.version)
            ...     sample = pose.sample()

        Raises `TimedOut` (a TimeoutError), `Retired` if the variable is removed meanwhile,
        `NameRemoved`, within two seconds, if its file is; and what reading `data` does.
        """
        handle = self._handle or self._refuse()
        if timeout is not None:
            _nanoseconds(timeout, "timeout")
        slices = _Slices(timeout)
        since = self.version if since is None else _integer(since, "since")
        while True:
            status = _wait(handle.pointer, since, slices.next_ns(), None)
            if status == _OK:
                return self._value(handle, _NO_LIMIT)
            if status not in (_TIMED_OUT, _INTERRUPTED):
                _check(status)
            if self._handle is not handle:
                self._refuse()
            if slices.is_over():
                text = "variable {!r}: nothing was written within {} s"
                raise TimedOut(text.format(self._name, timeout))

    # --------------------------------------------------- about the latest value

    @property
    def version(self) -> int:
        """How many values have been written: 0 before the first, then one more per write.

        Raises `Retired`, `Corrupt`, `Closed`.
        """
        version = ctypes.c_uint64()
        handle = self._open_handle()  # keeps it: another thread may close meanwhile
        _check(_version(handle.pointer, ctypes.byref(version)))
        return version.value

    @property
    def timestamp(self) -> int:
        """When the latest value was written: nanoseconds since boot, comparable with
        ``time.clock_gettime_ns(time.CLOCK_BOOTTIME)``. 0 if its writer has no clock.

        Raises `NeverWritten`, `Retired`, `Corrupt`, `Closed`.
        """
        stamp = _Stamp()
        handle = self._open_handle()  # keeps it: another thread may close meanwhile
        _check(_latest(handle.pointer, ctypes.byref(stamp)))
        return int(stamp.time_ns)

    @property
    def age(self) -> float:
        """How long ago the latest value was written, in seconds.

        Raises `NoAge` if that cannot be told, and what `timestamp` does.
        """
        age_ns = ctypes.c_uint64()
        handle = self._open_handle()  # keeps it: another thread may close meanwhile
        _check(_age(handle.pointer, ctypes.byref(age_ns)))
        return age_ns.value / 1e9

    # --------------------------------------------------------------- the end

    def close(self) -> None:
        """Lets go of the variable; it and its value stay. Every use of the handle raises
        `Closed` from then on. Closing twice is fine.

        >>> with HostVariable("pose") as pose:
        ...     pose.data = {"x": 1.0}
        """
        self._handle = None

    def unlink(self) -> None:
        """Removes the variable from the machine.

        Its value is gone, and every handle on it, in all processes and this one too, raises
        `Retired` from then on. Whoever opens the name gets a new variable.

        >>> HostVariable("pose").unlink()

        Raises `ReadOnly`, `PermissionDenied`, `Retired` if it was removed already,
        `NameRemoved`, `Closed`; `BeingRemoved` if somebody else is removing it and has not
        finished after 1 s.
        """
        handle = self._open_handle()  # keeps it: another thread may close meanwhile
        _unlink(_remove, handle.pointer)

    def __enter__(self) -> "HostVariable[T]":
        self._open_handle()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> Tuple[Any, ...]:
        self._open_handle()
        return _open_again, (type(self), self._name, self._options)

    def _open_handle(self) -> _Handle:
        return self._handle or self._refuse()

    def _refuse(self) -> NoReturn:
        raise Closed("variable {!r}: this handle was closed".format(self._name))
