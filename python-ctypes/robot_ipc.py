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
    <Call of 'divide': under way>
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
    .exclusive_writer()   becomes the only writer
    .wait(timeout)        the next value
    .version  .timestamp  .age              of the latest value
    .name  .max_size  .slots  .read_only    of the variable and this handle
    .close()              lets go of the variable; its value stays. Also: ``with``
    .unlink()             removes the variable from the machine

Sample                  what ``sample()`` returns

ExclusiveWriter         what ``exclusive_writer()`` returns

    .data                 as of the variable
    .write(value)         as assigning, and returns the version
    .close()              lets others write again. Also: ``with``

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

survive_truncation()    a file that is cut short while in use raises, and does not kill

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
     ├── Exclusive                              somebody is the variable's only writer
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
     ├── Truncated                              its file was cut; see survive_truncation
     ├── BeingRemoved                           somebody is removing it, and hangs
     ├── Corrupt                                words in memory contradict each other
     ├── Closed (ValueError)                    this handle was closed
     ├── SystemFailure (OSError)                the system refused
     └── InternalError                          a fault in the library; please report it

A value that cannot be pickled raises what ``pickle`` raises. Whenever a write raises,
the value before it stays; whenever ``caller(...)`` raises, nothing was sent.

What functions raise is logged in the process that runs them, by ``logging``, under the
name ``robot_ipc``.

Environment
-----------
ROBOT_IPC_LIBRARY       the library to load, and no other
ROBOT_IPC_NAMESPACE     keeps robots, or tests, apart; "default" unless set
ROBOT_IPC_DIR           the folder of the shared memory; /dev/shm unless set
ROBOT_IPC_MODE, ROBOT_IPC_GROUP     mode and group of handles that ask for none
ROBOT_IPC_MEMORY        "prefaulted": all pages are there when a handle is open, so that no
                        page fault comes later; "locked": and they stay (`ulimit -l`)

Processes and threads
---------------------
Many threads may use one handle at once. Variables and callers work in a forked child, and
can be pickled, by their names, to be sent to a process that ``multiprocessing`` starts in
another way. A dispatcher, an exclusive writer, and a call under way stay with the process that
made them.
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
    "Exclusive",
    "ExclusiveWriter",
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
    "Truncated",
    "TunnelFull",
    "UnfetchedResponses",
    "VersionMismatch",
    "WouldDeadlock",
    "WrongEncoding",
    "build_id",
    "survive_truncation",
]

T = TypeVar("T")
_Default = TypeVar("_Default")
_Struct = TypeVar("_Struct", bound=ctypes.Structure)
_Foo = TypeVar("_Foo", bound=Callable[..., Any])
_Format = Union[Type[ctypes.Structure], Type[bytes]]

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


class Exclusive(RobotIpcError):
    """A process, maybe this one, is the variable's only writer; the text says which.

    Nobody else can write until that closes its `ExclusiveWriter`, or ends.
    """


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
    """The dispatcher, exclusive writer or call belongs to the process that this one was
    forked from."""


class Retired(RobotIpcError):
    """The variable or function was removed while it was open. Open it again.

    A call that was under way may or may not have run.
    """


class NameRemoved(RobotIpcError):
    """Its file was removed or replaced behind its back. Open it again."""


class Truncated(RobotIpcError):
    """The file of the variable or function was cut short while it was open; the text says to
    what. Raised only after ``survive_truncation()``, by whatever uses it from then on; it can
    only be removed and made anew.
    """


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


def survive_truncation() -> None:
    """From now on this process survives that the file of a variable or function which it has
    open is cut short, and `Truncated` is raised instead. Without this the process is ended by
    SIGBUS as soon as it touches what is gone.

    It handles SIGBUS for the whole process; a SIGBUS that does not come from such a file goes
    to whoever handled it before. Call it once and early, but after ``faulthandler.enable()``,
    which else reports each such file as a fatal error first; calling it again changes nothing.
    It does not help threads that block SIGBUS. Forked children inherit it, processes that
    ``multiprocessing`` starts in another way do not.

    >>> pose = HostVariable("pose")
    >>> survive_truncation()                    # and then somebody does: > /dev/shm/...pose
    >>> pose.data
    Traceback (most recent call last):
    robot_ipc.Truncated: variable 'pose': its file was truncated while it was in use, ...

    Raises `SystemFailure`.
    """
    _check(_survive_truncation())


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
        ("memory", ctypes.c_uint32),
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


class _LoanStruct(ctypes.Structure):
    _fields_ = [("opaque", ctypes.c_uint64 * 12)]


