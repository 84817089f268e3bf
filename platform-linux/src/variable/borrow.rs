//! Values read and written in place, without a copy.

use super::{Deadline, HostVariable, Patience, READ_PATIENCE, Waited};
use crate::error::{Reason, Result};
use crate::fork;
use crate::interrupt::Deferral;
use core::mem::ManuallyDrop;
use robot_ipc_core::codec::Encoding;
use robot_ipc_core::variable::{BorrowError, Claim, Details, Pin, Sample};
use robot_ipc_core::words::Words;
use std::sync::PoisonError;

impl HostVariable {
    /// Pins the latest value, to read it where it lies. Until the borrow is
    /// dropped its slot is not written; the variable goes on in the others.
    ///
    /// # Errors
    /// As [`read_into`](HostVariable::read_into); only the first 24 processes
    /// that use a variable can borrow, and two slots always stay for writers.
    pub fn borrow(&self) -> Result<Borrow> {
        let deadline = Deadline::new(READ_PATIENCE);
        let mut patience = Patience::new(&deadline);
        loop {
            let error = match self.borrow_once() {
                Ok(borrow) => return Ok(borrow),
                Err(error) => error,
            };
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
        }
    }

    /// As [`borrow`](HostVariable::borrow), but without waiting for anybody.
    pub(super) fn borrow_once(&self) -> Result<Borrow> {
        let me = self.segment().registration("borrow")?;
        let mut pins = me.local.pins.lock().unwrap_or_else(PoisonError::into_inner);
        let system = self.segment().system();
        let pin = self.core().pin(&system, me.participant, &mut pins);
        drop(pins);
        match pin {
            Ok(pin) => Ok(Borrow {
                variable: self.clone(),
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
    pub fn loan(&self) -> Result<Loan> {
        let me = self.segment().registration("loan")?;
        if self.slots() <= 2 {
            return Err(self.cannot_borrow(false));
        }
        let core = self.core();
        let system = self.segment().system();
        let deadline = Deadline::new(self.write_timeout());
        let mut deferral = Deferral::new();
        let claim = self.claim_within(&deadline, &mut deferral, || {
            core.claim_to_loan(&system, me.participant, &me.local.suspects)
        });
        let claim = claim.map_err(|error| match error.reason() {
            Reason::NoFreeSlot { .. } => self.cannot_borrow(false),
            _ => error,
        })?;
        Ok(Loan {
            variable: self.clone(),
            generation: me.generation,
            claim,
        })
    }
}

/// The latest value at the time it was borrowed, in place.
#[derive(Debug)]
pub struct Borrow {
    variable: HostVariable,
    generation: u32,
    pin: Pin,
}

impl Borrow {
    /// What was borrowed.
    #[must_use]
    pub fn sample(&self) -> Sample {
        self.pin.sample()
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

impl Drop for Borrow {
    fn drop(&mut self) {
        // In a forked child the pin is its parent's.
        if self.generation != fork::generation() {
            return;
        }
        let pin = Pin::from_parts(self.pin.slot(), self.pin.sample());
        if let Ok(me) = self.variable.segment().registration("borrow") {
            let mut pins = me.local.pins.lock().unwrap_or_else(PoisonError::into_inner);
            let system = self.variable.segment().system();
            self.variable
                .core()
                .unpin(&system, me.participant, &mut pins, pin);
        }
    }
}

/// A slot to be filled in place. Dropped without being published it goes back,
/// and the latest value stays.
#[derive(Debug)]
pub struct Loan {
    variable: HostVariable,
    generation: u32,
    claim: Claim,
}

impl Loan {
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

    fn publish_replacing(
        self,
        length: usize,
        encoding: Encoding,
        replaces: Option<u64>,
    ) -> Result<Sample> {
        let variable = self.variable.clone();
        let checked = variable.core().check_size(length);
        let length = checked.map_err(|error| variable.write_error(error))?;
        self.check_generation()?;
        let me = variable.segment().registration("publish")?;
        // From here on the claim is given back by publishing.
        let claim = Claim::from_slot(ManuallyDrop::new(self).claim.slot());
        let deadline = Deadline::new(variable.write_timeout());
        let details = Details {
            length,
            encoding,
            replaces,
        };
        variable.publish_within(&deadline, &variable.segment().system(), me, claim, &details)
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // In a forked child the claim is its parent's.
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
