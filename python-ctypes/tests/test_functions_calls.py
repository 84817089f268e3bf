"""Calls of host functions: handles, order, withdrawing, one-way calls."""

import asyncio
import copy
import pickle
import threading
import time
import unittest

from support import (  # noqa: F401
    PATIENCE,
    TestCase,
    eventually,
    new_name,
    setUpModule,
    tearDownModule,
)
import robot_ipc
from robot_ipc import Call, HostFunctionCaller


class Handles(TestCase):
    def test_a_call_returns_before_anybody_serves_it(self):
        """Against a call that waits for the function, or is lost without a dispatcher."""
        caller = self.caller()
        handle = caller(20, b=1)
        self.assertIsInstance(handle, Call)
        self.assertFalse(handle.done())
        dispatcher = self.dispatcher()
        dispatcher.add(caller.name, lambda a, b: a + b)
        dispatcher.start()
        self.assertEqual(handle.result(PATIENCE), 21)
        self.assertTrue(handle.done())

    def test_each_handle_speaks_of_its_own_call(self):
        """Against an answer that goes to whoever asks first."""
        caller = self.serve(lambda value: value)
        handles = [caller(number) for number in range(10)]
        for number in (7, 0, 9, 3, 3, 7):
            self.assertEqual(handles[number].result(PATIENCE), number)
        for number, handle in enumerate(handles):
            self.assertEqual(handle.result(PATIENCE), number)

    def test_asking_again_gives_the_same_again(self):
        """Against a second question that hangs, or is answered by None."""
        caller = self.serve(lambda value: [1 // value])
        handle = caller(1)
        first = handle.result(PATIENCE)
        self.assertEqual(first, [1])
        self.assertIs(handle.result(), first)
        failing = caller(0)
        for _ in range(3):
            self.assertRaises(robot_ipc.RemoteError, failing.result, PATIENCE)

    def test_get_response_leaves_the_answer_to_its_handle_too(self):
        """Against a handle that says None because get_response was first."""
        caller = self.serve(lambda value: [1 // value])
        handles = [caller(1), caller(0), caller(-1)]
        first = caller.get_response(PATIENCE)
        self.assertRaises(robot_ipc.RemoteError, caller.get_response, PATIENCE)
        self.assertEqual(caller.get_response(PATIENCE), [-1])
        self.assertIs(handles[0].result(), first)
        self.assertRaises(robot_ipc.RemoteError, handles[1].result)
        self.assertEqual(handles[2].result(), [-1])

    def test_what_a_handle_fetched_is_not_fetched_again(self):
        """Against get_response that returns an answer twice."""
        caller = self.serve(lambda value: value)
        handles = [caller(number) for number in range(3)]
        self.assertEqual(handles[0].result(PATIENCE), 0)
        self.assertEqual(caller.get_response(PATIENCE), 1)
        self.assertEqual(handles[2].result(PATIENCE), 2)
        self.assertRaises(robot_ipc.NoCallOutstanding, caller.get_response)

    def test_done_changes_nothing(self):
        """Against a question that takes the answer out of the order."""
        caller = self.serve(lambda value: value)
        handle = caller(5)
        eventually(handle.done, "the call has ended")
        self.assertEqual(caller.get_response(PATIENCE), 5)
        self.assertTrue(handle.done())

    def test_get_response_leaves_the_answer_to_call_too(self):
        """Against a call that says None because a thread that asked by order was first."""
        running, go_on = threading.Event(), threading.Event()

        def slow(value):
            running.set()
            go_on.wait(PATIENCE)
            return [value]

        caller = self.serve(slow)
        fetched = threading.Event()
        call_and_wait = robot_ipc._call_and_wait

        def call_and_be_late(*arguments):
            status = call_and_wait(*arguments)
            self.assertTrue(fetched.wait(PATIENCE))
            return status

        robot_ipc._call_and_wait = call_and_be_late
        self.addCleanup(setattr, robot_ipc, "_call_and_wait", call_and_wait)
        outcomes = self.in_thread(lambda: caller.call(5))
        self.assertTrue(running.wait(PATIENCE))
        time.sleep(0.1)  # longer than it waits in one step
        go_on.set()
        self.assertEqual(caller.get_response(PATIENCE), [5])
        fetched.set()
        eventually(lambda: outcomes, "the call has returned")
        self.assertEqual(outcomes, [(None, [5])])
        self.assertEqual(dict(caller._early), {})
        self.assertEqual(caller.call(6), [6])

    def test_what_call_leaves_behind_when_others_ask_by_order(self):
        """Against answers that pile up because somebody might have called for them."""
        running, go_on = threading.Event(), threading.Event()

        def slow(value):
            if value:
                running.set()
                go_on.wait(PATIENCE)
            return [value]

        caller = self.serve(slow)
        caller(0)  # its handle is nobody's
        outcomes = self.in_thread(lambda: caller.call(1))
        self.assertTrue(running.wait(PATIENCE))
        self.assertEqual(caller.get_response(PATIENCE), [0])
        self.assertEqual(len(caller._early), 1)
        go_on.set()
        eventually(lambda: outcomes, "the call has returned")
        self.assertEqual(outcomes, [(None, [1])])
        self.assertEqual(len(caller._early), 0)

    def test_a_call_that_fails_takes_no_other_back(self):
        """Against a call that failed, and withdraws the one that another thread makes with
        what it has just put back."""
        running, go_on = threading.Event(), threading.Event()

        def invert(value):
            if value:
                running.set()
                go_on.wait(PATIENCE)
            return [1 // value]

        caller = self.serve(invert)
        outcomes = []

        class TakenAtOnce(list):
            def append(exchanges, exchange):
                list.append(exchanges, exchange)
                if not outcomes:
                    outcomes.append(self.in_thread(lambda: caller.call(1)))
                    self.assertTrue(running.wait(PATIENCE))

        caller._handle.exchanges = TakenAtOnce()
        self.assertRaises(robot_ipc.RemoteError, caller.call, 0)
        go_on.set()
        eventually(lambda: outcomes[0], "the other call has returned")
        self.assertEqual(outcomes, [[(None, [1])]])

    def test_handles_need_not_be_kept(self):
        """Against a call that ends with its handle."""
        caller = self.serve(lambda value: value)
        for number in range(5):
            caller(number)
        self.assertEqual([caller.get_response(PATIENCE) for _ in range(5)], list(range(5)))

    def test_a_handle_keeps_its_caller(self):
        """Against a call that is withdrawn because its caller was a temporary object."""
        name = self.serve(lambda value: value).name
        self.assertEqual(HostFunctionCaller(name)(3).result(PATIENCE), 3)

    def test_repr_says_how_far_it_is(self):
        """Against an address in a log."""
        caller = self.caller()
        handle = caller(1)
        self.assertEqual(repr(handle), "<Call of {!r}: under way>".format(caller.name))
        handle.cancel()
        self.assertEqual(repr(handle), "<Call of {!r}: cancelled>".format(caller.name))
        caller = self.serve(lambda: 1)
        handle = caller()
        handle.result(PATIENCE)
        self.assertEqual(repr(handle), "<Call of {!r}: ended>".format(caller.name))

    def test_awaiting(self):
        """Against a coroutine that blocks the others, or gets another's answer; and against a
        call that runs although the coroutine that made it was cancelled."""
        caller = self.serve(lambda value: time.sleep(0.01) or value)
        ticks = []

        async def tick():
            while True:
                ticks.append(1)
                await asyncio.sleep(0.001)

        async def main():
            ticking = asyncio.ensure_future(tick())
            answers = [await caller(1)]
            answers += await asyncio.gather(*[caller(number) for number in (2, 3, 4)])
            ticking.cancel()
            with self.assertRaises(robot_ipc.RemoteError):
                await caller("one", "too many")
            waiting = unserved(1)
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(waiting, 0.05)
            self.assertRaises(robot_ipc.Cancelled, waiting.result)
            return answers

        unserved = self.caller()
        self.assertEqual(asyncio.run(main()), [1, 2, 3, 4])
        self.assertGreater(len(ticks), 5)


class Order(TestCase):
    def test_an_older_call_first_though_a_later_one_is_done(self):
        """Against get_response that takes what comes."""
        gate = threading.Event()
        caller = self.serve(lambda value: gate.wait(PATIENCE) and value if value == 1 else value)
        other = self.dispatcher()
        other.add(caller.name, lambda value: gate.wait(PATIENCE) and value if value == 1 else value)
        other.start()
        handles = [caller(1), caller(2)]
        self.assertEqual(handles[1].result(PATIENCE), 2)
        later = caller(3)
        eventually(later.done, "the third call has ended")
        self.assertRaises(robot_ipc.TimedOut, caller.get_response, 0.05)
        gate.set()
        self.assertEqual(caller.get_response(PATIENCE), 1)
        self.assertEqual(caller.get_response(PATIENCE), 3)

    def test_calls_that_end_without_an_answer_are_passed_over(self):
        """Against a wait for an answer that can never come: the original hangs there."""
        caller = self.serve(lambda value: value)
        for value in (None, 1, None, None, 2, None):
            caller(value)
        self.assertEqual([caller.get_response(PATIENCE) for _ in range(3)], [1, 2, None])
        self.assertRaises(robot_ipc.NoCallOutstanding, caller.get_response)

    def test_none_once_if_no_call_brought_an_answer(self):
        """Against None for ever, or an error where None was promised."""
        caller = self.serve(lambda: None)
        handles = [caller() for _ in range(3)]
        self.assertIsNone(caller.get_response(PATIENCE))
        self.assertRaises(robot_ipc.NoCallOutstanding, caller.get_response)
        self.assertEqual([handle.result(PATIENCE) for handle in handles], [None] * 3)
        self.assertIsNone(caller.call(timeout=PATIENCE))

    def test_no_call_at_all(self):
        """Against a wait for a call that nobody made."""
        caller = self.caller()
        error = self.assertRaisesWith(
            robot_ipc.NoCallOutstanding, [caller.name], caller.get_response
        )
        self.assertIn("no call is outstanding", str(error))

    def test_a_thousand_answers_of_none_fill_nothing(self):
        """Against a list of calls that grows, or an end, when nothing is ever fetched."""
        caller = self.serve(lambda: None)
        for _ in range(1000):
            caller()
        self.assertIsNone(caller.get_response(PATIENCE))

    def test_two_threads_fetch_by_order(self):
        """Against an answer that both get, or none."""
        caller = self.serve(lambda value: value)
        seen = [[], []]

        def fetch(mine):
            while sum(map(len, seen)) < 400:
                try:
                    mine.append(caller.get_response(0.1))
                except (robot_ipc.NoCallOutstanding, robot_ipc.TimedOut):
                    time.sleep(0.001)

        outcomes = [self.in_thread(lambda mine=mine: fetch(mine)) for mine in seen]
        for number in range(400):
            eventually(lambda: sum(map(len, seen)) > number - 8, "they fetch")
            caller(number)
        eventually(lambda: all(outcomes), "all was fetched")
        self.assertEqual([outcome[0] for outcome in outcomes], [(None, None)] * 2)
        for mine in seen:
            self.assertEqual(mine, sorted(mine))
        self.assertEqual(sorted(seen[0] + seen[1]), list(range(400)))

    def test_threads_that_wait_for_handles_which_another_one_fetches(self):
        """Against a handle that says None while the thread that got its answer has yet to
        write it down."""
        caller = self.serve(lambda value: value)
        for _ in range(200):
            handles = [caller(number) for number in range(4)]
            asked = [self.in_thread(handle.result) for handle in handles]
            fetched = []
            try:
                while True:
                    fetched.append(caller.get_response(PATIENCE))
            except robot_ipc.NoCallOutstanding:
                pass
            eventually(lambda: all(asked), "all have answers")
            self.assertEqual([outcome[0] for outcome in asked], [(None, n) for n in range(4)])
            self.assertEqual(fetched, sorted(fetched))


class Withdrawing(TestCase):
    def setUp(self):
        self.ran = []

    def serve_later(self, caller, foo=None):
        dispatcher = self.dispatcher()
        dispatcher.add(caller.name, foo or (lambda value: self.ran.append(value) or value))
        dispatcher.start()
        return dispatcher

    def test_a_cancelled_call_never_starts(self):
        """Against a robot that moves on a command which was taken back."""
        caller = self.caller()
        handles = [caller(number) for number in range(3)]
        self.assertTrue(handles[1].cancel())
        self.assertTrue(handles[1].done())
        for _ in range(2):
            error = self.assertRaisesWith(
                robot_ipc.Cancelled, [caller.name, "cancelled"], handles[1].result
            )
        self.assertNotIsInstance(error, TimeoutError)
        self.serve_later(caller)
        self.assertEqual(handles[0].result(PATIENCE), 0)
        self.assertEqual(handles[2].result(PATIENCE), 2)
        self.assertEqual(self.ran, [0, 2])
        self.assertFalse(handles[1].cancel())

    def test_a_running_call_is_cancelled(self):
        """Against an answer that nobody wants and that stays in its cell, or comes later."""
        begun, gate = threading.Event(), threading.Event()

        def foo(value):
            if value == 0:
                begun.set()
                gate.wait(PATIENCE)
            return value

        caller = self.serve(foo, cells=3)  # one call per process
        handle = caller(0)
        self.assertTrue(begun.wait(PATIENCE))
        self.assertFalse(handle.cancel())
        self.assertRaises(robot_ipc.Cancelled, handle.result)
        gate.set()
        self.assertEqual(caller.call(1, timeout=PATIENCE), 1)

    def test_cancelling_what_has_ended(self):
        """Against an answer that is lost although it was known."""
        caller = self.serve(lambda value: value)
        handle = caller(1)
        self.assertEqual(handle.result(PATIENCE), 1)
        self.assertFalse(handle.cancel())
        self.assertEqual(handle.result(), 1)
        unread = caller(2)
        eventually(unread.done, "it has ended")
        self.assertFalse(unread.cancel())
        self.assertEqual(unread.result(), 2)
        without = caller(None)
        self.assertIsNone(caller.get_response(PATIENCE))
        self.assertFalse(without.cancel())
        self.assertIsNone(without.result())

    def test_a_call_whose_time_is_over_never_starts(self):
        """Against a command that runs when its sender has long given up."""
        caller = self.caller()
        error = self.assertRaisesWith(
            robot_ipc.TimedOut,
            [caller.name, "0.05 s", "nobody serves"],
            lambda: caller.call(1, timeout=0.05),
        )
        self.assertIsInstance(error, TimeoutError)
        self.assertRaises(robot_ipc.NoCallOutstanding, caller.get_response)
        self.serve_later(caller)
        self.assertEqual(caller.call(2, timeout=PATIENCE), 2)
        self.assertEqual(self.ran, [2])

    def test_a_wait_whose_time_is_over_withdraws_nothing(self):
        """Against a call that is lost because somebody was impatient."""
        caller = self.caller()
        handle = caller(1)
        caller(2)
        for timeout in (0, 0.02):
            self.assertRaises(robot_ipc.TimedOut, handle.result, timeout)
            self.assertRaises(robot_ipc.TimedOut, caller.get_response, timeout)
        self.serve_later(caller)
        self.assertEqual(handle.result(PATIENCE), 1)
        self.assertEqual(caller.get_response(PATIENCE), 2)

    def test_a_closed_caller_takes_its_calls_back(self):
        """Against a command that runs when its sender has gone."""
        caller = self.caller()
        caller(1)
        handle = caller(2)
        caller.close()
        self.assertRaises(robot_ipc.Closed, handle.result)
        with self.caller(caller.name) as other:
            other(3)
        self.assertRaises(robot_ipc.Closed, other.get_response)
        again = self.caller(caller.name)
        handle = again(4)
        self.serve_later(again)
        self.assertEqual(handle.result(PATIENCE), 4)
        self.assertEqual(self.ran, [4])

    def test_closing_while_other_threads_wait(self):
        """Against a wait that goes on, that ends with None, or that keeps the call alive."""
        caller = self.caller()
        handle = caller(1)
        waiting = [
            self.in_thread(handle.result),
            self.in_thread(caller.get_response),
            self.in_thread(lambda: caller.call(2)),
        ]
        time.sleep(0.05)
        begin = time.monotonic()
        caller.close()
        again = self.caller(caller.name)
        self.serve_later(again)
        self.assertEqual(again.call(3, timeout=PATIENCE), 3)
        self.assertEqual(self.ran, [3])
        eventually(lambda: all(waiting), "all have ended")
        self.assertLess(time.monotonic() - begin, 5)
        self.assertEqual([type(outcome[0][0]) for outcome in waiting], [robot_ipc.Closed] * 3)

    def test_cancelling_while_another_thread_waits(self):
        """Against a wait that ends with None where the call was cancelled."""
        caller = self.caller()
        for _ in range(20):
            handle = caller(1)
            waiting = self.in_thread(handle.result)
            self.assertTrue(handle.cancel())
            eventually(lambda: waiting, "it has ended")
            self.assertIsInstance(waiting[0][0], robot_ipc.Cancelled)

    def test_calls_that_are_too_old(self):
        """Against a command from before the dispatcher was there."""
        caller = self.caller()
        old = caller(1)
        time.sleep(0.25)
        dispatcher = self.dispatcher()
        foo = lambda value: self.ran.append(value) or value  # noqa: E731
        dispatcher.add(caller.name, foo, max_age=0.2)
        dispatcher.start()
        error = self.assertRaisesWith(
            robot_ipc.CallTooOld, [caller.name, "older", "200ms"], old.result, PATIENCE
        )
        self.assertNotIsInstance(error, TimeoutError)
        new = caller(2)
        try:
            self.assertEqual(new.result(PATIENCE), 2)
        except robot_ipc.CallTooOld:
            pass  # a machine that stood still
        self.assertNotIn(1, self.ran)


class OneWay(TestCase):
    def test_there_is_never_a_response(self):
        """Against a wait for what cannot come."""
        ran = []
        caller = self.serve(lambda value: ran.append(value) or value, max_sz_ret=0)
        handle = caller(1)
        self.assertIsNone(handle.result())
        self.assertTrue(handle.done())
        self.assertFalse(handle.cancel())
        self.assertIsNone(caller.get_response())
        self.assertIsNone(caller.call(2))
        eventually(lambda: ran == [1, 2], "both ran")
        self.assertIsNone(caller.get_response())

    def test_many_in_order(self):
        """Against a tunnel that stays full because nobody fetches."""
        ran = []
        caller = self.serve(ran.append, max_sz_ret=0, max_sz_args=64)
        for number in range(2000):
            caller(number)
        eventually(lambda: len(ran) == 2000, "all ran")
        self.assertEqual(ran, list(range(2000)))

    def test_a_closed_caller_leaves_them(self):
        """Against a one-way call that its sender takes along."""
        ran = []
        with self.caller(max_sz_ret=0) as caller:
            for number in range(5):
                caller(number)
        dispatcher = self.dispatcher()
        dispatcher.add(caller.name, ran.append, max_sz_ret=0)
        dispatcher.start()
        eventually(lambda: len(ran) == 5, "all ran")
        self.assertEqual(ran, list(range(5)))

    def test_too_old_ones_are_dropped(self):
        """Against one-way calls from yesterday."""
        ran = []
        with self.caller(max_sz_ret=0) as caller:
            caller("old")
            time.sleep(0.1)
            dispatcher = self.dispatcher()
            dispatcher.add(caller.name, ran.append, max_sz_ret=0, max_age=0.05)
            dispatcher.start()
            end = time.monotonic() + PATIENCE
            while "new" not in ran and time.monotonic() < end:
                caller("new")
                time.sleep(0.01)
        self.assertIn("new", ran)
        self.assertNotIn("old", ran)


class Callers(TestCase):
    def test_a_caller_is_pickled_by_name_with_its_options(self):
        """Against a receiver that opens another function, or the same one otherwise."""
        caller = self.serve(lambda value: value, 100, 90, cells=4)
        caller = self.caller(caller.name, 100, 90, send_timeout=0.5)
        for twin in (pickle.loads(pickle.dumps(caller)), copy.copy(caller)):
            self.assertEqual((twin.name, twin.max_sz_args, twin.max_sz_ret), (caller.name, 100, 90))
            self.assertEqual((twin._send_timeout, twin.cells), (0.5, 4))
            self.assertEqual(twin.call(1, timeout=PATIENCE), 1)
        self.assertRaises(TypeError, pickle.dumps, self.dispatcher())

    def test_a_closed_caller_says_so(self):
        """Against a crash, or a handle that comes back."""
        caller = self.caller()
        caller.close()
        caller.close()
        for use in (
            caller,
            caller.get_response,
            caller.call,
            caller.unlink,
            caller.__enter__,
            lambda: caller.max_sz_args,
            lambda: caller.max_sz_ret,
            lambda: caller.cells,
            lambda: pickle.dumps(caller),
        ):
            error = self.assertRaisesWith(robot_ipc.Closed, [caller.name, "closed"], use)
            self.assertIsInstance(error, ValueError)
        self.assertEqual(repr(caller), "<HostFunctionCaller {!r}: closed>".format(caller.name))
        self.assertEqual((caller.lost_calls, caller.name), (0, caller.name))

    def test_repr_and_misspelt_attributes(self):
        """Against an address in a log, and `caller.timeout = 1`, which would do nothing."""
        caller = self.caller(None, 10, 20, cells=7)
        expected = "<HostFunctionCaller {!r}: max_sz_args 10, max_sz_ret 20, cells 7>"
        self.assertEqual(repr(caller), expected.format(caller.name))
        for name in ("timeout", "name", "max_sz_args", "lost_calls"):
            with self.assertRaises(AttributeError):
                setattr(caller, name, 1)

    def test_unlink(self):
        """Against callers and dispatchers that go on in memory nobody else sees."""
        caller = self.serve(lambda value: value)
        self.assertEqual(caller.call(1, timeout=PATIENCE), 1)
        caller.unlink()
        self.assertRaisesWith(robot_ipc.Retired, [caller.name], caller, 1)
        again = self.caller(caller.name, 10, 20)
        self.assertEqual(again.max_sz_args, 10)

    def test_unlinked_while_calls_wait(self):
        """Against a wait for an answer that can never come."""
        caller = self.caller()
        handle = caller(1)
        other = self.caller(caller.name)
        other(2)
        waiting = [
            self.in_thread(handle.result),
            self.in_thread(other.get_response),
            self.in_thread(lambda: caller.call(3)),
        ]
        time.sleep(0.05)
        self.caller(caller.name).unlink()
        eventually(lambda: all(waiting), "both were told")
        for outcome in waiting:
            self.assertIsInstance(outcome[0][0], robot_ipc.Retired)
        for _ in range(2):
            self.assertRaises(robot_ipc.Retired, handle.result, PATIENCE)

    def test_arguments_that_cannot_be_pickled_are_not_sent(self):
        """Against half a call."""
        caller = self.caller()
        self.assertRaises(Exception, caller, lambda: 1)
        self.assertRaises(Exception, caller.call, lambda: 1)
        self.assertRaises(robot_ipc.NoCallOutstanding, caller.get_response)

    def test_any_keyword_but_timeout(self):
        """Against names of this module's own that functions cannot have."""
        caller = self.serve(lambda **options: sorted(options.items()))
        options = {"args": 1, "name": 2, "self": 3, "timeout": 4}
        self.assertEqual(caller(**options).result(PATIENCE), sorted(options.items()))
        options["timeout"] = PATIENCE
        self.assertEqual(caller.call(**options), sorted(options.items())[:3])
        self.assertRaises(robot_ipc.BadOption, caller.call, timeout=-1)


class Full(TestCase):
    def test_answers_that_this_process_never_fetched(self):
        """Against a tunnel that is stuck because somebody forgot get_response."""
        caller = self.serve(lambda value: value, cells=6)
        handles = [caller(number) for number in range(4)]
        eventually(lambda: all(handle.done() for handle in handles), "all are done")
        begin = time.monotonic()
        error = self.assertRaisesWith(
            robot_ipc.UnfetchedResponses, [caller.name, 4, "get_response"], caller, 4
        )
        self.assertLess(time.monotonic() - begin, 5)
        self.assertNotIsInstance(error, TimeoutError)
        self.assertEqual(caller.get_response(PATIENCE), 0)
        self.assertEqual(caller.call(5, timeout=PATIENCE), 5)
        self.assertEqual(handles[3].result(), 3)

    def test_a_busy_dispatcher(self):
        """Against an error where a moment of patience was enough, or a wait without end."""
        gate = threading.Event()
        caller = self.serve(lambda value: gate.wait(PATIENCE) and value, cells=4)
        caller = self.caller(caller.name, send_timeout=0.1)
        handles = [caller(0), caller(1)]
        self.assertRaisesWith(robot_ipc.TunnelFull, [caller.name, "4 cells"], caller, 2)
        self.assertRaisesWith(
            robot_ipc.TimedOut,
            [caller.name, "not sent within 0.02 s", "4 cells"],
            lambda: caller.call(2, timeout=0.02),
        )
        patient = self.caller(caller.name, send_timeout=None)
        waiting = self.in_thread(lambda: patient.call(3))
        time.sleep(0.05)
        self.assertEqual(waiting, [])
        self.assertTrue(handles[1].cancel())
        gate.set()
        eventually(lambda: waiting, "it was sent and answered")
        self.assertEqual(waiting[0], (None, 3))
        self.assertEqual(handles[0].result(PATIENCE), 0)


if __name__ == "__main__":
    unittest.main()
