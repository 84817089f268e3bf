"""Each exception: when it is raised, and that the values are in its text."""

import ctypes
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from support import (  # noqa: F401
    TestCase,
    environment,
    eventually,
    file_of,
    new_name,
    run,
    setUpModule,
    tearDownModule,
)
import robot_ipc
from robot_ipc import HostVariable


class FailsToUnpickle:
    def __reduce__(self):
        return int, ("not a number",)


class Opening(TestCase):
    def test_another_size_names_both_and_the_way_out(self):
        """Against a user who learns only that it does not work."""
        variable = self.open(max_size=64)
        parts = [variable.name, 64, 128, "robot-ipc rm " + variable.name]
        self.assertRaisesWith(
            robot_ipc.SizeMismatch, parts, HostVariable, variable.name, max_size=128
        )

    def test_another_number_of_slots_names_both(self):
        """Against an explicit number that is ignored because it is also the default."""
        variable = self.open(slots=5)
        for slots in (4, 14):
            parts = [variable.name, "5 slots", slots, "robot-ipc rm"]
            self.assertRaisesWith(
                robot_ipc.SizeMismatch, parts, HostVariable, variable.name, slots=slots
            )
        self.assertEqual(self.open(variable.name).slots, 5)
        self.assertEqual(self.open(variable.name, slots=None).slots, 5)

    def test_names_that_break_the_rules(self):
        """Against a name that C cuts at its NUL, or that leaves the folder."""
        for name, part in (
            ("", "empty"),
            ("a/b", "'/'"),
            ("../a", "dot"),
            (".a", "dot"),
            ("a\0b", "NUL"),
            ("\0", "NUL"),
            ("\ud800", "UTF-8"),
            ("x" * 201, "201"),
        ):
            error = self.assertRaisesWith(robot_ipc.BadName, [part], HostVariable, name)
            self.assertIsInstance(error, ValueError)
            self.assertRaisesWith(
                robot_ipc.BadName, ["namespace"], HostVariable, "a", namespace=name[:40]
            )

    def test_names_that_are_no_text(self):
        """Against bytes or None that become a name by accident."""
        for name in (None, b"bytes", 1, ["list"]):
            self.assertRaisesWith(TypeError, ["str"], HostVariable, name)
        self.assertRaises(TypeError, HostVariable)
        self.assertRaisesWith(TypeError, ["str"], HostVariable, "a", namespace=b"bytes")

    def test_options_that_make_no_sense(self):
        """Against a number that C cuts to one that does make sense."""
        for option, values in {
            "max_size": (0, -1, 2**30 + 1, 2**32, 2**32 + 64, 2**64 - 1, 2**64 + 64),
            "slots": (0, 1, 63, -1, 2**32 + 14),
            "mode": (0o400, 0o1600, 0o700, -1, 2**32 + 0o600),
            "write_timeout": (-1, float("nan")),
            "directory": ("relative", "/dev\0/shm"),
            "group": ("no such group", "a\0b"),
        }.items():
            for value in values:
                with self.subTest(option=option, value=value):
                    error = self.assertRaisesWith(
                        robot_ipc.BadOption, [option], HostVariable, new_name(), **{option: value}
                    )
                    self.assertIsInstance(error, ValueError)
        for option in ("max_size", "slots", "mode", "group", "write_timeout"):
            with self.subTest(option=option), self.assertRaises(TypeError):
                HostVariable(new_name(), **{option: 1.5 if option != "write_timeout" else "1"})

    def test_nothing_to_adopt_or_to_read(self):
        """Against a reader that creates what nobody writes."""
        for options in ({"max_size": None}, {"read_only": True}):
            name = new_name()
            error = self.assertRaisesWith(robot_ipc.NotFound, [name], HostVariable, name, **options)
            self.assertIsInstance(error, FileNotFoundError)
            self.assertFalse(os.path.exists(file_of(name)))

    @unittest.skipUnless(os.geteuid() == 0, "needs root: gives a file to another user")
    def test_a_variable_of_another_user(self):
        """Against unpickling what another user wrote."""
        variable = self.open()
        variable.data = 1
        os.chown(file_of(variable.name), 12345, 0)
        parts = [variable.name, "owner 12345", "0600", file_of(variable.name)]
        error = self.assertRaisesWith(
            robot_ipc.ForeignOwner, parts, HostVariable, variable.name
        )
        self.assertIsInstance(error, PermissionError)
        code = """import sys, robot_ipc
try: robot_ipc.HostVariable(sys.argv[1])
except robot_ipc.ForeignOwner as error: print(error)"""
        self.assertIn("owner 12345", run(code, variable.name))

    def test_a_variable_that_others_may_write(self):
        """Against a file that was opened to everybody behind our back."""
        variable = self.open()
        os.chmod(file_of(variable.name), 0o666)
        self.assertRaisesWith(
            robot_ipc.ForeignOwner, [variable.name, "0666"], HostVariable, variable.name
        )
        self.open(variable.name, mode=0o666)

    def test_what_is_no_variable(self):
        """Against a crash or a hang on a file that is something else."""
        for make in (
            lambda path: os.mkdir(path),
            lambda path: os.symlink("/dev/zero", path),
            lambda path: os.mkfifo(path, 0o600),
            lambda path: open(path, "wb").close() or os.chmod(path, 0o600),
        ):
            name = new_name()
            make(file_of(name))
            self.addCleanup(
                os.rmdir if os.path.isdir(file_of(name)) else os.unlink, file_of(name)
            )
            self.assertRaisesWith(
                robot_ipc.NotASegment, [name, file_of(name)], HostVariable, name
            )

    def test_another_version_of_the_format(self):
        """Against a variable of another release, or of another machine, that is misread."""
        variable = self.open()
        # Offsets of format_version and byte_order; see core/src/header.rs.
        for offset in (8, 12):
            name = new_name()
            shutil.copy(file_of(variable.name), file_of(name))
            os.chmod(file_of(name), 0o600)
            self.open(name)  # a plain copy is fine
            with open(file_of(name), "r+b") as file:
                file.seek(offset)
                word = file.read(4)
                file.seek(offset)
                file.write(bytes(reversed(word)))
            parts = [name, "robot-ipc rm --force " + name]
            self.assertRaisesWith(robot_ipc.OtherFormat, parts, HostVariable, name)

    def test_a_full_folder_says_what_is_needed_and_what_is_free(self):
        """Against SIGBUS at some later write."""
        code = """import os, sys, robot_ipc
os.environ["ROBOT_IPC_DIR"] = sys.argv[1]
small = robot_ipc.HostVariable("small", 64, slots=2)
small.data = 1
try: robot_ipc.HostVariable("large", 1 << 20)
except robot_ipc.NoSpace as error: print(error, isinstance(error, OSError))
small.data = 2
print(small.data, sorted(os.listdir(sys.argv[1])))
"""
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        mount = 'mount -t tmpfs -o size=128k none "$1" && exec "$2" -c "$3" "$1"'
        command = ["unshare", "-m", "sh", "-c", mount, "sh", folder, sys.executable, code]
        try:
            done = subprocess.run(
                command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                universal_newlines=True, timeout=30,
            )
        except FileNotFoundError:
            self.skipTest("a full file system: there is no `unshare`")
        if "mount:" in done.stderr or "unshare:" in done.stderr:
            self.skipTest("a full file system: may not mount one: " + done.stderr.strip())
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        self.assertRegex(done.stdout, r"'large'.*needs \d{7,} bytes and \d+ are free.* True\n")
        self.assertRegex(done.stdout, r"\n2 \['robot-ipc\..*\.variable\.small'\]\n$")


