"""Changes that must not be lost, and waiting for them."""

import os
import signal
import subprocess
import threading
import time
import unittest

from support import (  # noqa: F401
    PATIENCE,
    TestCase,
    eventually,
    new_name,
    setUpModule,
    tearDownModule,
)
import robot_ipc


class Update(TestCase):
    def test_the_change_is_made_and_returned(self):
        """Against an update that returns the old value, or none."""
        variable = self.open()
        self.assertEqual(variable.update(lambda count: count + 1, default=0), 1)
        self.assertEqual(variable.update(lambda count: count + 1, default=50), 2)
        self.assertEqual((variable.data, variable.version), (2, 2))

    def test_a_forgotten_return_is_an_error(self):
        """Against a variable that becomes None because a function changes in place."""
        variable = self.open()
        variable.data = {"x": 1}
        self.assertRaisesWith(TypeError, ["None"], variable.update, lambda value: value.clear())
        self.assertEqual(variable.data, {"x": 1})

    def test_a_change_that_raises_changes_nothing(self):
        """Against half an update."""
        variable = self.open()
        variable.data = 1
        self.assertRaises(ZeroDivisionError, variable.update, lambda value: 1 // 0)
        self.assertEqual((variable.data, variable.version), (1, 1))

    def test_somebody_who_is_faster_is_not_overwritten(self):
        """Against an update that is a plain read and write."""
        variable = self.open()
        variable.data = []
        calls = []

        def change(value):
            if len(calls) < 3:
                calls.append(1)
                variable.data = value + ["other"]
            return value + ["mine"]

        self.assertEqual(variable.update(change), ["other"] * 3 + ["mine"])

    def test_the_first_write_is_contended_too(self):
        """Against a default that overwrites what somebody has just written."""
        variable = self.open()

        def change(value):
            if value == 0:
                variable.data = 10
            return value + 1

        self.assertEqual(variable.update(change, default=0), 11)

    def test_somebody_who_is_always_faster(self):
        """Against an update that never ends."""
        variable = self.open(write_timeout=0.01)
        variable.data = 0
        calls = []

        def change(value):
            calls.append(value)
            variable.data = value + 1
            return value

        error = self.assertRaisesWith(
            robot_ipc.Contended, [variable.name], variable.update, change
        )
        self.assertGreaterEqual(len(calls), 1000)
        self.assertIn(str(len(calls)), str(error))

    def test_somebody_who_is_faster_for_long(self):
        """Against an update that gives up on a change it could still make."""
        variable = self.open()
        variable.data = 0
        calls = []

        def change(value):
            calls.append(value)
            if len(calls) < 3000:
                variable.data = value + 1
            return "at last"

        self.assertEqual(variable.update(change), "at last")
        self.assertEqual(variable.version, 3001)

    def test_four_processes_lose_nothing(self):
        """Against a change that is lost between reading and writing."""
        variable = self.open()
        variable.data = {}
        code = """import sys, robot_ipc
variable, me = robot_ipc.HostVariable(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for _ in range(400):
    variable.update(lambda counts: {**counts, me: counts.get(me, 0) + 1})"""
        children = [
            self.start(code, variable.name, number, stdin=subprocess.PIPE) for number in range(4)
        ]
        for child in children:
            self.assertEqual(child.stdout.readline(), "ready\n")
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        for child in children:
            _, errors = child.communicate(timeout=PATIENCE)
            self.assertEqual((child.returncode, errors), (0, ""))
        self.assertEqual(variable.data, {str(number): 400 for number in range(4)})
        self.assertEqual(variable.version, 1601)


class Wait(TestCase):
    def later(self, call, seconds=0.05):
        timer = threading.Timer(seconds, call)
        timer.start()
        self.addCleanup(timer.join)

    def test_the_next_value_wakes(self):
        """Against a waiter that returns the value that was there, or sleeps on."""
        for options in ({}, {"read_only": True}):
            variable = self.open()
            variable.data = "old"
            waiter = self.open(variable.name, **options)
            self.later(lambda: variable.write("new"))
            begin = time.monotonic()
            self.assertEqual(waiter.wait(PATIENCE), "new")
            self.assertLess(time.monotonic() - begin, 5)

    def test_the_first_value_wakes(self):
        """Against waiting that only works once there is a value."""
        variable = self.open()
        self.later(lambda: variable.write("first"))
        self.assertEqual(variable.wait(), "first")

    def test_a_version_to_wait_after(self):
        """Against a write that is missed between two calls."""
        variable = self.open()
        variable.data = 1
        variable.data = 2
        self.assertEqual(variable.wait(since=1), 2)
        self.assertEqual(variable.wait(0, since=0), 2)
        self.assertRaises(TimeoutError, variable.wait, 0, since=2)
        self.assertRaises(TypeError, variable.wait, 0, since="2")

    def test_the_time_limit(self):
        """Against a wait that ends early, or never; and a text with a slice's time in it."""
        variable = self.open()
        variable.data = 1
        for timeout in (0, 0.03, 0.12):
            begin = time.monotonic()
            error = self.assertRaisesWith(
                robot_ipc.TimedOut, [variable.name, str(timeout) + " s"], variable.wait, timeout
            )
            self.assertIsInstance(error, TimeoutError)
            self.assertGreaterEqual(time.monotonic() - begin, timeout)
            self.assertLess(time.monotonic() - begin, timeout + 5)
        for bad in (-1, float("nan")):
            self.assertRaises(robot_ipc.BadOption, variable.wait, bad)

    def test_removal_and_closing_end_a_wait(self):
        """Against waiting for ever for a variable that is gone."""
        variable = self.open()
        other = self.open(variable.name)
        self.later(other.unlink)
        self.assertRaises(robot_ipc.Retired, variable.wait, PATIENCE)
        variable = self.open()
        self.later(variable.close)
        self.assertRaises(robot_ipc.Closed, variable.wait, PATIENCE)

    def test_ctrl_c_interrupts_a_wait(self):
        """Against a process that can only be killed while it waits."""
        code = """import sys, time, robot_ipc
variable = robot_ipc.HostVariable(sys.argv[1], **eval(sys.argv[2]))
print("ready", flush=True)
try:
    variable.wait()
except KeyboardInterrupt:
    print("interrupted", flush=True)"""
        for options in ({}, {"read_only": True}):
            variable = self.open()
            child = self.start(code, variable.name, options)
            self.assertEqual(child.stdout.readline(), "ready\n")
            time.sleep(0.1)
            begin = time.monotonic()
            child.send_signal(signal.SIGINT)
            self.assertEqual(child.stdout.readline(), "interrupted\n")
            self.assertLess(time.monotonic() - begin, 1)

    def test_ctrl_c_interrupts_a_write_that_finds_no_slot(self):
        """Against a write that hangs beside a stopped process."""
        name = new_name()
        variable = self.open(name, 1 << 24, slots=2, write_timeout=0)
        variable.data = 1
        code = """import ctypes, sys, robot_ipc
class Large(ctypes.Structure): _fields_ = [("bytes", ctypes.c_uint8 * (1 << 24))]
variable, value = robot_ipc.HostVariable(sys.argv[1], data_format=Large), Large()
print("ready", flush=True)
while True:
    try: variable.data = value
    except robot_ipc.NoFreeSlot: pass"""
        holder = self.start(code, name)
        self.assertEqual(holder.stdout.readline(), "ready\n")

        def is_held():
            os.kill(holder.pid, signal.SIGSTOP)
            try:
                variable.data = 2
            except robot_ipc.NoFreeSlot:
                return True
            os.kill(holder.pid, signal.SIGCONT)
            time.sleep(0.001)
            return False

        eventually(is_held, "the holder stops in the middle of a write")
        code = """import sys, robot_ipc
variable = robot_ipc.HostVariable(sys.argv[1], None, write_timeout=None)
print("ready", flush=True)
try: variable.data = 3
except KeyboardInterrupt: print("interrupted", variable.data, flush=True)"""
        writer = self.start(code, name)
        self.assertEqual(writer.stdout.readline(), "ready\n")
        time.sleep(0.2)
        begin = time.monotonic()
        writer.send_signal(signal.SIGINT)
        self.assertRegex(writer.stdout.readline(), "interrupted [12]\n")
        self.assertLess(time.monotonic() - begin, 1)

    def test_a_waiting_process_uses_no_processor(self):
        """Against slices so short that waiting costs something."""
        variable = self.open()
        before = time.thread_time()
        self.assertRaises(TimeoutError, variable.wait, 1.0)
        self.assertLess(time.thread_time() - before, 0.02)


if __name__ == "__main__":
    unittest.main()
