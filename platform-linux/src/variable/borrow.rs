//! Values read and written in place, without a copy.

use super::{Deadline, HostVariable, Patience, READ_PATIENCE, Waited};
use crate::error::{Error, Reason, Result};
use crate::fork;
use crate::interrupt::Deferral;
use robot_ipc_core::codec::Encoding;
use robot_ipc_core::variable::{BorrowError, Claim, Details, Pin, Sample};
use robot_ipc_core::words::Words;
use std::borrow::Cow;

/// The generation of a guard that has nothing to give back: no process has it.
const OVER: u32 = 0;

impl HostVariable {
    /// Pins the latest value, to read it where it lies. Until the borrow is
    /// dropped its slot is not written; the variable goes on in the others.
    ///
    /// # Errors
    /// As [`read_into`](HostVariable::read_into); only the first 24 processes
    /// that use a variable can borrow, and two slots always stay for writers.
    #[inline]
    pub fn borrow(&self) -> Result<Borrow<'_>> {
        match self.borrow_once() {
            Ok(borrow) => Ok(borrow),
            Err(error) => self.borrow_patiently(error),
        }
    }

    /// Borrows where that has just failed.
    #[cold]
    #[inline(never)]
    fn borrow_patiently(&self, mut error: Error) -> Result<Borrow<'_>> {
        let deadline = Deadline::new(READ_PATIENCE);
        let mut patience = Patience::new(&deadline);
        loop {
            // Writers are at work, or one is stopped between publishing and
            // letting go.
            let passes = matches!(
                error.reason(),
                Reason::Contended { .. } | Reason::CannotBorrow { passing: true, .. }
            );
            if !passes {
                return Err(error);
            }
            match patience.wait() {
                Waited::GoOn => {}
                Waited::TimeIsUp => return Err(error),
                Waited::Interrupted => return Err(self.error(Reason::Interrupted)),
            }
            match self.borrow_once() {
                Ok(borrow) => return Ok(borrow),
                Err(again) => error = again,
            }
        }
    }

    /// As [`borrow`](HostVariable::borrow), but without waiting for anybody.
    #[inline]
    pub(super) fn borrow_once(&self) -> Result<Borrow<'_>> {
        let me = self.segment().registration("borrow")?;
        let (core, system) = (self.core(), self.segment().system());
        let pins = &me.local.pins;
        match pins.with(|pins| core.pin(&system, me.participant, pins)) {
            Ok(pin) => Ok(Borrow {
                variable: Cow::Borrowed(self),
                generation: me.generation,
                pin,
            }),
            Err(BorrowError::Read(error)) => Err(self.read_error(error)),
            Err(BorrowError::NotAmongTheFirst { .. }) => Err(self.error(Reason::TooManyBorrowers)),
            Err(BorrowError::TooFewSlots) => Err(self.cannot_borrow(false)),
            Err(BorrowError::TooManyPinned) => Err(self.cannot_borrow(false)),
            Err(BorrowError::Crowded) => Err(self.cannot_borrow(true)),
        }
    }

    fn cannot_borrow(&self, passing: bool) -> crate::Error {
        self.error(Reason::CannotBorrow {
            slots: self.slots(),
            passing,
            holders: self.holders(),
        })
    }

    /// Takes a slot to fill it in place and publish it then.
    ///
    /// # Errors
    /// As [`write`](HostVariable::write); two slots always stay for others, so
    /// a variable with two has none to lend.
    #[inline]
    pub fn loan(&self) -> Result<Loan<'_>> {
        let me = self.segment().registration("loan")?;
        if self.slots() <= 2 {
            return Err(self.cannot_borrow(false));
        }
        let core = self.core();
        let system = self.segment().system();
        let claim = || core.claim_to_loan(&system, me.participant, &me.local.suspects);
        let claim = match claim() {
            Ok(claim) => claim,
            Err(error) => {
                let mut deferral = Deferral::new();
                let claimed = self.try_patiently(error, self.write_timeout(), &mut deferral, claim);
                claimed.map_err(|error| match error.reason() {
                    Reason::NoFreeSlot { .. } => self.cannot_borrow(false),
                    _ => error,
                })?
            }
        };
        Ok(Loan {
            variable: Cow::Borrowed(self),
            generation: me.generation,
            claim,
        })
    }
}

/// The latest value at the time it was borrowed, in place.
#[derive(Debug)]
pub struct Borrow<'a> {
    variable: Cow<'a, HostVariable>,
    generation: u32,
    pin: Pin,
}

impl<'a> Borrow<'a> {
    /// What was borrowed.
    #[must_use]
    pub fn sample(&self) -> Sample {
        self.pin.sample()
    }

