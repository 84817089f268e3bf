"""The demo's Python half: follows the arm's state and writes setpoints.

Runs until its standard input ends, then prints what it counted as JSON.
"""

import ctypes
import json
import math
import os
import signal
import struct
import sys
import threading

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


class State(ctypes.Structure):
    _fields_ = [
        ("sequence", ctypes.c_uint64),
        ("position", ctypes.c_double * JOINTS),
        ("velocity", ctypes.c_double * JOINTS),
        ("checksum", ctypes.c_uint64),
    ]


class Setpoint(ctypes.Structure):
    _fields_ = [
        ("sequence", ctypes.c_uint64),
        ("target", ctypes.c_double * JOINTS),
        ("checksum", ctypes.c_uint64),
    ]


def checksum(value):
    """The sum of all words before the last one, modulo 2**64."""
    *words, _ = struct.unpack(f"={ctypes.sizeof(value) // 8}Q", bytes(value))
    return sum(words) % 2**64


def main():
    ended = threading.Event()

    def wait_for_end():
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()

    state = robot_ipc.HostVariable("arm-state", data_format=State)
    setpoint = robot_ipc.HostVariable("arm-setpoint", data_format=Setpoint)
    read = written = torn = lost = 0
    version = -1
    while not ended.is_set():
        try:
            state.wait(timeout=0.5)
        except TimeoutError:
            continue
        sample = state.sample()
        read += 1
        torn += sample.value.checksum != checksum(sample.value)
        lost += sample.value.sequence != sample.version or sample.version < version
        version = sample.version

        now = version / 1000  # one state each millisecond
        target = [math.sin(now * (0.5 + 0.3 * joint) + joint) for joint in range(JOINTS)]
        wanted = Setpoint(written + 1, (ctypes.c_double * JOINTS)(*target))
        wanted.checksum = checksum(wanted)
        setpoint.data = wanted
        written += 1
    print(json.dumps({"read": read, "written": written, "torn": torn, "lost": lost}))


main()
