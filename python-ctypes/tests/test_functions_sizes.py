"""Calls of host functions: sizes and formats."""

import ctypes
import pickle
import unittest

from support import (  # noqa: F401
    PATIENCE,
    TestCase,
    new_name,
    setUpModule,
    tearDownModule,
)
import robot_ipc
from robot_ipc import HostFunctionCaller


class Pose(ctypes.Structure):
    _fields_ = [("x", ctypes.c_double), ("valid", ctypes.c_bool)]


class Goal(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int32)]


class Sizes(TestCase):
    def test_arguments_and_responses_of_exactly_the_size(self):
        """Against framing that takes some of the user's bytes."""
        # Around 64 KiB, where longer ones take another way.
        for length in (0, 1, 100, 65400, 65500, 65536, 200000):
            value = b"x" * length
            max_sz_args = len(pickle.dumps(((value,), {}), 5))
            max_sz_ret = len(pickle.dumps(value, 5))
            with self.subTest(length=length):
                caller = self.serve(lambda value: value, max_sz_args, max_sz_ret)
                self.assertTrue(caller.call(value, timeout=PATIENCE) == value)
                handle = caller(value)
                self.assertTrue(caller.get_response(PATIENCE) == value)
                self.assertTrue(handle.result() == value)
                caller(value)
                self.assertTrue(caller(value).result(PATIENCE) == value)
                if length:
                    self.assertRaises(robot_ipc.TooLarge, caller, value + b"xxxx")

    def test_both_spellings(self):
        """Against the original's later names, that some programs use."""
        name = new_name("function")
        dispatcher = self.dispatcher()
        dispatcher.attach(name, lambda value: value, max_arg_size=100, max_ret_size=200)
        dispatcher.start()
        caller = self.caller(name, max_arg_size=100, max_ret_size=200)
        self.assertEqual((caller.max_sz_args, caller.max_sz_ret), (100, 200))
        self.assertEqual(self.caller(name, 100, 200, max_arg_size=100).call(1, timeout=PATIENCE), 1)
        for options in (
            {"max_sz_args": 100, "max_arg_size": 99, "max_sz_ret": 200},
            {"max_sz_args": 100, "max_sz_ret": 200, "max_ret_size": 0},
        ):
            parts = ["max_arg_size" if "max_arg_size" in options else "max_ret_size", "leave one"]
            self.assertRaisesWith(robot_ipc.BadOption, parts, HostFunctionCaller, name, **options)
            self.assertRaisesWith(
                robot_ipc.BadOption, parts, dispatcher.add, new_name(), print, **options
            )

    def test_adopting_the_sizes(self):
        """Against a caller that has to know what its function knows."""
        caller = self.serve(lambda value: value, 70, 80, cells=5)
        adopting = self.caller(caller.name, None, None)
        self.assertEqual(
            (adopting.max_sz_args, adopting.max_sz_ret, adopting.cells), (70, 80, 5)
        )
        self.assertEqual(adopting.call(1, timeout=PATIENCE), 1)
        name = new_name("function")
        self.assertRaisesWith(robot_ipc.NotFound, [name], HostFunctionCaller, name, None, None)
        for sizes in ((None, 80), (70, None), (None,)):
            self.assertRaisesWith(
                robot_ipc.BadOption, ["None", "both"], HostFunctionCaller, caller.name, *sizes
            )

    def test_another_number_of_cells(self):
        """Against a number that is ignored."""
        caller = self.caller(cells=5)
        self.assertEqual(self.caller(caller.name).cells, 5)
        self.assertRaisesWith(
            robot_ipc.SizeMismatch, [5, 6, "cells"], HostFunctionCaller, caller.name, cells=6
        )
        self.assertEqual(self.caller().cells, 16)


class Formats(TestCase):
    def test_structures_instead_of_pickles(self):
        """Against a layout that C does not understand."""
        name = new_name("function")
        formats = {"arg_format": Goal, "ret_format": Pose}
        dispatcher = self.dispatcher()
        dispatcher.add(name, lambda goal: Pose(goal.x / 2, True) if goal.x else None, **formats)
        dispatcher.start()
        caller = self.caller(name, **formats)
        self.assertEqual((caller.max_sz_args, caller.max_sz_ret), (4, 16))
        pose = caller.call(Goal(5), timeout=PATIENCE)
        self.assertIsInstance(pose, Pose)
        self.assertEqual((pose.x, pose.valid), (2.5, True))
        self.assertIsNone(caller.call(Goal(0), timeout=PATIENCE))
        for arguments, options in (((), {}), ((Goal(1), Goal(2)), {}), ((), {"goal": Goal(1)})):
            parts = ["one argument", "arg_format Goal"]
            self.assertRaisesWith(TypeError, parts, caller, *arguments, **options)
        self.assertRaisesWith(TypeError, ["arg_format Goal", "int"], caller, 5)
        self.assertRaises(robot_ipc.NoCallOutstanding, caller.get_response)

    def test_a_function_that_returns_something_else(self):
        """Against bytes of another type that are taken for the structure."""
        sizes = {"arg_format": Goal, "max_sz_ret": 4096}
        caller = self.serve(lambda goal: 5, ret_format=Pose, **sizes)
        error = self.assertRaisesWith(
            robot_ipc.RemoteError,
            ["returned an object of type int", "ret_format Pose"],
            lambda: caller.call(Goal(1), timeout=PATIENCE),
        )
        self.assertEqual(error.type_name, "TypeError")

    def test_only_one_side_has_a_format(self):
        """Against unpickling what is no pickle."""
        pickling = self.serve(lambda value: value)
        raw = self.caller(pickling.name, 4096, 4096, arg_format=Goal)
        self.assertRaisesWith(
            robot_ipc.RemoteError,
            ["WrongEncoding", "raw", "pickle", "same arg_format"],
            lambda: raw.call(Goal(1), timeout=PATIENCE),
        )
        raw = self.caller(pickling.name, 4096, 4096, ret_format=Goal)
        self.assertRaisesWith(
            robot_ipc.WrongEncoding,
            [pickling.name, "raw", "pickle", "same ret_format"],
            lambda: raw.call(1, timeout=PATIENCE),
        )
        other = self.serve(lambda pose: pose, 4096, 4096, arg_format=Pose, ret_format=Pose)
        raw = self.caller(other.name, 4096, 4096, arg_format=Goal, ret_format=Pose)
        self.assertRaisesWith(
            robot_ipc.RemoteError,
            ["SizeMismatch", "4 bytes", "Pose has 16"],
            lambda: raw.call(Goal(1), timeout=PATIENCE),
        )

    def test_formats_that_do_not_fit(self):
        """Against a function that can never be called."""
        for options, parts in (
            ({"arg_format": Pose, "max_sz_args": 15}, ["max_sz_args", 15, "arg_format Pose", 16]),
            ({"ret_format": Pose, "max_sz_ret": 0}, ["max_sz_ret", 0, "ret_format Pose", 16]),
        ):
            self.assertRaisesWith(
                robot_ipc.SizeMismatch, parts, HostFunctionCaller, new_name(), **options
            )
        self.assertRaisesWith(
            TypeError, ["arg_format"], HostFunctionCaller, new_name(), arg_format=int
        )
        kind = type("Linked", (ctypes.Structure,), {"_fields_": [("next", ctypes.c_void_p)]})
        self.assertRaisesWith(
            TypeError, ["ret_format", "pointer"], HostFunctionCaller, new_name(), ret_format=kind
        )


if __name__ == "__main__":
    unittest.main()
