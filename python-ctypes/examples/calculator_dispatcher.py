"""Offers two functions to every process of this machine, until Ctrl-C.

Run it beside calculator_caller.py:

    python3 calculator_dispatcher.py
"""

import logging
import os
import sys

# Where this file lies in the source tree. An installed module needs no such line.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))

from robot_ipc import HostFunctionDispatcher


def main() -> None:
    logging.basicConfig()  # what functions raise is logged here, and raised at their callers
    with HostFunctionDispatcher() as dispatcher:

        @dispatcher.add("example_divide")
        def divide(a: float, b: float) -> float:
            return a / b

        # Nobody waits for an answer of this one: its calls are one-way.
        @dispatcher.add("example_say", max_sz_ret=0)
        def say(text: str) -> None:
            print(text, flush=True)

        print("serving divide and say", flush=True)
        dispatcher.run()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
