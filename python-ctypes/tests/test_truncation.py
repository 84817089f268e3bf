"""Files that somebody cuts short while Python uses them."""

import os
import signal
import time
import unittest

from support import (  # noqa: F401
    PATIENCE,
    TestCase,
    file_of,
    new_name,
    setUpModule,
    start,
    tearDownModule,
)
import robot_ipc  # noqa: F401

# Uses a variable whose file is cut, and then, if told to, a file of its own.
PROGRAM = """
import ctypes, faulthandler, mmap, os, sys, tempfile, robot_ipc
name, path, order, foreign = sys.argv[1:]
steps = {"ours": robot_ipc.survive_truncation, "theirs": faulthandler.enable}
for step in order.split():
    steps[step]()
pose = robot_ipc.HostVariable(name)
pose.data = list(range(100))
uses = (lambda: pose.data, lambda: pose.wait(PATIENCE), lambda: pose.write(1),
        lambda: pose.update(lambda value: value), lambda: pose.version)
if foreign == "only foreign":
    uses = ()
else:
    os.truncate(path, 0)
for use in uses:
    try:
        use()
    except robot_ipc.Truncated as error:
        assert "to 0 of" in str(error) and name in str(error), error
    else:
        raise AssertionError("nothing was raised")
pose.unlink()
print("survived", flush=True)
if foreign:
    with tempfile.TemporaryFile() as file:
        file.truncate(mmap.PAGESIZE)
        memory = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        file.truncate(0)
        memory[0]
print("over")
""".replace("PATIENCE", str(PATIENCE))


class Truncation(TestCase):
    def run_program(self, order, foreign=""):
        name = new_name()
        with start(PROGRAM, name, file_of(name), order, foreign) as process:
            try:
                output, errors = process.communicate(timeout=PATIENCE)
            finally:
                process.kill()
        return process.returncode, output, errors

    def test_without_the_handler_the_process_is_killed(self):
        """Shows what the others stand against."""
        self.assertEqual(self.run_program(""), (-signal.SIGBUS, "", ""))

    def test_every_use_raises(self):
        """Against SIGBUS, and against an exception that says something else."""
        self.assertEqual(self.run_program("ours"), (0, "survived\nover\n", ""))
        self.assertEqual(self.run_program("ours ours"), (0, "survived\nover\n", ""))

    def test_with_the_fault_handler_of_python(self):
        """Against two handlers that keep each other from their work, whichever is the first."""
        self.assertEqual(self.run_program("theirs ours"), (0, "survived\nover\n", ""))
        code, output, errors = self.run_program("theirs ours", "foreign")
        self.assertEqual((code, output), (-signal.SIGBUS, "survived\n"))
        self.assertIn("Fatal Python error: Bus error", errors)
        # Here Python's is asked first. It reports, and hands on by raising the signal.
        code, output, errors = self.run_program("ours theirs")
        self.assertEqual((code, output), (0, "survived\nover\n"))
        self.assertEqual(errors.count("Fatal Python error: Bus error"), 1)
        code, output, errors = self.run_program("ours theirs", "foreign")
        self.assertEqual((code, output), (-signal.SIGBUS, "survived\n"))
        code, output, errors = self.run_program("ours theirs", "only foreign")
        self.assertEqual((code, output), (-signal.SIGBUS, "survived\n"))
        self.assertEqual(errors.count("Fatal Python error: Bus error"), 1)

    def test_a_dispatcher_goes_on_with_its_other_functions(self):
        """Against a dispatcher that ends because of one of its functions."""
        first, second = new_name("function"), new_name("function")
        process = self.server(
            "robot_ipc.survive_truncation()\n"
            "for name in sys.argv[1:]: dispatcher.add(name, lambda name=name: name)",
            first,
            second,
        )
        with robot_ipc.HostFunctionCaller(first) as caller:
            self.assertEqual(caller.call(timeout=PATIENCE), first)
        os.truncate(file_of(first, "function"), 0)
        time.sleep(0.6)  # by then it has looked at all of them
        caller = self.caller(second)
        for _ in range(3):
            self.assertEqual(caller.call(timeout=PATIENCE), second)
        self.assertIsNone(process.poll())


if __name__ == "__main__":
    unittest.main()
