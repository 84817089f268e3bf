"""What the module offers, and that it is all documented; the examples."""

import builtins
import ctypes
import inspect
import os
import re
import signal
import subprocess
import sys
import typing
import unittest

from support import (  # noqa: F401
    FOLDER,
    PATIENCE,
    TestCase,
    environment,
    setUpModule,
    tearDownModule,
)
import robot_ipc
from robot_ipc import (
    Call,
    ExclusiveWriter,
    HostFunctionCaller,
    HostFunctionDispatcher,
    HostVariable,
)

NAMES = """
BadName BadOption BeingRemoved Busy Call CallTooOld Cancelled CannotUnpickle Closed Contended
Corrupt DispatcherDied Exclusive ExclusiveWriter ForeignOwner Forked HostFunctionCaller
HostFunctionDispatcher HostVariable
InternalError LibraryNotFound NameRemoved NeverWritten NoAge NoCallOutstanding NoFreeSlot NoSpace
NotASegment NotFound NotServed OtherFormat PermissionDenied ReadOnly RemoteError ResponseTooLarge
Retired RobotIpcError Sample SizeMismatch Stopped SystemFailure TimedOut TooLarge TooManyFunctions
TooManyParticipants TooOld Truncated TunnelFull UnfetchedResponses VersionMismatch WouldDeadlock
WrongEncoding build_id survive_truncation
"""
MEMBERS = {
    HostVariable: """age close data exclusive_writer max_size name read read_only sample slots timestamp unlink
        update version wait write""",
    ExclusiveWriter: "close data write",
    HostFunctionCaller: """call cells close get_response lost_calls max_sz_args max_sz_ret name
        unlink""",
    Call: "cancel done result",
    HostFunctionDispatcher: """add attach close lost_calls max_func_count remove run start stop""",
}
NO_ERRORS = """
HostVariable Sample ExclusiveWriter HostFunctionCaller Call HostFunctionDispatcher build_id
survive_truncation RobotIpcError
"""


