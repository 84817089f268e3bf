"""Writes the pose of a robot that drives in a circle, a hundred times per second.

Run it beside pose_reader.py:

    python3 pose_writer.py [SECONDS]
"""

import math
import os
import sys
import time

# Where this file lies in the source tree. An installed module needs no such line.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))

from robot_ipc import HostVariable

PERIOD = 0.01  # seconds


def main(seconds: float) -> None:
    start = time.monotonic()
    with HostVariable("example_pose") as pose:
        while True:
            now = time.monotonic() - start
            if now >= seconds:
                break
            pose.data = {"x": math.cos(now), "y": math.sin(now), "heading": now + math.pi / 2}
            time.sleep(PERIOD)
        print("wrote {} poses".format(pose.version))


if __name__ == "__main__":
    try:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else math.inf)
    except KeyboardInterrupt:
        pass
