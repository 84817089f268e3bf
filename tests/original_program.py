"""A process of tests/drop_in_python.rs: does what it is told, line by line, and says what came
of it. Its first argument says with which module, `original_binding` or our `robot_ipc`."""

import importlib
import sys

module = importlib.import_module(sys.argv[1])
objects, dispatchers = {}, []


def divide(dividend, divisor=2):
    return {"quotient": dividend / divisor}


def act(what, name, text):
    value = eval(text) if text else None  # said by the test
    if what == "link":
        objects[name] = module.HostVariable(name, value)
    elif what == "write":
        objects[name].data = value
    elif what == "read":
        return objects[name].data
    elif what == "serve":
        dispatchers.append(module.HostFunctionDispatcher(value))
        dispatchers[-1].attach(name, divide)
        dispatchers[-1].start()
        # Attached when it runs already.
        dispatchers[-1].attach(name + " quietly", lambda *_: None)
        dispatchers[-1].attach(name + " large", lambda size: b"x" * size, 64, 1 << 20)
    elif what == "stop":
        dispatchers.clear()
    elif what == "caller":
        objects[name] = module.HostFunctionCaller(name, *value)
    elif what == "call":
        positional, named = value
        objects[name](*positional, **named)
    elif what == "response":
        return objects[name].get_response()
    elif what == "forget":
        del objects[name]
    return "done"


for line in sys.stdin:
    words = (line.rstrip("\n").split("|") + ["", ""])[:3]
    try:
        result = repr(act(*words))
    except Exception as error:
        result = "{}: {}".format(type(error).__name__, error)
    print(result if len(result) < 200 else "{} letters".format(len(result)), flush=True)
