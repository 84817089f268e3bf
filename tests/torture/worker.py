"""A worker of the torture program, in Python: `worker.py ROLE NUMBER ROW SEED FUSE`.

It does what `tests/bin/torture/worker.rs` does, through the public API, and checks every
value and every answer in the same way. What goes through variables and functions is drawn
in `tests/bin/torture/message.rs`, the board on which it notes what it does in `board.rs`.
What objects there are, and with which errors an operation may end, it is told by the
environment variable TORTURE_TABLE (`table.rs`).
"""

import ctypes
import logging
import mmap
import os
import random
import signal
import struct
import sys
import threading
import time
import traceback

import robot_ipc
from robot_ipc import HostFunctionCaller, HostFunctionDispatcher, HostVariable

MODULUS = (1 << 61) - 1
MARGIN, MIN_SIZE = 64, 64
ROWS, WORDS = 32, 64
PID, PROGRESS, DOING, FORKED, FAILED, FIRST_OBJECT = 0, 1, 2, 3, 4, 5
CHILD_NUMBER = 1 << 40
ANSWER, RAISE, NOTHING, TOO_LARGE, SLOWLY = range(5)

# What the errors are called in Rust, if not the same.
NAMES = {"RemoteError": "Raised", "UnfetchedResponses": "Unfetched"}


def fail(what):
    """Ends this process at once, whichever thread finds the fault."""
    if Row.own is not None:
        # Before it is printed: who is killed meanwhile would have failed unheard.
        Row.own.set(Row.own.row, FAILED, 1)
    sys.stderr.write("worker.py {}: {}\n".format(sys.argv[1:], what))
    sys.stderr.flush()
    os._exit(101)


# ------------------------------------------------------------------------------ the table

VARIABLES, FUNCTIONS, OPERATIONS, ERRORS = [], [], {}, []


class Kind:
    """A variable or a function, as the table has it."""

    def __init__(self, name, *numbers):
        self.name = name
        self.numbers = [int(number) for number in numbers]
        self.is_mortal = bool(self.numbers[-1])


for _line in os.environ["TORTURE_TABLE"].splitlines():
    _what, *_fields = _line.split(";")
    if _what == "variable":
        VARIABLES.append(Kind(*_fields))
    elif _what == "function":
        FUNCTIONS.append(Kind(*_fields))
    elif _what == "operation":
        OPERATIONS[_fields[0]] = (len(OPERATIONS), _fields[1].split(","), _fields[2] == "1")
    else:
        ERRORS.append(_fields[0])

FIRST_OPERATION = FIRST_OBJECT + len(VARIABLES) + len(FUNCTIONS)
FIRST_ERROR = FIRST_OPERATION + len(OPERATIONS)


# ------------------------------------------------------------------------------- messages


def checksum(data):
    return int.from_bytes(data, "little") % MODULUS


