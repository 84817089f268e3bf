"""Processes that are started in every way, and that end in every way."""

import copy
import multiprocessing
import os
import pickle
import signal
import sys
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
from robot_ipc import HostVariable


def count_by_name(name, times):
    variable = HostVariable(name)
    for _ in range(times):
        variable.update(lambda count: count + 1)


def count_with(variable, times):
    for _ in range(times):
        variable.update(lambda count: count + 1)


class Multiprocessing(TestCase):
    def check(self, method):
        context = multiprocessing.get_context(method)
        variable = self.open()
        variable.data = 0
        processes = [
            context.Process(target=count_by_name, args=(variable.name, 50)),
            context.Process(target=count_with, args=(variable, 50)),
            context.Process(target=count_with, args=(variable, 50)),
        ]
        for process in processes:
            process.start()
        count_with(variable, 50)
        for process in processes:
            process.join(PATIENCE)
            self.assertEqual(process.exitcode, 0)
        self.assertEqual(variable.data, 200)

    def test_fork(self):
        """Against a child that writes as its parent."""
        self.check("fork")

    def test_spawn(self):
        """Against a handle that cannot be sent."""
        self.check("spawn")

    def test_forkserver(self):
        """Against a handle that cannot be sent."""
        self.check("forkserver")


class Pickling(TestCase):
    def test_a_handle_is_pickled_by_name_with_its_options(self):
        """Against a receiver that opens another variable, or the same one otherwise."""
        variable = self.open(new_name(), 100, slots=3, write_timeout=0.5)
        variable.data = 1
        for twin in (pickle.loads(pickle.dumps(variable)), copy.copy(variable)):
            self.assertEqual((twin.name, twin.max_size, twin.slots), (variable.name, 100, 3))
            self.assertEqual(twin._write_timeout, 0.5)
            twin.data += 1
        self.assertEqual(variable.data, 3)
        reader = pickle.loads(pickle.dumps(self.open(variable.name, None, read_only=True)))
        self.assertTrue(reader.read_only)
        self.assertRaises(robot_ipc.ReadOnly, reader.write, 1)

    def test_a_handle_inside_a_value(self):
        """Against a deadlock or a clash of two reads."""
        inner, outer = self.open(), self.open()
        inner.data = 5
        outer.data = {"inner": inner}
        self.assertEqual(outer.data["inner"].data, 5)


class Fork(TestCase):
    def fork(self, body):
        """A child that runs `body` and ends as if by a crash; its process id."""
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                body()
                code = 0
            finally:
                os._exit(code)
        return pid

    def assertEndsWell(self, pid):
        self.assertEqual(os.waitpid(pid, 0)[1], 0)

    def test_an_idle_child_while_the_parent_goes_on(self):
        """Against a child that keeps its parent's slots taken, or is taken for it."""
        variable = self.open()
        variable.data = 0
        reading, writing = os.pipe()
        pid = self.fork(lambda: os.read(reading, 1))
        for number in range(2000):
            variable.data = number
            self.assertEqual(variable.data, number)
        os.write(writing, b"x")
        self.assertEndsWell(pid)
        variable.data = "after"
        os.close(reading)
        os.close(writing)

    def test_a_child_uses_and_drops_what_its_parent_opened(self):
        """Against a child whose close takes the variable away from its parent."""
        variable = self.open()
        variable.data = "parent"

        def child():
            assert variable.data == "parent"
            variable.data = "child"
            variable.close()

        self.assertEndsWell(self.fork(child))
        self.assertEqual(variable.data, "child")
        variable.data = "parent again"
        self.assertEqual(self.open(variable.name).data, "parent again")

    def test_a_grandchild_and_both_ends_writing(self):
        """Against a registration that is only renewed once."""
        variable = self.open()
        variable.data = 0

        def child():
            count_with(variable, 100)
            pid = self.fork(lambda: count_with(variable, 100))
            count_with(variable, 100)
            assert os.waitpid(pid, 0)[1] == 0

        pid = self.fork(child)
        count_with(variable, 100)
        self.assertEndsWell(pid)
        self.assertEqual(variable.data, 400)


FLAT_OUT = """import sys, robot_ipc
variable = robot_ipc.HostVariable(sys.argv[1])
while True:
    count = variable.read(default=[0])[0] + 1
    variable.data = [count] * 300
"""


class Ends(TestCase):
    def test_a_killed_writer_harms_nobody(self):
        """Against a torn value, or a slot that is lost with each kill: there are 4, and
        many more kills."""
        variable = self.open(slots=4)
        reached = 0
        for number in range(20):
            child = self.start(FLAT_OUT, variable.name)
            target = variable.version + 50 + 37 * number
            eventually(lambda: variable.version > target, "the writer writes")
            child.send_signal(signal.SIGKILL)
            child.wait()
            value = variable.data
            self.assertEqual(value, value[:1] * 300)
            self.assertGreater(value[0], reached)
            reached = value[0]
            for _ in range(5):
                variable.data = value

    def test_the_interpreter_ends_without_a_word(self):
        """Against errors of destructors whose module is gone already."""
        for code in (
            "v = H(n)",
            "v = H(n); v.data = 1; v.data",
            "v = H(n); v.close()",
            "v = H(n); w = [v]; w.append(w); del w",
            "import builtins; builtins.kept = H(n); builtins.kept.data = 1",
            "import sys; sys.kept = H(n); sys.kept.data = 1",
            "class D:\n def __del__(s): s.v.data = 2; print(s.v.data)\nd = D(); d.v = H(n)",
            "import atexit; v = H(n); atexit.register(lambda: setattr(v, 'data', 1))",
            "import threading; v = H(n)\n"
            "threading.Thread(target=v.wait, daemon=True).start()\n"
            "threading.Thread(target=v.wait, args=(0.2,), daemon=True).start()",
            "import threading; v = H(n); v.data = 1\ndef f():\n while True: v.data = v.data\n"
            "for _ in range(3): threading.Thread(target=f, daemon=True).start()",
            "import os; v = H(n); v.data = 1\nif os.fork(): os.wait()\nv.data = 2",
            "try: H('a/b')\nexcept ValueError: pass",
        ):
            with self.subTest(code=code):
                run("import sys; from robot_ipc import HostVariable as H; n = sys.argv[1]\n" + code,
                    new_name())


if __name__ == "__main__":
    unittest.main()
