"""Host functions between processes that are killed, interrupted, forked and restarted; and
callers that many threads use."""

import multiprocessing
import os
import signal
import subprocess
import time
import unittest

from support import (  # noqa: F401
    PATIENCE,
    TestCase,
    environment,
    eventually,
    new_name,
    setUpModule,
    tearDownModule,
)
import robot_ipc
from robot_ipc import HostFunctionCaller

# Serves a function that says in a variable that it runs, and what it was given.
SLOW = """
running = robot_ipc.HostVariable(name + "-running")
ran = robot_ipc.HostVariable(name + "-ran")
def foo(value, seconds=0):
    running.data = value
    ran.update(lambda values: values + [value], default=[])
    time.sleep(seconds)
    return value, os.getpid()
dispatcher.add(name, foo)
"""


def check_answers(name, me, times):
    caller = HostFunctionCaller(name)
    for number in range(times):
        assert caller.call(me, number, timeout=PATIENCE) == (me, number)


def check_answers_with(caller, me, times):
    for number in range(times):
        assert caller.call(me, number, timeout=PATIENCE) == (me, number)


class Kills(TestCase):
    def running(self, name):
        """What the function runs, or ran last; None if it has not run."""
        variable = self.open(name + "-running")
        return lambda: variable.read(default=None)

    def test_a_dispatcher_killed_in_the_middle_of_a_call(self):
        """Against a caller that hangs, and one that has to be made anew."""
        name = new_name("function")
        running = self.running(name)
        first = self.server(SLOW, name)
        caller = self.caller(name)
        self.assertEqual(caller.call("before", timeout=PATIENCE), ("before", first.pid))
        delays = []
        for ask in ("result", "get_response", "call", "done"):
            asked = []
            if ask == "call":
                asked = self.in_thread(lambda: caller.call(ask, 60))
            else:
                handle = caller(ask, 60)
                if ask == "done":
                    asked = self.in_thread(lambda: eventually(handle.done, "done"))
                elif ask == "result":
                    asked = self.in_thread(handle.result)
                else:
                    asked = self.in_thread(caller.get_response)
            eventually(lambda: running() == ask, "it runs")
            first.kill()
            begin = time.monotonic()
            eventually(lambda: asked, "it was told")
            delays.append(time.monotonic() - begin)
            if ask == "done":
                self.assertEqual(asked, [(None, None)])
                asked = self.in_thread(handle.result)
                eventually(lambda: asked, "it was told")
            self.assertIsInstance(asked[0][0], robot_ipc.DispatcherDied)
            for part in (name, "may or may not"):
                self.assertIn(part, str(asked[0][0]))
            first = self.server(SLOW, name)
            self.assertEqual(caller.call("after", timeout=PATIENCE), ("after", first.pid))
        self.assertLess(min(delays), 0.5)  # the promise, on a machine that is not too busy

    def test_an_idle_forked_child_of_a_killed_dispatcher(self):
        """Against a child that keeps its dead parent alive in the eyes of callers."""
        name = new_name("function")
        running = self.running(name)
        body = SLOW + "child = os.fork()\nif child == 0: time.sleep(60); os._exit(0)\n"
        body += "robot_ipc.HostVariable(name + '-child').data = child\n"
        server = self.server(body, name)
        child = self.open(name + "-child").data
        self.addCleanup(os.kill, child, signal.SIGKILL)
        handle = self.caller(name)("x", 60)
        eventually(lambda: running() == "x", "it runs")
        server.kill()
        begin = time.monotonic()
        self.assertRaises(robot_ipc.DispatcherDied, handle.result, PATIENCE)
        self.assertLess(time.monotonic() - begin, 5)

    def test_a_call_is_served_by_the_next_dispatcher(self):
        """Against a call that is lost because nobody served it yet, or because its dispatcher
        died before it started."""
        name = new_name("function")
        caller = self.caller(name)
        handle = caller("early")
        first = self.server(SLOW, name)
        self.assertEqual(handle.result(PATIENCE), ("early", first.pid))
        running = self.running(name)
        dying, queued = caller("dying", 60), caller("queued")
        eventually(lambda: running() == "dying", "it runs")
        first.kill()
        second = self.server(SLOW, name)
        self.assertRaises(robot_ipc.DispatcherDied, dying.result, PATIENCE)
        try:
            self.assertEqual(queued.result(PATIENCE), ("queued", second.pid))
        except robot_ipc.NotServed:
            pass  # the second one took longer than a second to come

    def test_nobody_serves_it_any_more(self):
        """Against a wait without end for a dispatcher that has gone."""
        name = new_name("function")
        server = self.server(SLOW, name)
        caller = self.caller(name)
        self.assertEqual(caller.call(1, timeout=PATIENCE), (1, server.pid))
        running = self.running(name)
        dying, queued = caller("dying", 60), caller("queued")
        eventually(lambda: running() == "dying", "it runs")
        server.kill()
        self.assertRaises(robot_ipc.DispatcherDied, dying.result, PATIENCE)
        error = self.assertRaisesWith(
            robot_ipc.NotServed, [name, "nobody serves", "will not run"], queued.result, PATIENCE
        )
        self.assertNotIsInstance(error, TimeoutError)
        self.server(SLOW, name)
        self.assertEqual(caller.call("last", timeout=PATIENCE)[0], "last")
        self.assertNotIn("queued", self.open(name + "-ran").data)

    def test_withdrawn_calls_never_run_across_a_restart(self):
        """Against a robot that moves on commands of senders that gave up, closed or died."""
        name = new_name("function")
        running = self.running(name)
        first = self.server(SLOW, name)
        caller = self.caller(name)
        busy = caller("busy", 60)
        eventually(lambda: running() == "busy", "it runs")
        self.assertRaises(robot_ipc.TimedOut, caller.call, "timed out", timeout=0.05)
        self.assertTrue(caller("cancelled").cancel())
        with self.caller(name) as other:
            other("closed")
        code = """import os, sys, time, robot_ipc
caller = robot_ipc.HostFunctionCaller(sys.argv[1])
caller(sys.argv[2])
print("called", flush=True)
time.sleep(60)"""
        sender = self.start(code, name, "died")
        self.assertEqual(sender.stdout.readline(), "called\n")
        sender.kill()
        sender.wait()
        first.kill()
        first.wait()
        self.server(SLOW, name)
        self.assertRaises(robot_ipc.DispatcherDied, busy.result, PATIENCE)
        for number in range(20):
            self.assertEqual(caller.call(number, timeout=PATIENCE)[0], number)
        self.assertEqual(self.open(name + "-ran").data, ["busy"] + list(range(20)))

    def test_one_way_calls_outlive_their_caller(self):
        """Against a one-way call that is withdrawn, like one that wants a response."""
        name = new_name("function")
        code = """import os, signal, sys, robot_ipc
caller = robot_ipc.HostFunctionCaller(sys.argv[1], max_sz_ret=0)
for number in range(5): caller(sys.argv[2], number)
if sys.argv[2] == "killed": os.kill(os.getpid(), signal.SIGKILL)"""
        keeper = self.caller(name, max_sz_ret=0)
        for end in ("exited", "killed"):
            self.start(code, name, end).wait()
        seen = []
        dispatcher = self.dispatcher()
        dispatcher.add(name, lambda *arguments: seen.append(arguments), max_sz_ret=0)
        dispatcher.start()
        eventually(lambda: len(seen) == 10, "all were delivered")
        expected = [(end, number) for end in ("exited", "killed") for number in range(5)]
        self.assertEqual(seen, expected)
        self.assertIsNone(keeper.get_response())

    def test_killed_callers_leave_no_cell_taken(self):
        """Against a tunnel that becomes full of the dead."""
        caller = self.serve(lambda value: value, cells=5)
        code = """import os, signal, sys, robot_ipc
caller = robot_ipc.HostFunctionCaller(sys.argv[1])
for number in range(3): caller(number)
if sys.argv[2] == "1": caller.get_response()
os.kill(os.getpid(), signal.SIGKILL)"""
        for number in range(8):
            self.start(code, caller.name, number % 2).wait()
            self.assertEqual(caller.call(number, timeout=PATIENCE), number)


