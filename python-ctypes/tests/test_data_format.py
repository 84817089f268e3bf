"""Structs that lie in memory as C sees them."""

import ctypes
import math
import struct
import unittest

from support import PATIENCE, TestCase, new_name, run, setUpModule, tearDownModule  # noqa: F401
import robot_ipc
from robot_ipc import HostVariable


class Pose(ctypes.Structure):
    _fields_ = [("x", ctypes.c_double), ("y", ctypes.c_double), ("valid", ctypes.c_bool)]


class Joint(ctypes.Structure):
    _fields_ = [("id", ctypes.c_uint8), ("angle", ctypes.c_float), ("limits", ctypes.c_int16 * 2)]


class Arm(ctypes.Structure):
    _fields_ = [
        ("tag", ctypes.c_char * 3),
        ("joints", Joint * 3),
        ("matrix", (ctypes.c_double * 3) * 2),
        ("flags", ctypes.c_uint32, 3),
        ("mode", ctypes.c_uint32, 5),
        ("pose", Pose),
    ]


class Network(ctypes.BigEndianStructure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("port", ctypes.c_uint16), ("address", ctypes.c_uint32)]


class Either(ctypes.Union):
    _fields_ = [("word", ctypes.c_uint32), ("bytes", ctypes.c_uint8 * 4)]


class Tagged(ctypes.Structure):
    _anonymous_ = ("either",)
    _fields_ = [("kind", ctypes.c_uint8), ("either", Either)]


class Stamped(Pose):
    _fields_ = [("time", ctypes.c_int64)]