class Reading(TestCase):
    def test_before_the_first_write(self):
        """Against a made-up value, or an error that cannot be told from others."""
        variable = self.open()
        for read in (
            lambda: variable.data,
            variable.read,
            variable.sample,
            lambda: variable.age,
            lambda: variable.timestamp,
            lambda: variable.update(lambda value: value),
            lambda: variable.read(max_age=1),
        ):
            self.assertRaisesWith(robot_ipc.NeverWritten, [variable.name], read)
        self.assertEqual(variable.read(default="nothing"), "nothing")
        self.assertIsNone(variable.read(None))
        self.assertEqual(variable.version, 0)

    def test_too_old_says_how_old_and_is_not_the_default(self):
        """Against a robot that follows a setpoint of a process that is long dead."""
        variable = self.open()
        variable.data = 1
        time.sleep(0.03)
        parts = [variable.name, "20ms is the limit"]
        self.assertRaisesWith(robot_ipc.TooOld, parts, variable.read, max_age=0.02)
        self.assertRaisesWith(robot_ipc.TooOld, parts, variable.read, 5, max_age=0.02)
        for fine in (60, float("inf"), 1e300, None):
            self.assertEqual(variable.read(max_age=fine), 1)
        for bad in (-1, float("nan")):
            self.assertRaisesWith(robot_ipc.BadOption, ["max_age", bad], variable.read, max_age=bad)

    def test_a_value_that_python_did_not_pickle(self):
        """Against unpickling the bytes of a C struct."""

        class Pair(ctypes.Structure):
            _fields_ = [("a", ctypes.c_int32), ("b", ctypes.c_int32)]

        raw = self.open(max_size=64, data_format=Pair)
        pickled = self.open(raw.name, max_size=64)
        raw.data = Pair(1, 2)
        parts = [raw.name, "encoded as raw", "pickle is what", "data_format"]
        for read in (lambda: pickled.data, pickled.sample, lambda: pickled.read(0)):
            self.assertRaisesWith(robot_ipc.WrongEncoding, parts, read)
        pickled.data = "text"
        parts = [raw.name, "encoded as pickle", "raw is what", "without data_format"]
        self.assertRaisesWith(robot_ipc.WrongEncoding, parts, lambda: raw.data)

    def write_bytes(self, variable, data, encoding):
        """As a process in another language would."""
        library = robot_ipc._library
        status = library.ripc_variable_write(
            variable._handle.pointer, data, len(data), encoding, -1, None
        )
        self.assertEqual(status, 0)

    def test_other_encodings_by_name_and_number(self):
        """Against a text that hides what was found."""
        variable = self.open()
        for encoding, name in ((3, "postcard"), (1234, "number 1234")):
            self.write_bytes(variable, b"bytes", encoding)
            self.assertRaisesWith(robot_ipc.WrongEncoding, [name], lambda: variable.data)

    def test_a_value_without_an_encoding_is_tried(self):
        """Against refusing the values of C programs that do not name one."""
        variable = self.open()
        self.write_bytes(variable, pickle.dumps([1, 2]), 0)
        self.assertEqual(variable.data, [1, 2])

    def test_a_value_that_cannot_be_unpickled(self):
        """Against a bare error of some constructor, or of pickle, far from its cause."""
        variable = self.open()
        variable.data = FailsToUnpickle()
        parts = [variable.name, "version 1", "ValueError", "not a number"]
        error = self.assertRaisesWith(robot_ipc.CannotUnpickle, parts, lambda: variable.data)
        self.assertIsInstance(error.__cause__, ValueError)
        code = """import sys, robot_ipc
class OnlyHere: pass
robot_ipc.HostVariable(sys.argv[1]).data = OnlyHere()"""
        run(code, variable.name)
        parts = [variable.name, "version 2", "OnlyHere"]
        self.assertRaisesWith(robot_ipc.CannotUnpickle, parts, lambda: variable.data)
        for rubbish in (b"", b"rubbish", pickle.dumps("x" * 50)[:-9], b"\x80\x05\x8e" + b"\xff" * 8):
            self.write_bytes(variable, rubbish, 2)
            self.assertRaisesWith(robot_ipc.CannotUnpickle, ["bytes"], lambda: variable.data)
        variable.data = "whole again"
        self.assertEqual(variable.data, "whole again")

    def test_a_short_value_is_not_completed_by_the_one_before(self):
        """Against a reused buffer whose old bytes take part."""
        variable = self.open()
        variable.data = ["a", "b", "c"]
        self.assertEqual(variable.data, ["a", "b", "c"])
        self.write_bytes(variable, pickle.dumps(["a", "b", "c"], 5)[:-4], 2)
        self.assertRaises(robot_ipc.CannotUnpickle, lambda: variable.data)