class _PreparedRead(ctypes.Structure):
    _fields_ = [
        ("variable", ctypes.c_void_p),
        ("buffer", ctypes.c_void_p),
        ("capacity", ctypes.c_uint64),
        ("max_age_ns", ctypes.c_int64),
        ("encoding", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("sample", _Stamp),
    ]


class _PreparedWrite(ctypes.Structure):
    _fields_ = [
        ("variable", ctypes.c_void_p),
        ("timeout_ns", ctypes.c_int64),
        ("encoding", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class _PreparedWriter(ctypes.Structure):
    _fields_ = [
        ("writer", ctypes.c_void_p),
        ("timeout_ns", ctypes.c_int64),
        ("encoding", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
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
        ("memory", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
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


class _PreparedCall(ctypes.Structure):
    _fields_ = [
        ("caller", ctypes.c_void_p),
        ("buffer", ctypes.c_void_p),
        ("capacity", ctypes.c_uint64),
        ("timeout_ns", ctypes.c_int64),
        ("encoding", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("response", _Response),
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
_WRONG_ENCODING = 8
_NO_FREE_SLOT = 9
_CONTENDED = 10
_CORRUPT = 21
_RETIRED = 22
_NAME_REMOVED = 23
_BEING_REMOVED = 24
_NO_AGE = 27
_BAD_ARGUMENT = 29
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
_TRUNCATED = 46
_EXCLUSIVE = 47

# How far a call is, what became of one that was given up, and how one ended.
_ENDED = 2
_NEVER_STARTED, _HAD_ENDED = 0, 2
_REPLY_RETURNED, _REPLY_RAISED, _REPLY_NOTHING = 0, 1, 2

# After these a write may succeed a moment later.
_TRY_AGAIN = (_INTERRUPTED, _NO_FREE_SLOT, _CONTENDED)

# What a status is raised as; whatever is not here is an InternalError.
_ERRORS: Dict[int, Type[RobotIpcError]] = {
    _NEVER_WRITTEN: NeverWritten,
    _TIMED_OUT: TimedOut,
    5: TooOld,
    7: TooLarge,
    _WRONG_ENCODING: WrongEncoding,
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
    _TRUNCATED: Truncated,
    _EXCLUSIVE: Exclusive,
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
        _TRUNCATED,
    )
)


# With these a wait for a response has not ended.
_ASK_AGAIN = (_TIMED_OUT, _INTERRUPTED, _BUFFER_TOO_SMALL)
# With these a dispatcher goes on, and with these it does without one of its functions.
_GO_ON = (_OK, _TIMED_OUT, _INTERRUPTED)
_FUNCTION_GONE = (_RETIRED, _NAME_REMOVED, _CORRUPT, _TRUNCATED)


def _bind(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(library, name)
    function.restype = result
    function.argtypes = arguments
    return function


def _bind_plainly(library: ctypes.CDLL, name: str) -> Any:
    """Without a word on its arguments: ctypes converts each one that it was told of, which
    takes longer than most of these functions. To be called with instances of ctypes, with
    bytes and None for pointers, and with numbers where C has an ``int``; returns one."""
    return getattr(library, name)


_pointer, _size, _status = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int32
_u32, _u64, _i64, _chars = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int64, ctypes.c_char_p
_write_arguments = (_pointer, _pointer, _size, _u32, _i64, _pointer)
_write_if_arguments = (_pointer, _u64, _pointer, _size, _u32, _i64, _pointer)

_bind(_library, "ripc_build_id", _chars)
_survive_truncation = _bind(_library, "ripc_survive_truncation", _status)
_last_error = _bind(_library, "ripc_last_error", _chars)
_options_init = _bind(_library, "ripc_variable_options_init", None, _pointer)
_variable_open = _bind(_library, "ripc_variable_open", _status, _chars, _pointer, _pointer)
_variable_free = _bind(_library, "ripc_variable_free", None, _pointer)
_get_info = _bind(_library, "ripc_variable_get_info", _status, _pointer, _pointer)
_write = _bind(_library, "ripc_variable_write", _status, *_write_arguments)
_write_if = _bind(_library, "ripc_variable_write_if", _status, *_write_if_arguments)
_read = _bind_plainly(_library, "ripc_read_prepared")
_wait = _bind(_library, "ripc_variable_wait", _status, _pointer, _u64, _i64, _pointer)
_remove = _bind(_library, "ripc_variable_remove", _status, _pointer, _i64)
_loan = _bind(_library, "ripc_variable_loan", _status, _pointer, _pointer, _pointer, _pointer)
_loan_publish = _bind(_library, "ripc_loan_publish", _status, _pointer, _size, _u32, _pointer)
_loan_free = _bind(_library, "ripc_loan_free", None, _pointer)
_lead = _bind(_library, "ripc_variable_lead", _status, _pointer, _u32, _i64, _pointer)
_writer_write = _bind(_library, "ripc_writer_write", _status, *_write_arguments)
_writer_free = _bind(_library, "ripc_writer_free", None, _pointer)
_quick_writer_write = _bind(_quick_library, "ripc_writer_write", _status, *_write_arguments)
_quick_writer_assign = _bind_plainly(_quick_library, "ripc_writer_write_prepared")
_quick_write = _bind(_quick_library, "ripc_variable_write", _status, *_write_arguments)
_quick_write_if = _bind(_quick_library, "ripc_variable_write_if", _status, *_write_if_arguments)
_quick_read = _bind_plainly(_quick_library, "ripc_read_prepared")
_quick_assign = _bind_plainly(_quick_library, "ripc_write_prepared")
_latest = _bind(_quick_library, "ripc_variable_latest", _status, _pointer, _pointer)
_version = _bind(_quick_library, "ripc_variable_version", _status, _pointer, _pointer)
_age = _bind(_quick_library, "ripc_variable_age", _status, _pointer, _pointer)

_call_arguments = (_pointer, _pointer, _size, _u32, _i64, _pointer)
_next_response_arguments = (_pointer, _pointer, _size, _i64, _pointer)
_response_of_arguments = (_pointer, _u64, _pointer, _size, _i64, _pointer)

_function_options_init = _bind(_library, "ripc_function_options_init", None, _pointer)
_caller_open = _bind(_library, "ripc_caller_open", _status, _chars, _pointer, _pointer)
_caller_free = _bind(_library, "ripc_caller_free", None, _pointer)
_caller_get_info = _bind(_library, "ripc_caller_get_info", _status, _pointer, _pointer)
_caller_remove = _bind(_library, "ripc_caller_remove", _status, _pointer, _i64)
_call = _bind(_library, "ripc_caller_call", _status, *_call_arguments)
_quick_call = _bind(_quick_library, "ripc_caller_call", _status, *_call_arguments)
_call_and_wait = _bind_plainly(_library, "ripc_call_prepared")
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
_withdraw_all = _bind(_quick_library, "ripc_caller_withdraw_all", _status, _pointer)

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
_next_call = _bind_plainly(_library, "ripc_dispatcher_next_call")
_reply = _bind(
    _library, "ripc_dispatcher_reply", _status, _pointer, _u32, _pointer, _size, _u32
)
_quick_reply = _bind_plainly(_quick_library, "ripc_dispatcher_reply")


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

# If the value before had so many bytes, the next one is pickled into its slot at once: with
# less, what goes on around it would take longer than the copy that this saves.
_IN_PLACE_SIZE = 1 << 18

# A signal that arrives just before a system call does not interrupt it, so nothing
# waits in the library for longer than this, in seconds. Between two slices Python runs
# signal handlers. Whoever has waited for a while gets longer slices: they cost a core
# less than a thousandth of its time.
_SLICE = 0.05
_SLICE_NS = 50_000_000
_LONG_SLICE = 0.25
_A_WHILE = 1.0

# A coroutine that waits for a response looks for it so often, at least, in seconds.
_AWAIT_SLICE = 0.01

# So many outcomes wait for their numbers to become known: many more than there are cells.
_EARLY_COUNT = 1024

# A thread whose response another one fetched waits in such steps for it to be written
# down, in seconds.
_RECORDING_SLICE = 0.0005

# So does one that another thread keeps from using an exclusive writer.
_BUSY_SLICE = 0.0005

# A dispatcher's thread runs no signal handlers, and whoever stops it wakes it.
_SERVING_SLICE_NS = 10**9

# For how long a function that is running may hold up the end of the interpreter, in seconds.
_EXIT_PATIENCE = 0.5

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

_dumps, _loads = pickle.dumps, pickle.loads
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
        data = _dumps(value, _PROTOCOL)
        return data, len(data)

    # What the bytes of a view are; they may be overwritten afterwards.
    load = staticmethod(_loads)

    def cannot_load(self, what: str, size: int, error: Exception) -> RobotIpcError:
        """What to raise if that raises."""
        text = "{} ({} bytes) cannot be unpickled here: {}: {}"
        return CannotUnpickle(text.format(what, size, type(error).__name__, error))


class _RawCodec:
    """Instances of one ctypes.Structure, as they lie in memory."""

    encoding = _RAW

    def __init__(self, data_format: Any, option: str, of: str) -> None:
        if not (isinstance(data_format, type) and issubclass(data_format, ctypes.Structure)):
            text = "{} has to be a subclass of ctypes.Structure, or bytes, not {!r}"
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

    def load(self, view: Union[bytes, memoryview]) -> Any:
        if len(view) != self.size:
            raise ValueError("another number of bytes")
        return self.data_format.from_buffer_copy(view)

    def cannot_load(self, what: str, size: int, error: Exception) -> RobotIpcError:
        text = "{} has {} bytes, and {} has {}"
        return SizeMismatch(text.format(what, size, self.name, self.size))


class _BytesCodec:
    """Bytes as they are."""

    encoding = _RAW
    name = "bytes"

    def encode(self, value: Any) -> Tuple[Any, int]:
        data = value if type(value) is bytes else memoryview(value).tobytes()
        return data, len(data)

    load = bytes

    def cannot_load(self, what: str, size: int, error: Exception) -> RobotIpcError:
        return InternalError("{} ({} bytes) cannot be copied: {}".format(what, size, error))


_Codec = Union[_PickleCodec, _RawCodec, _BytesCodec]


def _codec(data_format: Any, option: str, of: str) -> _Codec:
    """The codec that an option such as data_format asks for."""
    if data_format is None:
        return _PickleCodec()
    if data_format is bytes:
        return _BytesCodec()
    return _RawCodec(data_format, option, of)


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


# Where one read puts its bytes, and what stands beside them: which function reads, with
# which argument; the stamp; the length of the last value and the view on it, which mostly
# are those of the next one, too; the buffer, and the struct that the argument leads to.
# Whoever takes it has it alone, also against signal handlers and against unpickling that
# reads another variable. A plain list: nothing is taken apart faster.
_Scratch = List[Any]


def _new_buffer(capacity: int, prepared: Any) -> memoryview:
    """A buffer for what C finds. It stays where it is as long as there is a view on it."""
    buffer = bytearray(capacity)
    view = memoryview(buffer)
    prepared.buffer = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    prepared.capacity = capacity
    return view


class _CallScratch:
    """Where one call puts its response, and what stands beside it. Whoever takes it has it
    alone. It is not used after the handle it was made for."""

    __slots__ = (
        "capacity",
        "view",
        "prepared",
        "reference",
        "address",
        "stamp",
        "stamp_address",
        "__weakref__",
    )

    def __init__(self, handle: "_CallerHandle", capacity: int) -> None:
        self.prepared = prepared = _PreparedCall(
            caller=handle.pointer, timeout_ns=_SLICE_NS, encoding=handle.encoding
        )
        self.capacity = capacity
        self.view = _new_buffer(capacity, prepared)
        self.reference = ctypes.byref(prepared)
        self.address = prepared.buffer
        self.stamp = prepared.response
        self.stamp_address = ctypes.byref(self.stamp)


def _again_if_interrupted(function: Any, *arguments: Any) -> None:
    """Calls the library until no signal comes in between, and checks the status."""
    status = _INTERRUPTED
    while status == _INTERRUPTED:
        status = function(*arguments)
    _check(status)


class _Handle:
    """An open variable of the library's. Every call keeps a reference to it meanwhile,
    so that closing in one thread frees nothing that another one is using."""

    __slots__ = (
        "pointer",
        "encoding",
        "max_size",
        "slots",
        "read_only",
        "assigning",
        "is_large",
        "scratches",
    )

    def __init__(self, name: bytes, options: _Options, encoding: int) -> None:
        self.encoding = encoding
        self.pointer = ctypes.c_void_p()
        _again_if_interrupted(
            _variable_open, name, ctypes.byref(options), ctypes.byref(self.pointer)
        )
        info = _Info()
        _check(_get_info(self.pointer, ctypes.byref(info)))
        self.max_size: int = info.max_size
        self.slots: int = info.slots
        self.read_only = bool(info.read_only)
        # All threads use it: nothing changes it.
        self.assigning = ctypes.byref(_PreparedWrite(self.pointer, 0, encoding))
        # Whether the last value that was pickled was one for `_InPlace`.
        self.is_large = False
        # Not in use at the moment; as many as there were reads at the same time.
        self.scratches: List[_Scratch] = []

    def __del__(self, free: Any = _variable_free) -> None:
        if self.pointer:
            free(self.pointer)

    def new_scratch(self, size: int = _QUICK_SIZE) -> _Scratch:
        capacity = min(self.max_size, size)
        prepared = _PreparedRead(
            variable=self.pointer, max_age_ns=_NO_LIMIT, encoding=self.encoding
        )
        view = _new_buffer(capacity, prepared)
        read = _quick_read if capacity <= _QUICK_SIZE else _read
        return [read, ctypes.byref(prepared), prepared.sample, 0, view[:0], view, prepared]


class _DoesNotFit(Exception):
    """A value has more bytes than a slot."""


class _InPlace:
    """A slot that one value is pickled into: saves memory for all of its bytes, and copying
    them once more. Whatever happens, the slot is given back when this is collected."""

    __slots__ = ("_loan", "_address", "_view", "size")

    def __init__(self) -> None:
        self._loan = _LoanStruct()
        self._address = 0
        self._view = memoryview(b"")
        self.size = 0

    def __del__(self, free: Any = _loan_free, byref: Any = ctypes.byref) -> None:
        free(byref(self._loan))

    def take(self, pointer: ctypes.c_void_p) -> bool:
        """Whether there is a slot; else the ordinary way says why not."""
        data, capacity = ctypes.c_void_p(), ctypes.c_size_t()
        places = ctypes.byref(data), ctypes.byref(capacity)
        if _loan(pointer, ctypes.byref(self._loan), *places):
            return False
        self._address = data.value or 0
        slot = (ctypes.c_char * capacity.value).from_address(self._address)
        self._view = memoryview(slot).cast("B")
        return True

    def write(self, data: Any) -> int:
        """What the pickler has: bytes, or a large buffer, which it hands on as it is."""
        chunk = data.raw() if isinstance(data, pickle.PickleBuffer) else memoryview(data)
        start, end = self.size, self.size + len(chunk)
        if end > len(self._view):
            raise _DoesNotFit
        if len(chunk) <= _QUICK_SIZE or chunk.readonly:
            self._view[start:end] = chunk
        else:  # lets go of the interpreter's lock
            source = ctypes.addressof(ctypes.c_char.from_buffer(chunk))
            ctypes.memmove(self._address + start, source, len(chunk))
        self.size = end
        return len(chunk)

    def publish(self, stamp: Any) -> int:
        self._view = memoryview(b"")
        status: int = _loan_publish(ctypes.byref(self._loan), self.size, _PICKLE, stamp)
        return status


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
        as C, C++ and Rust see it, padding included. Values are instances of that class.
        Or ``bytes``: what is written, and read, are bytes as they are, of any length up to
        `max_size`, whatever they mean. Values are ``bytes``; whatever has a buffer, such as
        a ``bytearray``, can be written, too:

        >>> image = HostVariable("image", 1 << 20, data_format=bytes)
        >>> image.data = bytearray(b"P5 1 1 255 ") + b"\\x7f"
        >>> image.data
        b'P5 1 1 255 \\x7f'

        Both are told apart from pickles: reading the one as the other is `WrongEncoding`.
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
        "_load",
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

    @overload
    def __init__(
        self: "HostVariable[bytes]",
        name: str,
        max_size: Optional[int] = ...,
        *,
        slots: Optional[int] = ...,
        mode: Optional[int] = ...,
        group: Union[str, int, None] = ...,
        read_only: bool = ...,
        data_format: Type[bytes],
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
        data_format: Optional[_Format] = None,
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
        self._codec = _codec(data_format, "data_format", "the variable takes")
        if isinstance(self._codec, _RawCodec) and isinstance(max_size, _NotGiven):
            max_size = self._codec.size
        self._encoding = self._codec.encoding
        self._load: Callable[[memoryview], Any] = self._codec.load
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
        options.write_timeout_ns = 0  # whatever may wait here is told for how long
        _fill_place(options, mode, group, directory, namespace)
        self._check_fits(max_size)
        handle = _Handle(_name_bytes(name, "variable"), options, self._encoding)
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
        scratches = handle.scratches
        try:
            scratch = scratches.pop()
        except IndexError:
            scratch = handle.new_scratch()
        read, reference, stamp, length, part, view, _ = scratch
        if read(reference):
            scratches.append(scratch)
            return self._value(handle, _NO_LIMIT)
        if stamp.length != length:
            scratch[3] = stamp.length
            scratch[4] = part = view[: stamp.length]
        try:
            value: T = self._load(part)
        except Exception as error:
            raise self._cannot_load(stamp, error) from error
        scratches.append(scratch)
        return value

    @data.setter
    def data(self, value: T) -> None:
        handle = self._handle or self._refuse()
        if self._encoding == _PICKLE:
            if handle.is_large and self._write_in_place(handle, value, None):
                return
            data = _dumps(value, _PROTOCOL)
            size = len(data)
        else:
            data, size = self._codec.encode(value)
        if size > _QUICK_SIZE or _quick_assign(handle.assigning, data, size):
            _check(self._put(handle, None, data, size, None))

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
        stamp = scratch[2]
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
        try:
            scratch = handle.scratches.pop()
        except IndexError:
            scratch = handle.new_scratch()
        while True:
            read, reference, stamp, _, _, view, prepared = scratch
            prepared.max_age_ns = max_age_ns
            status = read(reference)
            prepared.max_age_ns = _NO_LIMIT
            if status == _OK or status == _WRONG_ENCODING:  # `_decoded` says which
                return scratch, _OK
            if status == _INTERRUPTED:
                continue
            # Also with another status a sample is there, and the value may be cut.
            if status in (_BUFFER_TOO_SMALL, _NO_AGE) and stamp.length > len(view):
                scratch = handle.new_scratch(2 * stamp.length)
                continue
            return scratch, status

    def _decoded(self, handle: _Handle, scratch: _Scratch) -> T:
        """What the bytes are. If that raises, nobody uses them again."""
        _, _, stamp, _, _, view, _ = scratch
        encoding = stamp.encoding
        if encoding != self._encoding and encoding != _UNSPECIFIED:
            self._refuse_encoding(encoding)
        try:
            value: T = self._load(view[: stamp.length])
        except Exception as error:
            raise self._cannot_load(stamp, error) from error
        handle.scratches.append(scratch)
        return value

    def _cannot_load(self, stamp: _Stamp, error: Exception) -> RobotIpcError:
        what = "variable {!r}: version {}".format(self._name, stamp.version)
        return self._codec.cannot_load(what, stamp.length, error)

    def _refuse_encoding(self, found: int) -> NoReturn:
        name = _ENCODINGS.get(found, "number {}".format(found))
        expected = _ENCODINGS[self._encoding]
        hint = {
            _RAW: "; open it with the data_format that its writers use, or with bytes",
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
        stamp = _Stamp()
        if not (handle.is_large and self._write_in_place(handle, value, ctypes.byref(stamp))):
            data, size = self._codec.encode(value)
            _check(self._put(handle, None, data, size, ctypes.byref(stamp)))
        return int(stamp.version)

    def _write_in_place(self, handle: _Handle, value: T, stamp: Any) -> bool:
        """Pickles a value into its slot. Whether it did: where that is no use, the ordinary
        way does it, or says why it cannot."""
        handle.is_large = False
        slot = _InPlace()
        if not slot.take(handle.pointer):
            return False
        try:
            pickle.Pickler(slot, _PROTOCOL).dump(value)
        except _DoesNotFit:
            return False
        _check(slot.publish(stamp))
        handle.is_large = slot.size >= _IN_PLACE_SIZE
        return True

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
        times and for as long as `write_timeout`; TypeError if `change` returns None, which
        is a forgotten ``return``: to store None, use `write`. The value before stays then.
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
                version = scratch[2].version
                value = self._decoded(handle, scratch)
            changed = change(value)
            if changed is None:
                raise TypeError("change returned None: it has to return the new value")
            data, size = self._codec.encode(changed)
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
        handle.is_large = size >= _IN_PLACE_SIZE and encoding == _PICKLE
        if size <= _QUICK_SIZE:
            if replaces is None:
                status = _quick_write(pointer, data, size, encoding, 0, stamp)
            else:
                status = _quick_write_if(pointer, replaces, data, size, encoding, 0, stamp)
            if status not in _TRY_AGAIN:
                return status  # type: ignore[no-any-return]
        if replaces is None:
            return self._try_patiently(_write, (pointer, data, size, encoding), stamp)
        return self._try_patiently(_write_if, (pointer, replaces, data, size, encoding), stamp)

    def _try_patiently(self, function: Any, arguments: Tuple[Any, ...], result: Any) -> int:
        """Calls a function that gets a time limit, until it succeeds or the write timeout is
        over. Returns the status."""
        slices = _Slices(self._write_timeout)
        while True:
            status: int = function(*arguments, slices.next_ns(), result)
            is_over = slices.is_over()
            if status == _BUSY:  # another thread will be done soon, and that is what counts
                time.sleep(_BUSY_SLICE)
            elif status != _INTERRUPTED and (status not in _TRY_AGAIN or is_over):
                return status

    def exclusive_writer(self, timestamps: bool = True) -> "ExclusiveWriter[T]":
        """Becomes the only writer of the variable, until the result is closed or this process
        ends. All other writes raise `Exclusive` then, those through this handle too; reading
        goes on as before.

        For a value that one loop writes, and nobody else shall:

        >>> with pose.exclusive_writer() as writer:
        ...     writer.data = {"x": 1.0}
        ...     pose.data = {"x": 2.0}             # somebody else's mistake
        Traceback (most recent call last):
        robot_ipc.Exclusive: variable 'pose': process 4711 is its exclusive writer; ...

        timestamps
            False: its values carry no time, and no clock is asked. Their age raises `NoAge`.

        Raises `Exclusive` if there is one already, which a dead one is not; `NoFreeSlot` if
        somebody was writing all through ``write_timeout``; and what `write` does.
        """
        return ExclusiveWriter(self, timestamps)

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


class _WriterHandle:
    """An exclusive writer of the library's."""

    __slots__ = ("pointer", "assigning")

    def __init__(self, variable: "HostVariable[Any]", timestamps: bool) -> None:
        self.pointer = ctypes.c_void_p()
        handle = variable._open_handle()  # keeps it: another thread may close meanwhile
        arguments = (handle.pointer, 0 if timestamps else 1)
        _check(variable._try_patiently(_lead, arguments, ctypes.byref(self.pointer)))
        # All threads use it: nothing changes it.
        self.assigning = ctypes.byref(_PreparedWriter(self.pointer, 0, variable._encoding))

    def __del__(self, free: Any = _writer_free) -> None:
        if self.pointer:  # in a forked child that lets go of nothing
            free(self.pointer)


class ExclusiveWriter(Generic[T]):
    """The only writer of a variable, until it is closed, or collected, or its process ends;
    made by `HostVariable.exclusive_writer`.

    >>> with pose.exclusive_writer() as writer:
    ...     writer.data = {"x": 1.0}

    Many threads may use it at once. A forked child cannot, and lets go of nothing. It does not
    need the handle that it was made by to stay open, but to read `data`.
    """

    __slots__ = ("_variable", "_encode", "_encoding", "_handle", "__weakref__")

    def __init__(self, variable: HostVariable[T], timestamps: bool = True) -> None:
        self._variable = variable
        self._encode = variable._codec.encode
        self._encoding = variable._encoding
        self._handle: Optional[_WriterHandle] = None
        self._handle = _WriterHandle(variable, timestamps)

    @property
    def data(self) -> T:
        """The latest value, as `HostVariable.data` gives it. Assigning makes a value the latest
        one, and raises what `write` does.

        >>> writer.data = {"x": 1.0}
        """
        return self._variable.data

    @data.setter
    def data(self, value: T) -> None:
        handle = self._handle or self._refuse()
        try:
            if self._encoding == _PICKLE:  # as in `HostVariable.data`: the quickest way
                data = _dumps(value, _PROTOCOL)
                size = len(data)
            else:
                data, size = self._encode(value)
            if size > _QUICK_SIZE or _quick_writer_assign(handle.assigning, data, size):
                _check(self._put(data, size, None))
        finally:
            # With a traceback it would outlive `close`, and others could not write.
            del handle

    def write(self, value: T) -> int:
        """Makes `value` the latest value, as assigning to `data` does. Returns its version.

        >>> writer.write({"x": 1.0})
        2

        Raises `TooLarge`, `NoFreeSlot`, `Retired`, `Corrupt`, `Forked`, `Closed`; what
        ``pickle`` raises for an object that cannot be pickled; TypeError for a value that is
        not of the data_format. The value before stays then.
        """
        data, size = self._encode(value)
        stamp = _Stamp()
        _check(self._put(data, size, ctypes.byref(stamp)))
        return int(stamp.version)

    def _put(self, data: Any, size: int, stamp: Any) -> int:
        handle = self._handle or self._refuse()
        try:
            pointer, encoding = handle.pointer, self._encoding
            if size <= _QUICK_SIZE:
                status: int = _quick_writer_write(pointer, data, size, encoding, 0, stamp)
                if status != _BUSY and status not in _TRY_AGAIN:
                    return status
            arguments = (pointer, data, size, encoding)
            return self._variable._try_patiently(_writer_write, arguments, stamp)
        finally:
            del handle  # as in `data`

    def close(self) -> None:
        """Lets others write again; the value stays. Every write raises `Closed` from then on.
        Closing twice is fine, and closing in a forked child does nothing to its parent. A write
        that another thread is at ends first.
        """
        self._handle = None

    def __repr__(self) -> str:
        state = ": closed" if self._handle is None else ""
        return "<ExclusiveWriter of {!r}{}>".format(self._variable.name, state)

    def __enter__(self) -> "ExclusiveWriter[T]":
        if self._handle is None:
            self._refuse()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("an exclusive writer stays in its process, and cannot be pickled")

    def _refuse(self) -> NoReturn:
        text = "variable {!r}: this exclusive writer was closed"
        raise Closed(text.format(self._variable.name))


# ------------------------------------------------------------------- calling functions


class _CallerHandle:
    """An open function of the library's. As for variables, every call keeps a reference
    to it meanwhile."""

    __slots__ = (
        "pointer",
        "encoding",
        "max_sz_args",
        "max_sz_ret",
        "cells",
        "lost_calls",
        "scratches",
        "exchanges",
        "all_exchanges",
    )

    def __init__(self, name: bytes, options: _FunctionOptions, encoding: int) -> None:
        self.encoding = encoding
        self.pointer = ctypes.c_void_p()
        _again_if_interrupted(
            _caller_open, name, ctypes.byref(options), ctypes.byref(self.pointer)
        )
        info = _FunctionInfo()
        _check(_caller_get_info(self.pointer, ctypes.byref(info)))
        self.max_sz_args: int = info.max_argument_size
        self.max_sz_ret: int = info.max_response_size
        self.cells: int = info.cells
        self.lost_calls: int = info.lost_calls
        self.scratches: List[_CallScratch] = []
        self.forget_other_threads()

    def __del__(self, free: Any = _caller_free) -> None:
        if self.pointer:
            free(self.pointer)

    def forget_other_threads(self) -> None:
        # Those that calls use for both their steps, and of them those that none uses now.
        self.all_exchanges: "weakref.WeakSet[_CallScratch]" = weakref.WeakSet()
        self.exchanges: List[_CallScratch] = []

    def take_scratch(self) -> _CallScratch:
        try:
            return self.scratches.pop()
        except IndexError:
            return _CallScratch(self, min(self.max_sz_ret, _QUICK_SIZE) or 1)

    def new_exchange(self) -> _CallScratch:
        exchange = _CallScratch(self, min(self.max_sz_ret, _QUICK_SIZE))
        self.all_exchanges.add(exchange)
        return exchange

    def is_exchanging(self) -> bool:
        """Whether some thread is just sending a call whose number only the library knows."""
        return len(self.all_exchanges) > len(self.exchanges)


class _Outcome:
    """How a call ended. Whoever asks for its response again gets the same."""

    __slots__ = ("status", "has_value", "encoding", "data", "text", "value", "is_decoded")

    def __init__(
        self,
        status: int,
        text: str = "",
        has_value: bool = False,
        encoding: int = _UNSPECIFIED,
        data: Union[bytes, memoryview] = b"",
    ) -> None:
        self.status = status
        self.text = text
        self.has_value = has_value
        self.encoding = encoding
        self.data = data
        self.value: Any = None
        self.is_decoded = False


# How calls end that bring no response.
_NOTHING = _Outcome(_OK)


class _Busy:
    """A thread that is in the middle of something. A set knows it by a weak reference, so
    that it is over when the function is left in whatever way, a second Ctrl-C included."""

    __slots__ = ("thread", "__weakref__")

    def __init__(self) -> None:
        self.thread = threading.get_ident()

    def join(self, others: "Set[weakref.ref[_Busy]]") -> None:
        others.add(weakref.ref(self, others.discard))


class Call(Generic[T]):
    """One call of a host function, as ``caller(...)`` returns it.

    >>> handle = divide(1, 4)
    >>> handle.result(timeout=1.0)
    0.25

    Nobody has to keep it: `HostFunctionCaller.get_response` brings the response, too. In
    a coroutine ``await handle`` waits for the response; if the coroutine is cancelled, so
    is the call.
    """

    __slots__ = ("_caller", "_number", "_outcome", "__weakref__")

    def __init__(self, caller: "HostFunctionCaller[T]") -> None:
        """Made by `HostFunctionCaller`."""
        self._caller = caller
        self._number = ctypes.c_uint64()  # 0 until it was sent
        self._outcome: Optional[_Outcome] = None

    def result(self, timeout: Optional[float] = None) -> T:
        """What the function returned: the response to this very call. None if it returned
        nothing, or if the call is one-way.

        timeout
            For how long to wait, in seconds; None for as long as it takes. When it is over
            the call is *not* withdrawn: ask again. Ctrl-C always interrupts.

        Asking again gives the same again, also if `HostFunctionCaller.get_response` fetched
        it first.

        Raises `RemoteError` if the function raised; `TimedOut` (a TimeoutError), whose text
        says whether anybody serves the function; `ResponseTooLarge`, `CannotUnpickle`,
        `WrongEncoding`, `DispatcherDied`, `NotServed`, `CallTooOld`, `Cancelled`,
        `WouldDeadlock`, `Forked`, `Retired`, `NameRemoved`, `Corrupt`, `Closed`.
        """
        if timeout is not None:
            _nanoseconds(timeout, "timeout")
        return self._caller._result_of(self, timeout, True)

    def done(self) -> bool:
        """Whether the call has ended, so that `result` returns or raises at once.

        Raises `Retired`, `Corrupt`, `Closed`.
        """
        return self._outcome is not None or self._caller._has_ended(self)

    def cancel(self) -> bool:
        """Takes the call back: if it has not started it never will, and if it is running
        its response is discarded. `result` raises `Cancelled` from then on. If it has ended
        nothing changes.

        True if it is certain that the call does not run; False if it runs or has run, and
        for one-way calls, which cannot be cancelled.

        Raises `Forked`, `Retired`, `Corrupt`, `Closed`.
        """
        return self._caller._cancel(self)

    def __await__(self) -> Generator[Any, None, T]:
        return self._await().__await__()

    async def _await(self) -> T:
        from asyncio import sleep  # most programs need none of it

        pause = 0.0
        try:
            while not self._caller._look_at(self):
                await sleep(pause)
                pause = min(2 * pause + 1e-4, _AWAIT_SLICE)
            return self.result()
        except BaseException:
            self._caller._give_up(self)
            raise

    def __repr__(self) -> str:
        outcome = self._outcome
        if outcome is None:
            state = "under way"
        elif outcome.status == _CANCELLED:
            state = "cancelled"
        else:
            state = "ended"
        return "<Call of {!r}: {}>".format(self._caller.name, state)


def _in_one_step(results: List[Any], function: Any, *arguments: Any) -> None:
    """Appends what a function of C returns: no signal handler can raise in between, so that
    what was done is known."""
    results.extend(starmap(function, (arguments,)))


class HostFunctionCaller(Generic[T]):
    """Calls a function that another process offers with `HostFunctionDispatcher`.

    Opens the function, or creates the memory for its calls; nobody has to serve it yet.
    Opening is the slow part, so keep the caller. Call it as a normal function:

    >>> divide = HostFunctionCaller("divide")
    >>> divide(1, 4)
    <Call of 'divide': under way>
    >>> divide.get_response()
    0.25

    **Fetch the responses.** Responses that nobody fetches stay, and when this process has
    ``cells - 2`` of them its next call raises `UnfetchedResponses`. For a function whose
    response nobody wants set ``max_sz_ret=0`` on both sides.

    Annotate it if a type checker shall know what is returned:

    >>> divide: HostFunctionCaller[float] = HostFunctionCaller("divide")

    name
        1 to 200 bytes of UTF-8, without ``/`` and NUL, not starting with a dot.
    max_sz_args
        How many bytes the arguments of a call may have once they are pickled: 1 byte to
        1 GiB (2**30).
    max_sz_ret
        How many bytes a response may have once it is pickled: up to 1 GiB (2**30). 0: the
        calls are one-way. All callers and dispatchers of a function name the same two
        sizes; ``None`` for both takes those it has, and creates nothing. A function of other
        sizes is replaced if nothing alive has it open.
    cells
        How many calls can be under way at a time, queued, running, or answered and not
        fetched: 1 to 64; of them each process has ``cells - 2`` at most. If not given, 16
        for a new function, and for one that exists whatever it has.
    mode, group, directory, namespace
        As for `HostVariable`.
    send_timeout
        How long a call waits for a free cell, in seconds; None for as long as it takes.
    spin
        For how long, at most, a wait for a response spins before it sleeps, in seconds. If
        not given, what the library thinks best.
    arg_format, ret_format
        Subclasses of ``ctypes.Structure``: arguments, or responses, are not pickled, but lie
        in memory as C, C++ and Rust see them. A call then takes exactly one argument, an
        instance; a response is an instance. The sizes are those of the formats, unless told
        otherwise. Or ``bytes``: the argument, or response, are bytes as they are.

        >>> HostFunctionCaller("echo", arg_format=bytes, ret_format=bytes).call(b"ab")
        b'ab'
    max_arg_size, max_ret_size
        Other spellings of `max_sz_args` and `max_sz_ret`.

    Raises `BadName`, `BadOption`, `SizeMismatch` (with all four sizes in its text),
    `ForeignOwner`, `NotFound`, `NoSpace`, `NotASegment`, `OtherFormat`, `Retired`,
    `BeingRemoved`, `PermissionDenied`, `SystemFailure`.

    A caller can be pickled: the receiver opens the function by its name, in the place that
    its own environment names unless `directory` and `namespace` were given. Several threads
    may use one caller, and forked children, too: everybody gets the responses to their own
    handles; by `get_response` the threads of a process share what they called.
    """

    __slots__ = (
        "_name",
        "_options",
        "_arg_codec",
        "_ret_codec",
        "_load",
        "_send_timeout",
        "_handle",
        "_lost_calls",
        "_calls",
        "_lock",
        "_sends",
        "_early",
        "_fetches",
        "_undelivered",
        "__weakref__",
    )

    @overload
    def __init__(
        self: "HostFunctionCaller[Any]",
        name: str,
        max_sz_args: Optional[int] = ...,
        max_sz_ret: Optional[int] = ...,
        *,
        cells: Optional[int] = ...,
        mode: Optional[int] = ...,
        group: Union[str, int, None] = ...,
        directory: Union[str, "os.PathLike[str]", None] = ...,
        namespace: Optional[str] = ...,
        send_timeout: Optional[float] = ...,
        spin: Optional[float] = ...,
        arg_format: Optional[_Format] = ...,
        ret_format: None = ...,
        max_arg_size: Optional[int] = ...,
        max_ret_size: Optional[int] = ...,
    ) -> None: ...

    @overload
    def __init__(
        self: "HostFunctionCaller[_Struct]",
        name: str,
        max_sz_args: Optional[int] = ...,
        max_sz_ret: Optional[int] = ...,
        *,
        cells: Optional[int] = ...,
        mode: Optional[int] = ...,
        group: Union[str, int, None] = ...,
        directory: Union[str, "os.PathLike[str]", None] = ...,
        namespace: Optional[str] = ...,
        send_timeout: Optional[float] = ...,
        spin: Optional[float] = ...,
        arg_format: Optional[_Format] = ...,
        ret_format: Type[_Struct],
        max_arg_size: Optional[int] = ...,
        max_ret_size: Optional[int] = ...,
    ) -> None: ...

    @overload
    def __init__(
        self: "HostFunctionCaller[bytes]",
        name: str,
        max_sz_args: Optional[int] = ...,
        max_sz_ret: Optional[int] = ...,
        *,
        cells: Optional[int] = ...,
        mode: Optional[int] = ...,
        group: Union[str, int, None] = ...,
        directory: Union[str, "os.PathLike[str]", None] = ...,
        namespace: Optional[str] = ...,
        send_timeout: Optional[float] = ...,
        spin: Optional[float] = ...,
        arg_format: Optional[_Format] = ...,
        ret_format: Type[bytes],
        max_arg_size: Optional[int] = ...,
        max_ret_size: Optional[int] = ...,
    ) -> None: ...

    def __init__(
        self,
        name: str,
        max_sz_args: Optional[int] = _MAX_SZ,
        max_sz_ret: Optional[int] = _MAX_SZ,
        *,
        cells: Optional[int] = None,
        mode: Optional[int] = _MODE,
        group: Union[str, int, None] = None,
        directory: Union[str, "os.PathLike[str]", None] = None,
        namespace: Optional[str] = None,
        send_timeout: Optional[float] = 1.0,
        spin: Optional[float] = None,
        arg_format: Optional[_Format] = None,
        ret_format: Optional[_Format] = None,
        max_arg_size: Optional[int] = None,
        max_ret_size: Optional[int] = None,
    ) -> None:
        self._name = name
        self._handle: Optional[_CallerHandle] = None
        self._options = _given(
            max_sz_args=max_sz_args,
            max_sz_ret=max_sz_ret,
            cells=cells,
            mode=mode,
            group=group,
            directory=directory,
            namespace=namespace,
            send_timeout=send_timeout,
            spin=spin,
            arg_format=arg_format,
            ret_format=ret_format,
            max_arg_size=max_arg_size,
            max_ret_size=max_ret_size,
        )
        if send_timeout is not None:
            _nanoseconds(send_timeout, "send_timeout")
        self._send_timeout = send_timeout
        self._arg_codec, self._ret_codec = _codecs(arg_format, ret_format)
        self._load: Callable[[memoryview], Any] = self._ret_codec.load

        options = _FunctionOptions()
        _function_options_init(ctypes.byref(options))
        sizes = (
            _one_spelling("max_sz_args", max_sz_args, "max_arg_size", max_arg_size),
            _one_spelling("max_sz_ret", max_sz_ret, "max_ret_size", max_ret_size),
        )
        if sizes == (None, None):
            options.max_argument_size = options.max_response_size = _ADOPT_SIZE
        else:
            _fill_sizes(options, name, sizes, (self._arg_codec, self._ret_codec))
        if cells is not None:
            # 0 would leave it to the library.
            options.cells = _number(cells, "cells", 32, 1)
        if spin is not None:
            options.spin_ns = _spin_ns(spin)
        _fill_place(options, mode, group, directory, namespace)
        handle = _CallerHandle(_name_bytes(name, "function"), options, self._arg_codec.encoding)
        found = (handle.max_sz_args, handle.max_sz_ret)
        _check_formats_fit(name, found, (self._arg_codec, self._ret_codec))
        self._lost_calls = handle.lost_calls
        _warn_of_lost_calls(name, handle.lost_calls)

        # The handles that somebody still has, by the numbers of their calls.
        self._calls: "weakref.WeakValueDictionary[int, Call[T]]" = weakref.WeakValueDictionary()
        # Responses that `get_response` has, and has yet to return: a signal handler may raise.
        self._undelivered: Deque[_Outcome] = deque()
        self._forget_other_threads()
        self._handle = handle
        _callers.add(self)

    def _forget_other_threads(self) -> None:
        """There are none at first, and none in a forked child."""
        # Of what follows, and of outcomes. A signal handler may call in between.
        self._lock = threading.RLock()
        # Who is sending a call, and the outcomes that others fetched before its number was
        # known here.
        self._sends: "Set[weakref.ref[_Busy]]" = set()
        self._early: Dict[int, _Outcome] = {}
        # Who is fetching an outcome, and about to write it down.
        self._fetches: "Set[weakref.ref[_Busy]]" = set()
        if self._handle is not None:
            self._handle.forget_other_threads()

    # ------------------------------------------------------------ what it is

    @property
    def name(self) -> str:
        """The function's name."""
        return self._name

    @property
    def max_sz_args(self) -> int:
        """How many bytes the arguments of a call may have once they are pickled.

        >>> HostFunctionCaller("divide", None, None).max_sz_args
        4096
        """
        return self._open_handle().max_sz_args

    @property
    def max_sz_ret(self) -> int:
        """How many bytes a response may have once it is pickled; 0 if calls are one-way."""
        return self._open_handle().max_sz_ret

    @property
    def cells(self) -> int:
        """How many calls can be under way at a time."""
        return self._open_handle().cells

    @property
    def lost_calls(self) -> int:
        """How many one-way calls were queued in the memory of the function, of other sizes,
        that opening this one replaced. They will not run; a warning was logged."""
        return self._lost_calls

    def __repr__(self) -> str:
        handle = self._handle
        if handle is None:
            return "<HostFunctionCaller {!r}: closed>".format(self._name)
        text = "<HostFunctionCaller {!r}: max_sz_args {}, max_sz_ret {}, cells {}>"
        return text.format(self._name, handle.max_sz_args, handle.max_sz_ret, handle.cells)

    # ------------------------------------------------------------------ call

    def __call__(self, /, *args: Any, **kwargs: Any) -> Call[T]:
        """Calls the function. Returns once the arguments are on their way, and never waits
        for the function; the handle, and `get_response`, bring its response.

        >>> divide(1, 4).result()
        0.25

        Nobody has to serve the function yet: the call waits for that.

        Raises `TooLarge`; `TunnelFull` after `send_timeout`; `UnfetchedResponses`,
        `TooManyParticipants`, `Retired`, `NameRemoved`, `Corrupt`, `Closed`; what ``pickle``
        raises for arguments that cannot be pickled; TypeError for one that is not of the
        arg_format. Nothing was sent then.
        """
        call: Call[T] = Call(self)
        handle = self._handle or self._refuse()
        try:
            data, size = self._encoded(args, kwargs)
            self._send(handle, call, data, size, self._send_timeout)
            return call
        except BaseException:
            self._give_up(call)
            raise

    def get_response(self, timeout: Optional[float] = None) -> Optional[T]:
        """Waits for the response to the oldest call that may still bring one, and returns
        it, even if a later call is done. None at once if all calls have ended without one,
        which is told once, and if the calls are one-way.

        >>> handles = [divide(1, 4), divide(1, 5)]
        >>> divide.get_response(), divide.get_response()
        (0.25, 0.2)

        Calls that end without a response, since the function returned None, are passed over,
        and so are those whose response was fetched by their handle.

        timeout
            For how long to wait, in seconds; None for as long as it takes. When it is over
            nothing is withdrawn: ask again. Ctrl-C always interrupts.

        Raises `NoCallOutstanding`, and what `Call.result` does.
        """
        handle = self._handle or self._refuse()
        if timeout is not None:
            _nanoseconds(timeout, "timeout")
        if handle.max_sz_ret == 0:
            return None
        taken: List[_Outcome] = []
        try:
            while not taken:
                if not self._undelivered:
                    self._wait_for(handle, None, timeout, True)
                try:
                    _in_one_step(taken, self._undelivered.popleft)
                except IndexError:
                    pass  # another thread has taken it
            response: Optional[T] = self._value(taken[0])
            return response
        except RobotIpcError:
            raise
        except BaseException:  # of a signal handler: next time, then
            self._undelivered.extendleft(taken)
            raise

    def call(self, /, *args: Any, timeout: Optional[float] = None, **kwargs: Any) -> T:
        """Calls the function and returns its response: both steps at once.

        >>> divide.call(1, 4, timeout=1.0)
        0.25

        timeout
            For how long, in seconds; None for as long as it takes, but for the `send_timeout`.
            It belongs to this method: a function with a parameter of that name has to be
            called in two steps, or by position.

        When the time is over, and by Ctrl-C, the call is withdrawn: if it has not started it
        never will, and its response is discarded.

        Raises what calling and `Call.result` do.
        """
        handle = self._handle or self._refuse()
        start = 0.0
        if timeout is not None:
            _nanoseconds(timeout, "timeout")
            start = time.monotonic()
        data, size = self._encoded(args, kwargs)
        if size > _QUICK_SIZE or not handle.max_sz_ret or not (timeout is None or timeout >= _SLICE):
            return self._call_in_steps(handle, None, _INTERRUPTED, data, size, timeout, start)
        try:
            exchange = handle.exchanges.pop()
        except IndexError:
            exchange = handle.new_exchange()
        response = exchange.stamp
        response.call = 0
        try:
            status = _call_and_wait(exchange.reference, data, size)
            if status or not response.has_value or response.encoding != self._ret_codec.encoding:
                value = self._call_in_steps(handle, exchange, status, data, size, timeout, start)
            else:
                try:
                    value = self._load(exchange.view[: response.length])
                except Exception as error:
                    raise self._cannot_load(response.length, error) from error
        except BaseException:
            if response.call:  # it was sent; if it has ended this changes nothing
                _cancel(handle.pointer, response.call, None)
            handle.exchanges.append(exchange)
            raise
        handle.exchanges.append(exchange)
        if self._early:
            self._forget_early(handle)
        return value

    def _call_in_steps(
        self,
        handle: _CallerHandle,
        exchange: Optional[_CallScratch],
        status: int,
        data: Any,
        size: int,
        timeout: Optional[float],
        start: float,
    ) -> T:
        """What `call` cannot do at once; `status` is what came of that, if it was tried."""
        call: Call[T] = Call(self)
        try:
            if exchange is None or not exchange.stamp.call:
                if status not in (_TUNNEL_FULL, _INTERRUPTED):
                    _check(status)
                self._send_within(handle, call, data, size, timeout, start)
            else:
                call._number.value = exchange.stamp.call
                with self._lock:
                    self._remember(call)
                    if self._handle is not handle and not exchange.stamp.has_value:
                        self._refuse()  # closing withdrew the call
                    self._record(status, exchange, [])
            if timeout is None:
                return self._result_of(call, None, False)
            left = max(start + timeout - time.monotonic(), 0.0)
            try:
                return self._result_of(call, left, False)
            except TimedOut:
                raise self._timed_out(timeout) from None
        except BaseException:
            self._give_up(call)
            raise

    def _send_within(
        self,
        handle: _CallerHandle,
        call: Call[T],
        data: Any,
        size: int,
        timeout: Optional[float],
        start: float,
    ) -> None:
        """Sends a call within the time that `call` has for all of it."""
        limit = self._send_timeout
        if timeout is not None and (limit is None or timeout < limit):
            limit = timeout
        try:
            self._send(handle, call, data, size, limit)
        except TunnelFull as error:
            if timeout is None or time.monotonic() - start < timeout:
                raise
            text = "function {!r}: not sent within {} s: {}"
            why = str(error).rpartition("{!r}: ".format(self._name))[2]
            raise TimedOut(text.format(self._name, timeout, why)) from error

    def _send(
        self, handle: _CallerHandle, call: Call[T], data: Any, size: int, limit: Optional[float]
    ) -> None:
        """Sends a call, and remembers its handle."""
        if handle.max_sz_ret == 0:
            _check(self._put(handle, data, size, call._number, limit))
            call._outcome = _NOTHING
            return
        busy = _Busy()
        busy.join(self._sends)
        try:
            status = self._put(handle, data, size, call._number, limit)
        finally:
            with self._lock:
                del busy
                if call._number.value:
                    self._remember(call)
                if self._early:
                    self._forget_early(handle)
        if status:
            _check(status)

    def _remember(self, call: Call[T]) -> None:
        """Its number is known from now on, under the lock."""
        number = call._number.value
        self._calls[number] = call
        if self._early:
            call._outcome = self._early.pop(number, None)

    def _forget_early(self, handle: _CallerHandle) -> None:
        """Outcomes of calls that nobody has a handle of, once no call is being sent."""
        with self._lock:
            if not self._sends and not handle.is_exchanging():
                self._early.clear()

    def _encoded(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Tuple[Any, int]:
        codec = self._arg_codec
        if isinstance(codec, _PickleCodec):
            data = _dumps((args, kwargs), _PROTOCOL)
            return data, len(data)
        if kwargs or len(args) != 1:
            text = "function {!r} takes one argument, by position, of its arg_format {}"
            raise TypeError(text.format(self._name, codec.name))
        return codec.encode(args[0])

    def _put(
        self,
        handle: _CallerHandle,
        data: Any,
        size: int,
        number: ctypes.c_uint64,
        limit: Optional[float],
    ) -> int:
        """Puts a call into a cell, and waits for a free one up to the limit. Returns the
        status; the number is set if, and only if, it was sent."""
        pointer, encoding = handle.pointer, self._arg_codec.encoding
        result = ctypes.byref(number)
        if size <= _QUICK_SIZE:
            status = _quick_call(pointer, data, size, encoding, 0, result)
            if status not in (_TUNNEL_FULL, _INTERRUPTED):
                return status  # type: ignore[no-any-return]
        slices = _Slices(limit)
        while True:
            status = _call(pointer, data, size, encoding, slices.next_ns(), result)
            is_over = slices.is_over()
            if status != _INTERRUPTED and (status != _TUNNEL_FULL or is_over):
                return status  # type: ignore[no-any-return]
            if self._handle is not handle:
                self._refuse()

    # ------------------------------------------------------------------ wait

    def _result_of(self, call: Call[T], timeout: Optional[float], quick_first: bool) -> T:
        outcome = call._outcome
        if outcome is None:
            handle = self._handle or self._refuse()
            outcome = self._wait_for(handle, call, timeout, quick_first)
        if self._undelivered:
            try:
                self._undelivered.remove(outcome)  # what get_response has yet to return
            except ValueError:
                pass
        value: T = self._value(outcome)
        return value

    def _wait_for(
        self,
        handle: _CallerHandle,
        call: Optional[Call[T]],
        timeout: Optional[float],
        quick_first: bool,
    ) -> _Outcome:
        """How a call ended, or the oldest if it is None, which is also left among what is
        undelivered; raises if it has not in time."""
        number = 0 if call is None else call._number.value
        scratch = handle.take_scratch()
        status, outcome = _INTERRUPTED, None
        if quick_first:
            status, outcome = self._fetch(handle, scratch, number, 0, True)
        slices = _Slices(timeout)
        while status in _ASK_AGAIN:
            is_over = slices.is_over()
            if status == _BUFFER_TOO_SMALL:
                scratch = _CallScratch(handle, scratch.stamp.length)
            elif self._handle is not handle:
                self._refuse()
            elif status == _TIMED_OUT and is_over:
                raise self._timed_out(timeout)
            time_ns = slices.next_ns()
            status, outcome = self._fetch(handle, scratch, number, time_ns, False)
        if self._handle is not handle and not scratch.stamp.has_value:
            self._refuse()  # closing withdrew the call
        if status == _REPORTED and call is not None:
            return self._settled(call)
        if outcome is None:
            _check(status)
            raise InternalError("function {!r}: no outcome".format(self._name))
        if isinstance(outcome.data, bytes):
            handle.scratches.append(scratch)
        return outcome

    def _fetch(
        self,
        handle: _CallerHandle,
        scratch: _CallScratch,
        number: int,
        time_ns: int,
        is_quick: bool,
    ) -> Tuple[int, Optional[_Outcome]]:
        """Asks the library for a response, once, and writes down what it said. The library
        says it once: whatever happens here in between, it must not get lost."""
        arguments: Tuple[Any, ...] = (
            scratch.address,
            scratch.capacity,
            time_ns,
            scratch.stamp_address,
        )
        if number:
            function = _quick_response_of if is_quick else _response_of
            arguments = (handle.pointer, number) + arguments
        else:
            function = _quick_next_response if is_quick else _next_response
            arguments = (handle.pointer,) + arguments
        scratch.stamp.call = scratch.stamp.has_value = 0
        statuses: List[int] = []
        outcomes: List[_Outcome] = []
        delivered: List[None] = []
        busy = _Busy()
        busy.join(self._fetches)
        try:
            _in_one_step(statuses, function, *arguments)
            self._record(statuses[0], scratch, outcomes)
            if outcomes and not number:
                _in_one_step(delivered, self._undelivered.append, outcomes[0])
        except BaseException:
            if statuses and not outcomes:
                self._record(statuses[0], scratch, outcomes)
            if outcomes and not number and not delivered:
                self._undelivered.append(outcomes[0])
            raise
        finally:
            del busy
        return statuses[0], outcomes[0] if outcomes else None

    def _record(self, status: int, scratch: _CallScratch, outcomes: List[_Outcome]) -> None:
        """Writes down how a call ended, if one has, in `outcomes` and for its handle."""
        if status not in _ENDS:
            return
        response = scratch.stamp
        outcome = _Outcome(status, has_value=bool(response.has_value), encoding=response.encoding)
        if status == _OK or status == _RAISED:
            view = scratch.view[: response.length]
            outcome.data = bytes(view) if len(view) <= _QUICK_SIZE else view
        else:
            outcome.text = _text(_last_error())
        if response.call:
            with self._lock:
                call = self._calls.get(response.call)
                if call is not None:
                    if call._outcome is None:
                        call._outcome = outcome
                elif self._sends or self._is_exchanging():
                    self._early[response.call] = outcome
                    if len(self._early) > _EARLY_COUNT:
                        del self._early[next(iter(self._early))]
        outcomes.append(outcome)

    def _is_exchanging(self) -> bool:
        handle = self._handle
        return handle is not None and handle.is_exchanging()

    def _settled(self, call: Call[T]) -> _Outcome:
        """How a call ended, which the library told already: perhaps to another thread, and
        that has yet to write it down; or the call ended without an answer."""
        self._let_others_record()
        with self._lock:
            if call._outcome is None:
                call._outcome = _NOTHING
            return call._outcome

    def _let_others_record(self) -> None:
        me = threading.get_ident()
        for reference in list(self._fetches):
            busy = reference()
            if busy is not None and busy.thread == me:
                text = "function {!r}: a signal handler asks for what it interrupted; ask later"
                raise Busy(text.format(self._name))
            del busy
            while reference in self._fetches:  # for one slice at most
                time.sleep(_RECORDING_SLICE)

    def _timed_out(self, timeout: Optional[float]) -> TimedOut:
        """After a wait in slices: as the library says it, but for the time."""
        text = _text(_last_error())
        why = text.rpartition("no response within ")[2].partition(": ")[2] or text
        return TimedOut(
            "function {!r}: no response within {} s: {}".format(self._name, timeout, why)
        )

    def _value(self, outcome: _Outcome) -> Any:
        """The response; raises if there is an error instead."""
        if not outcome.is_decoded:
            if outcome.status == _OK and outcome.has_value:
                outcome.value = self._decoded(outcome)
            elif outcome.status == _RAISED:
                raise _remote_error(self._name, outcome.data, outcome.encoding)
            elif outcome.status != _OK:
                raise _ERRORS[outcome.status](outcome.text)
            outcome.is_decoded = True
            outcome.data = b""
        return outcome.value

    def _decoded(self, outcome: _Outcome) -> Any:
        codec = self._ret_codec
        if outcome.encoding != codec.encoding and outcome.encoding != _UNSPECIFIED:
            raise _wrong_encoding(self._name, "the response", "caller", outcome.encoding, codec)
        try:
            return codec.load(outcome.data)
        except Exception as error:
            raise self._cannot_load(len(outcome.data), error) from error

    def _cannot_load(self, size: int, error: Exception) -> RobotIpcError:
        what = "function {!r}: the response".format(self._name)
        return self._ret_codec.cannot_load(what, size, error)

    # ------------------------------------------------- what handles ask for

    def _has_ended(self, call: Call[T]) -> bool:
        handle = self._handle or self._refuse()
        progress = ctypes.c_uint32()
        status = _progress(handle.pointer, call._number.value, ctypes.byref(progress))
        if status == _REPORTED:
            return True
        _check(status)
        return progress.value == _ENDED

    def _look_at(self, call: Call[T]) -> bool:
        """Fetches the outcome of a call if it has ended. Whether it has."""
        if call._outcome is None:
            try:
                handle = self._handle or self._refuse()
                self._wait_for(handle, call, 0, True)
            except TimedOut:
                return False
        return True

    def _cancel(self, call: Call[T]) -> bool:
        try:
            if self._look_at(call):
                return False
        except WouldDeadlock:
            pass  # nobody waits here
        handle = self._handle or self._refuse()
        withdrawal = ctypes.c_uint32()
        cancelled = _Outcome(_CANCELLED, "function {!r}: the call was cancelled".format(self._name))
        busy = _Busy()  # other threads wait until this is written down
        busy.join(self._fetches)
        try:
            _check(_cancel(handle.pointer, call._number.value, ctypes.byref(withdrawal)))
            if withdrawal.value != _HAD_ENDED:
                call._outcome = cancelled
        finally:
            del busy
        # Had it ended just now, or did another thread get the response?
        self._let_others_record()
        with self._lock:
            if call._outcome is None:
                call._outcome = cancelled
        return withdrawal.value == _NEVER_STARTED

    def _give_up(self, call: Call[T]) -> None:
        """Withdraws a call that nobody will ask for, unless it has ended."""
        handle = self._handle
        if call._outcome is None and call._number.value and handle and handle.max_sz_ret:
            withdrawal = ctypes.c_uint32()
            status = _cancel(handle.pointer, call._number.value, ctypes.byref(withdrawal))
            if status == _OK:
                text = "function {!r}: the call was given up".format(self._name)
                call._outcome = _Outcome(_CANCELLED, text)

    # --------------------------------------------------------------- the end

    def close(self) -> None:
        """Lets go of the function. Calls that want a response are withdrawn: what has not
        started never will. Every use of the caller, and of its handles whose response is not
        known yet, raises `Closed` from then on. Closing twice is fine.

        >>> with HostFunctionCaller("divide") as divide:
        ...     divide.call(1, 4)
        0.25
        """
        handle, self._handle = self._handle, None
        if handle is not None:
            # At once, though threads that wait keep the library's handle for a moment.
            _withdraw_all(handle.pointer)

    def unlink(self) -> None:
        """Removes the function's memory from the machine, with all calls in it.

        Every caller and dispatcher of it, in all processes and this one too, is told
        `Retired` from then on. Whoever opens the name gets a new function.

        >>> HostFunctionCaller("divide").unlink()

        Raises `PermissionDenied`, `Retired` if it was removed already, `NameRemoved`,
        `Closed`; `BeingRemoved` if somebody else is removing it and has not finished after
        1 s.
        """
        handle = self._open_handle()  # keeps it: another thread may close meanwhile
        _unlink(_caller_remove, handle.pointer)

    def __enter__(self) -> "HostFunctionCaller[T]":
        self._open_handle()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> Tuple[Any, ...]:
        self._open_handle()
        return _open_again, (type(self), self._name, self._options)

    def _open_handle(self) -> _CallerHandle:
        return self._handle or self._refuse()

    def _refuse(self) -> NoReturn:
        raise Closed("function {!r}: this caller was closed".format(self._name))


_callers: "weakref.WeakSet[HostFunctionCaller[Any]]" = weakref.WeakSet()


def _one_spelling(
    option: str, value: Optional[int], other_option: str, other: Optional[int]
) -> Optional[int]:
    """What was given of two spellings of one option; the default if neither was."""
    if other is None:
        return value
    if not isinstance(value, _NotGiven) and value != other:
        text = "{} cannot be {!r}: {} is the same, and {!r} was given; leave one out"
        raise BadOption(text.format(other_option, other, option, value))
    return other


def _codecs(arg_format: Any, ret_format: Any) -> Tuple[_Codec, _Codec]:
    """For the arguments, and for the response."""
    return (
        _codec(arg_format, "arg_format", "the function takes"),
        _codec(ret_format, "ret_format", "the function returns"),
    )


_Sizes = Tuple[Optional[int], Optional[int]]


def _fill_sizes(
    options: _FunctionOptions, name: Any, sizes: _Sizes, codecs: Tuple[_Codec, _Codec]
) -> None:
    """Of arguments and responses: as asked for, else those of their formats."""
    chosen = []
    for option, size, codec in zip(("max_sz_args", "max_sz_ret"), sizes, codecs):
        if isinstance(size, _NotGiven) and isinstance(codec, _RawCodec):
            size = codec.size
        elif size is None:
            text = "{} cannot be None alone: give both sizes, or None for both"
            raise BadOption(text.format(option))
        chosen.append(_number(size, option, 32))
    options.max_argument_size, options.max_response_size = chosen
    _check_formats_fit(name, (chosen[0], chosen[1]), codecs)


def _check_formats_fit(name: Any, sizes: Tuple[int, int], codecs: Tuple[_Codec, _Codec]) -> None:
    """Refuses a function that can never take its arg_format, or return its ret_format."""
    for option, size, codec in zip(("max_sz_args", "max_sz_ret"), sizes, codecs):
        if isinstance(codec, _RawCodec) and size < codec.size:
            text = "function {!r}: {} is {} bytes, and its {} {} has {}"
            raise SizeMismatch(
                text.format(name, option, size, codec.option, codec.name, codec.size)
            )


def _spin_ns(spin: float) -> int:
    nanoseconds = _nanoseconds(spin, "spin")
    return _LONGEST if nanoseconds == _NO_LIMIT else nanoseconds


def _warn_of_lost_calls(name: str, count: int) -> None:
    if count:
        text = "function %r had other sizes and was replaced: %d one-way calls in it are lost"
        _log.warning(text, name, count)


def _wrong_encoding(
    name: str, part: str, reader: str, found: int, codec: _Codec
) -> WrongEncoding:
    text = "function {!r}: {} is encoded as {}, and {} is what this {} reads; both sides need {}"
    option = "arg_format" if part == "the arguments" else "ret_format"
    hint = "the same {}, or both none".format(option)
    encoding = _ENCODINGS.get(found, "number {}".format(found))
    return WrongEncoding(
        text.format(name, part, encoding, _ENCODINGS[codec.encoding], reader, hint)
    )


# --------------------------------------------------------------- errors of functions
# In the memory an error is a text, and after a NUL byte, if it is one of Python's, a
# pickle of its type's name, message, traceback, and the pickled exception or None.

# What the pickle of the four adds to their bytes, at most.
_PICKLED_PARTS = 64


def _remote_error(name: str, data: Union[bytes, memoryview], encoding: int) -> RemoteError:
    """What a function raised, from what its dispatcher wrote."""
    head, _, pickled = bytes(data).partition(b"\0")
    text = _text(head)
    if encoding == _PICKLE and pickled:
        try:
            type_name, message, remote_traceback, exception = pickle.loads(pickled)
            # Whatever they are; each is a str if Python wrote them.
            error = RemoteError(str(type_name), str(message), str(remote_traceback), name)
        except Exception:
            pass  # then its text has to do
        else:
            error.__cause__ = _unpickled_exception(exception)
            return error
    type_name, colon, message = text.partition(": ")
    if colon and all(part.isidentifier() for part in type_name.split(".")):
        return RemoteError(type_name, message, "", name)
    return RemoteError("", text, "", name)


def _unpickled_exception(pickled: Any) -> Optional[BaseException]:
    """The exception, if its class is here and makes no difficulties."""
    if not isinstance(pickled, bytes):
        return None
    try:
        exception = pickle.loads(pickled)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None
    return exception if isinstance(exception, BaseException) else None


def _type_name(error: BaseException) -> str:
    """As tracebacks show it."""
    kind = type(error)
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return "{}.{}".format(kind.__module__, kind.__qualname__)


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "<its text cannot be told>"


def _own_frames_skipped(error: BaseException) -> Any:
    """The traceback of the function itself."""
    file = _own_frames_skipped.__code__.co_filename
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == file:
        trace = trace.tb_next
    return trace


def _traceback_text(error: BaseException) -> str:
    try:
        trace = _own_frames_skipped(error)
        return "".join(traceback.format_exception(type(error), error, trace))
    except Exception:
        return ""


def _pickled_exception(error: BaseException) -> Optional[bytes]:
    try:
        return pickle.dumps(error, _PROTOCOL)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None


def _error_bytes(error: BaseException, limit: int) -> Tuple[bytes, int]:
    """An exception as its caller gets it, in `limit` bytes, and their encoding. What does
    not fit is left out: the exception, the beginning of the traceback, the end of the text."""
    type_name, message = _type_name(error), _message(error)
    text = "{}: {}".format(type_name, message) if message else type_name
    head = text.encode("utf-8", "backslashreplace").replace(b"\0", b"\\x00")
    if len(head) > limit:
        return head[:limit].decode("utf-8", "ignore").encode(), _UNSPECIFIED
    trace = _traceback_text(error)
    bare = len(head) + len(pickle.dumps((type_name, message), _PROTOCOL)) + _PICKLED_PARTS
    if bare <= limit:
        exception = _pickled_exception(error)
        whole = bare + len(trace.encode("utf-8", "surrogatepass")) + len(exception or b"")
        if whole > limit:
            exception = None
            room = limit - bare
            shown = trace.encode("utf-8", "backslashreplace")
            trace = shown[max(len(shown) - room, 0) :].decode("utf-8", "ignore")
        parts = pickle.dumps((type_name, message, trace, exception), _PROTOCOL)
        data = head + b"\0" + parts
        if len(data) <= limit:
            return data, _PICKLE
    return head, _UNSPECIFIED


# ------------------------------------------------------------------ serving functions


class _DispatcherHandle:
    """A dispatcher of the library's. It belongs to the process that made it."""

    __slots__ = ("pointer", "pid")

    def __init__(self, options: _DispatcherOptions) -> None:
        self.pid = os.getpid()
        self.pointer = ctypes.c_void_p()
        _check(_dispatcher_new(ctypes.byref(options), ctypes.byref(self.pointer)))

    def __del__(self, free: Any = _dispatcher_free, getpid: Any = os.getpid) -> None:
        if self.pointer and self.pid == getpid():
            free(self.pointer)


class _Function:
    """A function that a dispatcher offers."""

    __slots__ = ("name", "foo", "arg_codec", "ret_codec", "max_sz_ret", "_address", "_view")

    def __init__(
        self, name: str, foo: Callable[..., Any], codecs: Tuple[_Codec, _Codec], max_sz_ret: int
    ) -> None:
        self.name = name
        self.foo = foo
        self.arg_codec, self.ret_codec = codecs
        self.max_sz_ret = max_sz_ret
        # Where the arguments were the last time, which is where they will be.
        self._address = 0
        self._view = memoryview(b"")

    def run(self, call: _TakenCall) -> Tuple[int, Any, int, int]:
        """Runs the function. What to reply: outcome, data, size, encoding."""
        args, kwargs = self._arguments(call)
        value = self.foo(*args, **kwargs)
        if value is None or not call.wants_response:
            return _REPLY_NOTHING, None, 0, _UNSPECIFIED
        codec = self.ret_codec
        try:
            data, size = codec.encode(value)
        except Exception as error:
            # What pickle raises says nothing of returning.
            text = "function {!r} returned an object of type {}, which cannot be {}: {}"
            how = "pickled" if codec.encoding == _PICKLE else "sent"
            raise TypeError(
                text.format(self.name, type(value).__qualname__, how, _message(error))
            ) from None
        return _REPLY_RETURNED, data, size, codec.encoding

    def _arguments(self, call: _TakenCall) -> Tuple[Any, Any]:
        codec = self.arg_codec
        encoding, size, address = call.encoding, call.size, call.arguments
        if encoding != codec.encoding and encoding != _UNSPECIFIED:
            raise _wrong_encoding(self.name, "the arguments", "dispatcher", encoding, codec)
        if size and (address != self._address or size > len(self._view)):
            self._view = memoryview((ctypes.c_char * size).from_address(address)).cast("B")
            self._address = address
        try:
            whole = codec.load(self._view[:size])
        except Exception as error:
            what = "function {!r}: the arguments".format(self.name)
            raise codec.cannot_load(what, size, error) from error
        if codec.encoding != _PICKLE:
            return (whole,), {}
        try:
            args, kwargs = whole
        except (TypeError, ValueError):
            args = kwargs = None
        if not isinstance(args, (tuple, list)) or not isinstance(kwargs, dict):
            text = "function {!r}: what came are not the arguments of a call: a tuple and a dict"
            raise CannotUnpickle(text.format(self.name))
        return args, kwargs


class HostFunctionDispatcher:
    """Offers functions to all processes of this machine, and runs their calls, one at a
    time, in one thread.

    >>> dispatcher = HostFunctionDispatcher()
    >>> dispatcher.add("divide", lambda a, b: a / b)
    >>> dispatcher.start()

    `HostFunctionCaller` calls them. Several dispatchers may offer one name, in one process
    or in many: each call goes to one of them.

    A function that raises ends only the call: the caller gets a `RemoteError`, and the
    exception is logged, by ``logging``, under the name ``robot_ipc``.

    The dispatcher stops when it is closed or collected, and when its process ends: its
    functions are gone then, and their callers know. Nothing but your program keeps it
    alive, not even its own thread.

    max_func_count
        How many functions it can have: 1 to 512.
    spin
        For how long, at most, it spins before it sleeps, in seconds. If not given, what the
        library thinks best.
    one_word_sleep
        To sleep as on a kernel that cannot wait for several words at once (before 5.16).

    Raises `BadOption`, `SystemFailure`.

    In a forked child its copy does nothing: closing it is fine, whatever else raises
    `Forked`.
    """

    __slots__ = (
        "_max_func_count",
        "_handle",
        "_functions",
        "_lock",
        "_running",
        "_thread",
        "_lost_calls",
        "__weakref__",
    )

    def __init__(
        self,
        max_func_count: int = 16,
        *,
        spin: Optional[float] = None,
        one_word_sleep: bool = False,
    ) -> None:
        self._handle: Optional[_DispatcherHandle] = None
        options = _DispatcherOptions()
        _dispatcher_options_init(ctypes.byref(options))
        self._max_func_count = _number(max_func_count, "max_func_count", 32)
        options.max_functions = self._max_func_count
        options.one_word_sleep = bool(one_word_sleep)
        if spin is not None:
            options.spin_ns = _spin_ns(spin)
        # By the numbers that the library gave them.
        self._functions: Dict[int, _Function] = {}
        # Of the functions, and of who runs their calls. A signal handler may use it, too.
        self._lock = threading.RLock()
        # Set, to end whoever runs calls; None if nobody does.
        self._running: Optional[threading.Event] = None
        self._thread: Optional[threading.Thread] = None
        self._lost_calls = 0
        self._handle = _DispatcherHandle(options)
        _dispatchers.add(self)

    # ------------------------------------------------------------ what it is

    @property
    def max_func_count(self) -> int:
        """How many functions it can have."""
        return self._max_func_count

    @property
    def lost_calls(self) -> int:
        """How many one-way calls were queued in the memory of functions, of other sizes, that
        adding these replaced. They will not run; warnings were logged."""
        return self._lost_calls

    def __repr__(self) -> str:
        handle = self._handle
        if handle is None:
            return "<HostFunctionDispatcher: closed>"
        if handle.pid != os.getpid():
            return "<HostFunctionDispatcher: of process {}>".format(handle.pid)
        names = [function.name for function in list(self._functions.values())]
        state = "stopped" if self._running is None else "running"
        text = "<HostFunctionDispatcher: {} of {} functions {}, {}>"
        return text.format(len(names), self._max_func_count, names, state)

    # ------------------------------------------------------------- functions

    @overload
    def add(
        self,
        name: str,
        *,
        max_sz_args: int = ...,
        max_sz_ret: int = ...,
        max_age: Optional[float] = ...,
        cells: Optional[int] = ...,
        mode: Optional[int] = ...,
        group: Union[str, int, None] = ...,
        directory: Union[str, "os.PathLike[str]", None] = ...,
        namespace: Optional[str] = ...,
        arg_format: Optional[_Format] = ...,
        ret_format: Optional[_Format] = ...,
        max_arg_size: Optional[int] = ...,
        max_ret_size: Optional[int] = ...,
    ) -> Callable[[_Foo], _Foo]: ...

    @overload
    def add(
        self,
        name: str,
        foo: Callable[..., Any],
        max_sz_args: int = ...,
        max_sz_ret: int = ...,
        *,
        max_age: Optional[float] = ...,
        cells: Optional[int] = ...,
        mode: Optional[int] = ...,
        group: Union[str, int, None] = ...,
        directory: Union[str, "os.PathLike[str]", None] = ...,
        namespace: Optional[str] = ...,
        arg_format: Optional[_Format] = ...,
        ret_format: Optional[_Format] = ...,
        max_arg_size: Optional[int] = ...,
        max_ret_size: Optional[int] = ...,
    ) -> None: ...

    def add(
        self,
        name: str,
        foo: Any = _MISSING,
        max_sz_args: int = _MAX_SZ,
        max_sz_ret: int = _MAX_SZ,
        *,
        max_age: Optional[float] = None,
        cells: Optional[int] = None,
        mode: Optional[int] = _MODE,
        group: Union[str, int, None] = None,
        directory: Union[str, "os.PathLike[str]", None] = None,
        namespace: Optional[str] = None,
        arg_format: Optional[_Format] = None,
        ret_format: Optional[_Format] = None,
        max_arg_size: Optional[int] = None,
        max_ret_size: Optional[int] = None,
    ) -> Any:
        """Offers `foo` as a host function, before or after the start. Without `foo` it is a
        decorator:

        >>> @dispatcher.add("greet", max_sz_args=100)
        ... def greet(name):
        ...     return "hello " + name

        name
            1 to 200 bytes of UTF-8, without ``/`` and NUL, not starting with a dot.
        foo
            What to call. What it returns is the response; None is none. With
            ``max_sz_ret=0`` calls are one-way, and what it returns is ignored.
        max_sz_args, max_sz_ret
            How many bytes arguments and response may have once they are pickled, as for
            `HostFunctionCaller`: both sides name the same. A function of other sizes is
            replaced if nothing alive has it open.
        max_age
            Calls that are older when their turn comes, in seconds, are not run; their
            callers get `CallTooOld`.
        cells, mode, group, directory, namespace, arg_format, ret_format
            As for `HostFunctionCaller`. With `arg_format` `foo` gets one instance, or
            bytes, with `ret_format` it returns one, or None.
        max_arg_size, max_ret_size
            Other spellings of `max_sz_args` and `max_sz_ret`.

        Raises `TooManyFunctions`, `BadOption`, also if this dispatcher has the function
        already; `Closed`, `Forked`; and what opening a `HostFunctionCaller` does.
        """
        if foo is _MISSING:

            def decorate(foo: _Foo) -> _Foo:
                self.add(
                    name,
                    foo,
                    max_sz_args,
                    max_sz_ret,
                    max_age=max_age,
                    cells=cells,
                    mode=mode,
                    group=group,
                    directory=directory,
                    namespace=namespace,
                    arg_format=arg_format,
                    ret_format=ret_format,
                    max_arg_size=max_arg_size,
                    max_ret_size=max_ret_size,
                )
                return foo

            return decorate
        encoded_name = _name_bytes(name, "function")
        if not callable(foo):
            raise TypeError("foo has to be callable, not {}".format(type(foo).__name__))
        codecs = _codecs(arg_format, ret_format)
        options = _FunctionOptions()
        _function_options_init(ctypes.byref(options))
        sizes = (
            _one_spelling("max_sz_args", max_sz_args, "max_arg_size", max_arg_size),
            _one_spelling("max_sz_ret", max_sz_ret, "max_ret_size", max_ret_size),
        )
        _fill_sizes(options, name, sizes, codecs)
        if cells is not None:
            # 0 would leave it to the library.
            options.cells = _number(cells, "cells", 32, 1)
        if max_age is not None:
            options.max_age_ns = _nanoseconds(max_age, "max_age")
        _fill_place(options, mode, group, directory, namespace)

        function = _Function(name, foo, codecs, options.max_response_size)
        number, info = ctypes.c_uint64(), _FunctionInfo()
        handle = self._own_handle()
        with self._lock:  # whoever takes a call of it meanwhile waits for its entry
            arguments = (encoded_name, ctypes.byref(options), None, None, ctypes.byref(number))
            status = _INTERRUPTED
            try:
                while status == _INTERRUPTED:
                    status = _add(handle.pointer, *arguments)
                if status == _BAD_ARGUMENT:  # it is there: nothing else can be wrong here
                    raise BadOption("{}; remove it first".format(_text(_last_error())))
                _check(status)
                self._functions[number.value] = function
            except BaseException:
                if number.value:  # Ctrl-C, just now
                    _remove_function(handle.pointer, number)
                    self._functions.pop(number.value, None)
                raise
        if _function_info(handle.pointer, number, ctypes.byref(info)) == _OK:
            self._lost_calls += info.lost_calls
            _warn_of_lost_calls(name, info.lost_calls)

    attach = add

    def remove(self, name: str) -> None:
        """Offers the function no longer. Calls that are queued wait for another dispatcher;
        one that is running ends normally.

        >>> dispatcher.remove("divide")

        Raises `NotFound` if the dispatcher has no such function, `Closed`, `Forked`.
        """
        handle = self._own_handle()
        with self._lock:
            numbers = [
                number for number, function in self._functions.items() if function.name == name
            ]
            for number in numbers:
                _check(_remove_function(handle.pointer, number))
                del self._functions[number]
        if not numbers:
            raise NotFound("function {!r}: this dispatcher does not offer it".format(name))

    # ------------------------------------------------------------------- run

    def start(self) -> None:
        """Runs calls in a daemon thread, from now until `stop`.

        >>> dispatcher.start()

        The thread does not keep the dispatcher alive: keep it yourself.

        Raises `Busy` if it runs already, `Closed`, `Forked`.
        """
        handle = self._own_handle()
        stopping = self._begin(handle)
        thread = threading.Thread(
            target=_serve,
            args=(handle, weakref.ref(self), stopping),
            name="robot_ipc dispatcher",
            daemon=True,
        )
        with self._lock:
            self._thread = thread
        try:
            thread.start()
        except BaseException:
            self._end(handle)
            raise

    def run(self, timeout: Optional[float] = None) -> None:
        """Runs calls in this thread, until `stop` or for `timeout` seconds.

        >>> dispatcher.run()

        Ctrl-C ends it, also in the middle of a function: its caller is told. The functions
        are offered no longer then; after a timeout they still are, for the next `run`.

        Raises `Busy` if it runs already, `Closed`, `Forked`, and KeyboardInterrupt and
        SystemExit if they are raised by a function.
        """
        if timeout is not None:
            _nanoseconds(timeout, "timeout")
        handle = self._own_handle()
        stopping = self._begin(handle)
        try:
            slices = _Slices(timeout)
            call = _TakenCall()
            while not stopping.is_set():
                status = self._run_one(handle, call, slices.next_ns())
                if status == _STOPPED or slices.is_over():
                    break
                if status == _BUSY:  # its thread, that a function of its has stopped
                    time.sleep(_SLICE)
                elif status not in _GO_ON and not self._has_lost(call, status):
                    _check(status)
        except BaseException:
            if handle.pid == os.getpid():
                self._end(handle)
            raise
        finally:
            with self._lock:
                if self._running is stopping:
                    self._running = None

    def stop(self) -> None:
        """Stops running calls: the functions are offered no longer, and callers know. Waits
        for a function that the dispatcher's thread is just running. Stopping twice is fine,
        and `start` and `run` offer them again.
        """
        handle = self._handle
        if handle is None or handle.pid != os.getpid():
            return
        thread = self._end(handle)
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _begin(self, handle: _DispatcherHandle) -> threading.Event:
        """This thread, or one that it starts, runs the calls from now on."""
        with self._lock:
            if self._running is not None:
                raise Busy("the dispatcher runs already; stop it first")
            _check(_resume(handle.pointer))
            self._running = threading.Event()
            return self._running

    def _end(self, handle: _DispatcherHandle) -> Optional[threading.Thread]:
        """Ends whoever runs calls. The thread that may have to be waited for."""
        with self._lock:
            running, self._running = self._running, None
            thread, self._thread = self._thread, None
            if running is not None:
                running.set()
            _stop(handle.pointer)
        return thread

    def _run_one(self, handle: _DispatcherHandle, call: _TakenCall, time_ns: int) -> int:
        """Waits for a call and runs it. Whatever happens here, its caller gets a reply."""
        call.function = 0
        try:
            wait = ctypes.c_int64(time_ns)
            status: int = _next_call(handle.pointer, wait, ctypes.byref(call))
            if status == _OK:
                self._answer(handle, call)
            return status
        except BaseException as error:
            if call.function and handle.pid == os.getpid():
                # Nobody's, if the call was replied to already.
                text = _type_name(error).encode()
                _reply(handle.pointer, _REPLY_RAISED, text, len(text), _UNSPECIFIED)
            raise

    def _answer(self, handle: _DispatcherHandle, call: _TakenCall) -> None:
        """Runs a call and replies to it. What the function raises is for its caller, but for
        what is meant to end this process: that is raised here, too."""
        function = self._functions.get(call.function)
        try:
            if function is None:
                function = self._function_of(call)
            outcome, data, size, encoding = function.run(call)
        except BaseException as error:
            self._answer_error(handle, call, function, error)
            return
        if size <= _QUICK_SIZE:
            length = ctypes.c_size_t(size)
            status = _quick_reply(handle.pointer, outcome, data, length, encoding)
        else:
            status = _reply(handle.pointer, outcome, data, size, encoding)
        call.function = 0
        if status:
            self._log_lost_reply(function.name, status)

    def _answer_error(
        self,
        handle: _DispatcherHandle,
        call: _TakenCall,
        function: Optional[_Function],
        error: BaseException,
    ) -> None:
        limit = function.max_sz_ret if function and call.wants_response else 0
        data, encoding = _error_bytes(error, limit)
        status = _reply(handle.pointer, _REPLY_RAISED, data, len(data), encoding)
        call.function = 0
        name = function.name if function else "?"
        if status != _FORKED:
            try:
                trace = _own_frames_skipped(error)
                _log.error("function %r raised", name, exc_info=(type(error), error, trace))
            except Exception:
                pass  # a logger that raises must not end the dispatcher
        if not isinstance(error, Exception):
            raise error

    def _function_of(self, call: _TakenCall) -> _Function:
        function = self._functions.get(call.function)
        if function is None:
            with self._lock:  # it is just being added
                function = self._functions.get(call.function)
        if function is None:
            raise NotFound("the function was removed from its dispatcher")
        return function

    @staticmethod
    def _log_lost_reply(name: str, status: int) -> None:
        text = _text(_last_error())
        try:
            if status == _RESPONSE_TOO_LARGE:
                _log.error("a response is lost: %s", text)
            elif status != _FORKED:  # a child that the function forked has no reply to make
                _log.warning("a reply is lost: %s", text)
        except Exception:
            pass  # a logger that raises must not end the dispatcher

    def _has_lost(self, call: _TakenCall, status: int) -> bool:
        """Whether that status means that only one function is gone; it is forgotten then."""
        if status not in _FUNCTION_GONE:
            return False
        _log.warning("a function is offered no longer: %s", _text(_last_error()))
        with self._lock:
            self._functions.pop(call.function, None)
        return True

    # --------------------------------------------------------------- the end

    def close(self) -> None:
        """Stops, and lets go of all functions. Every use raises `Closed` from then on.
        Closing twice is fine, and so is closing the copy in a forked child.

        >>> with HostFunctionDispatcher() as dispatcher:
        ...     dispatcher.add("divide", lambda a, b: a / b)
        ...     dispatcher.run(timeout=60)
        """
        self.stop()
        self._handle = None
        self._functions = {}

    def __del__(self, stop: Any = _stop, getpid: Any = os.getpid) -> None:
        # Without a lock, which this very thread may hold, and without waiting.
        try:
            handle, running = self._handle, self._running
        except AttributeError:  # it was never made
            return
        if handle is not None and handle.pid == getpid():
            if running is not None:
                running.set()
            stop(handle.pointer)

    def __enter__(self) -> "HostFunctionDispatcher":
        self._own_handle()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a dispatcher cannot be pickled: make one in the process that serves")

    def _own_handle(self) -> _DispatcherHandle:
        handle = self._handle
        if handle is None:
            raise Closed("this dispatcher was closed")
        if handle.pid != os.getpid():
            text = "this dispatcher belongs to process {}, and this is a child of it; make one here"
            raise Forked(text.format(handle.pid))
        return handle


def _serve(
    handle: _DispatcherHandle,
    reference: "weakref.ref[HostFunctionDispatcher]",
    stopping: threading.Event,
) -> None:
    """What a dispatcher's thread does. While it waits for a call it must not keep the
    dispatcher alive, nor its functions, which may well own the dispatcher."""
    call = _TakenCall()
    place, time_ns = ctypes.byref(call), ctypes.c_int64(_SERVING_SLICE_NS)
    while not stopping.is_set():
        call.function = 0
        status = _next_call(handle.pointer, time_ns, place)
        if status in (_TIMED_OUT, _INTERRUPTED):
            continue
        if status in (_STOPPED, _FORKED):
            break
        if status == _BUSY:  # a thread before, that a function of its has stopped
            time.sleep(_SLICE)
            continue
        dispatcher = reference()
        if dispatcher is None:  # collected at this very moment
            if status == _OK:
                text = b"Stopped: the dispatcher was closed; the call was not run"
                _reply(handle.pointer, _REPLY_RAISED, text, len(text), _UNSPECIFIED)
            break
        try:
            if status == _OK:
                dispatcher._answer(handle, call)
            elif not dispatcher._has_lost(call, status):
                _log.error("the dispatcher ends: %s", _text(_last_error()))
                dispatcher._end(handle)
                break
        except BaseException:
            # Its caller was told, it was logged, and this thread is not the program.
            if call.function and handle.pid == os.getpid():
                _reply(handle.pointer, _REPLY_RAISED, b"", 0, _UNSPECIFIED)
        finally:
            del dispatcher


_dispatchers: "weakref.WeakSet[HostFunctionDispatcher]" = weakref.WeakSet()


def _stop_all() -> None:
    """At the end of the interpreter its threads freeze, and a frozen dispatcher would seem
    to serve. A function that is just running has a moment to end."""
    threads = []
    for dispatcher in list(_dispatchers):
        handle = dispatcher._handle
        if handle is not None and handle.pid == os.getpid():
            threads.append(dispatcher._end(handle))
    deadline = time.monotonic() + _EXIT_PATIENCE
    for thread in threads:
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(deadline - time.monotonic(), 0.0))


def _after_fork() -> None:
    for caller in list(_callers):
        caller._forget_other_threads()


atexit.register(_stop_all)
os.register_at_fork(after_in_child=_after_fork)