class Interface(TestCase):
    def test_the_names_are_pinned(self):
        """Against a name that disappears, or appears by accident."""
        self.assertEqual(robot_ipc.__all__, NAMES.split())
        own = {
            name
            for name, value in vars(robot_ipc).items()
            if not name.startswith("_") and getattr(value, "__module__", "") == "robot_ipc"
        }
        self.assertEqual(own - {"T"}, set(NAMES.split()))
        for kind, names in MEMBERS.items():
            members = [name for name in dir(kind) if not name.startswith("_")]
            self.assertEqual(members, names.split())

    def test_the_signatures(self):
        """Against an option that loses its default, or can be given by position."""
        # Not of the class: in Python 3.8 that is the signature of typing.Generic.
        for function, expected in (
            (
                HostVariable.__init__,
                "name, max_size=4096, *, slots=14, mode=0o600, group=None, read_only=False, "
                "data_format=None, directory=None, namespace=None, write_timeout=1.0",
            ),
            (
                HostFunctionCaller.__init__,
                "name, max_sz_args=4096, max_sz_ret=4096, *, cells=None, mode=0o600, group=None, "
                "directory=None, namespace=None, send_timeout=1.0, spin=None, arg_format=None, "
                "ret_format=None, max_arg_size=None, max_ret_size=None",
            ),
            (HostVariable.exclusive_writer, "timestamps=True"),
            (HostFunctionCaller.get_response, "timeout=None"),
            (Call.result, "timeout=None"),
            (
                HostFunctionDispatcher.__init__,
                "max_func_count=16, *, spin=None, one_word_sleep=False",
            ),
            (
                HostFunctionDispatcher.add,
                "name, foo=<none>, max_sz_args=4096, max_sz_ret=4096, *, max_age=None, cells=None, "
                "mode=0o600, group=None, directory=None, namespace=None, arg_format=None, "
                "ret_format=None, max_arg_size=None, max_ret_size=None",
            ),
            (HostFunctionDispatcher.run, "timeout=None"),
        ):
            parts = []
            for parameter in list(inspect.signature(function).parameters.values())[1:]:
                if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts:
                    parts.append("*")
                default = parameter.default
                default = "" if default is parameter.empty else "={!r}".format(default)
                parts.append(parameter.name + default)
            self.assertEqual(", ".join(parts), expected)
        self.assertEqual(HostFunctionDispatcher.attach, HostFunctionDispatcher.add)

    def test_everything_is_documented_and_annotated(self):
        """Against help() that does not help."""
        documented = [getattr(robot_ipc, name) for name in robot_ipc.__all__]
        for kind, names in MEMBERS.items():
            documented += [getattr(kind, name) for name in names.split()]
        for item in documented:
            self.assertTrue(inspect.getdoc(item), item)
        for name, member in [item for kind in MEMBERS for item in vars(kind).items()]:
            functions = [member] if inspect.isfunction(member) else []
            if isinstance(member, property):
                functions = [part for part in (member.fget, member.fset) if part]
            for function in functions:
                signature = inspect.signature(function)
                self.assertIsNot(signature.return_annotation, signature.empty, name)
                for parameter in list(signature.parameters.values())[1:]:
                    self.assertIsNot(parameter.annotation, parameter.empty, name)
        self.assertTrue(os.path.exists(os.path.join(FOLDER, "py.typed")))

    def test_the_index_is_complete(self):
        """Against an index that forgets something, or names what is not there."""
        for name in robot_ipc.__all__:
            self.assertRegex(robot_ipc.__doc__, r"\b{}\b".format(name))
        for name in " ".join(MEMBERS.values()).split():
            self.assertRegex(robot_ipc.__doc__, r"[. `]{}\b".format(name))
        tree = re.findall(r"[├└]── (\w+)(?: \((\w+)\))?", robot_ipc.__doc__)
        errors = [name for name in robot_ipc.__all__ if name not in NO_ERRORS.split()]
        self.assertEqual(sorted(name for name, _ in tree), errors)
        for name, base in tree:
            expected = [robot_ipc.RobotIpcError]
            if base:
                expected.append(getattr(builtins, base))
            self.assertEqual(list(getattr(robot_ipc, name).__bases__), expected)

    def test_every_status_of_the_library_has_its_exception(self):
        """Against a number that stands for another status than the one meant here."""
        name_of = robot_ipc._library.ripc_status_name
        name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.c_int32]
        others = {
            "NoAge": "NO_AGE",
            "NotASegment": "NOT_A_SEGMENT",
            "SystemFailure": "SYSTEM",
            "NoCallOutstanding": "NO_CALL",
            "UnfetchedResponses": "UNFETCHED",
        }
        for status, error in robot_ipc._ERRORS.items():
            name = others.get(
                error.__name__, re.sub("(?<!^)([A-Z])", r"_\1", error.__name__).upper()
            )
            self.assertEqual(robot_ipc._text(name_of(status)), "RIPC_" + name)
        for name in ("NEVER_WRITTEN", "TIMED_OUT", "INTERRUPTED", "CHANGED", "BUFFER_TOO_SMALL",
                     "NO_FREE_SLOT", "CONTENDED", "BEING_REMOVED", "NO_AGE", "OK", "CORRUPT",
                     "RETIRED", "NAME_REMOVED", "BAD_ARGUMENT", "RESPONSE_TOO_LARGE", "RAISED",
                     "DISPATCHER_DIED", "NOT_SERVED", "CALL_TOO_OLD", "REPORTED", "CANCELLED",
                     "TUNNEL_FULL", "STOPPED", "BUSY", "FORKED", "TRUNCATED",
                     "EXCLUSIVE"):
            status = getattr(robot_ipc, "_" + name)
            self.assertEqual(robot_ipc._text(name_of(status)), "RIPC_" + name)

    def test_the_structs_are_as_large_as_the_librarys(self):
        """Against a field that is missing here, or has another size."""
        for kind, init in (
            (robot_ipc._Options, robot_ipc._options_init),
            (robot_ipc._FunctionOptions, robot_ipc._function_options_init),
            (robot_ipc._DispatcherOptions, robot_ipc._dispatcher_options_init),
        ):
            options = kind()
            init(ctypes.byref(options))
            self.assertEqual(options.struct_size, ctypes.sizeof(kind))
        self.assertEqual(ctypes.sizeof(robot_ipc._FunctionInfo), 24)
        self.assertEqual(ctypes.sizeof(robot_ipc._Response), 24)
        self.assertEqual(ctypes.sizeof(robot_ipc._TakenCall), 40)

    def test_it_can_be_annotated(self):
        """Against an annotation that fails when the program runs."""
        kind = HostVariable[typing.Dict[str, float]]
        variable = kind(self.open().name)
        self.assertIsInstance(variable, HostVariable)
        variable.close()
        caller = HostFunctionCaller[typing.Dict[str, float]](self.caller().name)
        self.assertIsInstance(caller, HostFunctionCaller)
        caller.close()

    def test_a_misspelt_attribute_is_an_error(self):
        """Against `variable.dta = 1`, which would reach nobody."""
        variable = self.open()
        with self.assertRaises(AttributeError):
            variable.dta = 1
        for name in ("name", "version", "max_size"):
            with self.assertRaises(AttributeError):
                setattr(variable, name, 1)

    def test_a_context_manager_closes_and_removes_nothing(self):
        """Against a `with` that takes the value away, or keeps the handle."""
        with self.open() as variable:
            variable.data = 1
        self.assertRaises(robot_ipc.Closed, lambda: variable.data)
        self.assertEqual(self.open(variable.name).data, 1)
        with self.assertRaises(ZeroDivisionError), self.open():
            1 // 0

    def test_repr_says_what_it_is(self):
        """Against an address in a log."""
        variable = self.open(max_size=99, slots=3)
        variable.data = 1
        expected = "<HostVariable {!r}: max_size 99, slots 3, version 1>".format(variable.name)
        self.assertEqual(repr(variable), expected)


