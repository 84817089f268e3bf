"""Makes inputs for the target `codec` in a folder: pickles, literals and names.

    python3 seeds.py corpus/codec
"""

import collections
import datetime
import decimal
import pathlib
import pickle
import sys

shared = [1, 2.5]
VALUES = {
    "plain": [None, True, False, 0, -1, 300, 70000, -(2**31), 2**40, 2**300, 1.5, float("-inf")],
    "text": ["", "it's", 'a "b"', "\n\x7f\u00e4\u20ac\U0001f916", b"\x00'\xff", "x" * 300],
    "nested": {"a": [1, (2,), (3, 4, 5, 6)], 1: {}, (): [[[]]], "s": {1}, "f": frozenset({2})},
    "shared": [shared, shared, {"x": shared}],
    "arguments": ((1.5,), {"second": 2}),
    "objects": [
        complex(1, 2),
        datetime.timedelta(1, 2),
        decimal.Decimal("1.10"),
        collections.OrderedDict(a=1),
        bytearray(b"ab"),
        range(3),
        ValueError("no"),
    ],
}
LITERALS = {
    "numbers": "[1, -2.5e-3, 170141183460469231731687303715884105727, NaN, -Infinity, .5]",
    "dict": "{'a': [true, False, null], \"b\": {}, 3: '\\u00e4\\x41\\n\\ud834\\udd1e'}",
}
NAMES = {
    "name": b"arm.left",
    "file": b"robot-ipc.default.variable.arm.left",
    "file-dots": b"robot-ipc..4.a.bc.function.move",
}

folder = pathlib.Path(sys.argv[1])
for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
    for name, value in VALUES.items():
        seed = folder / f"pickle-{protocol}-{name}"
        seed.write_bytes(pickle.dumps(value, protocol))
endless = []
endless.append(endless)
(folder / "pickle-4-endless").write_bytes(pickle.dumps(endless, 4))
for name, text in LITERALS.items():
    (folder / f"literal-{name}").write_text(text)
for name, text in NAMES.items():
    (folder / name).write_bytes(text)