INTERRUPTED = """import logging, os, signal, sys, threading, time, robot_ipc
logging.disable()
name = sys.argv[1]
caller = robot_ipc.HostFunctionCaller(name, send_timeout=None, cells=4)
dispatcher = robot_ipc.HostFunctionDispatcher()
print("ready", flush=True)
try:
    {}
except KeyboardInterrupt:
    print("interrupted", flush=True)
{}
"""


class Interrupts(TestCase):
    def interrupted(self, name, code, afterwards="", delay=0.15):
        """Ctrl-C in a process that runs `code`; what it prints afterwards."""
        process = self.started(name, code, afterwards)
        time.sleep(delay)
        return self.interrupt(process)

    def started(self, name, code, afterwards=""):
        code = INTERRUPTED.replace("{}", code, 1).replace("{}", afterwards, 1)
        process = self.start(code, name)
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def interrupt(self, process):
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
        self.assertLess(time.monotonic() - begin, 5)
        self.assertEqual((process.returncode, errors), (0, ""))
        self.assertTrue(output.startswith("interrupted\n"), output)
        return output[len("interrupted\n") :]

    def test_ctrl_c_in_every_wait(self):
        """Against a program that cannot be ended while it waits."""
        codes = (
            "caller(1).result()",
            "caller(1).result(timeout=60)",
            "caller(1); caller.get_response()",
            "caller.call(1)",
            "caller.call(1, timeout=60)",
            "[caller(number) for number in range(9)]",
            "dispatcher.run()",
            "dispatcher.run(timeout=60)",
            "dispatcher.start(); dispatcher._thread.join()",
            "import asyncio\n    async def main(): await caller(1)\n    asyncio.run(main())",
        )
        for delay in (0.15, 1.3):  # in the short slices, and in the long ones
            processes = [self.started(new_name("function"), code) for code in codes]
            time.sleep(delay)
            for code, process in zip(codes, processes):
                with self.subTest(code=code, delay=delay):
                    self.interrupt(process)

    def test_an_interrupted_call_never_starts(self):
        """Against a command that runs when its sender has been interrupted; and against a
        wait that takes the call back, too."""
        name = new_name("function")
        after = "dispatcher.add(name, lambda *a: print(*a, flush=True), cells=4)\n"
        after += "dispatcher.run(0.3)"
        self.assertEqual(self.interrupted(name, "caller.call('call')", after), "")
        code = "handle = caller('handle'); handle.result()"
        self.assertEqual(self.interrupted(name, code, after), "handle\n")
        code = "caller('get_response'); caller.get_response()"
        self.assertEqual(self.interrupted(name, code, after), "get_response\n")
        code = "for number in range(9): caller(number)"
        self.assertEqual(self.interrupted(name, code, after), "0\n1\n")

    def test_ctrl_c_in_a_function(self):
        """Against a caller that hangs because somebody ended its dispatcher by hand."""
        name = new_name("function")
        caller = self.caller(name, cells=4)
        handle, queued = caller(60), caller(0)
        output = self.interrupted(
            name,
            "dispatcher.add(name, time.sleep, cells=4); dispatcher.run()",
            "print(repr(dispatcher).count('stopped'))",
            delay=0.5,
        )
        self.assertEqual(output, "1\n")
        error = self.assertRaisesWith(
            robot_ipc.RemoteError, ["KeyboardInterrupt"], handle.result, PATIENCE
        )
        self.assertEqual(error.type_name, "KeyboardInterrupt")
        self.assertRaises(robot_ipc.RobotIpcError, queued.result, 0.1)

    def test_a_function_that_raises_it_in_run(self):
        """Against a function that cannot end its program, or takes its caller along."""
        for kind in (KeyboardInterrupt, SystemExit):

            def foo(kind=kind):
                raise kind("now")

            dispatcher = self.dispatcher()
            name = new_name("function")
            dispatcher.add(name, foo)
            caller = self.caller(name)
            handle = caller()
            self.assertRaises(kind, dispatcher.run)
            self.assertRaisesWith(
                robot_ipc.RemoteError, [kind.__name__, "now"], handle.result, PATIENCE
            )
            self.assertIn("stopped", repr(dispatcher))
            handle = caller()
            self.assertRaises(kind, dispatcher.run)
            self.assertRaises(robot_ipc.RemoteError, handle.result, PATIENCE)

    def test_interrupted_all_the_time(self):
        """Against an answer that is lost, or comes for another call, when a signal handler
        raises just when it arrives."""

        class Now(KeyboardInterrupt):
            pass

        def handle(number, frame):
            raise Now

        caller = self.serve(lambda value: value)
        before = signal.signal(signal.SIGALRM, handle)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        interrupts = 0
        for number in range(600):
            for call in (caller(number), caller(-number)):
                answer, delay = None, 1e-6 + 2e-6 * (number % 60)
                while answer is None:
                    delay *= 1.3
                    try:
                        signal.setitimer(signal.ITIMER_REAL, delay)
                        answer = call.result(PATIENCE)
                        signal.setitimer(signal.ITIMER_REAL, 0)
                    except Now:
                        interrupts += 1
                        answer = None
                self.assertEqual(abs(answer), number)
                self.assertEqual(call.result(), answer)
        # By order, and without handles. An answer is on its way back to here until it is in
        # the list: that step is Python's own.
        for number in range(600):
            caller(number)
            caller(number + 0.5)
            answers, delay = [], 1e-6 + 2e-6 * (number % 60)
            while len(answers) < 2:
                delay *= 1.3
                try:
                    signal.setitimer(signal.ITIMER_REAL, delay)
                    answers.extend(map(caller.get_response, (PATIENCE,)))
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except Now:
                    interrupts += 1
            self.assertEqual(answers, [number, number + 0.5])
        self.assertGreater(interrupts, 50)

    def test_a_signal_handler_that_calls(self):
        """Against a handler that comes between a call and its answer, and deadlocks, or takes
        what it interrupted."""
        caller = self.serve(lambda value: value)
        seen = []

        def handle(number, frame):
            mark = ("handler", len(seen))
            seen.append(caller.call(mark, timeout=PATIENCE) == mark)

        before = signal.signal(signal.SIGALRM, handle)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        end = time.monotonic() + 0.7
        number = 0
        while time.monotonic() < end:
            number += 1
            self.assertEqual(caller.call(number, timeout=PATIENCE), number)
            handle_of_call = caller(-number)
            self.assertEqual(handle_of_call.result(PATIENCE), -number)
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.assertGreater(len(seen), 20)
        self.assertTrue(all(seen))


