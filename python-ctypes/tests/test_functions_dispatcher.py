"""Dispatchers: adding, removing, starting, running, stopping; and every way they end."""

import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import unittest
import weakref

from support import (  # noqa: F401
    PATIENCE,
    TestCase,
    cpu_time,
    eventually,
    new_name,
    run,
    setUpModule,
    tearDownModule,
)
import robot_ipc
from robot_ipc import HostFunctionCaller, HostFunctionDispatcher


def threads():
    """The threads that serve functions."""
    return [thread for thread in threading.enumerate() if "robot_ipc" in thread.name]


class Functions(TestCase):
    def test_functions_before_and_after_the_start(self):
        """Against `add` after `start`, that "may fail" in the original."""
        dispatcher = self.dispatcher()
        names = [new_name("function") for _ in range(6)]
        for number, name in enumerate(names):
            if number == 3:
                dispatcher.start()
            dispatcher.add(name, lambda value, number=number: (number, value))
            if number >= 3:
                caller = self.caller(name)
                self.assertEqual(caller.call("x", timeout=PATIENCE), (number, "x"))
        for number, name in enumerate(names):
            self.assertEqual(self.caller(name).call(1, timeout=PATIENCE), (number, 1))

    def test_a_decorator(self):
        """Against a decorator that takes the function away, or loses its options."""
        dispatcher = self.dispatcher()
        first, second = new_name("function"), new_name("function")

        @dispatcher.add(first)
        def double(value):
            """Doubles."""
            return 2 * value

        @dispatcher.add(second, max_sz_args=100, max_sz_ret=200, max_age=60, cells=3)
        def triple(value):
            return 3 * value

        dispatcher.start()
        self.assertEqual((double(4), double.__doc__), (8, "Doubles."))
        self.assertEqual(self.caller(first).call(4, timeout=PATIENCE), 8)
        caller = self.caller(second, 100, 200, cells=3)
        self.assertEqual(caller.call(4, timeout=PATIENCE), 12)
        self.assertIsNone(dispatcher.add(new_name("function"), triple))

    def test_whatever_can_be_called(self):
        """Against functions that have to be functions."""

        class Adder:
            def __init__(self):
                self.sum = 0

            def add(self, value):
                self.sum += value
                return self.sum

            __call__ = add

        adder = Adder()
        for foo in (adder.add, adder, abs):
            self.assertGreater(self.serve(foo).call(5, timeout=PATIENCE), 0)
        self.assertEqual(adder.sum, 10)
        for foo in (None, 5, "print"):
            self.assertRaisesWith(
                TypeError, ["callable"], self.dispatcher().add, new_name("function"), foo
            )

    def test_one_more_than_max_func_count(self):
        """Against a function that is silently not offered."""
        dispatcher = self.dispatcher(3)
        names = [new_name("function") for _ in range(4)]
        for name in names[:3]:
            dispatcher.add(name, lambda: 1)
        error = self.assertRaisesWith(
            robot_ipc.TooManyFunctions, [3], dispatcher.add, names[3], lambda: 1
        )
        self.assertIsInstance(error, ValueError)
        dispatcher.remove(names[0])
        dispatcher.add(names[3], lambda: 2)
        dispatcher.start()
        self.assertEqual(self.caller(names[3]).call(timeout=PATIENCE), 2)
        self.assertEqual(self.dispatcher().max_func_count, 16)

    def test_many_functions(self):
        """Against a limit that nobody documented: 127 can sleep on one system call."""
        for count, options in ((127, {}), (140, {}), (20, {"one_word_sleep": True})):
            dispatcher = self.dispatcher(count, **options)
            names = [new_name("function") for _ in range(count)]
            for number, name in enumerate(names):
                dispatcher.add(name, lambda number=number: number, 64, 64, cells=3)
            dispatcher.start()
            for number in (0, 1, count // 2, count - 1):
                caller = self.caller(names[number], 64, 64)
                self.assertEqual(caller.call(timeout=PATIENCE), number)
            dispatcher.close()

    def test_one_name_twice(self):
        """Against a function that takes the place of another one without a word."""
        dispatcher = self.dispatcher()
        name = new_name("function")
        dispatcher.add(name, lambda: 1)
        self.assertRaisesWith(robot_ipc.BadOption, [name], dispatcher.add, name, lambda: 2)
        dispatcher.start()
        self.assertEqual(self.caller(name).call(timeout=PATIENCE), 1)

    def test_removing(self):
        """Against a function that goes on, and one that cannot be offered again."""
        dispatcher = self.dispatcher()
        kept, name = new_name("function"), new_name("function")
        dispatcher.add(kept, lambda: "kept")
        dispatcher.add(name, lambda: "first")
        dispatcher.start()
        caller = self.caller(name)
        self.assertEqual(caller.call(timeout=PATIENCE), "first")
        dispatcher.remove(name)
        self.assertRaises(robot_ipc.RobotIpcError, caller.call, timeout=0.05)
        self.assertRaisesWith(robot_ipc.NotFound, [name], dispatcher.remove, name)
        dispatcher.add(name, lambda: "second")
        self.assertEqual(caller.call(timeout=PATIENCE), "second")
        self.assertEqual(self.caller(kept).call(timeout=PATIENCE), "kept")

    def test_a_function_that_changes_its_dispatcher(self):
        """Against a deadlock between a function and who runs it."""
        dispatcher = self.dispatcher()
        names = [new_name("function") for _ in range(2)]

        def foo():
            dispatcher.add(names[1], lambda: "second")
            dispatcher.remove(names[0])
            return "first"

        dispatcher.add(names[0], foo)
        dispatcher.start()
        self.assertEqual(self.caller(names[0]).call(timeout=PATIENCE), "first")
        self.assertEqual(self.caller(names[1]).call(timeout=PATIENCE), "second")
        self.assertIn("1 of 16", repr(dispatcher))

    def test_a_removed_segment_is_forgotten(self):
        """Against a dispatcher that ends, or spins, because one of its functions is gone."""
        dispatcher = self.dispatcher()
        kept, name = new_name("function"), new_name("function")
        dispatcher.add(kept, lambda: "kept")
        dispatcher.add(name, lambda: "first")
        dispatcher.start()
        with self.assertLogs("robot_ipc") as logged:
            self.caller(name).unlink()
            eventually(lambda: logged.output, "it is logged")
        self.assertIn(name, logged.output[0])
        eventually(lambda: "1 of 16" in repr(dispatcher), "it is forgotten")
        self.assertEqual(self.caller(kept).call(timeout=PATIENCE), "kept")
        dispatcher.add(name, lambda: "again")
        self.assertEqual(self.caller(name).call(timeout=PATIENCE), "again")

    def test_two_dispatchers_of_one_name(self):
        """Against a call that both run, or that waits for the busy one."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        name = new_name("function")
        ran = []

        def foo(value):
            ran.append(value)
            if value == "wait":
                gate.wait(PATIENCE)
            return threading.get_ident()

        for _ in range(2):
            dispatcher = self.dispatcher()
            dispatcher.add(name, foo)
            dispatcher.start()
        caller = self.caller(name)
        waiting = caller("wait")
        eventually(lambda: ran, "it runs")
        others = {caller.call(number, timeout=PATIENCE) for number in range(20)}
        gate.set()
        self.assertNotIn(waiting.result(PATIENCE), others)
        self.assertEqual(sorted(map(str, ran)), sorted(map(str, ["wait"] + list(range(20)))))

    def test_waiting_for_oneself(self):
        """Against a function that waits for ever for its own dispatcher."""
        dispatcher = self.dispatcher()
        names = [new_name("function") for _ in range(2)]
        inner = self.caller(names[1])
        seen = []
        is_alone = True

        def foo():
            handle = inner(1)
            asks = (handle.result, inner.get_response, lambda: inner.call(2))
            for ask in asks if is_alone else asks[:1]:
                try:
                    ask()
                except robot_ipc.WouldDeadlock as error:
                    seen.append(str(error))
            handle.cancel()
            return "alive"

        dispatcher.add(names[0], foo)
        dispatcher.add(names[1], lambda value: value)
        dispatcher.start()
        caller = self.caller(names[0])
        self.assertEqual(caller.call(timeout=PATIENCE), "alive")
        self.assertEqual(len(seen), 3)
        self.assertIn(names[1], seen[0])
        self.assertEqual(inner.call(3, timeout=PATIENCE), 3)
        other = self.dispatcher()
        other.add(names[1], lambda value: value)
        other.start()
        is_alone = False
        self.assertEqual(caller.call(timeout=PATIENCE), "alive")
        self.assertEqual(len(seen), 3)


class Running(TestCase):
    def test_stopping_and_starting_again(self):
        """Against a stop that is for ever, or that callers do not notice."""
        dispatcher = self.dispatcher()
        name = new_name("function")
        dispatcher.add(name, lambda value: value)
        caller = self.caller(name)
        for round in range(3):
            dispatcher.start()
            self.assertEqual(caller.call(round, timeout=PATIENCE), round)
            dispatcher.stop()
            dispatcher.stop()
            self.assertEqual(threads(), [])
            self.assertRaises(robot_ipc.TimedOut, caller.call, round, timeout=0.02)
        handle = caller("kept")
        dispatcher.run(0.05)
        self.assertEqual(handle.result(PATIENCE), "kept")

    def test_callers_know_that_it_stopped(self):
        """Against a wait without end for a dispatcher that was stopped."""
        gate = threading.Event()
        dispatcher = self.dispatcher()
        name = new_name("function")
        dispatcher.add(name, lambda: gate.wait(PATIENCE) and "answer")
        dispatcher.start()
        caller = self.caller(name)
        running, queued = caller(), caller()
        eventually(lambda: not queued.done() and "run" in self.text_of(running), "it runs")
        stopping = self.in_thread(dispatcher.stop)
        gate.set()
        eventually(lambda: stopping, "it has stopped")
        self.assertEqual(running.result(PATIENCE), "answer")
        self.assertRaisesWith(robot_ipc.NotServed, [name, "will not run"], queued.result, PATIENCE)
        self.assertRaises(robot_ipc.NotServed, queued.result)
        self.assertRaises(robot_ipc.NoCallOutstanding, caller.get_response)

    def text_of(self, handle):
        try:
            handle.result(0.01)
        except robot_ipc.TimedOut as error:
            return str(error)

    def test_starting_twice(self):
        """Against two threads that run the calls of one dispatcher."""
        dispatcher = self.dispatcher()
        dispatcher.start()
        self.assertRaises(robot_ipc.Busy, dispatcher.start)
        self.assertRaises(robot_ipc.Busy, dispatcher.run)
        self.assertEqual(len(threads()), 1)
        dispatcher.stop()
        running = self.in_thread(dispatcher.run)
        eventually(lambda: "running" in repr(dispatcher), "it runs")
        self.assertRaises(robot_ipc.Busy, dispatcher.start)
        dispatcher.stop()
        eventually(lambda: running, "it has stopped")
        self.assertEqual(running, [(None, None)])

    def test_run_in_this_thread(self):
        """Against a run that ends too early, too late, or not at all."""
        dispatcher = self.dispatcher()
        seen = []
        name = new_name("function")
        dispatcher.add(name, lambda: seen.append(threading.get_ident()) or 5)
        caller = self.caller(name)
        handle = caller()
        begin = time.monotonic()
        dispatcher.run(timeout=0.1)
        self.assertGreaterEqual(time.monotonic() - begin, 0.1)
        self.assertEqual((handle.result(PATIENCE), seen), (5, [threading.get_ident()]))
        dispatcher.add(name + "-stop", dispatcher.stop)
        stopping = self.caller(name + "-stop")()
        dispatcher.run()
        self.assertIsNone(stopping.result(PATIENCE))

    def test_a_function_that_stops_its_dispatcher(self):
        """Against a thread that waits for itself; and against a call without a reply."""
        dispatcher = self.dispatcher()
        name = new_name("function")

        def foo(end):
            getattr(dispatcher, end)()
            return end

        dispatcher.add(name, foo)
        caller = self.caller(name)
        dispatcher.start()
        self.assertEqual(caller.call("stop", timeout=PATIENCE), "stop")
        eventually(lambda: not threads(), "its thread ends")

        def restart():
            dispatcher.stop()
            dispatcher.start()
            return "restarted"

        dispatcher.add(name + "-restart", restart)
        dispatcher.start()
        restarting = self.caller(name + "-restart")
        for _ in range(3):
            self.assertEqual(restarting.call(timeout=PATIENCE), "restarted")
        self.assertEqual(caller.call("close", timeout=PATIENCE), "close")
        eventually(lambda: not threads(), "its thread ends")
        self.assertRaises(robot_ipc.Closed, dispatcher.start)

    def test_what_a_closed_one_says(self):
        """Against a dispatcher that comes back."""
        with self.dispatcher(5) as dispatcher:
            name = new_name("function")
            dispatcher.add(name, lambda: 1)
            dispatcher.start()
            expected = "<HostFunctionDispatcher: 1 of 5 functions [{!r}], running>".format(name)
            self.assertEqual(repr(dispatcher), expected)
            dispatcher.stop()
            self.assertEqual(repr(dispatcher), expected.replace("running", "stopped"))
            dispatcher.start()
        self.assertEqual(threads(), [])
        dispatcher.close()
        dispatcher.stop()
        self.assertEqual(repr(dispatcher), "<HostFunctionDispatcher: closed>")
        for use in (
            dispatcher.start,
            dispatcher.run,
            dispatcher.__enter__,
            lambda: dispatcher.add(name, print),
            lambda: dispatcher.remove(name),
        ):
            self.assertRaises(robot_ipc.Closed, use)
        with self.assertRaises(ZeroDivisionError), self.dispatcher():
            1 // 0

    def test_an_idle_dispatcher_uses_no_processor(self):
        """Against a loop that only looks idle; and against one that sleeps through a call."""
        for options in ({}, {"one_word_sleep": True}):
            with self.subTest(options=options):
                dispatcher = self.dispatcher(**options)
                name = new_name("function")
                dispatcher.add(name, lambda value: value)
                dispatcher.start()
                caller = self.caller(name)
                self.assertEqual(caller.call(1, timeout=PATIENCE), 1)
                time.sleep(0.1)
                begin = cpu_time()
                time.sleep(2)
                self.assertLess(cpu_time() - begin, 0.05)  # the clock ticks in 10 ms
                self.assertEqual(caller.call(2, timeout=PATIENCE), 2)
                dispatcher.close()


class Owner:
    """Owns a dispatcher that serves a method of its own: a cycle."""

    def __init__(self, name):
        self.dispatcher = HostFunctionDispatcher()
        self.dispatcher.add(name, self.answer)
        self.dispatcher.start()

    def answer(self, value):
        return value + 1


class Collected(TestCase):
    def assertIsGone(self, caller):
        """The thread ends, and callers know."""
        eventually(lambda: not threads(), "its thread ends")
        error = self.assertRaisesWith(
            robot_ipc.TimedOut, ["nobody serves"], lambda: caller.call(1, timeout=0.02)
        )
        self.assertIsNotNone(error)

    def test_del_ends_it_at_once(self):
        """Against a thread that keeps its dispatcher alive, and serves for ever."""
        gc.collect()
        gc.disable()  # at once: not by the collector
        self.addCleanup(gc.enable)
        for end in (lambda caller: None, self.raise_remotely):
            name = new_name("function")
            dispatcher = HostFunctionDispatcher()
            dispatcher.add(name, lambda value: 1 // value)
            dispatcher.start()
            caller = self.caller(name)
            self.assertEqual(caller.call(1, timeout=PATIENCE), 1)
            end(caller)
            reference = weakref.ref(dispatcher)
            begin = time.monotonic()
            del dispatcher
            eventually(lambda: reference() is None, "it was let go of")
            self.assertIsGone(caller)
            self.assertLess(time.monotonic() - begin, 5)

    def raise_remotely(self, caller):
        self.assertRaises(robot_ipc.RemoteError, caller.call, 0, timeout=PATIENCE)

    def test_a_cycle_with_a_method_of_its_owner(self):
        """Against a thread that keeps the function alive, and it the dispatcher."""
        name = new_name("function")
        owner = Owner(name)
        caller = self.caller(name)
        self.assertEqual(caller.call(1, timeout=PATIENCE), 2)
        references = [weakref.ref(owner), weakref.ref(owner.dispatcher)]
        del owner
        time.sleep(0.05)
        gc.collect()
        self.assertEqual([reference() for reference in references], [None, None])
        self.assertIsGone(caller)

    def test_del_while_a_function_runs(self):
        """Against a call without a reply, and a thread that waits for itself."""
        begun, gate = threading.Event(), threading.Event()
        name = new_name("function")
        dispatcher = HostFunctionDispatcher()
        dispatcher.add(name, lambda value: begun.set() or gate.wait(PATIENCE) and value)
        dispatcher.start()
        caller = self.caller(name)
        handle = caller(5)
        self.assertTrue(begun.wait(PATIENCE))
        del dispatcher
        gate.set()
        self.assertEqual(handle.result(PATIENCE), 5)
        self.assertIsGone(caller)

    def test_one_that_was_never_started(self):
        """Against a destructor that waits for a thread which never was."""
        dispatcher = HostFunctionDispatcher()
        dispatcher.add(new_name("function"), print)
        del dispatcher
        self.assertEqual(threads(), [])


class Exiting(TestCase):
    def test_the_interpreter_ends_without_a_word(self):
        """Against a program that cannot end, or ends with a traceback, because it serves."""
        for code in (
            "d = D(); d.add(n, f); d.start()",
            "d = D(); d.add(n, f)",
            "d = D(); d.add(n, f); d.start(); assert C(n).call(1) == 1",
            "d = D(); d.add(n, f); d.start(); d.close()",
            "d = D(); d.add(n, f); d.start(); d.stop(); d.start()",
            "import builtins; builtins.d = D(); builtins.d.add(n, f); builtins.d.start()",
            "class O:\n def __init__(s): s.d = D(); s.d.add(n, s.g); s.d.start()\n"
            " def g(s): pass\nO(); o = O.__new__(O)",
            "d = D(); d.add(n, lambda: time.sleep(60)); d.start(); c = C(n); c(); time.sleep(.1)",
            "d = D(); d.add(n, f); d.start(); c = C(n); h = c(1)",
            "d = D(); d.add(n, f); d.start()\ndef g():\n c = C(n)\n while True: c.call(1)\n"
            "for _ in range(3): threading.Thread(target=g, daemon=True).start()\ntime.sleep(.1)",
            "d = D(); d.add(n, f)\nthreading.Thread(target=d.run, daemon=True).start()\n"
            "C(n).call(1)",
            "d = D(); d.start(); sys.exit(0)",
            "d = D(); d.add(n, f); d.start()\nimport warnings; warnings.simplefilter('ignore')\n"
            "if os.fork(): os.wait()\nelse: sys.exit(0)",
        ):
            with self.subTest(code=code):
                begin = time.monotonic()
                run(
                    "import os, sys, threading, time\n"
                    "from robot_ipc import HostFunctionDispatcher as D, HostFunctionCaller as C\n"
                    "n = sys.argv[1]\nf = lambda value: value\n" + code,
                    new_name("function"),
                )
                self.assertLess(time.monotonic() - begin, 10)

    def test_callers_know_that_the_process_has_ended(self):
        """Against callers that wait for a dispatcher whose thread froze at the exit."""
        code = """import sys, threading, time, robot_ipc
dispatcher = robot_ipc.HostFunctionDispatcher()
dispatcher.add(sys.argv[1], lambda value: time.sleep(.2) or value)
dispatcher.start()
sys.stdin.readline()"""
        name = new_name("function")
        process = self.start(code, name, stdin=subprocess.PIPE)
        caller = self.caller(name)
        self.assertEqual(caller.call(1, timeout=PATIENCE), 1)
        running, queued = caller(2), caller(3)
        time.sleep(0.05)
        output, errors = process.communicate("end\n", timeout=PATIENCE)
        self.assertEqual((process.returncode, output, errors), (0, "", ""))
        try:
            self.assertEqual(running.result(PATIENCE), 2)  # it had a moment to end
        except robot_ipc.DispatcherDied:
            pass  # too short on a machine that stood still
        self.assertRaises(robot_ipc.NotServed, queued.result, PATIENCE)

    def test_atexit_functions_may_still_call(self):
        """Against an order of ends that depends on luck: a function of the program's own,
        registered after the import, comes first."""
        code = """import atexit, sys, robot_ipc
dispatcher = robot_ipc.HostFunctionDispatcher()
dispatcher.add(sys.argv[1], lambda: "served")
dispatcher.start()
caller = robot_ipc.HostFunctionCaller(sys.argv[1])
atexit.register(lambda: print(caller.call(timeout=20)))"""
        self.assertEqual(run(code, new_name("function")), "served\n")


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

    def test_a_childs_copy_does_nothing(self):
        """Against a child whose close, or end, takes the functions from its parent."""
        dispatcher = self.dispatcher()
        name = new_name("function")
        dispatcher.add(name, lambda: os.getpid())
        dispatcher.start()
        caller = self.caller(name)
        self.assertEqual(caller.call(timeout=PATIENCE), os.getpid())
        parent = os.getpid()

        def child():
            assert "process {}".format(parent) in repr(dispatcher)
            for use in (
                dispatcher.start,
                dispatcher.run,
                lambda: dispatcher.add(name + "x", print),
                lambda: dispatcher.remove(name),
                dispatcher.__enter__,
            ):
                try:
                    use()
                except robot_ipc.Forked as error:
                    assert str(parent) in str(error)
                else:
                    raise AssertionError(use)
            dispatcher.stop()
            assert HostFunctionCaller(name).call(timeout=PATIENCE) == parent
            dispatcher.close()
            dispatcher.__del__()
            assert HostFunctionCaller(name).call(timeout=PATIENCE) == parent
            mine = HostFunctionDispatcher()
            mine.add(name + "-child", lambda: os.getpid())
            mine.start()
            assert HostFunctionCaller(name + "-child").call(timeout=PATIENCE) == os.getpid()

        self.assertEndsWell(self.fork(child))
        self.assertEqual(caller.call(timeout=PATIENCE), parent)

    def test_a_function_that_forks(self):
        """Against a child that replies, too, or complains that it cannot, or goes on serving
        in its parent's place."""
        dispatcher = self.dispatcher()
        name = new_name("function")

        class Complaint(logging.Handler):
            def emit(self, record):
                os._exit(1)

        def foo():
            pid = os.fork()
            if pid == 0:
                logging.getLogger("robot_ipc").addHandler(Complaint())
                return "child"
            return "parent", os.waitpid(pid, 0)[1]

        dispatcher.add(name, foo)
        dispatcher.start()
        caller = self.caller(name)
        for _ in range(3):
            self.assertEqual(caller.call(timeout=PATIENCE), ("parent", 0))

    def test_forking_while_it_works(self):
        """Against a child that inherits a lock which nobody will open."""
        caller = self.serve(lambda value: value)
        is_over = False

        def use():
            while not is_over:
                assert caller.call(1, timeout=PATIENCE) == 1

        working = [self.in_thread(use) for _ in range(2)]
        try:
            for number in range(20):

                def child():
                    signal.alarm(20)
                    assert not caller._handle.is_exchanging()  # what the threads did is over
                    assert caller.call(number, timeout=PATIENCE) == number
                    caller(5)
                    assert caller.get_response(PATIENCE) == 5

                self.assertEndsWell(self.fork(child))
        finally:
            is_over = True
        eventually(lambda: all(working), "the threads end")
        self.assertEqual([outcome[0] for outcome in working], [(None, None)] * 2)


if __name__ == "__main__":
    unittest.main()