class Examples(TestCase):
    def example(self, name, *arguments):
        arguments = [str(argument) for argument in arguments]
        process = subprocess.Popen(
            [sys.executable, os.path.join(FOLDER, "examples", name)] + arguments,
            env=environment(PYTHONPATH=None),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def test_the_pose_examples(self):
        """Against examples that do not run."""
        writer = self.example("pose_writer.py", 60)
        reader = self.example("pose_reader.py", 5)
        output, errors = reader.communicate(timeout=PATIENCE)
        self.assertEqual((reader.returncode, errors), (0, ""))
        self.assertEqual(len(output.splitlines()), 5)
        self.assertRegex(output, r"x=[+-]\d\.\d{3} y=[+-]\d\.\d{3}  version \d+, missed \d+\n")
        writer.kill()
        output, errors = self.example("pose_writer.py", 0.1).communicate(timeout=PATIENCE)
        self.assertRegex(output, r"^wrote \d+ poses\n$")
        self.assertEqual(errors, "")

    def test_the_calculator_examples(self):
        """Against examples that do not run, and a dispatcher that Ctrl-C does not end."""
        server = self.example("calculator_dispatcher.py")
        self.assertEqual(server.stdout.readline(), "serving divide and say\n")
        output, errors = self.example("calculator_caller.py", 1, 4).communicate(timeout=PATIENCE)
        self.assertEqual((output, errors), ("1.0 / 4.0 = 0.25\n", ""))
        output, errors = self.example("calculator_caller.py", 1, 0).communicate(timeout=PATIENCE)
        self.assertEqual((output, errors), ("ZeroDivisionError: float division by zero\n", ""))
        server.send_signal(signal.SIGINT)
        output, errors = server.communicate(timeout=PATIENCE)
        self.assertEqual(server.returncode, 0)
        self.assertEqual(output, "calculated: 1.0 / 4.0\n")
        self.assertIn("ZeroDivisionError", errors)


if __name__ == "__main__":
    unittest.main()
