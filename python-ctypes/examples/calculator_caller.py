"""Calls the functions that calculator_dispatcher.py offers.

    python3 calculator_caller.py [A] [B]
"""

import os
import sys

# Where this file lies in the source tree. An installed module needs no such line.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))

from robot_ipc import HostFunctionCaller, RemoteError

PATIENCE = 5.0  # seconds


def main(a: float, b: float) -> int:
    divide: HostFunctionCaller[float] = HostFunctionCaller("example_divide")
    say: HostFunctionCaller[None] = HostFunctionCaller("example_say", max_sz_ret=0)
    handle = divide(a, b)  # on its way; something else can be done meanwhile
    try:
        print("{} / {} = {}".format(a, b, handle.result(PATIENCE)))
    except RemoteError as error:
        print("{}: {}".format(error.type_name, error.message))
        return 1
    except TimeoutError:
        print("nobody serves; start calculator_dispatcher.py")
        return 1
    say("calculated: {} / {}".format(a, b))
    return 0


if __name__ == "__main__":
    try:
        numbers = [float(argument) for argument in sys.argv[1:3]]
        sys.exit(main(*(numbers if len(numbers) == 2 else [1.0, 4.0])))
    except KeyboardInterrupt:
        pass