    /// The same with a handle of its own, so that it can be kept anywhere.
    #[must_use]
    pub fn into_owned(mut self) -> Borrow<'static> {
        Borrow {
            variable: Cow::Owned(self.variable.as_ref().clone()),
            generation: std::mem::replace(&mut self.generation, OVER),
            pin: Pin::from_parts(self.pin.slot(), self.pin.sample()),
        }
    }

    /// How many bytes it has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.pin.sample().length.min(self.variable.max_size()) as usize
    }

    /// Where it lies: [`size`](Borrow::size) bytes, aligned to 64, valid until
    /// this is dropped, in this process and not in its forked children. Nobody who
    /// keeps to the protocol changes them.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.words().as_ptr()
    }

    /// Copies the bytes from `offset` on into `buffer`.
    pub fn copy_to(&self, offset: usize, buffer: &mut [u8]) {
        self.words().copy_out(offset, buffer);
    }

    fn words(&self) -> Words<'_> {
        self.variable.core().memory().payload(self.pin.slot())
    }
}

impl Drop for Borrow<'_> {
    #[inline]
    fn drop(&mut self) {
        // In a forked child the pin is its parent's; or somebody else has it now.
        if self.generation != fork::generation() {
            return;
        }
        let pin = Pin::from_parts(self.pin.slot(), self.pin.sample());
        if let Ok(me) = self.variable.segment().registration("borrow") {
            let (core, system) = (self.variable.core(), self.variable.segment().system());
            let pins = &me.local.pins;
            pins.with(|pins| core.unpin(&system, me.participant, pins, pin));
        }
    }
}

/// A slot to be filled in place. Dropped without being published it goes back,
/// and the latest value stays.
#[derive(Debug)]
pub struct Loan<'a> {
    variable: Cow<'a, HostVariable>,
    generation: u32,
    claim: Claim,
}

impl<'a> Loan<'a> {
    /// The same with a handle of its own, so that it can be kept anywhere.
    #[must_use]
    pub fn into_owned(mut self) -> Loan<'static> {
        Loan {
            variable: Cow::Owned(self.variable.as_ref().clone()),
            generation: std::mem::replace(&mut self.generation, OVER),
            claim: Claim::from_slot(self.claim.slot()),
        }
    }

    /// How many bytes the value can have.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.variable.max_size() as usize
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Errors
    /// They reach past the largest size, or this is a forked child and the loan
    /// its parent's.
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) -> Result<()> {
        self.check_generation()?;
        let filled = self.variable.core().fill(&self.claim, offset, bytes);
        filled.map_err(|error| self.variable.write_error(error))
    }

    /// Where the value will lie: [`capacity`](Loan::capacity) bytes, aligned to
    /// 64, valid until this is dropped or published, in this process and not in
    /// its forked children. They hold some older value.
    ///
    /// A reader that started long ago may still be copying this very slot. It
    /// will find the slot's stamp changed and throw its copy away, so it does no
    /// harm that C, Python or a device write here plainly: the bytes are only
    /// ever read by atomic loads, in other processes or after a stamp check.
    /// Rust code that shares its process with such readers writes through
    /// [`write_at`](Loan::write_at) or by relaxed atomics, since a plain store
    /// that races with an atomic load is undefined in its memory model.
    #[must_use]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.variable
            .core()
            .memory()
            .payload(self.claim.slot())
            .as_ptr()
    }

    /// Makes the first `length` bytes the latest value.
    ///
    /// # Errors
    /// They are too many, the variable was removed, or this is a forked child
    /// and the loan its parent's. The slot goes back in any case.
    #[inline]
    pub fn publish(self, length: usize, encoding: Encoding) -> Result<Sample> {
        self.publish_replacing(length, encoding, None)
    }

    /// As [`publish`](Loan::publish), but only if `version` is still the latest.
    ///
    /// # Errors
    /// As `publish`; [`Reason::Changed`] if it is not.
    pub fn publish_if(self, version: u64, length: usize, encoding: Encoding) -> Result<Sample> {
        self.publish_replacing(length, encoding, Some(version))
    }

    /// A forked child must not touch its parent's slot.
    fn check_generation(&self) -> Result<()> {
        if self.generation == fork::generation() {
            return Ok(());
        }
        let operation = "use a loan of the process it was forked from";
        Err(self.variable.error(Reason::PermissionDenied { operation }))
    }

    #[inline]
    fn publish_replacing(
        mut self,
        length: usize,
        encoding: Encoding,
        replaces: Option<u64>,
    ) -> Result<Sample> {
        let checked = self.variable.core().check_size(length);
        let length = checked.map_err(|error| self.variable.write_error(error))?;
        self.check_generation()?;
        let variable = self.variable.as_ref();
        let me = variable.segment().registration("publish")?;
        // From here on the claim is given back by publishing.
        self.generation = OVER;
        let claim = Claim::from_slot(self.claim.slot());
        let details = Details {
            length,
            encoding,
            replaces,
        };
        let core = variable.core();
        let (timeout, system) = (variable.write_timeout(), variable.segment().system());
        variable.publish(&core, timeout, &system, me, claim, &details)
    }
}

impl Drop for Loan<'_> {
    #[inline]
    fn drop(&mut self) {
        // In a forked child the claim is its parent's; or somebody else has it now.
        if self.generation != fork::generation() {
            return;
        }
        if let Ok(me) = self.variable.segment().registration("loan") {
            let claim = Claim::from_slot(self.claim.slot());
            let system = self.variable.segment().system();
            self.variable.core().abandon(&system, me.participant, claim);
        }
    }
}
