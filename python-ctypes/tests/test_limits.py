"""Sizes, names and slots at each limit and one past it; adopting what exists."""

import os
import pickle
import resource
import tempfile
import unittest
from pathlib import Path

from support import TestCase, file_of, new_name, setUpModule, tearDownModule  # noqa: F401
import robot_ipc
from robot_ipc import HostVariable


class Sizes(TestCase):
    def test_a_value_of_exactly_max_size_fits_and_one_more_does_not(self):
        """Against framing that takes some of the user's bytes, and against a byte lost."""
        # Around 64 KiB, where longer values take another way, in steps of one byte.
        lengths = [0, 1, 50, 4000, 200000] + list(range(65500, 65560))
        for length in lengths:
            exact = b"x" * length
            size = len(pickle.dumps(exact, 5))
            with self.subTest(size=size):
                variable = self.open(max_size=size)
                variable.data = exact
                self.assertEqual(variable.data, exact)
                if len(pickle.dumps(exact + b"x", 5)) > size:  # frames can make it shorter
                    self.assertRaises(robot_ipc.TooLarge, variable.write, exact + b"x")
                self.assertEqual(variable.sample()[:2], (exact, 1))
                variable.data = None
                self.assertIsNone(variable.data)
                variable.unlink()

    def test_the_smallest_variable(self):
        """Against arithmetic that goes wrong at one byte."""
        variable = self.open(max_size=1)
        self.assertRaises(robot_ipc.TooLarge, variable.write, None)
        self.assertRaises(robot_ipc.NeverWritten, variable.read)

    def test_a_large_one_is_not_read_through_a_buffer_of_its_size(self):
        """Against a gigabyte of buffer for each thread that reads a small value."""
        variable = self.open(max_size=1 << 26, slots=2)
        variable.data = "small"
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.assertEqual(variable.data, "small")
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.assertLess(after - before, 10000)  # KiB
        variable.data = large = b"x" * (1 << 25)
        self.assertTrue(variable.data == large)
        self.assertTrue(variable.sample().value == large)
        self.assertTrue(variable.update(lambda value: value) == large)

    def test_slots_at_their_limits(self):
        """Against limits that differ from the documented ones."""
        for slots in (2, 62):
            variable = self.open(slots=slots)
            self.assertEqual(variable.slots, slots)
            for number in range(70):
                variable.data = number
                self.assertEqual(variable.data, number)


class Names(TestCase):
    def test_names_of_200_bytes_and_201(self):
        """Against a length that is counted in letters."""
        for letter in ("x", "é", "ö", "日", "🤖"):
            size = len(letter.encode())
            name = letter * (200 // size)
            name += "x" * (200 - len(name.encode()))
            with self.subTest(letter=letter):
                variable = self.open(name)
                variable.data = letter
                self.assertEqual(self.open(name).data, letter)
                self.assertEqual(variable.name, name)
                self.assertTrue(os.path.exists(file_of(name)))
                error = self.assertRaisesWith(
                    robot_ipc.BadName, [201, 200], HostVariable, name + "x"
                )
                self.assertNotIsInstance(error, robot_ipc.BadOption)
                variable.unlink()

    def test_names_with_odd_letters(self):
        """Against names that a shell, a path or a text would change."""
        for name in ("a b", "a\nb", "'a\"", "$a", "a.variable.b", "-rf", "a\\b", "%s{}"):
            variable = self.open(name)
            variable.data = name
            self.assertEqual(self.open(name).data, name)
            repr(variable)
            self.assertRaises(robot_ipc.TooLarge, variable.write, b"x" * 5000)
            variable.unlink()

    def test_namespaces_keep_apart_and_have_a_limit(self):
        """Against two robots, or tests, that meet by accident."""
        name = new_name()
        here = self.open(name)
        here.data = "here"
        there = self.open(name, namespace="n" * 32)
        self.addCleanup(there.unlink)
        self.assertEqual(there.version, 0)
        self.assertRaisesWith(
            robot_ipc.BadName, [33, 32], HostVariable, name, namespace="n" * 33
        )

    def test_another_folder(self):
        """Against an option that is not passed on."""
        with tempfile.TemporaryDirectory() as folder:
            for directory in (folder, Path(folder)):
                variable = self.open("pose", directory=directory)
                variable.data = 1
                self.assertEqual(len(os.listdir(folder)), 1)
                variable.unlink()
                self.assertEqual(os.listdir(folder), [])


class Adopting(TestCase):
    def test_the_size_that_exists_is_taken(self):
        """Against a monitor that has to know the size of everything."""
        variable = self.open(max_size=77, slots=3)
        adopted = self.open(variable.name, max_size=None)
        self.assertEqual((adopted.max_size, adopted.slots), (77, 3))
        adopted.data = 1
        self.assertEqual(variable.data, 1)
        self.assertRaises(
            robot_ipc.SizeMismatch, HostVariable, variable.name, None, slots=14
        )

    def test_slots_and_mode_that_were_not_asked_for(self):
        """Against defaults that quarrel with a variable that was made otherwise."""
        variable = self.open(slots=3, mode=0o640)
        self.assertEqual(os.stat(file_of(variable.name)).st_mode & 0o777, 0o640)
        self.assertEqual(self.open(variable.name).slots, 3)


class Sharing(TestCase):
    def mode_of(self, variable):
        return os.stat(file_of(variable.name)).st_mode & 0o777

    def test_mode_whatever_the_umask(self):
        """Against a umask that cuts the mode that was asked for."""
        before = os.umask(0o077)
        self.addCleanup(os.umask, before)
        self.assertEqual(self.mode_of(self.open()), 0o600)
        self.assertEqual(self.mode_of(self.open(mode=0o660)), 0o660)
        self.assertEqual(self.mode_of(self.open(mode=None)), 0o600)

    def test_the_environment_counts_only_for_those_who_ask_for_nothing(self):
        """Against an explicit 0o600 that the environment overrides."""
        os.environ["ROBOT_IPC_MODE"] = "0660"
        self.addCleanup(os.environ.pop, "ROBOT_IPC_MODE")
        self.assertEqual(self.mode_of(self.open()), 0o660)
        self.assertEqual(self.mode_of(self.open(mode=0o600)), 0o600)

    def test_a_group_by_number_and_name(self):
        """Against a group that is silently ignored."""
        import grp

        number = os.getegid()
        name = grp.getgrgid(number).gr_name
        for group in (number, str(number), name):
            variable = self.open(mode=0o660, group=group)
            self.assertEqual(os.stat(file_of(variable.name)).st_gid, number)

    @unittest.skipUnless(os.geteuid() == 0, "needs root: gives a file to another group")
    def test_another_group(self):
        """Against a variable shared with the wrong people."""
        variable = self.open(mode=0o660, group=12345)
        self.assertEqual(os.stat(file_of(variable.name)).st_gid, 12345)
        self.open(variable.name, mode=0o660, group=12345)
        self.assertRaises(robot_ipc.ForeignOwner, HostVariable, variable.name)


if __name__ == "__main__":
    unittest.main()
