"""The demo's victim: writes pickles as fast as it can until it is killed.

Each value counts on from the one before it, also over kills: nothing of what a
predecessor has published may be missing.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
parent = int(os.environ["ROBOT_IPC_DEMO_PARENT"])
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() != parent:
    sys.exit(0)

import robot_ipc  # noqa: E402  after the line that ends this process with its parent

telemetry = robot_ipc.HostVariable("telemetry")
sequence = telemetry.read(default={"sequence": 0})["sequence"]
while True:
    sequence += 1
    telemetry.data = {"sequence": sequence, "samples": [sequence] * 200, "note": "whole"}
