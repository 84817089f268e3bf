"""What the tests share: a namespace of their own, and child processes.

A test file takes `setUpModule` and `tearDownModule` from here.
"""

import glob
import logging
import os
import subprocess
import sys
import threading
import time
import unittest
import warnings

TESTS = os.path.dirname(os.path.realpath(__file__))
FOLDER = os.path.dirname(TESTS)
MODULE_FILE = os.path.join(FOLDER, "robot_ipc.py")
sys.path.insert(0, FOLDER)

import robot_ipc  # noqa: E402  (its folder had to be made known first)

# Children that a test starts elsewhere have to find it too.
LIBRARY = os.path.abspath(robot_ipc._library._name)
if not os.path.exists(LIBRARY):  # a bare name that the system's loader knew
    with open("/proc/self/maps") as _maps:
        LIBRARY = next(line for line in _maps if robot_ipc._library._name in line).split()[-1]

# What handlers raise is logged: not to the terminal.
logging.getLogger("robot_ipc").addHandler(logging.NullHandler())

# A bound on hangs, not a measure.
PATIENCE = 30.0

_numbers = iter(range(10**9))
_old_environment = {}
_CHANGED = ("ROBOT_IPC_NAMESPACE", "ROBOT_IPC_DIR", "ROBOT_IPC_MODE", "ROBOT_IPC_GROUP",
            "ROBOT_IPC_MEMORY")


def setUpModule():
    warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads, on purpose
    for name in _CHANGED:
        _old_environment[name] = os.environ.pop(name, None)
    os.environ["ROBOT_IPC_NAMESPACE"] = "python-{}-{}".format(os.getpid(), next(_numbers))


def tearDownModule():
    for path in glob.glob(file_of("*")) + glob.glob(file_of("*", "function")):
        os.unlink(path)
    for name, value in _old_environment.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def file_of(name, kind="variable"):
    """The file of the variable `name`, or function, as `ls /dev/shm` shows it."""
    return "/dev/shm/robot-ipc.{}.{}.{}".format(os.environ["ROBOT_IPC_NAMESPACE"], kind, name)


def new_name(start="variable"):
    """A name that no other test uses."""
    return "{}-{}".format(start, next(_numbers))


def environment(**changes):
    """This process's environment, for a child that shall import this very module and load
    this very library. None takes a variable away."""
    new = dict(os.environ, PYTHONPATH=FOLDER, ROBOT_IPC_LIBRARY=LIBRARY)
    new.update({name: value for name, value in changes.items() if value is not None})
    for name in [name for name, value in changes.items() if value is None]:
        new.pop(name, None)
    return new


def start(code, *arguments, **options):
    """A Python process that runs `code`; ends with the test at the latest."""
    options.setdefault("env", environment())
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    command = [sys.executable, "-c", code] + [str(argument) for argument in arguments]
    return subprocess.Popen(command, universal_newlines=True, **options)


def run(code, *arguments, **options):
    """What `code` prints, which has to end well and without a word on stderr."""
    with start(code, *arguments, **options) as process:
        try:
            output, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    if process.returncode != 0 or errors:
        raise AssertionError("ended with {}: {}{}".format(process.returncode, output, errors))
    return output


def eventually(condition, what):
    """Waits until `condition()` holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("after {} s: not yet: {}".format(PATIENCE, what))
        time.sleep(0.002)


SERVER = """import logging, os, sys, threading, time, robot_ipc
logging.disable()
name = sys.argv[1]
dispatcher = robot_ipc.HostFunctionDispatcher()
{}
dispatcher.start()
print("ready", flush=True)
sys.stdin.read()
"""


def cpu_time():
    """How much of a processor this process has used, in seconds."""
    times = os.times()
    return times.user + times.system


class TestCase(unittest.TestCase):
    """A test case whose processes and handles end with it."""

    def open(self, name=None, *arguments, **options):
        """A handle on a variable, a new one unless named."""
        handle = robot_ipc.HostVariable(name or new_name(), *arguments, **options)
        self.addCleanup(handle.close)
        return handle

    def caller(self, name=None, *arguments, **options):
        """A caller of a function, of a new one unless named."""
        caller = robot_ipc.HostFunctionCaller(name or new_name("function"), *arguments, **options)
        self.addCleanup(caller.close)
        return caller

    def dispatcher(self, *arguments, **options):
        dispatcher = robot_ipc.HostFunctionDispatcher(*arguments, **options)
        self.addCleanup(dispatcher.close)
        return dispatcher

    def serve(self, foo, *arguments, **options):
        """Serves `foo` under a new name, in a thread, and returns a caller of it."""
        dispatcher = self.dispatcher()
        name = new_name("function")
        dispatcher.add(name, foo, *arguments, **options)
        dispatcher.start()
        options.pop("max_age", None)
        return self.caller(name, *arguments, **options)

    def server(self, body, *arguments):
        """A process that serves what `body` adds to `dispatcher`, until its stdin is closed."""
        code = SERVER.replace("{}", body)
        process = self.start(code, *arguments, stdin=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def in_thread(self, call):
        """Runs `call` in a thread. A list: what it came to, as a pair of an exception or None
        and the value, once there is one."""
        outcomes = []

        def run():
            try:
                outcomes.append((None, call()))
            except BaseException as error:
                outcomes.append((error, None))

        thread = threading.Thread(target=run)
        thread.start()
        self.addCleanup(thread.join)
        return outcomes

    def start(self, code, *arguments, **options):
        process = start(code, *arguments, **options)

        def end():
            process.kill()
            process.communicate()

        self.addCleanup(end)
        return process

    def assertRaisesWith(self, kind, parts, call, *arguments, **options):
        """`call` raises exactly `kind`, and its text has each of `parts` in it."""
        with self.assertRaises(kind) as caught:
            call(*arguments, **options)
        self.assertIs(type(caught.exception), kind)
        for part in parts:
            self.assertIn(str(part), str(caught.exception))
        return caught.exception
