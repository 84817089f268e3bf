//! Variables for values of one type.

use super::HostVariable;
use crate::error::{Reason, Result};
use crate::interrupt::Deferral;
use core::marker::PhantomData;
use robot_ipc_core::codec::{Codec, EncodeError, Full, Sink};
use robot_ipc_core::variable::{Claim, Details, MappedVariable, Sample, Variable};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How many buffers a variable keeps for threads that read at the same time.
const SCRATCHES: usize = 8;

/// A variable whose values are `C::Value`: a plain struct with
/// [`Raw`](crate::codec::Raw), any serde type with
/// [`Postcard`](crate::codec::Postcard).
///
/// ```
/// use robot_ipc::VariableOptions;
/// use robot_ipc::codec::Postcard;
///
/// # fn main() -> robot_ipc::Result<()> {
/// # let place = robot_ipc::testing::scratch_place();
/// # let options = VariableOptions::new().place(place);
/// let goal = options.open_typed::<Postcard<(f64, bool)>>("goal")?;
/// goal.write(&(1.5, true))?;
/// assert_eq!(goal.read()?, (1.5, true));
/// # goal.variable().remove(std::time::Duration::from_secs(1))
/// # }
/// ```
#[derive(Debug)]
pub struct TypedVariable<C> {
    variable: HostVariable,
    /// Where values are decoded from, since others may change the shared bytes:
    /// one buffer at first, then as many as threads have read at the same time.
    scratches: Mutex<Vec<Box<[u8]>>>,
    codec: PhantomData<C>,
}

impl<C: Codec> TypedVariable<C> {
    pub(super) fn new(variable: HostVariable) -> Self {
        let mut scratches = Vec::with_capacity(SCRATCHES);
        scratches.push(vec![0; variable.max_size() as usize].into_boxed_slice());
        TypedVariable {
            variable,
            scratches: Mutex::new(scratches),
            codec: PhantomData,
        }
    }

    /// The variable of bytes beneath.
    pub fn variable(&self) -> &HostVariable {
        &self.variable
    }

    /// Encodes `value` straight into a slot and makes it the latest.
    ///
    /// # Errors
    /// As [`HostVariable::write`]; it cannot be encoded.
    pub fn write(&self, value: &C::Value) -> Result<Sample> {
        self.put(value, None)
    }

    /// As [`write`](TypedVariable::write), but only if `version` is still the
    /// latest.
    ///
    /// # Errors
    /// As `write`; [`Reason::Changed`] if it is not.
    pub fn write_if(&self, version: u64, value: &C::Value) -> Result<Sample> {
        self.put(value, Some(version))
    }

    fn put(&self, value: &C::Value, replaces: Option<u64>) -> Result<Sample> {
        let variable = &self.variable;
        let me = variable.segment().registration("write")?;
        let core = variable.core();
        let system = variable.segment().system();
        let mut deferral = Deferral::new();
        let timeout = variable.write_timeout();
        let claim = variable.claim(&core, timeout, &system, me, &mut deferral)?;
        let mut sink = SlotSink {
            core: &core,
            claim: &claim,
            length: 0,
        };
        // The value's own code may panic, which must not cost a slot.
        let slot = claim.slot();
        let at_unwinding = AtUnwinding(|| {
            core.abandon(&system, me.participant, Claim::from_slot(slot));
        });
        let encoded = C::encode(value, &mut sink);
        core::mem::forget(at_unwinding);
        let length = sink.length;
        if let Err(error) = encoded {
            core.abandon(&system, me.participant, claim);
            let max_size = variable.max_size();
            return Err(variable.error(match error {
                EncodeError::Full => Reason::TooLarge {
                    size: u64::from(max_size) + 1,
                    max_size,
                },
                EncodeError::Refused(why) => Reason::Encode(why),
            }));
        }
        let details = Details {
            length: length as u32,
            encoding: C::ENCODING,
            replaces,
        };
        variable.publish(&core, timeout, &system, me, claim, &details)
    }

    /// The latest value.
    ///
    /// # Errors
    /// As [`HostVariable::read_into`]; the bytes are not such a value.
    pub fn read(&self) -> Result<C::Value> {
        self.sample().map(|(value, _)| value)
    }

    /// The latest value, with version and time of its write.
    ///
    /// # Errors
    /// As [`read`](TypedVariable::read).
    pub fn sample(&self) -> Result<(C::Value, Sample)> {
        let mut scratch = self.take_scratch();
        let sampled = self.sample_through(&mut scratch);
        self.give_back(scratch);
        sampled
    }

    /// A buffer that nobody else uses meanwhile. Only tries for the lock: a fork
    /// may have left it to a thread that does not exist in this process.
    fn take_scratch(&self) -> Box<[u8]> {
        let kept = self
            .scratches
            .try_lock()
            .ok()
            .and_then(|mut kept| kept.pop());
        kept.unwrap_or_else(|| vec![0; self.variable.max_size() as usize].into_boxed_slice())
    }

    fn give_back(&self, scratch: Box<[u8]>) {
        if let Ok(mut kept) = self.scratches.try_lock()
            && kept.len() < kept.capacity()
        {
            kept.push(scratch);
        }
    }

    fn sample_through(&self, scratch: &mut [u8]) -> Result<(C::Value, Sample)> {
        let sample = self.variable.read_into(scratch)?;
        let wrong = |error| self.variable.error(Reason::Decode(error));
        C::check_encoding(sample.encoding).map_err(wrong)?;
        let value = C::decode(&scratch[..sample.length as usize]).map_err(wrong)?;
        Ok((value, sample))
    }

    /// Waits for a version other than `since`, and reads it.
    ///
    /// # Errors
    /// As [`HostVariable::wait_for_update`] and [`read`](TypedVariable::read).
    pub fn wait(&self, since: u64, timeout: Option<Duration>) -> Result<(C::Value, Sample)> {
        self.variable.wait_for_update(since, timeout)?;
        self.sample()
    }

    /// Replaces the latest value by what `change` makes of it; see
    /// [`HostVariable::update`].
    ///
    /// # Errors
    /// As `HostVariable::update`.
    pub fn update(&self, mut change: impl FnMut(Option<C::Value>) -> C::Value) -> Result<Sample> {
        self.variable.segment().check_writable("update")?;
        let start = Instant::now();
        let mut attempt = 0;
        loop {
            let (new, version) = match self.sample() {
                Ok((value, sample)) => (change(Some(value)), sample.version),
                Err(error) if *error.reason() == Reason::NeverWritten => (change(None), 0),
                Err(error) => return Err(error),
            };
            match self.write_if(version, &new) {
                Err(error) if matches!(error.reason(), Reason::Changed { .. }) => {}
                done => return done,
            }
            attempt += 1;
            self.variable.check_turn(attempt, start)?;
        }
    }
}

/// Puts encoded pieces into a claimed slot, one behind the other.
struct SlotSink<'a> {
    core: &'a Variable<MappedVariable<'a>>,
    claim: &'a Claim,
    length: usize,
}

impl Sink for SlotSink<'_> {
    fn extend(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.core
            .fill(self.claim, self.length, bytes)
            .map_err(|_| Full)?;
        self.length += bytes.len();
        Ok(())
    }
}

/// Calls its function when it is dropped.
struct AtUnwinding<F: Fn()>(F);

impl<F: Fn()> Drop for AtUnwinding<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