class Writing(TestCase):
    def test_what_cannot_be_pickled_leaves_the_value_before(self):
        """Against half a value, or none, behind an error."""
        variable = self.open()
        variable.data = "before"
        for value in (lambda: None, open(os.devnull), (x for x in "abc"), sys):
            self.addCleanup(getattr(value, "close", lambda: None))
            for write in (variable.write, lambda value: variable.update(lambda _: value)):
                with self.assertRaises((TypeError, AttributeError, pickle.PicklingError)):
                    write(value)
            with self.assertRaises((TypeError, AttributeError, pickle.PicklingError)):
                variable.data = value
        self.assertEqual((variable.data, variable.version), ("before", 1))

    def test_too_large_names_both_sizes(self):
        """Against a user who has to guess the size that would do."""
        variable = self.open(max_size=64)
        variable.data = "before"
        size = len(pickle.dumps("x" * 100, 5))
        for write in (variable.write, lambda value: variable.update(lambda _: value)):
            error = self.assertRaisesWith(
                robot_ipc.TooLarge, [variable.name, size, 64], write, "x" * 100
            )
        self.assertIsInstance(error, ValueError)
        self.assertEqual((variable.data, variable.version), ("before", 1))

    def test_a_read_only_handle_does_nothing_but_read(self):
        """Against a monitor that disturbs what it looks at."""
        variable = self.open()
        variable.data = 1
        reader = self.open(variable.name, read_only=True)
        self.assertTrue(reader.read_only)
        self.assertFalse(variable.read_only)
        self.assertEqual((reader.data, reader.version, reader.sample().value), (1, 1, 1))
        for change in (
            lambda: reader.write(2),
            lambda: setattr(reader, "data", 2),
            lambda: reader.update(lambda value: 2),
            reader.unlink,
        ):
            self.assertRaisesWith(robot_ipc.ReadOnly, [variable.name, "read-only"], change)
        self.assertEqual(variable.data, 1)

    def test_no_free_slot_names_who_holds_them(self):
        """Against a write that hangs, or is dropped without a word."""
        variable = self.open(max_size=1 << 24, slots=2, write_timeout=0.2)
        variable.data = 1
        writer = self.start(FLAT_OUT_WRITER, variable.name)
        self.assertEqual(writer.stdout.readline(), "ready\n")

        def write_beside_the_stopped_one():
            os.kill(writer.pid, signal.SIGSTOP)
            begin = time.monotonic()
            try:
                variable.write(2)
            except robot_ipc.NoFreeSlot as error:
                self.assertGreaterEqual(time.monotonic() - begin, 0.2)
                return str(error)
            os.kill(writer.pid, signal.SIGCONT)  # it was between two writes
            time.sleep(0.001)
            return ""

        texts = []
        eventually(lambda: texts.append(write_beside_the_stopped_one()) or texts[-1], "no slot")
        self.assertIn("none of its 2 slots is free", texts[-1])
        self.assertIn("process {} holds 1".format(writer.pid), texts[-1])
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        variable.data = 3  # what the dead held is taken back
        self.assertEqual(variable.data, 3)


