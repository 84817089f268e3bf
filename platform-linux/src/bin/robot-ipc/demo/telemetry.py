"""The demo's victim: writes pickles and calls functions as fast as it can until it is
killed. Goes on from `common.py`.

Each value counts on from the one before it, also over kills: nothing of what a
predecessor has published may be missing. About a third of its time it is in calls.
"""

WRITES_PER_CALL = 20

telemetry = robot_ipc.HostVariable("telemetry")
caller = Caller("telemetry")
sequence = telemetry.read(default={"sequence": 0})["sequence"]
while True:
    for _ in range(WRITES_PER_CALL):
        sequence += 1
        telemetry.data = {"sequence": sequence, "samples": [sequence] * 200, "note": "whole"}
    caller.order()
    caller.ask_where()
