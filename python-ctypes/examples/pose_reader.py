"""Prints each new pose that pose_writer.py writes.

    python3 pose_reader.py [HOW_MANY]
"""

import math
import os
import sys

# Where this file lies in the source tree. An installed module needs no such line.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))

from robot_ipc import HostVariable

PATIENCE = 5.0  # seconds


def main(how_many: float) -> int:
    with HostVariable("example_pose") as pose:
        version, seen = pose.version, 0
        while seen < how_many:
            try:
                pose.wait(PATIENCE, since=version)
            except TimeoutError:
                print("nobody writes; start pose_writer.py")
                return 1
            sample = pose.sample()
            missed, version, seen = sample.version - version - 1, sample.version, seen + 1
            print("x={x:+.3f} y={y:+.3f}".format(**sample.value), end="  ")
            print("version {}, missed {}".format(version, missed), flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else math.inf))
    except KeyboardInterrupt:
        pass
