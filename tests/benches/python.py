#!/usr/bin/env python3
"""What the Python module costs beside the least that any Python program can do, and
beside what else passes Python objects between processes.

    cargo build --release -p robot-ipc
    python3 tests/benches/python.py [--quick] [--json FILE]

It makes a virtual environment of its own in target/, and says loudly which peers it could
not install. All of a group take turns in each round, so that what disturbs one disturbs
all; figures are medians of the rounds, with the smallest and the largest.

The *floors* are our own functions of C, called by hand with everything prepared before: no
property, no threads, no errors, no look at what came of it. PyDLL keeps the interpreter's
lock meanwhile, CDLL lets go of it. A function call needs four picklings, and one such call
at least on either side.

Two processes that take turns cost several times as much on two processors as on one if
they sleep in between, and less if they do not. So calls are measured on two processors,
on one, and wherever the scheduler puts them.
"""

import argparse
import ctypes
import gc
import json
import logging
import mmap
import multiprocessing
import os
import pickle
import signal
import statistics
import struct
import subprocess
import sys
import time
from timeit import Timer

WORKSPACE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ENVIRONMENT = os.path.join(WORKSPACE, "target", "bench-python")
PACKAGES = {"zmq": "pyzmq", "iceoryx2": "iceoryx2", "numpy": "numpy"}
SKIPPED = "ROBOT_IPC_BENCH_SKIPPED"

SMALL = {"t": 1.25, "q": [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5]}
LARGE_SIZE = 8 << 20
PATIENCE_MS = 10_000

dumps, loads = pickle.dumps, pickle.loads
now = time.perf_counter_ns


# --------------------------------------------------------------- its own environment


def skip(what, why):
    print("SKIPPED: {}: {}".format(what, why), file=sys.stderr, flush=True)


def enter_environment():
    """Goes on in the virtual environment, with what could be installed there."""
    python = os.path.join(ENVIRONMENT, "bin", "python")
    missing = {}
    try:
        if not os.path.exists(python):
            run([sys.executable, "-m", "venv", ENVIRONMENT])
        for module, package in PACKAGES.items():
            if not can_import(python, module):
                try:
                    run([python, "-m", "pip", "install", "--quiet", package])
                    if not can_import(python, module):
                        missing[module] = "it was installed and cannot be imported"
                except RuntimeError as error:
                    missing[module] = str(error)
    except RuntimeError as error:
        python = sys.executable
        missing = {module: str(error) for module in PACKAGES if not can_import(python, module)}
    os.environ[SKIPPED] = json.dumps(missing)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.execv(python, [python, os.path.abspath(__file__)] + sys.argv[1:])


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        words = (done.stdout.strip().splitlines() or ["without a word"])[-1]
        raise RuntimeError("`{}` failed: {}".format(" ".join(command[-3:]), words))


def can_import(python, module):
    code = "import {}".format(module)
    return subprocess.run([python, "-c", code], stderr=subprocess.DEVNULL).returncode == 0


def load_robot_ipc():
    """Our module, with a release build of the library: another one would prove nothing."""
    library = os.path.join(WORKSPACE, "target", "release", "librobot_ipc.so")
    os.environ.setdefault("ROBOT_IPC_LIBRARY", library)
    os.environ.setdefault("ROBOT_IPC_NAMESPACE", "bench-{}".format(os.getpid()))
    sys.path.insert(0, os.path.join(WORKSPACE, "python-ctypes"))
    try:
        import robot_ipc
    except ImportError as error:
        sys.exit("{}\nBuild it: cargo build --release -p robot-ipc".format(error))
    if not robot_ipc.build_id().endswith(".release"):
        sys.exit("{} is no release build".format(os.environ["ROBOT_IPC_LIBRARY"]))
    return robot_ipc


def imported(module, missing):
    if module in missing:
        skip(PACKAGES[module], missing[module])
        return None
    return __import__(module)


# -------------------------------------------------------------------------- measuring


