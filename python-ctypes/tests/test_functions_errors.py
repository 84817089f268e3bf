"""What a caller is told when a call goes wrong, and what is logged where it ran."""

import ctypes
import inspect
import logging
import os
import pickle
import threading
import time
import unittest

from support import (  # noqa: F401
    PATIENCE,
    TestCase,
    eventually,
    file_of,
    new_name,
    run,
    setUpModule,
    tearDownModule,
)
import robot_ipc
from robot_ipc import HostFunctionCaller, RemoteError


class OddError(Exception):
    """Its constructor takes what pickle does not give."""

    def __init__(self, first, second):
        super().__init__("odd: {} {}".format(first, second))


class FailsToUnpickle(Exception):
    def __reduce__(self):
        return int, ("not a number",)


class ExitsWhenUnpickled(Exception):
    def __reduce__(self):
        return exit_now, ()


def exit_now():
    raise SystemExit(3)


class BecomesSomethingElse(Exception):
    def __reduce__(self):
        return dict, ()


class FailsToPickle(Exception):
    def __reduce__(self):
        raise SystemExit("while pickling")


class HasNoText(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class ArgumentThatFails:
    def __reduce__(self):
        return int, ("not a number",)


def fails_deep_inside(value):
    return {"x": {}}["x"][value]


class Raising(TestCase):
    def raised(self, foo, *arguments, **sizes):
        """The error of a call of `foo`, which the dispatcher survives."""

        def foo_or_alive(*arguments):
            return foo(*arguments) if arguments != ("alive?",) else "alive"

        caller = self.serve(foo_or_alive, **sizes)
        with self.assertRaises(RemoteError) as caught:
            caller.call(*arguments, timeout=PATIENCE)
        self.assertEqual(caller.call("alive?", timeout=PATIENCE), "alive")
        self.assertIs(type(caught.exception), RemoteError)
        self.assertEqual(caught.exception.function, caller.name)
        return caught.exception

    def test_type_message_traceback_and_cause(self):
        """Against an exception that is lost, as in the original, or of which only half
        comes."""
        error = self.raised(fails_deep_inside, "missing")
        self.assertEqual((error.type_name, error.message), ("KeyError", "'missing'"))
        source = 'in fails_deep_inside\n    return {"x": {}}["x"][value]'
        self.assertIn(source, error.remote_traceback)
        self.assertNotIn("robot_ipc.py", error.remote_traceback)
        self.assertIn(error.remote_traceback.rstrip(), str(error))
        self.assertIn("raised KeyError: 'missing'", str(error))
        self.assertIs(type(error.__cause__), KeyError)
        self.assertEqual(error.__cause__.args, ("missing",))

    def test_what_the_function_itself_was_caused_by(self):
        """Against a traceback that ends at the last exception."""

        def foo():
            try:
                raise ValueError("first")
            except ValueError as error:
                raise RuntimeError("second") from error

        error = self.raised(foo)
        self.assertEqual(error.type_name, "RuntimeError")
        self.assertIn("ValueError: first", error.remote_traceback)
        self.assertIn("RuntimeError: second", error.remote_traceback)

    def test_modules_stand_before_types(self):
        """Against two types of one name that cannot be told apart."""
        error = self.raised(lambda: pickle.loads(b""))
        self.assertEqual(error.type_name, "EOFError")
        error = self.raised(lambda: pickle.dumps(lambda: 1))
        self.assertIn(error.type_name, ("_pickle.PicklingError", "AttributeError"))
        error = self.raised(lambda: self.fail("this"))
        self.assertEqual((error.type_name, error.message), ("AssertionError", "this"))
        error = self.raised(lambda: HostFunctionCaller(""))
        self.assertEqual(error.type_name, "robot_ipc.BadName")
        self.assertIsInstance(error.__cause__, robot_ipc.BadName)

    def test_exceptions_that_cannot_be_sent(self):
        """Against an exception that makes the caller, or the dispatcher, hang or end."""

        def throw(error):
            def foo():
                raise error

            return foo

        class Local(Exception):
            pass

        with_lock = ValueError("has a lock")
        with_lock.lock = threading.Lock()
        for error, message in (
            (OddError(1, 2), "odd: 1 2"),
            (FailsToUnpickle("a"), "a"),
            (ExitsWhenUnpickled("b"), "b"),
            (BecomesSomethingElse("c"), "c"),
            (FailsToPickle("d"), "d"),
            (Local("e"), "e"),
            (with_lock, "has a lock"),
            (HasNoText(), "<its text cannot be told>"),
        ):
            with self.subTest(error=type(error).__name__):
                got = self.raised(throw(error))
                self.assertEqual(got.message, message)
                self.assertTrue(got.type_name.endswith(type(error).__qualname__))
                self.assertIn("in foo", got.remote_traceback)
                if not isinstance(error, HasNoText):
                    self.assertIsNone(got.__cause__)
                str(got)

    def test_what_is_meant_to_end_a_process_does_not_end_the_dispatcher(self):
        """Against a function that ends the dispatcher's thread, and a caller that hangs."""
        for kind in (SystemExit, KeyboardInterrupt, GeneratorExit):

            def foo(kind=kind):
                raise kind("now")

            error = self.raised(foo)
            self.assertEqual((error.type_name, error.message), (kind.__name__, "now"))
            self.assertIsInstance(error.__cause__, kind)

    def test_a_recursion_without_end(self):
        """Against an error about an error."""

        def foo():
            return foo()

        error = self.raised(foo)
        self.assertEqual(error.type_name, "RecursionError")

    def test_text_that_is_no_unicode(self):
        """Against an error that cannot be told."""

        def foo():
            raise ValueError("half \ud800, nul \0, end")

        error = self.raised(foo)
        self.assertEqual(error.message, "half \ud800, nul \0, end")
        self.assertEqual(error.__cause__.args, ("half \ud800, nul \0, end",))

    def test_a_response_that_has_room_for_little(self):
        """Against an error that is lost because it does not fit, or is cut where it says
        what happened."""

        def foo():
            raise ValueError("wrong: " + "ä" * 30)

        whole = self.raised(foo)
        self.assertIsNotNone(whole.__cause__)
        seen = set()
        for max_sz_ret in list(range(22, 500, 7)) + [600, 700, 900]:
            error = self.raised(foo, max_sz_ret=max_sz_ret)
            self.assertEqual(error.type_name, "ValueError")
            self.assertTrue(whole.message.startswith(error.message))
            self.assertTrue(whole.remote_traceback.endswith(error.remote_traceback))
            if error.__cause__ is not None:
                self.assertEqual(error.remote_traceback, whole.remote_traceback)
            if error.remote_traceback:
                self.assertEqual(error.message, whole.message)
            is_whole = error.message == whole.message
            seen.add((is_whole, bool(error.remote_traceback), bool(error.__cause__)))
        self.assertEqual(
            seen,
            {(False, False, False), (True, False, False), (True, True, False), (True, True, True)},
        )

    def test_a_remote_error_is_sent_on(self):
        """Against a function that calls another one, and whose error loses its origin."""
        inner = self.serve(fails_deep_inside)
        error = self.raised(lambda: inner.call("missing", timeout=PATIENCE))
        self.assertEqual(error.type_name, "robot_ipc.RemoteError")
        self.assertIn("raised KeyError: 'missing'", error.message)
        self.assertIn("in fails_deep_inside", error.remote_traceback)
        self.assertIsInstance(error.__cause__, RemoteError)
        self.assertEqual(error.__cause__.type_name, "KeyError")
        copy = pickle.loads(pickle.dumps(error))
        self.assertEqual(str(copy), str(error))

    def test_every_exception_of_the_module_can_be_pickled(self):
        """Against an error that is lost between two processes."""
        for name in robot_ipc.__all__:
            kind = getattr(robot_ipc, name)
            if inspect.isclass(kind) and issubclass(kind, Exception):
                arguments = ("T", "m", "t", "f") if kind is RemoteError else ("text",)
                copy = pickle.loads(pickle.dumps(kind(*arguments)))
                self.assertEqual((type(copy), str(copy)), (kind, str(kind(*arguments))))

    def test_an_error_that_is_not_of_python(self):
        """Against bytes of another language that are unpickled, or not shown."""
        for data, encoding, expected in (
            (b"ValueError: wrong", 0, ("ValueError", "wrong", "")),
            (b"motor 3: too hot", 0, ("", "motor 3: too hot", "")),
            (b"std::io::Error", 0, ("", "std::io::Error", "")),
            (b"", 0, ("", "", "")),
            (b"\xff\xfe", 0, ("", "\ufffd\ufffd", "")),
            (b"ValueError: x\0no pickle", 2, ("ValueError", "x", "")),
            (b"ValueError: x\0" + pickle.dumps((1, 2)), 2, ("ValueError", "x", "")),
            (b"ValueError: x\0" + pickle.dumps(("T", "m", "t", b"no")), 2, ("T", "m", "t")),
            (b"ValueError: x\0" + pickle.dumps(("T", "m", "t", 5)), 2, ("T", "m", "t")),
        ):
            error = robot_ipc._remote_error("f", data, encoding)
            self.assertEqual((error.type_name, error.message, error.remote_traceback), expected)
            self.assertIsNone(error.__cause__)
            self.assertTrue(str(error).startswith("function 'f' raised "))


class Values(TestCase):
    def test_a_response_that_cannot_be_pickled(self):
        """Against a caller that hangs because of what the function returns."""
        for value, kind in ((threading.Lock(), "lock"), ((x for x in ()), "generator")):
            caller = self.serve(lambda value=value: value)
            error = self.assertRaisesWith(
                RemoteError,
                [caller.name, "returned an object of type", kind, "pickled"],
                lambda: caller.call(timeout=PATIENCE),
            )
            self.assertEqual(error.type_name, "TypeError")
            self.assertRaises(RemoteError, caller.call, timeout=PATIENCE)

    def test_a_response_that_is_too_large(self):
        """Against a response that is cut, or never comes."""
        caller = self.serve(lambda length: b"x" * length, max_sz_ret=100)
        size = len(pickle.dumps(b"x" * 101, 5))
        with self.assertLogs("robot_ipc", logging.ERROR) as logged:
            error = self.assertRaisesWith(
                robot_ipc.ResponseTooLarge,
                [caller.name, size, 100],
                lambda: caller.call(101, timeout=PATIENCE),
            )
            eventually(lambda: logged.output, "it is logged")
        self.assertIsInstance(error, ValueError)
        message = logged.records[0].getMessage()
        for part in (caller.name, str(size), "100"):
            self.assertIn(part, message)
        self.assertEqual(caller.call(5, timeout=PATIENCE), b"x" * 5)
        handle = caller(1 << 20)
        self.assertRaises(robot_ipc.ResponseTooLarge, caller.get_response, PATIENCE)
        self.assertRaises(robot_ipc.ResponseTooLarge, handle.result)

    def test_arguments_that_are_too_large(self):
        """Against arguments that are cut, or found too large only at the other end."""
        caller = self.caller(None, 100)
        size = len(pickle.dumps(((b"x" * 101,), {}), 5))
        for call in (caller, caller.call):
            error = self.assertRaisesWith(
                robot_ipc.TooLarge, [caller.name, size, 100, "nothing was sent"], call, b"x" * 101
            )
            self.assertIsInstance(error, ValueError)
        self.assertRaises(robot_ipc.TooLarge, caller, b"x" * (1 << 20))
        self.assertRaises(robot_ipc.NoCallOutstanding, caller.get_response)

    def test_arguments_that_cannot_be_unpickled(self):
        """Against a call that is lost because its class is missing at the other end."""
        ran = []
        caller = self.serve(ran.append)
        with self.assertLogs("robot_ipc", logging.ERROR) as logged:
            error = self.assertRaisesWith(
                RemoteError,
                ["robot_ipc.CannotUnpickle", caller.name, "arguments", "ValueError"],
                lambda: caller.call(ArgumentThatFails(), timeout=PATIENCE),
            )
            eventually(lambda: logged.output, "it is logged")
        self.assertIsInstance(error.__cause__, robot_ipc.CannotUnpickle)
        self.assertIn(caller.name, logged.records[0].getMessage())
        self.assertEqual(ran, [])

    def test_a_response_that_cannot_be_unpickled(self):
        """Against an answer of None where there was one."""
        caller = self.serve(ArgumentThatFails)
        handle = caller()
        for ask in (caller.get_response, handle.result, handle.result):
            error = self.assertRaisesWith(
                robot_ipc.CannotUnpickle, [caller.name, "response", "ValueError"], ask, PATIENCE
            )
            self.assertIsInstance(error.__cause__, ValueError)

    def test_bytes_that_are_no_arguments(self):
        """Against a dispatcher that trusts what it gets."""
        caller = self.serve(lambda: "ran")
        for value in (5, (), ((),), ((), {}, 1), (5, {}), ((), 5), "ab"):
            data = pickle.dumps(value, 5)
            call = robot_ipc.Call(caller)
            status = robot_ipc._call(
                caller._handle.pointer, data, len(data), 2, 0, ctypes.byref(call._number)
            )
            self.assertEqual(status, 0)
            self.assertRaisesWith(
                RemoteError, ["CannotUnpickle", "tuple and a dict"], call.result, PATIENCE
            )
        self.assertEqual(caller.call(timeout=PATIENCE), "ran")

    def test_arguments_that_do_not_fit_the_function(self):
        """Against a wrong call that ends the dispatcher."""
        caller = self.serve(lambda value: value)
        error = self.assertRaisesWith(
            RemoteError, ["TypeError", "argument"], lambda: caller.call(1, 2, timeout=PATIENCE)
        )
        self.assertIsInstance(error.__cause__, TypeError)


class Logging(TestCase):
    def test_what_a_function_raises_is_logged_where_it_ran(self):
        """Against an error that is seen only by whoever called."""
        caller = self.serve(fails_deep_inside)
        with self.assertLogs("robot_ipc", logging.ERROR) as logged:
            self.assertRaises(RemoteError, caller.call, "missing", timeout=PATIENCE)
            eventually(lambda: logged.output, "it is logged")
        self.assertIn(caller.name, logged.output[0])
        self.assertIn("in fails_deep_inside", logged.output[0])
        self.assertIn("KeyError: 'missing'", logged.output[0])

    def test_a_one_way_function_is_logged_too(self):
        """Against an error that nobody at all sees."""
        caller = self.serve(fails_deep_inside, max_sz_ret=0)
        with self.assertLogs("robot_ipc", logging.ERROR) as logged:
            caller("missing")
            eventually(lambda: logged.output, "it is logged")
        self.assertIn("KeyError", logged.output[0])

    def test_a_logger_that_raises(self):
        """Against a dispatcher that ends because of its log."""

        class Broken(logging.Handler):
            def emit(self, record):
                raise RuntimeError("broken")

        handler = Broken()
        logging.getLogger("robot_ipc").addHandler(handler)
        self.addCleanup(logging.getLogger("robot_ipc").removeHandler, handler)
        caller = self.serve(lambda value: 1 // value)
        for _ in range(3):
            self.assertRaises(RemoteError, caller.call, 0, timeout=PATIENCE)
        self.assertEqual(caller.call(1, timeout=PATIENCE), 1)


class Mismatch(TestCase):
    PARTS = (111, 222, 333, 444)

    def test_the_caller_comes_second(self):
        """Against a tunnel that stops working, as in the original."""
        caller = self.serve(lambda value: value, 111, 222)
        parts = self.PARTS + (caller.name, "robot-ipc rm " + caller.name)
        self.assertRaisesWith(
            robot_ipc.SizeMismatch, parts, HostFunctionCaller, caller.name, 333, 444
        )
        self.assertEqual(caller.call(1, timeout=PATIENCE), 1)

    def test_the_dispatcher_comes_second(self):
        """Against a dispatcher that takes the tunnel away from its callers."""
        caller = self.caller(None, 111, 222)
        dispatcher = self.dispatcher()
        parts = self.PARTS + (caller.name, "robot-ipc rm " + caller.name)
        self.assertRaisesWith(
            robot_ipc.SizeMismatch, parts, dispatcher.add, caller.name, print, 333, 444
        )
        self.assertIn("0 of 16", repr(dispatcher))
        dispatcher.add(caller.name, lambda value: value, 111, 222)
        dispatcher.start()
        self.assertEqual(caller.call(1, timeout=PATIENCE), 1)

    def test_in_another_process(self):
        """Against a check that only sees its own process."""
        name = new_name("function")
        server = self.server("dispatcher.add(name, lambda value: value, 111, 222)", name)
        self.assertRaisesWith(
            robot_ipc.SizeMismatch, self.PARTS, HostFunctionCaller, name, 333, 444
        )
        server.kill()
        server.wait()
        caller = self.caller(name, 333, 444)  # killed: nothing alive has it open
        self.assertEqual((caller.max_sz_args, caller.lost_calls), (333, 0))

    def test_editing_a_size_and_restarting_works(self):
        """Against a size that stays until somebody removes a file by hand; and against calls
        that are lost without a word."""
        name = new_name("function")
        with self.caller(name, 111, 0) as caller:
            for number in range(3):
                caller(number)
        with self.assertLogs("robot_ipc", logging.WARNING) as logged:
            caller = self.caller(name, 222, 0)
        self.assertEqual(caller.lost_calls, 3)
        self.assertIn(name, logged.output[0])
        self.assertIn("3 one-way calls", logged.output[0])
        caller(1)
        caller.close()
        dispatcher = self.dispatcher()
        with self.assertLogs("robot_ipc", logging.WARNING) as logged:
            dispatcher.add(name, print, 333, 444)
        self.assertEqual(dispatcher.lost_calls, 1)
        self.assertIn("1 one-way calls", logged.output[0])
        self.assertEqual(self.caller(name, 333, 444).lost_calls, 0)


class Options(TestCase):
    def test_options_that_make_no_sense(self):
        """Against a number that C cuts to one that does make sense."""
        dispatcher = self.dispatcher()
        both = {
            "max_sz_args": (0, -1, 2**30 + 1, 2**32, 2**32 + 64, 2**64 - 1),
            "max_sz_ret": (-1, 2**30 + 1, 2**32, 2**64 - 1),
            "cells": (0, 65, -1, 2**32 + 16),
            "mode": (0o400, 0o1600, -1, 2**32 + 0o600),
            "directory": ("relative", "/dev\0/shm"),
            "group": ("no such group", "a\0b"),
        }
        for option, values in dict(both, send_timeout=(-1, float("nan")), spin=(-1,)).items():
            for value in values:
                with self.subTest(option=option, value=value):
                    self.assertRaises(
                        robot_ipc.BadOption, HostFunctionCaller, new_name(), **{option: value}
                    )
        for option, values in dict(both, max_age=(-1, float("nan"))).items():
            for value in values:
                with self.subTest(option=option, value=value):
                    self.assertRaises(
                        robot_ipc.BadOption, dispatcher.add, new_name(), print, **{option: value}
                    )
        for option in ("max_sz_args", "max_sz_ret", "cells", "mode", "group", "max_arg_size"):
            self.assertRaises(TypeError, HostFunctionCaller, new_name(), **{option: 1.5})
            self.assertRaises(TypeError, dispatcher.add, new_name(), print, **{option: 1.5})
        for count in (0, -1, 513, 2**32 + 16):
            self.assertRaises(robot_ipc.BadOption, robot_ipc.HostFunctionDispatcher, count)
        self.assertRaises(TypeError, robot_ipc.HostFunctionDispatcher, 1.5)

    def test_names_that_break_the_rules(self):
        """Against a name that C cuts at its NUL, or that leaves the folder."""
        dispatcher = self.dispatcher()
        for name in ("", "a/b", ".a", "a\0b", "\ud800", "x" * 201):
            self.assertRaises(robot_ipc.BadName, HostFunctionCaller, name)
            self.assertRaises(robot_ipc.BadName, dispatcher.add, name, print)
        for name in (None, b"bytes", 1, print):
            self.assertRaises(TypeError, HostFunctionCaller, name)
            self.assertRaises(TypeError, dispatcher.add, name, print)

    def test_places(self):
        """Against a function that is found where it should not be, or not where it should."""
        name = new_name("function")
        dispatcher = self.dispatcher()
        dispatcher.add(name, lambda: "here")
        dispatcher.add(name, lambda: "there", namespace="there-{}".format(os.getpid()))
        dispatcher.start()
        there = self.caller(name, namespace="there-{}".format(os.getpid()))
        self.assertEqual(there.call(timeout=PATIENCE), "there")
        self.assertEqual(self.caller(name).call(timeout=PATIENCE), "here")
        there.unlink()

    def test_who_may_use_it(self):
        """Against a function that anybody may call, and so run code in its process."""
        name = new_name("function")
        self.dispatcher().add(name, print)
        self.assertEqual(os.stat(file_of(name, "function")).st_mode & 0o777, 0o600)
        name = new_name("function")
        self.dispatcher().add(name, print, mode=0o660, group=os.getgid())
        self.assertEqual(os.stat(file_of(name, "function")).st_mode & 0o777, 0o660)
        if os.getgid() == 0:
            self.assertRaises(robot_ipc.ForeignOwner, HostFunctionCaller, name)
        self.caller(name, mode=0o660, group=os.getgid())

    def test_a_function_that_was_never_made(self):
        """Against an object whose end is an error because its beginning was one."""
        run("""import gc, robot_ipc
for make in (lambda: robot_ipc.HostFunctionCaller("a/b"),
             lambda: robot_ipc.HostFunctionDispatcher("x"),
             lambda: robot_ipc.HostFunctionDispatcher(0),
             lambda: robot_ipc.HostFunctionDispatcher.__new__(robot_ipc.HostFunctionDispatcher)):
    try: make()
    except (TypeError, ValueError): pass
gc.collect()""")


class Timeouts(TestCase):
    def test_the_text_says_who_serves(self):
        """Against a timeout of which nobody knows whether to start a dispatcher, or to wait."""
        caller = self.caller()
        handle = caller(1)
        self.assertRaisesWith(
            robot_ipc.TimedOut, [caller.name, "0.03 s", "nobody serves"], handle.result, 0.03
        )
        self.assertRaisesWith(
            robot_ipc.TimedOut, [caller.name, "0.02 s", "nobody serves"], caller.get_response, 0.02
        )
        gate = threading.Event()
        self.addCleanup(gate.set)
        dispatcher = self.dispatcher()
        dispatcher.add(caller.name, lambda value: gate.wait(PATIENCE) and value)
        dispatcher.start()
        queued = caller(2)
        eventually(lambda: "running" in self.text_of(handle), "the first call runs")
        self.assertIn("process {}".format(os.getpid()), self.text_of(handle))
        self.assertIn("not started yet", self.text_of(queued))
        self.assertIn("process {}".format(os.getpid()), self.text_of(queued))
        error = self.assertRaisesWith(
            robot_ipc.TimedOut, ["0.01 s", "not started"], lambda: caller.call(3, timeout=0.01)
        )
        self.assertIsNone(error.__cause__)
        gate.set()
        self.assertEqual(queued.result(PATIENCE), 2)

    def text_of(self, handle):
        with self.assertRaises(robot_ipc.TimedOut) as caught:
            handle.result(0.01)
        return str(caught.exception)

    def test_limits_that_make_no_sense(self):
        """Against a wait without end because of a minus sign."""
        caller = self.caller()
        handle = caller(1)
        for timeout in (-1, float("nan")):
            for ask in (handle.result, caller.get_response):
                self.assertRaises(robot_ipc.BadOption, ask, timeout)
            self.assertRaises(robot_ipc.BadOption, caller.call, 1, timeout=timeout)
            self.assertRaises(robot_ipc.BadOption, self.dispatcher().run, timeout)
        self.assertRaises(robot_ipc.TimedOut, handle.result, 0)

    def test_time_is_kept(self):
        """Against slices that add up to something else."""
        caller = self.caller()
        begin = time.monotonic()
        self.assertRaises(robot_ipc.TimedOut, caller.call, 1, timeout=0.3)
        self.assertGreaterEqual(time.monotonic() - begin, 0.3)
        self.assertLess(time.monotonic() - begin, 5)


if __name__ == "__main__":
    unittest.main()