class DataFormat(TestCase):
    def test_the_size_is_that_of_the_struct(self):
        """Against a variable that a C program of the same struct cannot open."""
        for data_format in (Pose, Joint, Arm, Network, Tagged, Stamped):
            variable = self.open(data_format=data_format)
            self.assertEqual(variable.max_size, ctypes.sizeof(data_format))
            with self.assertRaises(robot_ipc.SizeMismatch):
                self.open(variable.name)
        self.assertEqual(self.open(max_size=100, data_format=Pose).max_size, 100)
        self.assertEqual(self.open(variable.name, None, data_format=Stamped).max_size, 32)

    def test_every_byte_is_where_c_has_it(self):
        """Against a layout of Python's own: padding, nesting, arrays, bit fields, order."""
        arm = Arm(tag=b"abc", flags=5, mode=17, pose=Pose(math.nan, -0.0, True))
        arm.joints[2] = Joint(7, 1.5, (-3, 4))
        arm.matrix[1][2] = math.inf
        for value in (arm, Network(80, 0x7F000001), Tagged(1, Either(word=9)), Stamped(1, 2, 0, 9)):
            variable = self.open(data_format=type(value))
            variable.data = value
            read = variable.data
            self.assertIs(type(read), type(value))
            self.assertEqual(bytes(read), bytes(value))
        code = """import sys, struct, ctypes, robot_ipc
class Bytes(ctypes.Structure): _fields_ = [("bytes", ctypes.c_uint8 * 24)]
print(struct.unpack("dd?7x", robot_ipc.HostVariable(sys.argv[1], data_format=Bytes).data))"""
        variable = self.open(data_format=Pose)
        variable.data = Pose(1.5, math.nan, True)
        self.assertEqual(struct.calcsize("dd?7x"), ctypes.sizeof(Pose))
        self.assertEqual(run(code, variable.name), "(1.5, nan, True)\n")

    def test_what_is_read_is_a_copy(self):
        """Against a value that changes while it is being used."""
        variable = self.open(data_format=Pose)
        first = Pose(1, 2, True)
        variable.data = first
        first.x = 5
        read = variable.data
        variable.data = Pose(3, 4, False)
        variable.data
        self.assertEqual((read.x, read.y, read.valid), (1, 2, True))

    def test_all_of_the_interface(self):
        """Against a method that pickles in spite of the format."""
        variable = self.open(data_format=Pose)
        self.assertIsNone(variable.read(default=None))
        self.assertEqual(variable.write(Pose(1, 2, True)), 1)

        def move(pose):
            pose.x += 1
            return pose

        self.assertEqual(variable.update(move).x, 2)
        self.assertEqual(variable.sample().value.x, 2)
        self.assertEqual(variable.wait(1, since=1).x, 2)

    def test_other_values_are_refused(self):
        """Against bytes of another meaning under the same name."""
        variable = self.open(data_format=Pose)
        variable.data = Pose(1, 2, True)
        variable.data = Stamped(3, 4, True, 5)  # is a Pose, and written as one
        self.assertEqual(variable.data.x, 3)
        for value in (None, b"x" * 24, Joint(), {"x": 1}, Pose):
            self.assertRaisesWith(TypeError, ["Pose"], variable.write, value)
        self.assertRaises(TypeError, variable.update, lambda pose: None)
        self.assertEqual(variable.version, 2)

    def test_bytes_go_in_and_out_as_they_are(self):
        """Against bytes that are pickled, changed, or of another length."""
        variable = self.open(data_format=bytes)
        self.assertEqual(variable.max_size, 4096)
        view = memoryview(bytes(range(12))).cast("B", (3, 4))
        for written in (b"", b"\0", b"a" * 4096, bytearray(b"ab"), view, Pose(1, 2, True)):
            variable.data = written
            self.assertIs(type(variable.data), bytes)
            self.assertEqual(variable.data, bytes(memoryview(written).tobytes()))
        again = self.open(variable.name, None, data_format=Pose)
        self.assertEqual((again.data.x, again.data.y), (1, 2))
        again.data = Pose(3, 4, False)
        self.assertEqual(variable.data, bytes(Pose(3, 4, False)))
        self.assertEqual(variable.update(lambda old: old[:1] + b"b"), b"\0b")
        self.assertEqual(variable.sample().value, b"\0b")
        self.assertRaises(robot_ipc.TooLarge, variable.write, b"a" * 4097)
        for wrong in ("text", 5, [1], None):
            self.assertRaises(TypeError, variable.write, wrong)
        self.assertEqual(variable.data, b"\0b")
        code = """import sys, robot_ipc
variable = robot_ipc.HostVariable(sys.argv[1], data_format=bytes)
variable.data = variable.data * 2"""
        run(code, variable.name)
        self.assertEqual(variable.data, b"\0b\0b")

    def test_bytes_and_pickles_are_told_apart(self):
        """Against bytes of anybody's that are unpickled, and pickles taken for bytes."""
        pickled, plain = self.open(), self.open(data_format=bytes)
        pickled.data = 5
        parts = ["pickle, and raw is", "without data_format"]
        plain = self.open(pickled.name, data_format=bytes)
        self.assertRaisesWith(robot_ipc.WrongEncoding, parts, plain.read)
        plain.data = b"K\x05."
        parts = ["raw, and pickle is", "with bytes"]
        self.assertRaisesWith(robot_ipc.WrongEncoding, parts, pickled.read)

    def test_functions_of_bytes(self):
        """Against arguments and responses of bytes that are changed on their way."""
        double = self.serve(lambda data: data * 2, arg_format=bytes, ret_format=bytes)
        self.assertEqual((double.max_sz_args, double.max_sz_ret), (4096, 4096))
        for data in (b"", b"\0", bytearray(b"ab"), b"a" * 2048):
            response = double.call(data, timeout=PATIENCE)
            self.assertIs(type(response), bytes)
            self.assertEqual(response, bytes(data) * 2)
        nothing = self.serve(lambda data: None, arg_format=bytes, ret_format=bytes)
        self.assertIsNone(nothing.call(b"", timeout=PATIENCE))
        text = self.serve(lambda data: "text", arg_format=bytes, ret_format=bytes)
        parts = ["returned an object of type str, which cannot be sent"]
        self.assertRaisesWith(robot_ipc.RemoteError, parts, text.call, b"", timeout=PATIENCE)
        for wrong in (("text",), (5,), (), (b"a", b"b")):
            self.assertRaises(TypeError, double.call, *wrong, timeout=PATIENCE)
        self.assertRaises(TypeError, double.call, data=b"a", timeout=PATIENCE)
        pickling = self.caller(double.name)
        parts = ["WrongEncoding", "pickle, and raw is"]
        self.assertRaisesWith(robot_ipc.RemoteError, parts, pickling.call, 1, timeout=PATIENCE)

    def test_a_value_of_another_size_names_both(self):
        """Against a struct completed with the bytes of an older value."""
        name = new_name()
        short = self.open(name, 64, data_format=Joint)
        long = self.open(name, 64, data_format=Pose)
        for writer, reader, sizes in ((short, long, (12, 24)), (long, short, (24, 12))):
            writer.data = Joint() if writer is short else Pose()
            parts = (name,) + sizes
            self.assertRaisesWith(robot_ipc.SizeMismatch, parts, lambda: reader.data)
        with self.assertRaises(robot_ipc.SizeMismatch):
            self.open(name, None, data_format=type("L", (Pose,), {"_fields_": [("z", Arm)]}))
        error = [12, "Pose", 24]
        with self.assertRaises(robot_ipc.SizeMismatch) as caught:
            self.open(new_name(), 12, data_format=Pose)
        for part in error:
            self.assertIn(str(part), str(caught.exception))

    def test_formats_that_cannot_be_shared(self):
        """Against following an address of another process, which crashes."""

        def struct_of(kind):
            return type("Format", (ctypes.Structure,), {"_fields_": [("field", kind)]})

        for kind in (
            ctypes.c_char_p,
            ctypes.c_wchar_p,
            ctypes.c_void_p,
            ctypes.py_object,
            ctypes.POINTER(ctypes.c_int),
            ctypes.CFUNCTYPE(None),
            ctypes.c_char_p * 2,
            struct_of(ctypes.c_void_p),
        ):
            self.assertRaisesWith(
                TypeError, ["Format.field", "pointer"],
                HostVariable, new_name(), data_format=struct_of(kind),
            )
        inherited = type("Derived", (struct_of(ctypes.c_char_p),), {})
        self.assertRaises(TypeError, HostVariable, new_name(), data_format=inherited)
        for no_format in (int, ctypes.c_int, Pose(), "Pose", Either):
            self.assertRaisesWith(
                TypeError, ["data_format"], HostVariable, new_name(), data_format=no_format
            )
        empty = type("Empty", (ctypes.Structure,), {"_fields_": []})
        self.assertRaises(robot_ipc.BadOption, HostVariable, new_name(), data_format=empty)


if __name__ == "__main__":
    unittest.main()
