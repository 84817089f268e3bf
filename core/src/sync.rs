//! Atomics, from one place.
//!
//! Everything shared between processes is made of [`AtomicU32`]: 32-bit atomics
//! exist on every processor this project runs on, and the same bytes then serve
//! a 32-bit and a 64-bit process at once. Where a processor can load and store them but not
//! swap them (`target_has_atomic`), all that swaps is left out. Under `--cfg robot_ipc_loom` the same
//! names are the model checker's, and the protocols run unchanged on ordinary
//! objects that the checker can watch.
//!
//! Each memory ordering stronger than `Relaxed` stands at a named [`Site`]. In a
//! normal build [`Site::order`] is the identity and costs nothing. In a model
//! one site at a time can be weakened, and a test shows that the checker then
//! finds a broken execution: no ordering is stronger than it has to be without
//! somebody knowing, and none can be dropped unnoticed.

#[cfg(not(robot_ipc_loom))]
pub use core::sync::atomic::{AtomicU32, Ordering, fence};
#[cfg(robot_ipc_loom)]
pub use loom::sync::atomic::{AtomicU32, Ordering, fence};

/// A word of a shared struct that stands for nothing yet. Nobody here reads or
/// writes it; but somebody else may, so it cannot be a plain integer.
#[cfg(not(robot_ipc_loom))]
pub type ReservedWord = AtomicU32;
/// See the other definition: the model checker need not watch it.
#[cfg(robot_ipc_loom)]
pub type ReservedWord = u32;

/// A place in a protocol whose memory ordering (or whose very presence) matters.
///
/// The comment at each use says what must not move across it; the pairs are:
///
/// | this | synchronizes with |
/// |---|---|
/// | [`Publish`](Site::Publish), [`PlainPublish`](Site::PlainPublish) | [`Observe`](Site::Observe), [`ObserveToWrite`](Site::ObserveToWrite) |
/// | [`ReleaseClaim`](Site::ReleaseClaim), [`Unpin`](Site::Unpin), [`Recover`](Site::Recover) | [`Claim`](Site::Claim), [`Pin`](Site::Pin), [`Drain`](Site::Drain), [`FreeLook`](Site::FreeLook) |
/// | [`Drain`](Site::Drain) | [`Claim`](Site::Claim) |
/// | [`EndLease`](Site::EndLease), [`Recover`](Site::Recover) | [`Lease`](Site::Lease), [`LeaseCheck`](Site::LeaseCheck) |
/// | [`ExclusivePublish`](Site::ExclusivePublish) | [`Observe`](Site::Observe); by the order of all, [`PinOrder`](Site::PinOrder) and [`ExclusiveOrder`](Site::ExclusiveOrder) |
/// | [`BusyFence`](Site::BusyFence) | [`ValidateFence`](Site::ValidateFence), [`VersionFence`](Site::VersionFence) |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// A writer takes a slot's owner word from 0.
    Claim,
    /// A writer looks whether the slot it claimed has become the latest.
    Recheck,
    /// A fence between marking a slot busy and changing its payload.
    BusyFence,
    /// A writer makes its slot the latest.
    Publish,
    /// A writer lets go of its slot.
    ReleaseClaim,
    /// A writer reads the latest version, to count on from it.
    ObserveToWrite,
    /// A reader learns which slot is the latest.
    Observe,
    /// A reader looks whether the slot holds the very value that was promised.
    Promise,
    /// A fence between copying a payload and looking at its stamp again.
    ValidateFence,
    /// A reader looks whether the slot was left alone while it was copied.
    Validate,
    /// The same look as `Promise`, for the version alone.
    VersionPromise,
    /// The same fence, between the halves of a version and its stamp.
    VersionFence,
    /// The same look as `Validate`, for the version alone.
    VersionValidate,
    /// A borrower sets its bit in a slot's owner word.
    Pin,
    /// A borrower looks whether the slot it pinned is still the latest.
    PinRecheck,
    /// A borrower clears its bit.
    Unpin,
    /// A reaper clears the marks of a dead participant.
    Recover,
    /// A writer becomes the only one.
    Lease,
    /// It makes sure that no other one is at work any more.
    Drain,
    /// It gives that back.
    EndLease,
    /// Another writer, which has just claimed a slot, looks whether there is one.
    LeaseCheck,
    /// The only writer looks for a slot that nobody has pinned.
    FreeLook,
    /// It does so after it has published the value before.
    ExclusiveOrder,
    /// As `BusyFence`, for the only writer.
    ExclusiveBusyFence,
    /// As `Publish`, for the only writer.
    ExclusivePublish,
    /// A borrower looks at the latest word after it has set its bit.
    PinOrder,
    /// As `Publish`, for a writer that only loads and stores.
    PlainPublish,
    /// The surroundings say that a participant is dead. Only models have this in
    /// their hands: see [`try_take`](crate::Environment::try_take).
    #[cfg(robot_ipc_loom)]
    Proof,
}

