"""What stands beside a value."""

import ctypes
import os
import subprocess
import sys
import time
import unittest

from support import (  # noqa: F401
    PATIENCE,
    TestCase,
    environment,
    new_name,
    setUpModule,
    tearDownModule,
)
import robot_ipc

# What a process can tell about a value whose age it must not know.
HAS_NO_AGE = """
def has_no_age(variable, value):
    for ask in (lambda: variable.age, lambda: variable.read(max_age=10.0**9)):
        try: answer = ask()
        except robot_ipc.NoAge: pass
        else: raise AssertionError("an age: {!r}".format(answer))
    sample = variable.sample()
    assert (sample.value, sample.age) == (value, None), sample
    assert variable.data == value
"""
exec(HAS_NO_AGE)


class Sample(TestCase):
    def test_version_timestamp_and_age_are_those_of_the_value(self):
        """Against a stamp of another write than the value's."""
        variable = self.open()
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self.assertEqual(variable.write("first"), 1)
        after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        time.sleep(0.02)
        value, version, timestamp, age = sample = variable.sample()
        self.assertEqual(sample._fields, ("value", "version", "timestamp", "age"))
        self.assertEqual((value, version), ("first", 1))
        self.assertTrue(before <= timestamp <= after)
        self.assertEqual(variable.timestamp, timestamp)
        self.assertTrue(0.02 <= age <= variable.age < 10)
        self.assertEqual(variable.write("second"), 2)
        self.assertGreater(variable.sample().timestamp, timestamp)
        self.assertEqual(variable.version, 2)

    def test_a_sample_under_load_belongs_together(self):
        """Against a value of one write with the version of the next."""
        variable = self.open()
        variable.data = 1
        code = """import sys, robot_ipc
variable = robot_ipc.HostVariable(sys.argv[1])
for version in range(2, 20001): variable.data = version"""
        child = self.start(code, variable.name)
        last = 0
        while last < 20000:
            sample = variable.sample()
            self.assertEqual(sample.value, sample.version)
            self.assertGreaterEqual(sample.version, last)
            last = sample.version
            self.assertTrue(last == 20000 or child.poll() in (None, 0), "the writer failed")

    def test_a_value_whose_age_cannot_be_told(self):
        """Against an age computed with the clock of another container, and against hiding
        the value because of it."""
        variable = self.open()
        variable.data = {"x": 1}
        status = ctypes.CFUNCTYPE(ctypes.c_int32, *robot_ipc._read_arguments)

        # What the library does with a writer that has no clock.
        @status
        def read_without_age(pointer, buffer, capacity, max_age_ns, stamp):
            done = robot_ipc._quick_read(pointer, buffer, capacity, -1, stamp)
            ctypes.cast(stamp, ctypes.POINTER(robot_ipc._Stamp))[0].time_ns = 0
            return 27 if done == 0 and max_age_ns >= 0 else done

        variable._handle.read = read_without_age
        self.assertEqual(variable.sample(), ({"x": 1}, 1, 0, None))
        self.assertRaises(robot_ipc.NoAge, lambda: variable.read(max_age=1))
        self.assertEqual(variable.data, {"x": 1})


if __name__ == "__main__":
    unittest.main()