def seal(head, size):
    """A message of `size` bytes that begins with the words `head`."""
    begin = struct.pack("<{}Q".format(len(head)), *head)
    block = struct.pack("<Q", (head[0] * 0x9E3779B97F4A7C15 ^ head[1] * MODULUS) % (1 << 64))
    body = (begin + block * (size // 8))[: size - 8]
    return body + struct.pack("<Q", checksum(body))


def unseal(data, words):
    """The first words of a message; None if it is not of one piece."""
    if not isinstance(data, bytes) or len(data) < 8 * (words + 1):
        return None
    if checksum(data[:-8]) != int.from_bytes(data[-8:], "little"):
        return None
    return struct.unpack_from("<{}Q".format(words), data)


def digest(question):
    return checksum(question) ^ len(question) << 40


# ------------------------------------------------------------------------------ the board


class Row:
    """This process's row of the board."""

    own = None

    def __init__(self, path, row):
        with open(path, "r+b") as file:
            self.words = memoryview(mmap.mmap(file.fileno(), 0)).cast("I")
        self.row = row
        Row.own = self

    def add(self, word):
        index = self.row * WORDS + word
        self.words[index] = (self.words[index] + 1) & 0xFFFFFFFF

    def set(self, row, word, value):
        self.words[row * WORDS + word] = value

    def set_has_child(self, has):
        self.set(self.row + ROWS, PID, 0)
        self.set(self.row + ROWS, FORKED, int(has))

    def become_child(self):
        self.row += ROWS
        self.set(self.row, PID, os.getpid())

    def count(self, operation):
        self.add(FIRST_OPERATION + OPERATIONS[operation][0])

    def run(self, operation, thing, act):
        """Does something to an object and notes what came of it: the exception, or None, and
        the value. An exception that cannot be expected of that operation is a failure."""
        number, allowed, proves_use = OPERATIONS[operation]
        self.set(self.row, DOING, number << 8 | thing)
        try:
            value = act()
        except robot_ipc.RobotIpcError as error:
            self.add(PROGRESS)
            name = type(error).__name__
            name = NAMES.get(name, name)
            if name == "TimedOut" and "CallTimedOut" in allowed:
                name = "CallTimedOut"
            if name not in allowed:
                fail("'{}' failed as it must not: {!r}".format(operation, error))
            self.add(FIRST_ERROR + ERRORS.index(name))
            return error, None
        self.add(PROGRESS)
        if proves_use:
            self.add(FIRST_OBJECT + thing)
        self.count(operation)
        return None, value


# ------------------------------------------------------------------------------ variables


class Witness:
    """What this process has of one variable, and has seen of it; see `variables.rs`."""

    def __init__(self, thing, kind):
        self.thing, self.kind = thing, kind
        self.room = kind.numbers[1] - MARGIN
        self.handles = {}  # by read_only: the handle, and the incarnation it shows
        self.latest = None  # version and value seen last
        self.gone = set()
        self.newest = {}

    def fail(self, what):
        fail("variable '{}': {}".format(self.kind.name, what))

    def check(self, handle, data, version):
        head = unseal(data, 4)
        if head is None or head[3] != len(data):
            self.fail("version {} is torn: {}".format(version, head))
        writer, sequence, incarnation, _ = head
        if handle[1] not in (None, incarnation):
            self.fail("{}, version {}, through a handle of {}".format(head, version, handle[1]))
        handle[1] = incarnation
        self.note(version, (writer, sequence, incarnation))

    def note(self, version, value):
        writer, sequence, incarnation = value
        if incarnation in self.gone:
            self.fail("{} of an incarnation that was over".format(value))
        if self.latest is not None:
            last, latest = self.latest
            if latest[2] != incarnation:
                self.gone.add(latest[2])
            elif version < last:
                self.fail("version {} after {}".format(version, last))
            elif version == last:
                if value != latest:
                    self.fail("version {} is {}, and {}".format(version, latest, value))
                return
        before = self.newest.get(writer, 0)
        if sequence <= before:
            text = "{}, version {}, after that writer's {}"
            self.fail(text.format(value, version, before))
        self.newest[writer] = sequence
        self.latest = (version, value)

    def take(self, row, read_only):
        handle = self.handles.pop(read_only, None)
        if handle is None:
            slots, max_size, _ = self.kind.numbers

            def act():
                return HostVariable(self.kind.name, max_size, slots=slots, read_only=read_only)

            error, variable = row.run("open variable", self.thing, act)
            handle = None if error else [variable, None]
        return handle

    def keep(self, handle, error, read_only):
        if not isinstance(error, robot_ipc.Retired):
            self.handles[read_only] = handle

    def read(self, row):
        read_only = random.random() < 0.5
        handle = self.take(row, read_only)
        if handle is not None:
            name = "read by a read-only handle" if read_only else "read"
            self.keep(handle, self.read_by(row, handle, name), read_only)

    def read_by(self, row, handle, name="read"):
        error, sample = row.run(name, self.thing, handle[0].sample)
        if error is None:
            self.check(handle, sample.value, sample.version)
        return error

    def known_version(self, handle):
        if self.latest is not None and self.latest[1][2] == handle[1]:
            return self.latest[0]
        return None

    def wait(self, row):
        handle = self.take(row, False)
        if handle is None:
            return
        since = self.known_version(handle) or 0
        timeout = random.random() * 0.05
        act = lambda: handle[0].wait(timeout, since=since)  # noqa: E731
        error, _ = row.run("wait for a value", self.thing, act)
        self.keep(handle, error or self.read_by(row, handle), False)

    def look(self, row):
        handle = self.take(row, False)
        if handle is None:
            return
        error, version = row.run("look at the version", self.thing, lambda: handle[0].version)
        known = self.known_version(handle)
        if error is None and known is not None and version < known:
            self.fail("it tells version {} after {}".format(version, known))
        self.keep(handle, error, False)

    def write(self, row, me):
        handle = self.take(row, False)
        if handle is None:
            return
        error = self.learn(row, me, handle)
        if error is None:
            if random.randrange(4) == 0:
                error = self.update(row, me, handle)
            else:
                value, data = me.value(self, handle[1])
                error, version = row.run("write", self.thing, lambda: handle[0].write(data))
                if error is None:
                    self.wrote(version, value)
        if error is None and random.randrange(4) == 0:
            error = self.read_by(row, handle)
        self.keep(handle, error, False)

    def wrote(self, version, value):
        if self.latest is not None:
            last, latest = self.latest
            if latest[2] == value[2] and version <= last:
                self.fail("{} became version {} after {}".format(value, version, last))
        self.note(version, value)

    def learn(self, row, me, handle):
        """Which incarnation a handle shows. If nobody has written yet, an update names it,
        unless somebody is faster."""
        if handle[1] is not None:
            return None
        error = self.read_by(row, handle)
        if isinstance(error, robot_ipc.NeverWritten):
            error = self.update(row, me, handle)
            if error is None:
                error = self.read_by(row, handle)
        return error

    def update(self, row, me, handle):
        made = []

        def change(old):
            if old is None:
                incarnation = random.getrandbits(64)
            else:
                head = unseal(old, 4)
                if head is None:
                    self.fail("an update found a torn value")
                incarnation = head[2]
            value, data = me.value(self, incarnation)
            made.append(value)
            return data

        act = lambda: handle[0].update(change, default=None)  # noqa: E731
        error, _ = row.run("update", self.thing, act)
        if error is None and handle[1] not in (None, made[-1][2]):
            self.fail("an update saw another incarnation than its handle")
        return error

    def remove(self, row, me):
        if not self.kind.is_mortal:
            return
        handle = self.take(row, False)
        if handle is not None:
            row.run("remove variable", self.thing, handle[0].unlink)
        self.write(row, me)


# ---------------------------------------------------------------------------------- calls


class Line:
    """What this process has of one function that it calls; see `calls.rs`."""

    def __init__(self, index, kind):
        self.index, self.kind = index, kind
        self.thing = len(VARIABLES) + index
        self.cells, self.max_args, self.max_ret, _ = kind.numbers
        self.caller = None
        self.withdrawn = 0

    def fail(self, what):
        fail("function '{}': {}".format(self.kind.name, what))

    def question(self, me):
        wish = random.choice([RAISE, NOTHING, TOO_LARGE, SLOWLY] + 16 * [ANSWER])
        head = (me.number, me.next(), self.index, wish, self.withdrawn)
        data = seal(head, random.randint(MIN_SIZE, self.max_args - MARGIN))
        return head, data

    def check(self, head, data, error, answer):
        wish = head[3]
        if error is None:
            if wish == NOTHING:
                if answer is not None:
                    self.fail("{} was answered".format(head))
            elif wish in (ANSWER, SLOWLY):
                found = unseal(answer, 4)
                if found != head[:3] + (digest(data),):
                    self.fail("{} got the answer {}".format(head, found))
            else:
                self.fail("{} came to {!r}".format(head, answer and len(answer)))
        elif isinstance(error, robot_ipc.RemoteError):
            text = str(error)
            if text.endswith("before the call began"):
                return
            if wish != RAISE or complaint(*head[:3]) not in text:
                self.fail("{} raised {!r}".format(head, text))
        elif isinstance(error, robot_ipc.ResponseTooLarge) and wish != TOO_LARGE:
            self.fail("{}: {}".format(head, error))

    def call(self, row, me):
        if self.caller is None:
            cells, max_args, max_ret, _ = self.kind.numbers

            def act():
                options = {"cells": cells, "send_timeout": 0.5}
                return HostFunctionCaller(self.kind.name, max_args, max_ret, **options)

            error, self.caller = row.run("open function", self.thing, act)
            if error is not None:
                return
        if self.max_ret == 0:
            error = self.notify(row, me)
        elif random.random() < 0.5:
            error = self.call_and_wait(row, me)
        else:
            error = self.call_many(row, me)
        if isinstance(error, robot_ipc.Retired):
            self.caller = None

    def notify(self, row, me):
        _, data = self.question(me)
        return row.run("call one-way", self.thing, lambda: self.caller(data))[0]

    def call_and_wait(self, row, me):
        head, data = self.question(me)
        patience = random.choice([0.0, 0.02, 1.5, 1.5])
        act = lambda: self.caller.call(data, timeout=patience)  # noqa: E731
        error, answer = row.run("call and wait", self.thing, act)
        self.check(head, data, error, answer)
        return error

    def call_many(self, row, me):
        result, pending = None, []
        for _ in range(random.randint(1, max(self.cells - 2, 1))):
            head, data = self.question(me)
            error, call = row.run("send", self.thing, lambda: self.caller(data))
            if error is not None:
                result = error
                break
            pending.append((head, data, call))
        random.shuffle(pending)
        for head, data, call in pending:
            if random.randrange(8) == 0:
                error, never_runs = row.run("cancel", self.thing, call.cancel)
                if never_runs:
                    self.withdrawn = head[1]
                continue
            patience = random.choice([0.001, 0.05, 1.5, 1.5])
            act = lambda: call.result(patience)  # noqa: E731
            error, answer = row.run("fetch a response", self.thing, act)
            self.check(head, data, error, answer)
            if isinstance(error, robot_ipc.TimedOut):
                row.run("cancel", self.thing, call.cancel)
            if isinstance(error, robot_ipc.Retired):
                result = error
        return result

    def remove(self, row, me):
        if not self.kind.is_mortal:
            return
        self.call(row, me)
        if self.caller is not None:
            row.run("remove function", self.thing, self.caller.unlink)
            self.caller = None


def complaint(caller, sequence, function):
    return "wished for by {}, question {}, function {}".format(caller, sequence, function)


class Server:
    """A dispatcher of all functions; see `serving.rs`."""

    def __init__(self, row):
        self.row = row
        self.dispatcher = HostFunctionDispatcher()
        self.ledgers = [{} for _ in FUNCTIONS]
        self.offer()
        self.has_own_thread = random.random() < 0.5
        if self.has_own_thread:
            self.start()

    def start(self):
        try:
            self.dispatcher.start()
        except robot_ipc.Retired:
            pass  # removed just now: offered anew in the next round

    def offer(self):
        offered = repr(self.dispatcher)
        for index, kind in enumerate(FUNCTIONS):
            if "'{}'".format(kind.name) not in offered:
                cells, max_args, max_ret, _ = kind.numbers

                def act():
                    options = {"cells": cells}
                    run = self.function(index, kind)
                    self.dispatcher.add(kind.name, run, max_args, max_ret, **options)

                self.row.run("offer a function", len(VARIABLES) + index, act)

    def serve(self):
        duration = random.random() * 0.02
        if self.has_own_thread:
            time.sleep(duration)
            self.row.add(PROGRESS)
        else:
            act = lambda: self.dispatcher.run(duration)  # noqa: E731
            self.row.run("run dispatcher", len(VARIABLES), act)
        self.offer()

    def function(self, index, kind):
        ledger, (_, _, max_ret, _) = self.ledgers[index], kind.numbers

        def wrong(what):
            fail("function '{}', as its dispatcher: {}".format(kind.name, what))

        def run(data):
            try:
                head = unseal(data, 5)
                if head is None or head[2] != index:
                    wrong("it was asked {}".format(head))
                caller, sequence, _, wish, withdrawn = head
                asked = ledger.setdefault(caller, [])
                if asked and sequence <= asked[-1]:
                    wrong("question {} of {} came after {}".format(sequence, caller, asked[-1]))
                if withdrawn and withdrawn in asked:
                    wrong("{} of {} ran, and was taken back".format(withdrawn, caller))
                asked.append(sequence)
                del asked[:-256]
                self.row.run("serve a call", len(VARIABLES) + index, lambda: None)
            except Exception:
                fail(traceback.format_exc())
            if max_ret == 0 or wish == NOTHING:
                return None
            if wish == RAISE:
                raise ValueError(complaint(caller, sequence, index))
            if wish == SLOWLY:
                time.sleep(random.random() * 0.005)
            size = random.randint(MIN_SIZE, max_ret - MARGIN) if wish != TOO_LARGE else max_ret + 1
            return seal((caller, sequence, index, digest(data)), size)

        return run


# ------------------------------------------------------------------------------ processes


class Worker:
    """This process: its number, and everything it has."""

    def __init__(self, role, number, row, seed):
        random.seed(seed)
        self.number, self.sequence, self.row = number, 0, row
        self.variables = [Witness(*pair) for pair in enumerate(VARIABLES)]
        self.lines = [Line(*pair) for pair in enumerate(FUNCTIONS)]
        serves = role == "serve" or role == "fork" and random.random() < 0.3
        self.server = Server(row) if serves else None
        self.child, self.children, self.idle_children = None, 0, 0

    def next(self):
        self.sequence += 1
        return self.sequence

    def value(self, witness, incarnation):
        size = witness.room
        if random.random() < 0.5:
            size = random.randint(MIN_SIZE, size)
        value = (self.number, self.next(), incarnation)
        return value, seal(value + (size,), size)

    def act(self, role):
        getattr(self, role)()

    def write(self):
        random.choice(self.variables).write(self.row, self)

    def read(self):
        variable = random.choice(self.variables)
        random.choice([variable.read, variable.read, variable.look, variable.wait])(self.row)

    def call(self):
        random.choice(self.lines).call(self.row, self)

    def serve(self):
        self.server.serve()

    def remove(self):
        time.sleep(random.random() * 0.06)
        self.row.add(PROGRESS)
        random.choice(self.variables + self.lines).remove(self.row, self)

    def mingle(self):
        random.choice([self.write, self.read, self.call])()

    def fork(self):
        self.look_after_child()
        for _ in range(random.randrange(20)):
            self.mingle()
        if random.random() < 0.5 and self.child is None:
            self.fork_working_child()
        elif self.idle_children < 2:
            self.idle_children += 1
            self.row.count("fork")
            if os.fork() == 0:
                while os.read(0, 16):
                    pass
                os._exit(0)
        self.mingle()

    def fork_working_child(self):
        self.row.count("fork")
        self.row.set_has_child(True)
        self.children += 1
        self.child = os.fork()
        if self.child == 0:
            try:
                self.row.become_child()
                die_at_end_of_input()
                self.number += self.children * CHILD_NUMBER
                self.sequence = 0
                for line in self.lines:
                    line.withdrawn = 0
                for _ in range(random.randrange(100)):
                    self.mingle()
            except BaseException:
                fail(traceback.format_exc())
            os._exit(0)

    def look_after_child(self):
        if self.child is None:
            return
        pid, status = os.waitpid(self.child, os.WNOHANG)
        if pid:
            if status not in (0, signal.SIGKILL):
                fail("a forked child failed: {}".format(status))
            self.child = None
            self.row.set_has_child(False)


def die_at_end_of_input():
    """Whoever started all of this may be gone without having killed us."""

    def wait():
        while os.read(0, 16):
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def main():
    role, number, row, seed, _fuse = sys.argv[1:]
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    logging.disable()  # of what the functions raise on purpose
    expected = os.environ["ROBOT_IPC_EXPECTED_BUILD_ID"]
    if robot_ipc.build_id() != expected:
        fail("the library is {}, not {}".format(robot_ipc.build_id(), expected))
    try:
        row = Row(os.environ["TORTURE_BOARD"], int(row))
        worker = Worker(role, int(number), row, int(seed))
        while True:
            worker.act(role)
    except BaseException:
        fail(traceback.format_exc())


main()
