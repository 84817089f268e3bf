"""The role `visit` of the child program (see child/visiting.rs) in Python: does what it is
told, line by line, and says what came of it."""

import os
import sys

import robot_ipc

options = {}
for argument in sys.argv[1:]:
    option, value = argument.split("=")
    if option == "umask":
        os.umask(int(value, 8))
    else:
        options[option] = int(value, 8 if option == "mode" else 10)
variables, callers, dispatchers = {}, {}, []


def act(what, *words):
    if (what, words[0]) == ("open", "variable"):
        variables[words[1]] = robot_ipc.HostVariable(words[1], **options)
    elif (what, words[0]) == ("peek", "variable"):
        variables[words[1]] = robot_ipc.HostVariable(words[1], read_only=True, **options)
        return variables[words[1]].data
    elif (what, words[0]) == ("remove", "variable"):
        robot_ipc.HostVariable(words[1], **options).unlink()
    elif (what, words[0]) == ("open", "function"):
        callers[words[1]] = robot_ipc.HostFunctionCaller(words[1], **options)
    elif (what, words[0]) == ("remove", "function"):
        robot_ipc.HostFunctionCaller(words[1], **options).unlink()
    elif what == "write":
        variables[words[0]].data = words[1]
    elif what == "read":
        return variables[words[0]].data
    elif what == "offer":
        dispatcher = robot_ipc.HostFunctionDispatcher(1)
        dispatcher.add(words[0], lambda text: text * 2, **options)
        dispatcher.start()
        dispatchers.append(dispatcher)
    elif what == "call":
        return callers[words[0]].call(words[1], timeout=60)
    else:
        raise AssertionError("'{}' is not understood".format(what))
    return ""


print("ready", flush=True)
for line in sys.stdin:
    try:
        print("ok", act(*line.split()), flush=True)
    except robot_ipc.RobotIpcError as error:
        print("no {}: {}".format(type(error).__name__, error), flush=True)
