"""The user's own specification of the Python side, line by line."""

import ctypes
import gc
import inspect
import pickle
import threading
import time
import unittest

from support import (  # noqa: F401
    PATIENCE,
    TestCase,
    eventually,
    new_name,
    run,
    setUpModule,
    tearDownModule,
)
import robot_ipc
from robot_ipc import HostFunctionCaller, HostFunctionDispatcher, HostVariable


def defaults(function):
    """The parameters that can be given by position, and their defaults."""
    return [
        (parameter.name, parameter.default)
        for parameter in list(inspect.signature(function).parameters.values())[1:]
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]


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


class Caller(TestCase):
    def test_name_and_sizes_are_positional_and_4096_is_the_default(self):
        """Against a signature that the documented calls do not fit."""
        expected = [("max_sz_args", 4096), ("max_sz_ret", 4096)]
        self.assertEqual(defaults(HostFunctionCaller.__init__)[1:], expected)
        self.assertEqual(defaults(HostFunctionCaller.__init__)[0][0], "name")
        caller = self.caller(new_name("function"), 100, 200)
        self.assertEqual((caller.max_sz_args, caller.max_sz_ret), (100, 200))
        caller = HostFunctionCaller(name=new_name("function"), max_sz_args=5, max_sz_ret=6)
        self.assertEqual((caller.max_sz_args, caller.max_sz_ret), (5, 6))
        caller.close()
        caller = self.caller()
        self.assertEqual((caller.max_sz_args, caller.max_sz_ret), (4096, 4096))

    def test_calling_the_instance_as_a_normal_function(self):
        """Against arguments that arrive in another way than they were given."""
        caller = self.serve(lambda *args, **kwargs: (args, kwargs))
        for args, kwargs in (
            ((), {}),
            ((1, "two", [3]), {}),
            ((), {"a": 1, "b": {"c": None}}),
            ((1,), {"a": 2}),
        ):
            caller(*args, **kwargs)
            self.assertEqual(caller.get_response(), (args, kwargs))

    def test_get_response_waits_for_the_response_and_returns_it(self):
        """Against a call that waits itself, and a response that comes out of order."""
        caller = self.serve(lambda value, seconds=0: time.sleep(seconds) or value)
        caller(1, seconds=0.1)
        caller(2)
        self.assertEqual(caller.get_response(), 1)
        self.assertEqual(caller.get_response(), 2)

    def test_no_response_in_three_circumstances(self):
        """Against "your process will stuck here": no size, None, and no return at all."""
        ran = []
        without_size = self.serve(lambda value: ran.append(value) or value, 4096, 0)
        without_size(1)
        self.assertIsNone(without_size.get_response())
        eventually(lambda: ran == [1], "it ran all the same")

        def explicitly():
            return None

        def not_at_all():
            ran.append(2)

        for foo in (explicitly, not_at_all):
            caller = self.serve(foo)
            caller()
            self.assertIsNone(caller.get_response())
        self.assertEqual(ran, [1, 2])

    def test_responses_that_nobody_gets(self):
        """Against "the tunnel stuck after the buffer is full": an error, and it goes on."""
        caller = self.serve(lambda value: value)
        with self.assertRaises(robot_ipc.UnfetchedResponses):
            for number in range(100):
                caller(number)
        for expected in range(14):
            self.assertEqual(caller.get_response(), expected)
        caller("again")
        self.assertEqual(caller.get_response(), "again")

    def test_sizes_are_those_of_the_pickles(self):
        """Against a limit that counts something else than was documented."""
        arguments = len(pickle.dumps((("x" * 50,), {}), 5))
        response = len(pickle.dumps("x" * 50, 5))
        caller = self.serve(lambda value: value, arguments, response)
        caller("x" * 50)
        self.assertEqual(caller.get_response(), "x" * 50)
        self.assertRaises(robot_ipc.TooLarge, caller, "x" * 51)


