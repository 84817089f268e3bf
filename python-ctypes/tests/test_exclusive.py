"""The only writer of a variable."""

import ctypes
import gc
import os
import pickle
import signal
import threading
import traceback
import unittest

from support import PATIENCE, TestCase, eventually, setUpModule, tearDownModule  # noqa: F401
import robot_ipc

LEADER = """import sys, robot_ipc
variable = robot_ipc.HostVariable(sys.argv[1])
writer = variable.exclusive_writer()
writer.data = ("led", 0)
print("leads", flush=True)
number = 0
while True:
    number += 1
    writer.data = ("led", number)
"""


class Pose(ctypes.Structure):
    _fields_ = [("x", ctypes.c_double), ("y", ctypes.c_double)]


class Exclusive(TestCase):
    def lead(self, variable, **options):
        writer = variable.exclusive_writer(**options)
        self.addCleanup(writer.close)
        return writer

    def in_child(self, body):
        """Runs `body` in a forked child, which has to end well."""
        pid = os.fork()
        if pid == 0:
            try:
                body()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)

    def test_nobody_else_writes(self):
        """Against a second writer, and an error that does not say who the first one is."""
        variable = self.open()
        other = self.open(variable.name)
        variable.data = "before"
        writer = self.lead(variable)
        expected = [variable.name, "process {}".format(os.getpid()), "exclusive writer"]
        for write in (
            lambda: setattr(variable, "data", 1),
            lambda: other.write(1),
            lambda: other.write("x" * 4000),
            lambda: other.update(lambda value: 1),
            other.exclusive_writer,
            variable.exclusive_writer,
        ):
            self.assertRaisesWith(robot_ipc.Exclusive, expected, write)
        self.assertEqual(other.data, "before")
        self.assertEqual(writer.write("led"), 2)
        writer.data = "led again"
        self.assertEqual((other.data, writer.data, other.version), ("led again",) * 2 + (3,))
        self.assertLess(other.age, PATIENCE)
        writer.close()
        self.assertEqual(other.write("free"), 4)

    def test_the_dead_are_taken_over_from(self):
        """Against a killed writer that keeps all others out."""
        variable = self.open()
        for lead_again in (False, True):
            process = self.start(LEADER, variable.name)
            self.assertEqual(process.stdout.readline(), "leads\n")
            expected = ["process {}".format(process.pid)]
            self.assertRaisesWith(robot_ipc.Exclusive, expected, variable.write, 1)
            self.assertRaisesWith(robot_ipc.Exclusive, expected, variable.exclusive_writer)
            process.send_signal(signal.SIGKILL)
            process.wait()
            left = variable.sample()
            self.assertEqual(left.value[0], "led")
            writer = self.lead(variable) if lead_again else variable
            self.assertEqual(writer.write("mine"), left.version + 1)
            if lead_again:
                writer.close()

    def test_values_have_the_format_of_the_variable(self):
        """Against bytes that readers of the same format refuse."""
        for options, value, same in (
            ({}, {"x": [1, 2]}, lambda read: read == {"x": [1, 2]}),
            ({"data_format": Pose}, Pose(1.5, -2), lambda read: (read.x, read.y) == (1.5, -2)),
            ({"data_format": bytes}, bytearray(b"raw"), lambda read: read == b"raw"),
            ({"max_size": 1 << 20}, "x" * 500000, lambda read: read == "x" * 500000),
        ):
            variable = self.open(**options)
            with variable.exclusive_writer() as writer:
                # Other writers pickle a large one in place from the second time on.
                for number in (1, 2, 3):
                    self.assertEqual(writer.write(value), number)
                self.assertTrue(same(self.open(variable.name, **options).data), options)
        with self.open(data_format=Pose).exclusive_writer() as writer:
            self.assertRaises(TypeError, writer.write, 1)
        variable = self.open(max_size=64)
        with variable.exclusive_writer() as writer:
            writer.data = 1
            large = "x" * 100
            self.assertRaisesWith(robot_ipc.TooLarge, [variable.name, 64], writer.write, large)
            self.assertRaises(AttributeError, setattr, writer, "dta", 1)
            self.assertRaises(AttributeError, writer.write, lambda: None)
            self.assertEqual(variable.data, 1)

    def test_without_times_there_is_no_age(self):
        """Against an age that is made up."""
        variable = self.open()
        writer = self.lead(variable, timestamps=False)
        writer.data = 1
        self.assertRaises(robot_ipc.NoAge, lambda: variable.age)
        self.assertRaises(robot_ipc.NoAge, variable.read, max_age=1.0)
        self.assertEqual((variable.data, variable.timestamp), (1, 0))
        writer.close()
        self.lead(variable).data = 2
        self.assertLess(variable.age, PATIENCE)

    def test_it_ends_once(self):
        """Against others that are kept out after the end, by whatever still knows it."""
        variable = self.open()
        with self.assertRaises(ZeroDivisionError), variable.exclusive_writer() as writer:
            self.assertIn(variable.name, repr(writer))
            self.assertNotIn("closed", repr(writer))
            1 // 0
        variable.data = 1
        self.assertIn("closed", repr(writer))
        writer.close()
        for use in (
            lambda: writer.write(2),
            lambda: setattr(writer, "data", 2),
            writer.__enter__,
        ):
            self.assertRaisesWith(robot_ipc.Closed, [variable.name, "closed"], use)
        self.assertRaises(TypeError, pickle.dumps, writer)
        # Forgotten.
        writer = variable.exclusive_writer()
        self.assertRaises(robot_ipc.Exclusive, variable.write, 4)
        del writer
        gc.collect()
        variable.data = 4
        # Closed in advance, or the variable of a writer that goes on.
        other = self.open(variable.name)
        writer = self.lead(other)
        other.close()
        self.assertRaises(robot_ipc.Closed, other.exclusive_writer)
        self.assertRaises(robot_ipc.Closed, lambda: writer.data)
        writer.data = 5
        self.assertEqual(variable.data, 5)

    def test_it_ends_while_a_failure_is_handled(self):
        """Against a traceback that keeps others out: of a write that failed, and of one that
        a signal interrupted."""
        variable = self.open(max_size=2**20, data_format=bytes)
        writer = self.lead(variable)
        try:
            writer.write(b"x" * 2**21)
        except robot_ipc.TooLarge:
            writer.close()
            variable.data = b"free"

        def interrupt(*_):
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGALRM, interrupt)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        frames = []
        while "_put" not in frames:
            writer = self.lead(variable)
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.005)
                while True:
                    writer.data = b"x" * 2**20
            except KeyboardInterrupt as interrupted:
                frames = [frame.name for frame in traceback.extract_tb(interrupted.__traceback__)]
                writer.close()
                variable.data = b"free"

    def test_threads_take_turns(self):
        """Against a thread that is refused since another one writes, and values mixed up."""
        # Small ones are written with the interpreter's lock, and large ones without it.
        for sizes in ((10, 20, 30), (2**20, 2**20, 10)):
            variable = self.open(max_size=2**21, data_format=bytes)
            writer = self.lead(variable)
            count, failures = 60, []

            def write(letter, size):
                try:
                    for _ in range(count):
                        writer.data = letter * size
                except BaseException as error:
                    failures.append(error)

            letters = (b"a", b"b", b"c")
            threads = [threading.Thread(target=write, args=pair) for pair in zip(letters, sizes)]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                value = variable.read(default=b"")
                self.assertLessEqual(len(set(value)), 1)
            for thread in threads:
                thread.join()
            self.assertEqual((failures, variable.version), ([], 3 * count))

    def test_closing_lets_a_write_of_another_thread_end(self):
        """Against memory that is freed while it is used."""
        variable = self.open(max_size=2**21, data_format=bytes)
        for _ in range(20):
            writer = variable.exclusive_writer()
            before = variable.version

            def write_until_closed():
                try:
                    while True:
                        writer.data = b"a" * 2**20
                except robot_ipc.Closed:
                    return "closed"

            outcomes = self.in_thread(write_until_closed)
            eventually(lambda: variable.version > before, "it writes")
            writer.close()
            eventually(lambda: outcomes, "it ends")
            self.assertEqual(outcomes, [(None, "closed")])
            variable.data = b"free"

    def test_loans_are_waited_for(self):
        """Against a beginning that waits without end, or not at all."""
        variable = self.open(write_timeout=0.1)
        handle = variable._open_handle()
        loan = robot_ipc._InPlace()
        self.assertTrue(loan.take(handle.pointer))
        expected = [variable.name, "process {}".format(os.getpid())]
        self.assertRaisesWith(robot_ipc.NoFreeSlot, expected, variable.exclusive_writer)
        variable.data = "free"
        patient = self.open(variable.name, write_timeout=None)
        outcomes = self.in_thread(patient.exclusive_writer)

        def is_led():
            try:
                variable.data = "free"
            except robot_ipc.Exclusive:
                return True

        eventually(is_led, "it has begun, and waits")
        self.assertEqual(outcomes, [])
        del loan
        eventually(lambda: outcomes, "it leads")
        error, writer = outcomes[0]
        self.assertIsNone(error)
        writer.data = "led"
        writer.close()

    def test_a_forked_child_leads_nothing(self):
        """Against a child that writes with its parent's right, or gives it away."""
        variable = self.open()
        writer = self.lead(variable)
        writer.data = "parent"
        parent = os.getpid()

        def child():
            self.assertRaisesWith(robot_ipc.Forked, [], writer.write, "child")
            writer.close()
            gc.collect()
            expected = ["process {}".format(parent)]
            self.assertRaisesWith(robot_ipc.Exclusive, expected, variable.write, "child")

        self.in_child(child)
        self.assertRaises(robot_ipc.Exclusive, variable.write, "other")
        self.assertEqual(writer.write("parent"), 2)

    def test_a_fork_while_another_thread_writes(self):
        """Against a child that waits for a thread that it does not have."""
        variable = self.open(max_size=2**23, data_format=bytes)
        writer = self.lead(variable)
        end = threading.Event()

        def write():
            value = b"a" * 2**23
            while not end.is_set():
                writer.data = value

        outcomes = self.in_thread(write)
        try:
            for _ in range(20):
                before = variable.version
                eventually(lambda: variable.version > before, "it writes")
                self.in_child(lambda: self.assertRaises(robot_ipc.Forked, writer.write, b"child"))
        finally:
            end.set()
        eventually(lambda: outcomes, "it ends")
        self.assertEqual(outcomes, [(None, None)])

    def test_a_removed_variable_is_not_written(self):
        """Against a write that succeeds, and nobody can see."""
        variable = self.open()
        writer = self.lead(variable)
        writer.data = 1
        variable.unlink()
        self.assertRaisesWith(robot_ipc.Retired, [variable.name], writer.write, 2)
        reader = self.open()
        reader = self.open(reader.name, read_only=True)
        self.assertRaisesWith(robot_ipc.ReadOnly, [reader.name], reader.exclusive_writer)


if __name__ == "__main__":
    unittest.main()
