"""The demo's Python half: follows the arm's state, writes setpoints, calls the loop's
functions and serves one. Goes on from `common.py`.

Runs until its standard input ends, then prints what it counted of its variables as JSON.
"""

import json
import threading


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


def hand_at(caller, number, angles):
    """Where the hand is when the joints are so, for that caller's how-manieth call."""
    return {"caller": caller, "number": number, "hand": hand(angles)}


def main():
    ended = threading.Event()

    def wait_for_end():
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()

    dispatcher = robot_ipc.HostFunctionDispatcher(1)
    dispatcher.add("hand_at", hand_at)
    dispatcher.start()
    caller = Caller("controller")

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
        caller.order()
    print(json.dumps({"read": read, "written": written, "torn": torn, "lost": lost}))


main()