class ManyCallers(TestCase):
    def test_threads_share_a_caller(self):
        """Against answers that threads of one process mix up; and against an error about
        answers that nobody fetches while somebody is just about to."""
        caller = self.serve(lambda *arguments: arguments, cells=6)

        def use(me):
            for number in range(150):
                assert caller.call(me, number, timeout=PATIENCE) == (me, number)

        outcomes = [self.in_thread(lambda me=me: use(me)) for me in range(10)]
        eventually(lambda: all(outcomes), "all threads end")
        self.assertEqual([outcome[0] for outcome in outcomes], [(None, None)] * 10)

    def test_handles_of_many_threads(self):
        """Against a response that reaches another thread's handle."""
        caller = self.serve(lambda *arguments: arguments)

        def use(me):
            for number in range(60):
                handles = [caller(me, number, index) for index in range(3)]
                for index in (2, 0, 1):
                    assert handles[index].result(PATIENCE) == (me, number, index)

        outcomes = [self.in_thread(lambda me=me: use(me)) for me in range(4)]
        eventually(lambda: all(outcomes), "all threads end")
        self.assertEqual([outcome[0] for outcome in outcomes], [(None, None)] * 4)

    def test_processes_started_in_every_way(self):
        """Against answers that processes mix up: 43 % of them in the original."""
        name = new_name("function")
        body = "dispatcher.add(name, lambda *arguments: arguments)"
        for _ in range(2):
            self.server(body, name)
        caller = self.caller(name)
        for method in ("fork", "spawn"):
            context = multiprocessing.get_context(method)
            processes = [
                context.Process(target=check_answers, args=(name, "by name", 200)),
                context.Process(target=check_answers_with, args=(caller, "one", 200)),
                context.Process(target=check_answers_with, args=(caller, "two", 200)),
            ]
            for process in processes:
                process.start()
            check_answers_with(caller, method, 200)
            for process in processes:
                process.join(PATIENCE)
                self.assertEqual(process.exitcode, 0, method)

    def test_a_call_stays_with_the_process_that_made_it(self):
        """Against a forked child that gets, or takes away, its parent's answer."""
        caller = self.caller()
        handle = caller("parent")
        known = self.serve(lambda: "known")()
        self.assertEqual(known.result(PATIENCE), "known")
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                assert handle.done()
                for ask in (handle.result, handle.cancel):
                    try:
                        ask()
                    except robot_ipc.Forked as error:
                        assert caller.name in str(error)
                    else:
                        raise AssertionError(ask)
                try:
                    caller.get_response(PATIENCE)
                except robot_ipc.NoCallOutstanding:
                    pass
                else:
                    raise AssertionError("get_response")
                assert known.result() == "known"
                assert caller("child").result(PATIENCE) == "child"
                caller.close()
                code = 0
            finally:
                os._exit(code)
        dispatcher = self.dispatcher()
        dispatcher.add(caller.name, lambda value: value)
        dispatcher.start()
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertEqual(caller.get_response(PATIENCE), "parent")
        self.assertEqual(handle.result(), "parent")

    def test_one_that_never_fetches_holds_up_nobody(self):
        """Against a tunnel that is full of what one process forgot."""
        caller = self.serve(lambda value: value, cells=6)
        code = """import sys, robot_ipc
caller = robot_ipc.HostFunctionCaller(sys.argv[1])
for number in range(4): caller(number)
print("called", flush=True)
sys.stdin.read()"""
        hoarder = self.start(code, caller.name, stdin=subprocess.PIPE)
        self.assertEqual(hoarder.stdout.readline(), "called\n")
        for number in range(50):
            self.assertEqual(caller.call(number, timeout=PATIENCE), number)
        second = self.start(code.replace("4", "2"), caller.name, stdin=subprocess.PIPE)
        self.assertEqual(second.stdout.readline(), "called\n")
        impatient = self.caller(caller.name, send_timeout=0.05)
        self.assertRaisesWith(
            robot_ipc.TunnelFull,
            [
                caller.name,
                "6 cells",
                "process {} has 4".format(hoarder.pid),
                "process {} has 2".format(second.pid),
                "not fetched",
            ],
            impatient,
            1,
        )
        hoarder.kill()
        hoarder.wait()
        self.assertEqual(caller.call(2, timeout=PATIENCE), 2)

    def test_closing_just_before_the_library_is_called(self):
        """Against any use of a caller that does not keep it until the library is done: a
        crash, each time."""
        code = """import sys, robot_ipc
def closing_first(function):
    def call(*arguments):
        calls.append(function)
        if caller is not None: caller.close()
        return function(*arguments)
    return call
caller, calls = None, []
for name in ("_call", "_quick_call", "_call_and_wait", "_next_response", "_quick_next_response", "_response_of",
             "_quick_response_of", "_progress", "_cancel", "_caller_remove"):
    setattr(robot_ipc, name, closing_first(getattr(robot_ipc, name)))
opened = robot_ipc.HostFunctionCaller(sys.argv[1])
handle = opened(1)
caller, calls = opened, []
del opened
try: print({})
except (robot_ipc.Closed, robot_ipc.TimedOut) as error: print(type(error).__name__)
assert calls and caller._handle is None
"""
        changes = {"MALLOC_PERTURB_": "165", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
        for use, expected in (
            ("caller(2)", "Call"),
            ("caller('x' * 70000)", "TooLarge"),
            ("caller.get_response()", "Closed"),
            ("caller.get_response(0.01)", "Closed"),
            ("caller.call(2)", "Closed"),
            ("handle.result()", "Closed"),
            ("handle.done()", "True"),
            ("handle.cancel()", "Closed"),
            ("caller.unlink()", "None"),
        ):
            with self.subTest(use=use):
                process = self.start(
                    code.replace("{}", use), new_name("function"), env=environment(**changes)
                )
                output, errors = process.communicate(timeout=PATIENCE)
                if expected == "TooLarge":
                    self.assertIn("robot_ipc.TooLarge", errors)
                else:
                    self.assertEqual((process.returncode, errors), (0, ""))
                    self.assertIn(expected, output)


if __name__ == "__main__":
    unittest.main()
