"""The half of languages.rs that is Python: `python3 languages.py ROLE`.

What is asserted here is what Python has to see; the other half looks at the rest.
"""

import ctypes
import logging
import math
import sys

import robot_ipc
from robot_ipc import HostFunctionCaller, HostFunctionDispatcher, HostVariable

PATIENCE = 60.0


class Padded(ctypes.Structure):
    _fields_ = [
        ("flag", ctypes.c_bool),
        ("x", ctypes.c_double),
        ("grid", (ctypes.c_int16 * 3) * 2),
        ("y", ctypes.c_float),
    ]


class Packed(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("kind", ctypes.c_uint8), ("x", ctypes.c_double), ("count", ctypes.c_uint16)]


def structs():
    """Reads what Rust has written, and writes it back with other numbers."""
    variable = HostVariable("padded", data_format=Padded)
    value = variable.data
    assert value.flag and math.isnan(value.x) and math.copysign(1, value.y) == -1, bytes(value)
    assert [list(row) for row in value.grid] == [[1, -2, 3], [4, 5, -6]]
    value.x, value.y = -0.0, math.inf
    value.grid[1][0] = 7
    variable.data = value
    variable = HostVariable("packed", data_format=Packed)
    value = variable.data
    assert (value.kind, value.x, value.count) == (255, 1.5, 65535), bytes(value)
    variable.data = Packed(1, math.nan, 2)
    # What an instance of Python's own has between its fields.
    HostVariable("fresh", data_format=Padded).data = Padded(True, 1.0)


def mismatches():
    """Reads a struct as another one."""
    try:
        HostVariable("bytes", None, data_format=Packed).data
    except robot_ipc.SizeMismatch as error:
        assert "24 bytes" in str(error) and "Packed has 11" in str(error), error
    else:
        raise AssertionError("a struct of another size was read")
    HostVariable("bytes", None, data_format=bytes).data = b"short"


def pickles():
    """Reads what Rust has pickled, and pickles something for it."""
    variable = HostVariable("pickle")
    value = variable.data
    assert math.isnan(value.pop("nan")) and math.copysign(1, value["zero"]) == -1, value
    expected = {
        "zero": -0.0,
        "large": 2**64 - 1,
        "text": "Käse 🤖",
        "nothing": None,
        "raw": b"\0\xff",
        "nested": {"a": {"b": [1, 2]}},
    }
    assert value == expected and type(value["raw"]) is bytes, value
    shared = {"b": [3]}
    variable.data = dict(expected, nan=math.nan, nested={"a": shared, "ä": shared}, more=variable)


def large():
    """Pickles an integer that no integer of Rust can hold, or an object."""
    HostVariable("large").data = 2**200
    HostVariable("object").data = {"pose": Padded(True)}


def call():
    """Calls functions that Rust serves."""
    divide = HostFunctionCaller("divide")
    for arguments, named in (((1, 4), {}), ((1,), {"b": 4}), ((), {"b": 4.0, "a": 1})):
        assert divide.call(*arguments, timeout=PATIENCE, **named) == 0.25
    assert divide.call(math.inf, timeout=PATIENCE) == math.inf
    assert divide.call(0, -1, timeout=PATIENCE) is None
    for arguments, named, text in (
        ((1, 0), {}, "division by zero, größer"),
        ((1, 13), {}, "panicked: thirteen"),
        ((), {}, "missing field `a`"),
        ((1, 2, 3), {}, "takes 2 arguments, and 3 were given"),
        ((1,), {"c": 2}, "no parameter 'c'"),
        ((1,), {"a": 2}, "'a' was given twice"),
        (("text",), {}, "argument 'a': invalid type: string"),
        ((2**70,), {}, "1180591620717411303424"),
    ):
        try:
            divide.call(*arguments, timeout=PATIENCE, **named)
        except robot_ipc.RemoteError as error:
            assert text in error.message, error
            assert error.function == "divide", error
            if named == {} and arguments == (1, 0):
                assert error.type_name == "ZeroDivisionError", error
        else:
            raise AssertionError("no error, and it should say: " + text)
    echo = HostFunctionCaller("echo")
    numbers = [2**64 - 1, -(2**63), 0]
    value = echo.call(b"\0\xff", None, [numbers, ["ä"]], timeout=PATIENCE, key={"x": {"y": -0.0}})
    assert value == [b"\0\xff", None, numbers, ["ä"], {"key": {"x": {"y": 0.0}}}], value
    assert math.copysign(1, value[4]["key"]["x"]["y"]) == -1, value


def serve():
    """Serves functions that Rust calls."""
    logging.disable()
    dispatcher = HostFunctionDispatcher()

    def move(x, y=2.0, *, name):
        return {"goal": (x, y), "name": name + "ß"}

    def fail(what):
        raise ValueError("größer: " + what)

    dispatcher.add("move", move)
    dispatcher.add("fail", fail)
    dispatcher.add("large", lambda bits: 2**bits)
    dispatcher.add("nothing", lambda: None)
    dispatcher.add("object", lambda: Padded(True))
    dispatcher.start()
    print("ready", flush=True)
    sys.stdin.read()


{role.__name__: role for role in (structs, mismatches, pickles, large, call, serve)}[sys.argv[1]]()
