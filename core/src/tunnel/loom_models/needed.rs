//! What shows that each ordering is needed: without it a model fails.

use super::calls::*;
use super::sleepers::*;
use super::*;
use crate::sync::weakened;
use std::string::String;

/// Expects that `model` fails when `site` is weakened, and by what it asserts.
fn fails_without(site: TunnelSite, model: fn()) {
    weakened::set_tunnel(Some(site));
    let outcome = catch_unwind(|| check(model));
    weakened::set_tunnel(None);
    let failure = outcome.expect_err("no execution fails without it");
    let message = failure
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| failure.downcast_ref::<&str>().copied())
        .unwrap_or_default();
    assert!(
        !message.contains("exceeded"),
        "the checker gave up: {message}"
    );
}

macro_rules! each_site_is_needed {
    (
        not caught: [$($not_caught:ident),*];
        $($(#[$against:meta])* $name:ident: $site:ident in $model:ident;)*
    ) => {
        $($(#[$against])* #[test] fn $name() {
            fails_without(TunnelSite::$site, $model);
        })*

        /// What no model needs: weakened alone, it breaks nothing.
        const NOT_CAUGHT: &[TunnelSite] = &[$(TunnelSite::$not_caught),*];

        /// A site that is in no model, or in both lists, does not compile.
        #[deny(unreachable_patterns)]
        const _: fn(TunnelSite) = |site| match site {
            $(TunnelSite::$site => (),)*
            $(TunnelSite::$not_caught => (),)*
        };
    };
}

each_site_is_needed! {
    // The look before it has acquired the very word that it compares: a ready
    // word of one generation comes from one submit only, and the flag that its
    // caller sets goes on with the same release sequence.
    not caught: [Take];

    /// Against putting something in while the last user is still taking it out.
    without_acquire_a_draft_begins_too_early: Draft in cell_used_by_another;
    /// Against a call whose arguments are not in yet.
    without_release_a_call_is_ready_too_early: Submit in question_and_answer;
    /// Against an order by the tickets of former calls.
    without_acquire_a_scan_finds_old_tickets: Scan in two_calls_forward;
    /// Against an answer that is announced before it is in.
    without_release_an_answer_comes_too_early: Finish in question_and_answer;
    /// Against fetching what was answered before.
    without_acquire_an_old_answer_is_fetched: See in question_and_answer;
    /// Against a cell that is free while its user is still taking something out.
    without_release_a_cell_is_free_too_early: Free in cell_used_again;
    /// Against a bell that rings before there is a call.
    without_release_a_bell_rings_too_early: Ring in sleeping_dispatcher;
    /// Against looking for calls before looking at the bell.
    without_acquire_a_bell_is_heard_too_late: Listen in sleeping_dispatcher;
}

/// Against a site that is called unneeded although a model needs it by now.
#[test]
fn what_is_not_caught_breaks_nothing() {
    for site in NOT_CAUGHT {
        weakened::set_tunnel(Some(*site));
        check(question_and_answer);
        check(cell_used_by_another);
        check(two_calls_forward);
        check(two_dispatchers);
        check(withdrawal);
        weakened::set_tunnel(None);
    }
}