/// The same for the tunnel of a host function.
///
/// | this | synchronizes with |
/// |---|---|
/// | [`Submit`](TunnelSite::Submit) | [`Scan`](TunnelSite::Scan), [`Take`](TunnelSite::Take), [`ScanToRecover`](TunnelSite::ScanToRecover), [`ScanToTell`](TunnelSite::ScanToTell) |
/// | [`Ticket`](TunnelSite::Ticket) | [`Tickets`](TunnelSite::Tickets) |
/// | [`Finish`](TunnelSite::Finish) | [`See`](TunnelSite::See) |
/// | [`Free`](TunnelSite::Free) | [`Draft`](TunnelSite::Draft) |
/// | [`Ring`](TunnelSite::Ring) | [`ListenForCalls`](TunnelSite::ListenForCalls), [`ListenForRoom`](TunnelSite::ListenForRoom) |
/// | [`RetireBells`](TunnelSite::RetireBells) | [`ListenForRoom`](TunnelSite::ListenForRoom) |
/// | [`RetireCells`](TunnelSite::RetireCells) | [`Arm`](TunnelSite::Arm) |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelSite {
    /// A caller takes a free cell.
    Draft,
    /// A caller takes its place in the order.
    Ticket,
    /// A caller hands its arguments over.
    Submit,
    /// A dispatcher looks how many tickets were given out, before it looks at the cells.
    Tickets,
    /// It does not count those as past while a call is being made.
    BeingMade,
    /// A dispatcher looks for the oldest call.
    Scan,
    /// A dispatcher looks for it a second time.
    Rescan,
    /// A dispatcher goes on looking until two looks agree.
    Agree,
    /// A dispatcher asks whether the caller lives.
    Ask,
    /// A dispatcher looks whether that could be told: not of a function that is removed.
    StillThere,
    /// A dispatcher takes a call.
    Take,
    /// A dispatcher, or whoever recovers it, hands the outcome over.
    Finish,
    /// A caller looks at its cell.
    See,
    /// A caller looks whether the cell is still that of its call.
    Own,
    /// A cell becomes free.
    Free,
    /// Somebody announces a call, or a free cell.
    Ring,
    /// It is counted, whoever waits.
    Count,
    /// Somebody looks at the bell before it looks for calls.
    ListenForCalls,
    /// Somebody looks at the room word before it looks for a free cell.
    ListenForRoom,
    /// Somebody says that it waits, before it looks once more whether it should.
    Arm,
    /// The end of the function is told to those who listen.
    RetireBells,
    /// The end of the function is told to those who wait for an answer.
    RetireCells,
    /// Whoever recovers the dead looks whose a cell is.
    ScanToRecover,
    /// Whoever tells people about it looks whose a cell is.
    ScanToTell,
    /// As [`Site::Proof`].
    #[cfg(robot_ipc_loom)]
    Proof,
}

macro_rules! sites {
    ($($kind:ident),*) => {$(
        impl $kind {
            /// The ordering to use at this site: `ordering`, except in a model
            /// that weakens exactly this one.
            #[cfg(not(robot_ipc_loom))]
            #[inline(always)]
            #[must_use]
            pub const fn order(self, ordering: Ordering) -> Ordering {
                ordering
            }

            /// Whether the step at this site is carried out: always, except in
            /// a model that leaves exactly this one out.
            #[cfg(not(robot_ipc_loom))]
            #[inline(always)]
            #[must_use]
            pub const fn present(self) -> bool {
                true
            }

            /// See the other definition: a model may weaken this site.
            #[cfg(robot_ipc_loom)]
            #[must_use]
            pub fn order(self, ordering: Ordering) -> Ordering {
                if weakened::is(self) { Ordering::Relaxed } else { ordering }
            }

            /// See the other definition: a model may leave this step out.
            #[cfg(robot_ipc_loom)]
            #[must_use]
            pub fn present(self) -> bool {
                !weakened::is(self)
            }
        }
    )*};
}

sites!(Site, TunnelSite);

/// What comes before this is, in the one order of all sequentially consistent
/// operations, before what comes after it.
///
/// The operations on both sides are sequentially consistent themselves, which says
/// just that, so nothing is to be done. The model checker knows no such operations
/// but only such fences, and here is one.
#[cfg(not(robot_ipc_loom))]
#[inline(always)]
pub fn sequential(_site: Site) {}
/// See the other definition.
#[cfg(robot_ipc_loom)]
pub fn sequential(site: Site) {
    if site.present() {
        fence(Ordering::SeqCst);
    }
}

/// Which site a model weakens. The checker runs every modelled thread on the
/// thread that called it, so a thread-local of std reaches all of them.
#[cfg(robot_ipc_loom)]
pub mod weakened {
    use super::{Site, TunnelSite};
    extern crate std;
    use core::cell::Cell;

    /// A site of either protocol.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum AnySite {
        /// Of a host variable.
        Variable(Site),
        /// Of the tunnel of a host function.
        Tunnel(TunnelSite),
    }

    impl From<Site> for AnySite {
        fn from(site: Site) -> Self {
            AnySite::Variable(site)
        }
    }

    impl From<TunnelSite> for AnySite {
        fn from(site: TunnelSite) -> Self {
            AnySite::Tunnel(site)
        }
    }

    std::thread_local! {
        static WEAKENED: Cell<Option<AnySite>> = const { Cell::new(None) };
    }

    /// Weakens `site` (or none) in all models this thread runs from now on.
    pub fn set(site: Option<AnySite>) {
        WEAKENED.with(|cell| cell.set(site));
    }

    pub(super) fn is(site: impl Into<AnySite>) -> bool {
        let site = site.into();
        WEAKENED.with(|cell| cell.get() == Some(site))
    }
}
