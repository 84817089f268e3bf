//! What shows that each ordering is needed: without it a model fails.

use super::deaths::*;
use super::exclusive::*;
use super::plain::*;
use super::values::*;
use super::*;
use crate::loom_models::each_site_is_needed;

each_site_is_needed! {
    Site, not caught: [] in [];

    /// Against writing a slot in which the last writer is still at work.
    without_acquire_a_claim_takes_the_latest_slot: Claim in two_writers;
    /// Against writing the latest slot, which was another one a moment ago.
    without_a_second_look_a_claim_takes_the_latest_slot: Recheck in two_writers;
    /// Against a payload that is changed before it is marked.
    without_its_fence_the_busy_mark_comes_too_late: BusyFence in writer_and_reader;
    /// Against a word that leads to a payload that is not there yet.
    without_release_a_publication_comes_too_early: Publish in writer_and_reader;
    /// Against a slot that is free before it is known to be the latest.
    without_release_a_claim_ends_too_early: ReleaseClaim in two_writers;
    /// Against counting on from half of an old version.
    without_acquire_a_writer_counts_from_an_old_version: ObserveToWrite in two_writers;
    /// Against reading what lay in the slot before.
    without_acquire_a_reader_finds_an_old_payload: Observe in writer_and_reader;
    /// Against a value that was filled in but is not published yet.
    without_a_look_at_the_version_a_read_runs_ahead: Promise in writer_and_two_reads;
    /// Against checking a stamp before the copy is made.
    without_its_fence_a_copy_is_validated_too_early: ValidateFence in writer_and_reader;
    /// Against a copy that changed while it was made.
    without_a_second_look_a_copy_is_mixed: Validate in writer_and_reader;
    /// Against a version that is not published yet.
    without_a_look_at_the_word_a_version_runs_ahead: VersionPromise in writer_and_watcher;
    /// Against checking a stamp before the version's upper half is read.
    without_its_fence_a_version_is_validated_too_early: VersionFence in writer_and_watcher;
    /// Against a version of two halves that do not belong together.
    without_a_second_look_a_version_is_mixed: VersionValidate in writer_and_watcher;
    /// Against a pin on a slot whose last writer has published unseen.
    without_acquire_a_pin_holds_another_value: Pin in borrower_and_writer;
    /// Against a pin on a slot that got another value before it was set.
    without_a_second_look_a_pin_holds_another_value: PinRecheck in borrower_and_writer;
    /// Against a value that is written while it is still being read in place.
    without_release_a_pin_ends_too_early: Unpin in borrower_and_writer;
    /// Against a recovered slot that is free before it is known to be the latest.
    without_release_a_recovery_hides_a_publication: Recover in recovered_by_another;
    /// Against a lease that begins before the last one has ended.
    without_acquire_a_lease_begins_too_early: Lease in two_leaseholders;
    /// Against a writer that is still at work when another one is the only one.
    without_its_looks_a_lease_is_not_the_only_one: Drain in leaseholder_and_writer;
    /// Against a lease that ends before its values are there.
    without_release_a_lease_ends_too_early: EndLease in leaseholder_and_writer;
    /// Against a slot that the last leaseholder has made the latest.
    without_acquire_a_claim_takes_what_a_leaseholder_published: LeaseCheck in leaseholder_and_writer;
    /// Against a slot that is written while it is being read in place.
    without_acquire_a_leaseholder_writes_what_is_borrowed: FreeLook in leaseholder_and_borrower;
    /// Against looking for a pin before the other value is published.
    without_order_a_leaseholder_overlooks_a_pin: ExclusiveOrder in leaseholder_and_borrower;
    /// Against looking for another value before the pin is set.
    without_order_a_borrower_overlooks_a_publication: PinOrder in leaseholder_and_borrower;
    /// Against a payload that is changed before it is marked.
    without_its_fence_the_leaseholders_mark_comes_too_late: ExclusiveBusyFence in leaseholder_and_reader;
    /// Against a word that leads to a payload that is not there yet.
    without_release_a_leaseholder_publishes_too_early: ExclusivePublish in leaseholder_and_reader;
    /// Against a word that leads to a payload that is not there yet.
    without_release_a_plain_writer_publishes_too_early: PlainPublish in plain_writer_and_reader;
    /// Against a death that is known before what was done in life.
    without_acquire_a_death_hides_a_publication: Proof in recovered_by_another;
}
