"""What the demo's Python processes have in common: they end with the demo, and count
what becomes of their calls. `controller.py` and `telemetry.py` go on from here.
"""

import ctypes
import math
import os
import signal
import struct
import sys
import time

PR_SET_PDEATHSIG = 1
parent = int(os.environ["ROBOT_IPC_DEMO_PARENT"])
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() != parent:
    sys.exit(0)

import robot_ipc  # noqa: E402  after the line that ends this process with its parent

expected = os.environ["ROBOT_IPC_EXPECTED_BUILD_ID"]
if robot_ipc.build_id() != expected:
    sys.exit(f"the library loaded is {robot_ipc.build_id()}, not {expected}")

JOINTS = 3
LINKS = (0.4, 0.3, 0.2)
# Within this time each call has to have an answer or an error.
BOUND = float(os.environ["ROBOT_IPC_DEMO_BOUND"])
ROUNDS_PER_STOP = 10

MOVE_TO, STOP, HAND_AT = range(3)
# Times are counted in eighths of octaves, the first of which begins with 2**10 ns.
FIRST_OCTAVE, OCTAVES, PARTS = 10, 24, 8
BUCKETS = OCTAVES * PARTS


class Order(ctypes.Structure):
    """What move_to and stop take."""

    _fields_ = [
        ("caller", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("centre", ctypes.c_double * JOINTS),
        ("checksum", ctypes.c_uint64),
    ]


class Done(ctypes.Structure):
    """What they return."""

    _fields_ = [
        ("caller", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("function", ctypes.c_uint64),
        ("position", ctypes.c_double * JOINTS),
        ("checksum", ctypes.c_uint64),
    ]


class Tally(ctypes.Structure):
    """What was counted of the calls of one function."""

    _fields_ = [
        ("begun", ctypes.c_uint64),
        ("answered", ctypes.c_uint64),
        ("failed", ctypes.c_uint64),
        ("mixed", ctypes.c_uint64),
        ("hung", ctypes.c_uint64),
        ("longest_ns", ctypes.c_uint64),
        ("buckets", ctypes.c_uint64 * BUCKETS),
    ]


class Calls(ctypes.Structure):
    """What one caller has counted."""

    _fields_ = [("tallies", Tally * 3)]


def checksum(value):
    """The sum of all words before the last one, modulo 2**64."""
    *words, _ = struct.unpack(f"={ctypes.sizeof(value) // 8}Q", bytes(value))
    return sum(words) % 2**64


def bucket_of(nanoseconds):
    octave = nanoseconds.bit_length() - 1 - FIRST_OCTAVE
    if octave < 0:
        return 0
    part = (nanoseconds >> (octave + FIRST_OCTAVE - 3)) % PARTS
    return min(octave * PARTS + part, BUCKETS - 1)


def hand(angles):
    """Where the hand is when the joints are so."""
    x = y = angle = 0.0
    for link, joint in zip(LINKS, angles):
        angle += joint
        x += link * math.cos(angle)
        y += link * math.sin(angle)
    return [x, y]


class Caller:
    """Calls the demo's functions, and checks that each answer is that of the very call."""

    def __init__(self, name):
        # What it counts outlives it: whoever comes after it goes on.
        self.counts = robot_ipc.HostVariable("calls-" + name, data_format=Calls)
        self.calls = self.counts.read(default=Calls())
        self.me = os.getpid() | (time.monotonic_ns() % 2**32) << 32
        self.number = 0
        self.orders = 0
        self.ordered = [
            robot_ipc.HostFunctionCaller(function, arg_format=Order, ret_format=Done)
            for function in ("move_to", "stop")
        ]
        self.hand_at = None

    def order(self):
        """Tells the arm something."""
        self.number += 1
        self.orders += 1
        centre = 0.1 * math.sin(self.number / 1000)
        order = Order(self.me, self.number, (ctypes.c_double * JOINTS)(*[centre] * JOINTS))
        order.checksum = checksum(order)
        function = STOP if self.orders % ROUNDS_PER_STOP == 0 else MOVE_TO
        wanted = (self.me, self.number, function)

        def is_own(done):
            found = (done.caller, done.number, done.function)
            return found == wanted and done.checksum == checksum(done)

        self._measure(function, is_own, self.ordered[function], order)

    def ask_where(self):
        """Asks where the hand is, once somebody has offered to tell."""
        if self.hand_at is None:
            try:
                self.hand_at = robot_ipc.HostFunctionCaller("hand_at", None, None)
            except FileNotFoundError:
                return
        self.number += 1
        angles = [math.sin(self.number + joint) for joint in range(JOINTS)]
        wanted = {"caller": self.me, "number": self.number, "hand": hand(angles)}
        self._measure(HAND_AT, wanted.__eq__, self.hand_at, self.me, self.number, angles)

    def _measure(self, function, is_own, called, *arguments):
        """Counts what becomes of a call."""
        tally = self.calls.tallies[function]
        tally.begun += 1
        self.counts.data = self.calls
        start = time.monotonic_ns()
        try:
            answer = called.call(*arguments, timeout=BOUND)
        except TimeoutError as error:
            tally.hung += 1
            print(f"robot-ipc demo: {error}", file=sys.stderr)
        except robot_ipc.RobotIpcError as error:
            tally.failed += 1
            print(f"robot-ipc demo: {error}", file=sys.stderr)
        else:
            nanoseconds = time.monotonic_ns() - start
            tally.answered += 1
            tally.longest_ns = max(tally.longest_ns, nanoseconds)
            tally.buckets[bucket_of(nanoseconds)] += 1
            tally.mixed += answer is None or is_own(answer) is not True
        self.counts.data = self.calls
