//! What shows that each ordering is needed: without it a model fails.

use super::calls::*;
use super::deaths::*;
use super::sleepers::*;
use super::*;
use crate::loom_models::each_site_is_needed;

each_site_is_needed! {
    // The look before it has acquired the very word that it compares: a ready
    // word of one generation comes from one submit only, and the flag that its
    // caller sets goes on with the same release sequence.
    TunnelSite, not caught: [Take]
    in [question_and_answer, cell_used_by_another, two_calls_forward, two_dispatchers, withdrawal];

    /// Against putting something in while the last user is still taking it out.
    without_acquire_a_draft_begins_too_early: Draft in cell_used_by_another;
    /// Against a call whose arguments are not in yet.
    without_release_a_call_is_ready_too_early: Submit in question_and_answer;
    /// Against a call that counts as past while nobody sees that it is being made.
    without_release_a_ticket_is_counted_too_early: Ticket in two_calls_beside_a_count;
    /// The same.
    without_acquire_a_ticket_is_counted_too_early: Tickets in two_calls_beside_a_count;
    /// Against a call that counts as past since it has its ticket.
    without_a_look_at_what_is_being_made_a_call_is_overtaken:
        BeingMade in two_calls_beside_a_count;
    /// Against an order by the tickets of former calls.
    without_acquire_a_scan_finds_old_tickets: Scan in two_calls_forward;
    /// Against a look that passes the first call before it is ready, and finds the
    /// second.
    without_a_second_look_a_call_is_overtaken: Rescan in two_calls_forward;
    /// The same, where the first look found a call that another dispatcher took.
    without_agreement_a_call_is_overtaken: Agree in two_calls_after_another;
    /// Against a robot that moves on the command of somebody who has died.
    without_asking_a_call_of_the_dead_starts: Ask in orders_of_the_dead;
    /// The same, if nobody can tell since the function is being removed.
    without_a_second_look_the_dead_command_to_the_end:
        StillThere in orders_of_the_dead_at_the_end;
    /// Against an answer that is announced before it is in.
    without_release_an_answer_comes_too_early: Finish in question_and_answer;
    /// Against fetching what was answered before.
    without_acquire_an_old_answer_is_fetched: See in question_and_answer;
    /// Against taking the next call in the cell for one's own.
    without_a_look_at_its_numbers_a_call_is_mistaken: Own in withdrawal;
    /// Against a cell that is free while its user is still taking something out.
    without_release_a_cell_is_free_too_early: Free in cell_used_again;
    /// Against a bell that rings before there is a call.
    without_release_a_bell_rings_too_early: Ring in sleeping_dispatcher;
    /// Against a ring that goes unnoticed since nobody was asleep yet.
    without_a_count_a_ring_is_missed: Count in sleeping_dispatcher;
    /// Against looking for calls before looking at the bell.
    without_acquire_a_bell_is_heard_too_late: ListenForCalls in sleeping_dispatcher;
    /// Against looking for a free cell before looking at the room word.
    without_acquire_room_is_seen_too_late: ListenForRoom in sleeping_caller;
    /// Against looking whether the function is still there before one is woken at
    /// its end.
    without_acquire_a_caller_says_too_late_that_it_waits: Arm in retirement_and_a_waiting_caller;
    /// Against a caller that is woken by the end and does not see it.
    without_release_the_end_is_told_too_early:
        RetireBells in retirement_and_a_caller_without_a_cell;
    /// The same, for one that waits for an answer.
    without_release_the_end_is_told_to_callers_too_early:
        RetireCells in retirement_and_a_waiting_caller;
    /// Against ending a call for the death of whoever had its cell before.
    without_acquire_a_recovery_takes_a_stranger_for_the_dead:
        ScanToRecover in recovered_beside_a_strangers_call;
    /// Against telling people that somebody calls who does not.
    without_acquire_a_stranger_is_told_to_call: ScanToTell in told_of_a_strangers_call;
    /// Against a death that is known before what was done in life.
    without_acquire_a_death_hides_that_a_call_was_taken: Proof in told_by_its_own_recovery;
}
