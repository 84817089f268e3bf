"""Many threads and one handle; signal handlers and unpickling that come in between."""

import gc
import os
import signal
import threading
import time
import unittest

from support import (  # noqa: F401
    TestCase,
    environment,
    new_name,
    run,
    setUpModule,
    tearDownModule,
)
import robot_ipc
from robot_ipc import HostVariable

NESTED = []


class ReadsAnother:
    """Unpickling it reads another variable, as an object with a handle inside might."""

    def __init__(self, depth):
        self.depth = depth

    def __setstate__(self, state):
        self.__dict__.update(state)
        if self.depth:
            NESTED[0].data


# With glibc what is freed is overwritten at once, so that using it crashes.
FREED_MEMORY_IS_GARBAGE = {
    "MALLOC_PERTURB_": "165",
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
}

# Threads that ask, while the main one closes the handle they ask.
ASK_AND_CLOSE = """import sys, threading, time, robot_ipc
sys.setswitchinterval(1e-6)
variables = [robot_ipc.HostVariable(sys.argv[1])]
variables[0].data = 1
errors, is_over = [], False
def ask(question):
    while not is_over:
        try: question(variables[0])
        except (robot_ipc.Closed, robot_ipc.TimedOut): pass
        except BaseException as error: errors.append(repr(error)); raise
threads = [threading.Thread(target=ask, args=(question,)) for question in (
    lambda v: v.version, lambda v: v.timestamp, lambda v: v.age, lambda v: v.wait(0),
    lambda v: v.wait(0.001), lambda v: (v.version, v.timestamp, v.age))]
for thread in threads: thread.start()
end = time.monotonic() + 2
while time.monotonic() < end:
    before = variables[0]
    variables[0] = robot_ipc.HostVariable(sys.argv[1])
    before.close()
    del before
is_over = True
for thread in threads: thread.join()
print(errors)
"""

# Each use of a handle, closed at the last moment before the library is called: what
# another thread may do there, or a signal handler.
CLOSE_BEFORE_THE_CALL = """import sys, robot_ipc
def closing_first(function):
    def call(*arguments):
        calls.append(function)
        if variable is not None: variable.close()
        return function(*arguments)
    return call
variable, calls = None, []
for name in ("_version", "_latest", "_age", "_wait", "_read", "_quick_read", "_write", "_quick_assign",
             "_quick_write", "_write_if", "_quick_write_if", "_remove"):
    setattr(robot_ipc, name, closing_first(getattr(robot_ipc, name)))
opened = robot_ipc.HostVariable(sys.argv[1])
opened.data = 1
variable, calls = opened, []
del opened
try: print({})
except (robot_ipc.Closed, robot_ipc.TimedOut) as error: print(type(error).__name__)
assert calls and variable._handle is None
"""


