"""The user's own specification of the Python side, line by line."""

import inspect
import pickle
import unittest

from support import TestCase, new_name, run, setUpModule, tearDownModule  # noqa: F401
import robot_ipc
from robot_ipc import HostVariable


class Seed(TestCase):
    def test_name_and_max_size_are_positional_and_4096_is_the_default(self):
        """Against a signature that the documented calls do not fit."""
        parameters = list(inspect.signature(HostVariable.__init__).parameters.values())[1:]
        self.assertEqual([parameter.name for parameter in parameters[:2]], ["name", "max_size"])
        self.assertEqual(parameters[1].default, 4096)
        self.assertEqual(self.open(new_name(), 4096).max_size, 4096)
        self.assertEqual(self.open(name=new_name(), max_size=100).max_size, 100)
        self.assertEqual(self.open().max_size, 4096)

    def test_data_is_like_a_local_variable_that_the_whole_host_sees(self):
        """Against a value that another handle or process does not see, or sees changed."""
        variable = self.open()
        for value in (None, 0, "text", b"bytes", 1.5, [1, (2, 3)], {"x": {"y": [None]}}):
            variable.data = value
            self.assertEqual(variable.data, value)
            self.assertEqual(self.open(variable.name).data, value)
        code = "import sys, robot_ipc; v = robot_ipc.HostVariable(sys.argv[1]); v.data = v.data"
        run(code, variable.name)
        self.assertEqual(variable.data, {"x": {"y": [None]}})
        self.assertEqual(variable.version, 8)

    def test_any_object_of_python_that_can_be_pickled(self):
        """Against a codec that only knows some types."""
        variable = self.open()
        variable.data = Seed
        self.assertIs(variable.data, Seed)
        recursive = []
        recursive.append(recursive)
        variable.data = recursive
        copy = variable.data
        self.assertIs(copy[0], copy)
        variable.data = bytearray(b"changed")
        self.assertEqual(variable.data, bytearray(b"changed"))

    def test_what_is_longer_than_max_size_once_pickled_raises(self):
        """Against a value that is cut, or takes the place of the one before."""
        variable = self.open(max_size=100)
        variable.data = "before"
        with self.assertRaises(robot_ipc.TooLarge):
            variable.data = "x" * 100
        self.assertEqual(variable.data, "before")

    def test_all_users_have_to_name_the_same_max_size(self):
        """Against two users that silently see different variables."""
        variable = self.open(max_size=100)
        with self.assertRaises(robot_ipc.SizeMismatch):
            self.open(variable.name, max_size=101)
        with self.assertRaises(robot_ipc.SizeMismatch):
            self.open(variable.name)
        self.open(new_name(), max_size=101)

    def test_there_are_14_slots_by_default(self):
        """Against another default than the one that is documented."""
        self.assertEqual(self.open().slots, 14)
        self.assertEqual(inspect.signature(HostVariable.__init__).parameters["slots"].default, 14)

    def test_a_change_of_what_was_read_is_a_change_of_a_copy(self):
        """Against documentation that promises too much, or too little."""
        variable = self.open()
        variable.data = {"x": 1}
        variable.data["x"] = 2
        self.assertEqual(variable.data, {"x": 1})
        self.assertIn('data["x"]', robot_ipc.__doc__)
        self.assertIn("copy", robot_ipc.__doc__)
        self.assertIn("copy", HostVariable.data.__doc__)

    def test_pickles_are_of_protocol_5(self):
        """Against a newer Python that writes what an older one cannot read."""
        value = {"x": 1}
        exact = len(pickle.dumps(value, 5))
        self.open(max_size=exact).data = value


if __name__ == "__main__":
    unittest.main()