class Dispatcher(TestCase):
    def test_the_signatures(self):
        """Against a signature that the documented calls do not fit."""
        self.assertEqual(defaults(HostFunctionDispatcher.__init__)[0][0], "max_func_count")
        names, values = zip(*defaults(HostFunctionDispatcher.add))
        self.assertEqual(names, ("name", "foo", "max_sz_args", "max_sz_ret"))
        self.assertEqual(values[2:], (4096, 4096))

    def test_as_many_functions_as_were_announced(self):
        """Against a count that means something else."""
        dispatcher = HostFunctionDispatcher(2)
        names = [new_name("function") for _ in range(3)]
        dispatcher.add(names[0], lambda: 0, 100, 200)
        dispatcher.add(name=names[1], foo=lambda: 1, max_sz_args=100, max_sz_ret=200)
        self.assertRaises(robot_ipc.TooManyFunctions, dispatcher.add, names[2], lambda: 2)
        dispatcher.start()
        for number in range(2):
            caller = self.caller(names[number], 100, 200)
            caller()
            self.assertEqual(caller.get_response(), number)
        dispatcher.close()

    def test_sizes_have_to_match(self):
        """Against "this tunnel stop working": an error on whichever side comes second."""
        name, other = new_name("function"), new_name("function")
        dispatcher = self.dispatcher()
        dispatcher.add(name, print, 100, 200)
        self.assertRaises(robot_ipc.SizeMismatch, HostFunctionCaller, name)
        self.assertRaises(robot_ipc.SizeMismatch, HostFunctionCaller, name, 100, 201)
        self.caller(other)
        self.assertRaises(robot_ipc.SizeMismatch, dispatcher.add, other, print, 100, 200)

    def test_start_as_a_daemon_thread(self):
        """Against a start that does not return, or a program that does not end."""
        dispatcher = HostFunctionDispatcher(1)
        name = new_name("function")
        dispatcher.add(name, threading.current_thread)
        dispatcher.start()
        thread = [one for one in threading.enumerate() if "robot_ipc" in one.name]
        self.assertEqual([one.daemon for one in thread], [True])
        dispatcher.close()
        run(
            "import sys, robot_ipc; d = robot_ipc.HostFunctionDispatcher(1)\n"
            "d.add(sys.argv[1], print); d.start()",
            new_name("function"),
        )

    def test_adding_another_function_after_the_start(self):
        """Against "may fail"."""
        dispatcher = HostFunctionDispatcher(20)
        dispatcher.start()
        for number in range(20):
            name = new_name("function")
            dispatcher.add(name, lambda number=number: number)
            caller = self.caller(name)
            caller()
            self.assertEqual(caller.get_response(), number)
        dispatcher.close()

    def test_it_stops_working_when_it_is_collected(self):
        """Against a dispatcher without an owner that goes on, or one with an owner that does
        not."""
        dispatcher = HostFunctionDispatcher(1)
        self.assertTrue(callable(dispatcher.__del__))
        name = new_name("function")
        dispatcher.add(name, lambda: 1)
        dispatcher.start()
        gc.collect()
        caller = self.caller(name)
        caller()
        self.assertEqual(caller.get_response(), 1)
        del dispatcher
        gc.collect()
        caller()
        with self.assertRaises(robot_ipc.TimedOut) as caught:
            caller.get_response(0.05)
        self.assertIn("nobody serves", str(caught.exception))

    def test_both_sides_can_be_of_one_structure(self):
        """Against pickles where the memory shall be that of a C struct."""

        class Point(ctypes.Structure):
            _fields_ = [("x", ctypes.c_double)]

        name = new_name("function")
        dispatcher = self.dispatcher()
        dispatcher.add(name, lambda point: Point(2 * point.x), arg_format=Point, ret_format=Point)
        dispatcher.start()
        caller = self.caller(name, arg_format=Point, ret_format=Point)
        caller(Point(4))
        self.assertEqual(caller.get_response().x, 8)

    def test_in_two_processes(self):
        """Against a function that only its own process can call."""
        name = new_name("function")
        server = self.server("dispatcher.add(name, lambda a, b: a + b)", name)
        caller = self.caller(name)
        caller(1, b=2)
        self.assertEqual(caller.get_response(), 3)
        code = """import sys, robot_ipc
caller = robot_ipc.HostFunctionCaller(sys.argv[1])
caller("from ", b="another"); print(caller.get_response())"""
        self.assertEqual(run(code, name), "from another\n")
        server.communicate(timeout=PATIENCE)


if __name__ == "__main__":
    unittest.main()