class Statement:
    """A line of Python that is timed many times over: microseconds of one."""

    def __init__(self, text, count, **names):
        self.timer = Timer(text, globals=names)
        self.count = count

    def measure(self):
        self.timer.timeit(self.count // 4)  # what ran before has left other things in caches
        return [self.timer.timeit(self.count) / self.count * 1e6]


class Each:
    """Something that is timed each time, after a preparation that is not: the median."""

    def __init__(self, prepare, do, count):
        self.prepare, self.do, self.count = prepare, do, count

    def measure(self):
        times = []
        for _ in range(self.count):
            self.prepare()
            start = now()
            self.do()
            times.append(now() - start)
        return [statistics.median(times) / 1e3]


class RoundTrips:
    """Calls whose answer is waited for: the median, and what one of a hundred exceeds."""

    def __init__(self, call, count, before=None, after=None):
        self.call, self.count, self.before, self.after = call, count, before, after

    def measure(self):
        if self.before:
            self.before()
        for _ in range(self.count // 10):
            self.call()
        times = []
        for _ in range(self.count):
            start = now()
            self.call()
            times.append(now() - start)
        if self.after:
            self.after()
        times.sort()
        return [times[len(times) // 2] / 1e3, times[len(times) * 99 // 100] / 1e3]


def interleaved(group, cases, rounds):
    """Rows of all cases, by name. What fails is told, and has no rows."""
    figures = {name: [] for name in cases}
    gc.disable()
    for round_number in range(rounds + 1):
        names = list(figures)
        first = round_number % len(names)
        for name in names[first:] + names[:first]:
            try:
                found = cases[name].measure()
            except Exception as error:
                skip(name, "{}: {}".format(type(error).__name__, error))
                del figures[name]
                continue
            if round_number:  # the first one does not count
                figures[name].append(found)
        gc.collect()
    gc.enable()
    rows = {}
    for name, found in figures.items():
        for part, values in zip(("", ", p99"), zip(*found)):
            rows[name + part] = {
                "group": group,
                "name": name + part,
                "unit": "µs",
                "median": statistics.median(values),
                "min": min(values),
                "max": max(values),
            }
    return rows


def beside(row, reference, times=None, goal=None):
    """Compares a row with another one; a goal is that many times of it at most."""
    if row is None or reference is None:
        return
    row["reference"] = {"name": reference["name"], "median": reference["median"]}
    row["ratio"] = row["median"] / reference["median"]
    if times is not None:
        limit = times * reference["median"]
        row["goal"] = {"text": goal, "limit": limit}
        row["met"] = row["median"] <= limit


# ---------------------------------------------------------- other ways, by hand


class LockedMemory:
    """multiprocessing.shared_memory, a lock, and pickles: what most people write."""

    def __init__(self, size):
        from multiprocessing import shared_memory

        self.memory = shared_memory.SharedMemory(create=True, size=size)
        self.lock = multiprocessing.get_context("fork").Lock()
        self.view = self.memory.buf

    def set(self, value):
        data = dumps(value, 5)
        with self.lock:
            struct.pack_into("Q", self.view, 0, len(data))
            self.view[8 : 8 + len(data)] = data

    def get(self):
        with self.lock:
            (length,) = struct.unpack_from("Q", self.view, 0)
            data = bytes(self.view[8 : 8 + length])
        return loads(data)

    def set_out_of_band(self, value):
        buffers = []
        data = dumps(value, 5, buffer_callback=buffers.append)
        raw = buffers[0].raw()
        end = 16 + len(data)
        with self.lock:
            struct.pack_into("QQ", self.view, 0, len(data), raw.nbytes)
            self.view[16:end] = data
            self.view[end : end + raw.nbytes] = raw

    def get_out_of_band(self):
        with self.lock:
            length, raw_length = struct.unpack_from("QQ", self.view, 0)
            data = bytes(self.view[16 : 16 + length])
            raw = bytearray(self.view[16 + length : 16 + length + raw_length])
        return loads(data, buffers=[raw])

    def close(self):
        self.view = None
        self.memory.close()
        self.memory.unlink()


class Semaphores:
    """Shared memory, two POSIX semaphores, and pickles: a call, once."""

    def __init__(self, context):
        self.memory = mmap.mmap(-1, 1 << 16)
        self.asked, self.answered = context.Semaphore(0), context.Semaphore(0)

    def put(self, value):
        data = dumps(value, 5)
        self.memory[4 : 4 + len(data)] = data
        self.memory[:4] = struct.pack("I", len(data))

    def take(self):
        (length,) = struct.unpack_from("I", self.memory, 0)
        return loads(self.memory[4 : 4 + length])

    def call(self, *args, **kwargs):
        self.put((args, kwargs))
        self.asked.release()
        self.answered.acquire()
        return self.take()

    def serve(self):
        while True:
            self.asked.acquire()
            args, kwargs = self.take()
            self.put(same(*args, **kwargs))
            self.answered.release()


def same(value):
    return value


def die_with_parent():
    """Whatever ends the bench: nothing of it stays."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def serve_ours(robot_ipc, is_ready):
    die_with_parent()
    logging.disable()  # of what it says when the bench removes its function
    dispatcher = robot_ipc.HostFunctionDispatcher()
    dispatcher.add("same", same)
    dispatcher.start()
    is_ready.set()
    while True:
        time.sleep(1000)


def serve_semaphores(semaphores, is_ready):
    die_with_parent()
    is_ready.set()
    semaphores.serve()


def serve_zmq(zmq, address, is_ready):
    die_with_parent()
    socket = zmq.Context().socket(zmq.REP)
    socket.bind(address)
    is_ready.set()
    while True:
        args, kwargs = loads(socket.recv())
        socket.send(dumps(same(*args, **kwargs), 5))


def serve_iceoryx2(iceoryx2, name, is_ready, is_asked):
    """It polls, as its wheel has no other way to wait for a request; only while it is asked,
    as it would take a processor from the others."""
    die_with_parent()
    # Ends in order, or its files stay.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    service = open_iceoryx2(iceoryx2, name)
    server = service.server_builder().initial_max_slice_len(4096).create()
    is_ready.set()
    while True:
        is_asked.wait()
        request = server.receive()
        if request is None:
            time.sleep(0)
            continue
        args, kwargs = loads(request.payload().as_memory_view())
        data = dumps(same(*args, **kwargs), 5)
        response = request.loan_slice_uninit(len(data))
        ctypes.memmove(response.payload_ptr, data, len(data))
        response.assume_init().send()
        del request, response


def open_iceoryx2(iceoryx2, name):
    node = iceoryx2.NodeBuilder.new().create(iceoryx2.ServiceType.Ipc)
    kind = iceoryx2.Slice[ctypes.c_uint8]
    service = node.service_builder(iceoryx2.ServiceName.new(name))
    return service.request_response(kind, kind).open_or_create()


class IceoryxCaller:
    def __init__(self, iceoryx2, name):
        self.service = open_iceoryx2(iceoryx2, name)
        self.client = self.service.client_builder().initial_max_slice_len(4096).create()

    def call(self, *args, **kwargs):
        data = dumps((args, kwargs), 5)
        request = self.client.loan_slice_uninit(len(data))
        ctypes.memmove(request.payload_ptr, data, len(data))
        pending = request.assume_init().send()
        end = time.monotonic() + PATIENCE_MS / 1e3
        while True:
            response = pending.receive()
            if response is not None:
                return loads(response.payload().as_memory_view())
            if time.monotonic() > end:
                raise TimeoutError("no response")
            time.sleep(0)


class Blackboard:
    """iceoryx2's latest value, of `size` bytes; it knows no pickles."""

    def __init__(self, iceoryx2, name, size):
        class Key(ctypes.Structure):
            _fields_ = [("number", ctypes.c_uint32)]

            def __eq__(self, other):
                return self.number == other.number

        class Value(ctypes.Structure):
            _fields_ = [("bytes", ctypes.c_uint8 * size)]

        self.kind = Value
        node = iceoryx2.NodeBuilder.new().create(iceoryx2.ServiceType.Ipc)
        service = node.service_builder(iceoryx2.ServiceName.new(name))
        self.service = service.blackboard_creator(Key).add(Key(0), Value()).create()
        self.writer = self.service.writer_builder().create()
        self.reader = self.service.reader_builder().create()
        self.input = self.writer.entry(Key(0), Value)
        self.output = self.reader.entry(Key(0), Value)


class Conflating:
    """pyzmq's PUB/SUB that keeps the newest message only."""

    def __init__(self, zmq, address):
        context = zmq.Context.instance()
        self.sender, self.receiver = context.socket(zmq.PUB), context.socket(zmq.SUB)
        for socket in (self.sender, self.receiver):
            socket.setsockopt(zmq.CONFLATE, 1)
            socket.setsockopt(zmq.LINGER, 0)
        self.sender.bind(address)
        self.receiver.connect(address)
        self.receiver.setsockopt(zmq.SUBSCRIBE, b"")
        end = time.monotonic() + PATIENCE_MS / 1e3
        while not self.receiver.poll(10):  # a subscription takes its time
            self.sender.send(b"hello")
            if time.monotonic() > end:
                raise TimeoutError("no subscription")
        self.receiver.recv()

    def set(self, value):
        self.sender.send(dumps(value, 5))

    def get(self):
        return loads(self.receiver.recv())

    def prepare(self, value):
        self.set(value)
        if not self.receiver.poll(PATIENCE_MS):
            raise TimeoutError("no message")


# ------------------------------------------------------------------------------ groups

SET, GET = ".data = small dict", ".data, small dict"
SET_FLOOR = "floor: dumps + bare call (PyDLL)"
GET_FLOOR = "floor: bare call (PyDLL) + loads"
CALL, CALL_ONE = "f(dict) → dict, two processors", "f(dict) → dict, one processor"
CALL_FREE = "f(dict) → dict, not pinned"
TWO_STEPS = "caller(dict).result(), two processors"
SEMAPHORES = "two semaphores + pickle, not pinned"
SEMAPHORES_ONE = "two semaphores + pickle, one processor"
ZMQ, ZMQ_ONE = "pyzmq REQ/REP, ipc, two processors", "pyzmq REQ/REP, ipc, one processor"
CALL_FLOOR = "floor: four picklings + two bare calls"


def floor_names(robot_ipc, variable):
    """What the floors use: our functions of C, and everything that they need."""
    read, place, stamp, _, _, view, _ = variable._handle.new_scratch()
    cdll = ctypes.CDLL(robot_ipc._library._name)
    return dict(
        read=read,
        read_cdll=cdll["ripc_read_prepared"],
        write=robot_ipc._quick_assign,
        write_cdll=cdll["ripc_write_prepared"],
        place=place,
        variable=variable._handle.assigning,
        view=view,
        stamp=stamp,
        dumps=dumps,
        loads=loads,
        small=SMALL,
        data=dumps(SMALL, 5),
        arguments=((SMALL,), {}),
    )


def small_values(robot_ipc, peers, is_quick):
    count, rounds = (1000, 9) if is_quick else (4000, 61)
    variable = robot_ipc.HostVariable("small")
    variable.data = SMALL
    names = floor_names(robot_ipc, variable)
    sets = {
        SET: Statement("variable.data = small", count, variable=variable, small=SMALL),
        SET_FLOOR: Statement("d = dumps(small, 5); write(variable, d, len(d))", count, **names),
        "floor: dumps + bare call (CDLL)": Statement(
            "d = dumps(small, 5); write_cdll(variable, d, len(d))", count, **names
        ),
        "floor: dumps alone": Statement("dumps(small, 5)", count, **names),
    }
    gets = {
        GET: Statement("variable.data", count, variable=variable),
        GET_FLOOR: Statement("read(place); loads(view[:stamp.length])", count, **names),
        "floor: bare call (CDLL) + loads": Statement(
            "read_cdll(place); loads(view[:stamp.length])", count, **names
        ),
        "floor: loads alone": Statement("loads(data)", count, **names),
    }
    locked = LockedMemory(4096)
    locked.set(SMALL)
    shared = peers.manager.dict(value=SMALL)
    names = dict(locked=locked, shared=shared, small=SMALL)
    name = "shared_memory + Lock + pickle"
    sets[name + ", set"] = Statement("locked.set(small)", count // 2, **names)
    gets[name + ", get"] = Statement("locked.get()", count // 2, **names)
    name = "multiprocessing.Manager().dict()"
    sets[name + ", set"] = Statement("shared['value'] = small", count // 40, **names)
    gets[name + ", get"] = Statement("shared['value']", count // 40, **names)
    if peers.zmq:
        socket = Conflating(peers.zmq, peers.address("small"))
        name = "pyzmq PUB/SUB conflate"
        sets[name + ", send"] = Statement(
            "socket.set(small)", count // 10, socket=socket, small=SMALL
        )
        gets[name + ", recv"] = Each(lambda: socket.prepare(SMALL), socket.get, count // 20)
    if peers.iceoryx2:
        board = peers.made("its blackboard", Blackboard, peers.iceoryx2, peers.name("small"), 64)
        if board:
            names = dict(board=board, value=board.kind(), kind=board.kind)
            name = "iceoryx2 blackboard, 64 B, not pickled"
            sets[name + ", set"] = Statement(
                "board.input.update_with_copy(value)", count // 2, **names
            )
            gets[name + ", get"] = Statement(
                "board.output.get().decode_as(kind)", count // 2, **names
            )
    set_rows = interleaved("Python: set a small value", sets, rounds)
    get_rows = interleaved("Python: get a small value", gets, rounds)
    goal = "≤ 1.25 × the floor of the same run"
    for rows, ours, floor in ((set_rows, SET, SET_FLOOR), (get_rows, GET, GET_FLOOR)):
        for name, row in rows.items():
            if name != ours:
                beside(row, rows[ours])
        del rows[floor]["reference"], rows[floor]["ratio"]
        beside(rows[ours], rows[floor], 1.25, goal)
    locked.close()
    variable.unlink()
    return list(set_rows.values()) + list(get_rows.values())


def large_values(robot_ipc, peers, is_quick):
    """An array of 8 MB."""
    numpy, rounds = peers.numpy, 3 if is_quick else 15
    array = numpy.arange(LARGE_SIZE // 8, dtype=numpy.float64)
    variable = robot_ipc.HostVariable("large", LARGE_SIZE + 4096)
    variable.data = array
    locked, out_of_band = LockedMemory(LARGE_SIZE + 4096), LockedMemory(LARGE_SIZE + 4096)
    locked.set(array)
    out_of_band.set_out_of_band(array)
    data = dumps(array, 5)
    names = dict(
        variable=variable,
        array=array,
        locked=locked,
        out_of_band=out_of_band,
        shared=peers.manager.dict(value=array),
        data=data,
        dumps=dumps,
        loads=loads,
    )
    ours_set, ours_get = ".data = array of 8 MB", ".data, array of 8 MB"
    name = "shared_memory + Lock + pickle"
    sets = {
        ours_set: Statement("variable.data = array", 5, **names),
        "floor: dumps alone": Statement("dumps(array, 5)", 2, **names),
        "floor: one copy": Statement("copy[:] = array", 5, copy=array.copy(), array=array),
        name + ", set": Statement("locked.set(array)", 2, **names),
        name + ", out-of-band, set": Statement("out_of_band.set_out_of_band(array)", 5, **names),
    }
    gets = {
        ours_get: Statement("variable.data", 5, **names),
        "floor: loads alone": Statement("loads(data)", 5, **names),
        name + ", get": Statement("locked.get()", 2, **names),
        name + ", out-of-band, get": Statement("out_of_band.get_out_of_band()", 5, **names),
    }
    name = "multiprocessing.Manager().dict()"
    sets[name + ", set"] = Statement("shared['value'] = array", 1, **names)
    gets[name + ", get"] = Statement("shared['value']", 1, **names)
    if peers.zmq:
        socket = Conflating(peers.zmq, peers.address("large"))
        name = "pyzmq PUB/SUB conflate"
        sets[name + ", send"] = Statement("socket.set(array)", 2, socket=socket, array=array)
        gets[name + ", recv"] = Each(lambda: socket.prepare(array), socket.get, 3)
    if peers.iceoryx2:
        made = (Blackboard, peers.iceoryx2, peers.name("large"), LARGE_SIZE)
        board = peers.made("its blackboard of 8 MB", *made)
        if board:
            names = dict(board=board, kind=board.kind, numpy=numpy, array=array)
            name = "iceoryx2 blackboard, bytes of a struct"
            sets[name + ", set"] = Statement(
                "board.input.update_with_copy(value)", 3, value=board.kind(), **names
            )
            gets[name + ", get"] = Statement("board.output.get().decode_as(kind)", 3, **names)
    rows = []
    for group, cases, ours in (("set", sets, ours_set), ("get", gets, ours_get)):
        found = interleaved("Python: {} an array of 8 MB".format(group), cases, rounds)
        for name, row in found.items():
            if name != ours:
                beside(row, found[ours])
        rows += found.values()
    locked.close()
    out_of_band.close()
    variable.unlink()
    return rows


def round_trips(robot_ipc, peers, servers, is_quick):
    count, rounds = (500, 5) if is_quick else (2000, 25)
    processors = os.sched_getaffinity(0)
    variable = robot_ipc.HostVariable("floor")
    variable.data = SMALL
    caller = robot_ipc.HostFunctionCaller("same")
    once = "d = dumps({}, 5); write(variable, d, len(d)); loads(d)"
    floor = "; ".join(once.format(value) for value in ("arguments", "small"))
    first, last = {min(processors)}, {max(processors)}

    def call():
        return caller.call(SMALL)

    def on(process, mine, theirs):
        """What a measurement does before and after: keeps both sides where they shall be."""

        def keep(mine, theirs):
            for pid, chosen in ((os.getpid(), mine), (process.pid, theirs)):
                for thread in os.listdir("/proc/{}/task".format(pid)):
                    os.sched_setaffinity(int(thread), chosen)

        return (lambda: keep(mine, theirs)), (lambda: keep(processors, processors))

    cases = {
        CALL: RoundTrips(call, count, *on(servers.ours, first, last)),
        CALL_FREE: RoundTrips(call, count),
        CALL_ONE: RoundTrips(call, count, *on(servers.ours, first, first)),
        CALL_FLOOR: Statement(floor, count, **floor_names(robot_ipc, variable)),
        TWO_STEPS: RoundTrips(
            lambda: caller(SMALL).result(), count, *on(servers.ours, first, last)
        ),
        SEMAPHORES: RoundTrips(lambda: servers.semaphores.call(SMALL), count),
        SEMAPHORES_ONE: RoundTrips(
            lambda: servers.semaphores.call(SMALL),
            count,
            *on(servers.of_semaphores, first, first)
        ),
        "multiprocessing.Manager(), a method": RoundTrips(
            lambda: servers.method(SMALL), count // 20
        ),
    }
    if len(processors) == 1:
        skip(CALL, "there is one processor; what it would show is not shown")
    if peers.zmq:
        socket = peers.zmq.Context.instance().socket(peers.zmq.REQ)
        socket.setsockopt(peers.zmq.LINGER, 0)
        socket.setsockopt(peers.zmq.RCVTIMEO, PATIENCE_MS)
        socket.connect(peers.address("calls"))

        def ask():
            socket.send(dumps(((SMALL,), {}), 5))
            return loads(socket.recv())

        cases[ZMQ] = RoundTrips(ask, count // 10, *on(servers.of_zmq, first, last))
        cases[ZMQ_ONE] = RoundTrips(ask, count // 10, *on(servers.of_zmq, first, first))
    if servers.is_iceoryx2_asked:
        client = peers.made("its client", IceoryxCaller, peers.iceoryx2, peers.name("calls"))
        if client:
            cases["iceoryx2 request-response, polling"] = RoundTrips(
                lambda: client.call(SMALL),
                count // 10,
                servers.is_iceoryx2_asked.set,
                servers.is_iceoryx2_asked.clear,
            )
    rows = interleaved("Python: call a function of another process", cases, rounds)
    ours, result = rows[CALL], list(rows.values())
    for name, row in rows.items():
        if name not in (CALL, CALL_FLOOR):
            beside(row, rows[CALL + ", p99"] if name.endswith(", p99") else ours)
    del rows[CALL + ", p99"]["reference"], rows[CALL + ", p99"]["ratio"]
    also = []
    # On several processors it may cost several times as much: the better one counts.
    semaphores = min(SEMAPHORES, SEMAPHORES_ONE, key=lambda name: rows[name]["median"])
    for reference, times, goal in (
        (CALL_FLOOR, 3, "≤ 3 × the floor of the same run"),
        (semaphores, 1, "below the semaphores of the same run"),
        (ZMQ, 0.1, "≥ 10 × faster than pyzmq of the same run"),
    ):
        if reference not in rows:
            continue
        # The same figure beside each of them.
        row = ours if "goal" not in ours else dict(ours, name="the same, beside " + reference)
        beside(row, rows[reference], times, goal)
        if row is not ours:
            also.append(row)
    caller.unlink()
    variable.unlink()
    return result[:1] + also + result[1:]


class Peers:
    """What is compared with."""

    def __init__(self, manager, missing):
        self.manager = manager
        self.zmq = imported("zmq", missing)
        self.iceoryx2 = imported("iceoryx2", missing)
        self.numpy = imported("numpy", missing)
        if self.iceoryx2:
            level = getattr(self.iceoryx2, "LogLevel", None)
            if level:
                self.iceoryx2.set_log_level(level.Error)

    @staticmethod
    def address(what):
        return "ipc://@robot-ipc-bench-{}-{}".format(os.getpid(), what)

    @staticmethod
    def name(what):
        return "robot-ipc-bench-{}-{}".format(os.getpid(), what)

    @staticmethod
    def made(what, kind, *arguments):
        """None, told loudly, if it cannot be made here."""
        try:
            return kind(*arguments)
        except Exception as error:
            skip("iceoryx2, " + what, "{}: {}".format(type(error).__name__, error))
            return None


class Servers:
    """The processes that answer calls."""

    def __init__(self, robot_ipc, peers, context):
        self.processes = []
        self.context = context
        self.semaphores = Semaphores(context)
        self.start(serve_ours, robot_ipc)
        self.ours = self.processes[-1]
        self.start(serve_semaphores, self.semaphores)
        self.of_semaphores = self.processes[-1]
        self.method = peers.manager.Same().same
        self.is_iceoryx2_asked = None
        if peers.zmq:
            self.start(serve_zmq, peers.zmq, peers.address("calls"))
            self.of_zmq = self.processes[-1]
        if peers.iceoryx2:
            is_asked = context.Event()
            if self.start(serve_iceoryx2, peers.iceoryx2, peers.name("calls"), last=is_asked):
                self.is_iceoryx2_asked = is_asked

    def start(self, serve, *arguments, last=None):
        is_ready = self.context.Event()
        arguments += (is_ready,) if last is None else (is_ready, last)
        process = self.context.Process(target=serve, args=arguments, daemon=True)
        process.start()
        self.processes.append(process)
        end = time.monotonic() + PATIENCE_MS / 1e3
        while not is_ready.wait(0.05):
            if not process.is_alive() or time.monotonic() > end:
                skip(serve.__name__, "its process did not get ready")
                return False
        return True

    def end(self):
        for process in self.processes:
            process.terminate()
            process.join(2)
            process.kill()
            process.join()


class Same:
    def same(self, value):
        return value


# ------------------------------------------------------------------------------ report


def show(rows):
    group = None
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        if row["group"] != group:
            group = row["group"]
            print("\n{}, {}, median [min..max]".format(group, row["unit"]))
        line = "  {:<{}} {:>10.3f} [{:.3f}..{:.3f}]".format(
            row["name"], width, row["median"], row["min"], row["max"]
        )
        if "reference" in row:
            line += "  {:.3g} × {}".format(row["ratio"], row["reference"]["name"])
        if "goal" in row:
            met = "met" if row["met"] else "NOT MET"
            line += "  goal: {}, {:.3f}: {}".format(row["goal"]["text"], row["goal"]["limit"], met)
        print(line)
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, below 20 s")
    parser.add_argument("--json", metavar="FILE", help="saves all rows")
    arguments = parser.parse_args()
    if SKIPPED not in os.environ:
        enter_environment()
    missing = json.loads(os.environ[SKIPPED])
    robot_ipc = load_robot_ipc()
    from multiprocessing.managers import SyncManager

    context = multiprocessing.get_context("fork")
    SyncManager.register("Same", Same)
    manager = SyncManager(ctx=context)
    manager.start(die_with_parent)
    peers = Peers(manager, missing)
    servers = Servers(robot_ipc, peers, context)
    try:
        rows = small_values(robot_ipc, peers, arguments.quick)
        rows += round_trips(robot_ipc, peers, servers, arguments.quick)
        if peers.numpy:
            rows += large_values(robot_ipc, peers, arguments.quick)
    finally:
        servers.end()
        manager.shutdown()
    show(rows)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(rows, file, ensure_ascii=False, indent=1)


if __name__ == "__main__":
    main()
