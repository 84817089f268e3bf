"""One side of each pair in tests/pairs.rs, in Python."""

import ctypes
import math
import sys

import robot_ipc

LARGE = -4611686018427387903


class Reading(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_int8),
        ("grid", ctypes.c_double * 2 * 2),
        ("count", ctypes.c_int64),
        ("text", ctypes.c_uint8 * 5),
    ]


def reading_of(count):
    row = ctypes.c_double * 2
    grid = (row * 2)(row(1.5, -0.0), row(math.nan, math.inf))
    return Reading(-7, grid, count, (ctypes.c_uint8 * 5)(*"gröt".encode()))


def check(it, count):
    assert it.kind == -7, it.kind
    assert it.grid[0][0] == 1.5 and math.copysign(1, it.grid[0][1]) == -1 and it.grid[0][1] == 0
    assert math.isnan(it.grid[1][0]) and it.grid[1][1] == math.inf
    assert it.count == count, it.count
    assert bytes(it.text).decode() == "gröt"


def next_reading(asked):
    check(asked, LARGE)
    return reading_of(asked.count + 1)


role, name = sys.argv[1:]
if role in ("write", "read"):
    variable = robot_ipc.HostVariable(name, data_format=Reading)
    if role == "write":
        variable.data = reading_of(LARGE)
    else:
        check(variable.data, LARGE)
elif role == "serve":
    dispatcher = robot_ipc.HostFunctionDispatcher(1)
    dispatcher.add(name, next_reading, arg_format=Reading, ret_format=Reading)
    dispatcher.start()
    print("ready", flush=True)
    sys.stdin.read()
else:
    caller = robot_ipc.HostFunctionCaller(name, arg_format=Reading, ret_format=Reading)
    check(caller.call(reading_of(LARGE), timeout=60), LARGE + 1)
