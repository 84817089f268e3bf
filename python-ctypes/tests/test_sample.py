"""What stands beside a value."""

import ctypes
import os
import shutil
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

# A process of another time namespace: what it writes, or what it is told.
WRITE_ELSEWHERE = """import sys, robot_ipc
robot_ipc.HostVariable(sys.argv[1]).data = "elsewhere"
"""
ASK_ELSEWHERE = """import sys, robot_ipc
variable = robot_ipc.HostVariable(sys.argv[1])
for ask in (lambda: variable.age, lambda: variable.read(max_age=1e9)):
    try: print(ask())
    except robot_ipc.NoAge: print("NoAge")
print(variable.sample().age, variable.data)
"""
BOOT_CLOCK = "import time; print(time.clock_gettime(time.CLOCK_BOOTTIME))"


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

        scratch = variable._handle.new_scratch()
        stamp, prepared = scratch[2], scratch[-1]

        # What the library does with a writer that has no clock.
        def read_without_age(reference):
            limit, prepared.max_age_ns = prepared.max_age_ns, -1
            done = robot_ipc._quick_read(reference)
            prepared.max_age_ns, stamp.time_ns = limit, 0
            return 27 if done == 0 and limit >= 0 else done

        scratch[0] = read_without_age
        variable._handle.scratches[:] = [scratch]
        self.assertEqual(variable.sample(), ({"x": 1}, 1, 0, None))
        self.assertEqual(variable.data, {"x": 1})
        self.assertRaises(robot_ipc.NoAge, lambda: variable.read(max_age=1))

    def elsewhere(self, code, *arguments):
        """What `code` prints in a time namespace that was booted 100000 s before this one."""
        command = ["unshare", "-T", "--boottime", "100000", sys.executable, "-c", code]
        done = subprocess.run(
            command + list(arguments), env=environment(), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, universal_newlines=True, timeout=PATIENCE,
        )
        if done.stderr.startswith("unshare:"):
            self.skipTest("another time namespace: " + done.stderr.splitlines()[0])
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def assertHasNoAge(self, variable, value):
        self.assertRaises(robot_ipc.NoAge, lambda: variable.age)
        for max_age in (0, 1, 1e9):
            self.assertRaises(robot_ipc.NoAge, lambda: variable.read(max_age=max_age))
        sample = variable.sample()
        self.assertEqual((sample.value, sample.age), (value, None))
        self.assertEqual(variable.data, value)

    def test_a_value_of_another_time_namespace_has_no_age(self):
        """Against an old value that is taken for a young one, because the clock of the
        container that wrote it, or the one that reads it, is ahead or behind."""
        if os.geteuid() != 0:
            self.skipTest("another time namespace: needs root")
        if shutil.which("unshare") is None:
            self.skipTest("another time namespace: there is no `unshare`")
        ahead = float(self.elsewhere(BOOT_CLOCK)) - time.clock_gettime(time.CLOCK_BOOTTIME)
        if ahead < 90000:
            self.skipTest("another time namespace: the clock is the same in it")

        ours = self.open()
        self.elsewhere(WRITE_ELSEWHERE, ours.name)
        self.assertHasNoAge(ours, "elsewhere")
        ours.data = "here"  # what is written here, after that, has one
        self.assertTrue(0 <= ours.age < PATIENCE)
        self.assertEqual(ours.read(max_age=PATIENCE), "here")
        self.assertEqual(self.elsewhere(ASK_ELSEWHERE, ours.name), "NoAge\nNoAge\nNone here\n")

        name = new_name()
        self.elsewhere(WRITE_ELSEWHERE, name)
        theirs = self.open(name)
        self.assertHasNoAge(theirs, "elsewhere")
        theirs.data = "here"
        self.assertHasNoAge(theirs, "here")


if __name__ == "__main__":
    unittest.main()