class Threads(TestCase):
    def all_at_once(self, *bodies):
        errors = []

        def guarded(body):
            try:
                body()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=guarded, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])

    def test_eight_threads_use_one_handle(self):
        """Against threads that read through each other's buffer."""
        variable = self.open()
        variable.data = [0] * 100

        def write(number):
            for _ in range(300):
                variable.data = [number] * 100

        def read():
            for _ in range(300):
                value = variable.data
                self.assertEqual(value, value[:1] * 100)
                sample = variable.sample()
                self.assertEqual(sample.value, sample.value[:1] * 100)

        def count():
            for _ in range(100):
                counter.update(lambda count: count + 1, default=0)

        counter = self.open()
        writers = [lambda number=number: write(number) for number in range(3)]
        self.all_at_once(*(writers + [read] * 3 + [count] * 2))
        self.assertEqual(counter.data, 200)
        self.assertEqual(variable.version, 901)

    def test_large_values_in_threads(self):
        """Against a large copy that keeps all other threads from running, or mixes with them."""
        variable = self.open(max_size=1 << 21)
        values = [bytes([number]) * (1 << 20) for number in range(3)]
        variable.data = values[0]

        def use(value):
            for _ in range(20):
                variable.data = value
                self.assertIn(variable.data, values)

        self.all_at_once(*[lambda value=value: use(value) for value in values])

    def test_closing_while_others_use_it(self):
        """Against freeing the handle that another thread is using."""
        for _ in range(20):
            variable = self.open()
            variable.data = 1

            def use():
                try:
                    while True:
                        variable.data = variable.data
                        variable.wait(0)
                except (robot_ipc.Closed, TimeoutError):
                    pass

            self.all_at_once(use, use, variable.close)

    def test_closing_while_others_ask_about_the_latest_value(self):
        """Against a version, timestamp, age or wait that asks a handle which another thread
        has freed: a crash, now and then."""
        changes = environment(**FREED_MEMORY_IS_GARBAGE)
        self.assertEqual(run(ASK_AND_CLOSE, new_name(), env=changes), "[]\n")

    def test_closing_just_before_the_library_is_called(self):
        """Against any use of a handle that does not keep it until the library is done: a
        crash, each time."""
        changes = environment(**FREED_MEMORY_IS_GARBAGE)
        for use, expected in (
            ("variable.version", "1"),
            ("variable.timestamp > 0", "True"),
            ("0 <= variable.age < 60", "True"),
            ("variable.wait(0)", "Closed"),
            ("variable.wait(0.01, since=1)", "Closed"),
            ("variable.wait(since=0)", "1"),
            ("variable.data", "1"),
            ("variable.read(max_age=60)", "1"),
            ("variable.sample().value", "1"),
            ("variable.write(2)", "2"),
            ("variable.update(lambda value: value + 1)", "2"),
            ("'version 1' in repr(variable)", "True"),
            ("variable.unlink()", "None"),
        ):
            with self.subTest(use=use):
                code = CLOSE_BEFORE_THE_CALL.replace("{}", use)
                self.assertEqual(run(code, new_name(), env=changes), expected + "\n")

    def test_unpickling_that_reads_another_variable(self):
        """Against a buffer that is overwritten while it is being unpickled."""
        inner = self.open()
        inner.data = ["inner"] * 200
        NESTED[:] = [inner]
        outer = self.open()
        outer.data = [ReadsAnother(1), ["outer"] * 200]
        self.assertEqual(outer.data[1], ["outer"] * 200)
        inner.data = [ReadsAnother(0), ["inner"] * 200]
        NESTED[:] = [outer]
        outer.data = [ReadsAnother(0), ["outer"] * 300]
        inner.data = [ReadsAnother(1), ["inner"] * 300]
        self.assertEqual(inner.data[1], ["inner"] * 300)

    def test_a_signal_handler_that_reads_the_same_variable(self):
        """Against a handler that runs between copying and unpickling."""
        variable = self.open()
        variable.data = [1] * 500
        seen = []

        def handle(number, frame):
            variable.data = [len(seen)] * (len(seen) % 700)
            seen.append(variable.data)

        before = signal.signal(signal.SIGALRM, handle)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            value = variable.data
            self.assertEqual(value, value[:1] * len(value))
            variable.update(lambda value: value)
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.assertGreater(len(seen), 50)

    def test_a_handle_that_nobody_has_any_more_is_freed(self):
        """Against mappings that pile up."""

        def mappings():
            with open("/proc/self/maps") as maps:
                return sum(variable.name in line for line in maps)

        variable = self.open()
        variable.data = 1
        at_first = mappings()
        others = [HostVariable(variable.name, read_only=True) for _ in range(3)]
        self.assertGreater(mappings(), at_first)
        del others
        gc.collect()
        self.assertEqual(mappings(), at_first)
        variable.close()
        self.assertEqual(mappings(), 0)

    def test_no_descriptor_stays_open(self):
        """Against a robot that runs out of descriptors."""
        before = len(os.listdir("/proc/self/fd"))
        handles = [self.open() for _ in range(20)]
        for handle in handles:
            handle.data = 1
        self.assertLessEqual(len(os.listdir("/proc/self/fd")), before + 20)


if __name__ == "__main__":
    unittest.main()