# Is nearly always in the middle of a write.
FLAT_OUT_WRITER = """
import ctypes, sys, robot_ipc
class Large(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint8 * (1 << 24))]
variable = robot_ipc.HostVariable(sys.argv[1], data_format=Large)
value = Large()
print("ready", flush=True)
while True:
    try: variable.data = value
    except robot_ipc.NoFreeSlot: pass
"""


class TheEnd(TestCase):
    def test_a_closed_handle_says_so(self):
        """Against a null pointer in the library."""
        variable = self.open()
        variable.data = 1
        variable.close()
        variable.close()
        for use in (
            lambda: variable.data,
            lambda: setattr(variable, "data", 1),
            lambda: variable.write(1),
            lambda: variable.update(lambda value: value),
            lambda: variable.wait(0),
            variable.read,
            variable.sample,
            variable.unlink,
            variable.__enter__,
            lambda: pickle.dumps(variable),
            lambda: variable.version,
            lambda: variable.age,
            lambda: variable.timestamp,
            lambda: variable.max_size,
            lambda: variable.slots,
            lambda: variable.read_only,
        ):
            error = self.assertRaisesWith(robot_ipc.Closed, [variable.name, "closed"], use)
            self.assertIsInstance(error, ValueError)
        self.assertIn("closed", repr(variable))
        self.assertEqual(self.open(variable.name).data, 1)

    def test_a_removed_variable_says_so_and_can_be_made_anew(self):
        """Against writes into memory that nobody can find any more."""
        variable = self.open(max_size=64)
        other = self.open(variable.name, max_size=64)
        reader = self.open(variable.name, max_size=64, read_only=True)
        variable.data = 1
        variable.unlink()
        self.assertFalse(os.path.exists(file_of(variable.name)))
        for handle in (variable, other, reader):
            for use in (
                lambda: handle.data,
                lambda: handle.read(default=None),
                lambda: handle.sample(),
                lambda: handle.version,
                lambda: handle.wait(0),
            ):
                self.assertRaisesWith(robot_ipc.Retired, [variable.name, "open it again"], use)
            self.assertIn("removed", repr(handle))
        self.assertRaisesWith(robot_ipc.Retired, [variable.name], other.write, 2)
        self.assertRaisesWith(robot_ipc.Retired, [variable.name], other.unlink)
        anew = self.open(variable.name, max_size=128)
        anew.data = 2
        self.assertRaises(robot_ipc.Retired, other.unlink)  # not the successor's
        self.assertEqual((anew.data, anew.version, anew.max_size), (2, 1, 128))

    def test_a_file_that_was_removed_by_hand(self):
        """Against a waiter that waits for ever beside those who have opened it anew."""
        for options in ({}, {"read_only": True}):
            variable = self.open()
            handle = self.open(variable.name, **options)
            os.unlink(file_of(variable.name))
            begin = time.monotonic()
            self.assertRaisesWith(robot_ipc.NameRemoved, [variable.name], handle.wait, 10)
            self.assertLess(time.monotonic() - begin, 3)
        fresh = self.open(variable.name)
        self.assertRaises(robot_ipc.NameRemoved, variable.unlink)
        fresh.data = 1


if __name__ == "__main__":
    unittest.main()
