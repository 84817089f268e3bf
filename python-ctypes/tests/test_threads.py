"""Many threads and one handle; signal handlers and unpickling that come in between."""

import gc
import os
import signal
import threading
import time
import unittest

from support import TestCase, setUpModule, tearDownModule  # noqa: F401
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
