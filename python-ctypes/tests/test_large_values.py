"""Large values, which are pickled into their slots: from the second in a row on."""

import pickle
import threading
import unittest

from support import TestCase, setUpModule, tearDownModule  # noqa: F401
import robot_ipc

SIZE = 1 << 20


class OutOfBand:
    """As arrays do: hands its bytes to the pickler as one large buffer."""

    def __init__(self, data):
        self.data = data

    def __eq__(self, other):
        return bytes(self.data) == bytes(other.data)

    def __reduce_ex__(self, protocol):
        return OutOfBand, (pickle.PickleBuffer(self.data),)


class Raises:
    def __reduce__(self):
        raise RuntimeError("on purpose")


class Calls:
    """Calls something while it is pickled, and is what that returns."""

    def __init__(self, call):
        self.call = call

    def __reduce__(self):
        return int, (self.call(),)


class InPlace(TestCase):
    def setUp(self):
        self.variable = self.open(max_size=SIZE + 4096)
        self.variable.data = bytes(SIZE)
        self.assertTrue(self.is_in_place())

    def is_in_place(self):
        return self.variable._handle.is_large

    def test_each_kind_of_buffer(self):
        """Against bytes that are lost, doubled or mixed on their way into the slot."""
        pattern = bytes(range(256)) * (SIZE // 256)
        values = [
            pattern,
            bytearray(pattern),
            OutOfBand(pattern),
            OutOfBand(bytearray(pattern)),
            [pattern[: SIZE // 2], "between", bytearray(pattern[SIZE // 2 :]), 1.5],
            list(range(SIZE // 8)),
            [pattern[: (1 << 16) + number] for number in range(-1, 5)],
        ]
        version = self.variable.version
        for value in values:
            for _ in range(2):
                self.assertTrue(self.is_in_place())
                self.variable.data = value
                version += 1
                self.assertEqual(self.variable.data, value)
                self.assertEqual(self.variable.version, version)
            self.assertEqual(self.variable.write(value), version + 1)
            version += 1
            sample = self.variable.sample()
            self.assertEqual((sample.value, sample.version), (value, version))

    def test_small_values_in_between(self):
        """Against a slot for every small value, once there was a large one."""
        for value in (1, b"x" * SIZE, "two", b"y" * SIZE, b"z" * SIZE, 3, 4):
            self.variable.data = value
            self.assertEqual(self.variable.data, value)
            self.assertEqual(self.is_in_place(), isinstance(value, bytes))

    def test_a_value_that_cannot_be_pickled(self):
        """Against a slot that is lost with each value that fails half way."""
        for _ in range(3 * self.variable.slots):
            self.variable.data = last = bytes(SIZE)
            self.assertTrue(self.is_in_place())
            with self.assertRaisesRegex(RuntimeError, "on purpose"):
                self.variable.data = [b"x" * (SIZE // 2), Raises()]
            with self.assertRaises(KeyboardInterrupt):
                self.variable.data = last
                self.assertTrue(self.is_in_place())
                self.variable.data = [b"x" * (SIZE // 2), Calls(self.interrupt)]
            self.assertEqual(self.variable.data, last)
        self.assertLends()

    def assertLends(self):
        self.assertTrue(robot_ipc._InPlace().take(self.variable._handle.pointer))

    def interrupt(self):
        raise KeyboardInterrupt

    def test_a_value_that_does_not_fit(self):
        """Against a value that is cut, a slot that is lost, and a text without the size."""
        for _ in range(3 * self.variable.slots):
            self.variable.data = last = bytes(SIZE)
            self.assertTrue(self.is_in_place())
            value = bytes(2 * SIZE)
            parts = [self.variable.name, len(pickle.dumps(value, 5)), SIZE + 4096]
            self.assertRaisesWith(robot_ipc.TooLarge, parts, self.variable.write, value)
            self.assertEqual(self.variable.data, last)
        self.assertLends()

    def test_pickling_that_writes_the_same_variable(self):
        """Against two values in one slot."""
        inner = [b"inner" * (SIZE // 8)]
        value = [b"outer" * (SIZE // 8), Calls(lambda: self.variable.write(inner))]
        self.variable.data = value
        self.assertEqual(self.variable.data, [b"outer" * (SIZE // 8), 2])
        self.assertEqual(self.variable.version, 3)

    def test_without_a_slot_to_lend(self):
        """Against large values that two slots are too few for."""
        variable = self.open(max_size=2 * SIZE, slots=2)
        for number in range(5):
            variable.data = bytes([number]) * SIZE
            self.assertEqual(variable.data, bytes([number]) * SIZE)

    def test_a_variable_that_was_removed(self):
        """Against success that was none."""
        self.variable.unlink()
        for write in (self.variable.write, lambda value: setattr(self.variable, "data", value)):
            self.variable._handle.is_large = True
            self.assertRaises(robot_ipc.Retired, write, bytes(SIZE))

    def test_a_variable_that_is_removed_meanwhile(self):
        """Against success that was none, of a value that was pickled before."""
        value = [b"x" * SIZE, Calls(lambda: self.variable.unlink() or 1)]
        self.assertRaises(robot_ipc.Retired, self.variable.write, value)

    def test_values_that_are_not_pickled(self):
        """Against a pickle where others expect bytes as they are."""
        variable = self.open(max_size=2 * SIZE, data_format=bytes)
        for number in range(3):
            self.assertEqual(variable.write(bytes([number]) * SIZE), 2 * number + 1)
            self.assertEqual(variable.data, bytes([number]) * SIZE)
            variable.data = bytes([number, 1]) * (SIZE // 2)
            self.assertEqual(variable.data, bytes([number, 1]) * (SIZE // 2))

    def test_threads_that_write_large_values(self):
        """Against threads that pickle into each other's slot, and run out of slots."""
        values = [OutOfBand(bytearray([number]) * SIZE) for number in range(4)]
        errors = []

        def write(value):
            try:
                for _ in range(30):
                    self.variable.data = value
                    self.assertIn(self.variable.data, values)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=write, args=(value,)) for value in values]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        self.assertEqual(self.variable.version, 121)


if __name__ == "__main__":
    unittest.main()
