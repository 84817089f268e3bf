"""What the module offers, and that it is all documented; the examples."""

import builtins
import ctypes
import inspect
import os
import re
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
from robot_ipc import HostVariable

NAMES = """
BadName BadOption BeingRemoved CannotUnpickle Closed Contended Corrupt ForeignOwner HostVariable
InternalError LibraryNotFound NameRemoved NeverWritten NoAge NoFreeSlot NoSpace NotASegment
NotFound OtherFormat PermissionDenied ReadOnly Retired RobotIpcError Sample SizeMismatch
SystemFailure TimedOut TooLarge TooManyParticipants TooOld VersionMismatch WrongEncoding build_id
"""
MEMBERS = """
age close data max_size name read read_only sample slots timestamp unlink update version wait write
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
        members = [name for name in dir(HostVariable) if not name.startswith("_")]
        self.assertEqual(members, MEMBERS.split())

    def test_the_signature(self):
        """Against an option that loses its default, or can be given by position."""
        expected = (
            "name, max_size=4096, *, slots=14, mode=0o600, group=None, read_only=False, "
            "data_format=None, directory=None, namespace=None, write_timeout=1.0"
        )
        parts = []
        # Not of the class: in Python 3.8 that is the signature of typing.Generic.
        for parameter in list(inspect.signature(HostVariable.__init__).parameters.values())[1:]:
            if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts:
                parts.append("*")
            default = "" if parameter.default is parameter.empty else "=%r" % (parameter.default,)
            parts.append(parameter.name + default)
        self.assertEqual(", ".join(parts), expected)

    def test_everything_is_documented_and_annotated(self):
        """Against help() that does not help."""
        documented = [getattr(robot_ipc, name) for name in robot_ipc.__all__]
        documented += [getattr(HostVariable, name) for name in MEMBERS.split()]
        for item in documented:
            self.assertTrue(inspect.getdoc(item), item)
        for name, member in vars(HostVariable).items():
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
        for name in MEMBERS.split():
            self.assertIn("." + name, robot_ipc.__doc__)
        tree = re.findall(r"[├└]── (\w+)(?: \((\w+)\))?", robot_ipc.__doc__)
        errors = [name for name in robot_ipc.__all__ if name not in (
            "HostVariable", "Sample", "build_id", "RobotIpcError")]
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
        others = {"NoAge": "NO_AGE", "NotASegment": "NOT_A_SEGMENT", "SystemFailure": "SYSTEM"}
        for status, error in robot_ipc._ERRORS.items():
            name = others.get(
                error.__name__, re.sub("(?<!^)([A-Z])", r"_\1", error.__name__).upper()
            )
            self.assertEqual(robot_ipc._text(name_of(status)), "RIPC_" + name)
        for name in ("NEVER_WRITTEN", "TIMED_OUT", "INTERRUPTED", "CHANGED", "BUFFER_TOO_SMALL",
                     "NO_FREE_SLOT", "CONTENDED", "BEING_REMOVED", "NO_AGE", "OK"):
            status = getattr(robot_ipc, "_" + name)
            self.assertEqual(robot_ipc._text(name_of(status)), "RIPC_" + name)

    def test_it_can_be_annotated(self):
        """Against an annotation that fails when the program runs."""
        kind = HostVariable[typing.Dict[str, float]]
        variable = kind(self.open().name)
        self.assertIsInstance(variable, HostVariable)
        variable.close()

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
    def example(self, name, argument):
        process = subprocess.Popen(
            [sys.executable, os.path.join(FOLDER, "examples", name), str(argument)],
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


if __name__ == "__main__":
    unittest.main()
