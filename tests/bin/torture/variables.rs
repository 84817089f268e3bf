//! What workers do with variables, and the oracle over what they see there.
//!
//! Every value says who wrote it, the how manieth of that writer it is, and for which
//! *incarnation* of the variable: a number that whoever writes first into a new one
//! invents, by a write that succeeds only if nobody has written. So each reader can check:
//!
//! - the value is whole;
//! - one handle shows one incarnation, and one that is gone never comes back;
//! - within an incarnation versions never go back, and one version is one value;
//! - of each writer no older value is seen after a newer one, across incarnations too.

use crate::board::Row;
use crate::message::{MIN_SIZE, Plant, Value};
use crate::table::{Operation, VARIABLES, VariableKind};
use robot_ipc::testing::{Step, write_stepping};
use robot_ipc::{Borrow, Encoding, HostVariable, Loan, Reason, Result, Sample};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use support::Random;

/// What a process has of one variable, and has seen of it.
#[derive(Debug)]
pub(crate) struct Witness {
    object: usize,
    kind: VariableKind,
    writable: Option<Handle>,
    read_only: Option<Handle>,
    /// What was seen last, and its version.
    latest: Option<(u64, Value)>,
    /// Incarnations that are over.
    gone: HashSet<u64>,
    /// The newest value of each writer.
    newest: HashMap<u64, u64>,
}

/// A handle, and the incarnation that it shows.
#[derive(Debug)]
struct Handle {
    variable: HostVariable,
    incarnation: Option<u64>,
}

/// Who writes: the numbers that go into its values.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) number: u64,
    pub(crate) sequence: u64,
    pub(crate) random: Random,
}

impl Writer {
    /// A new value for that incarnation, pickled.
    fn value(&mut self, kind: &VariableKind, incarnation: u64) -> (Value, Vec<u8>) {
        self.sequence += 1;
        if Plant::Stale.is_due(&mut self.random) {
            self.sequence = self.sequence.saturating_sub(3);
        }
        let value = Value {
            writer: self.number,
            sequence: self.sequence,
            incarnation,
        };
        let room = kind.room();
        // Half of them as large as they can be: long copies.
        let size = match self.random.below(2) {
            0 => room,
            _ => MIN_SIZE + self.random.below((room - MIN_SIZE) as u64 + 1) as usize,
        };
        let mut bytes = value.pickled(size);
        if Plant::Torn.is_due(&mut self.random) {
            bytes[MIN_SIZE / 2] ^= 1;
        }
        (value, bytes)
    }
}

fn fails(object: usize, what: &str) -> ! {
    panic!("variable '{}': {what}", VARIABLES[object].name)
}

impl Witness {
    pub(crate) fn all() -> Vec<Witness> {
        let kinds = VARIABLES.iter().enumerate();
        kinds
            .map(|(object, kind)| Witness::new(object, *kind))
            .collect()
    }

    fn new(object: usize, kind: VariableKind) -> Witness {
        Witness {
            object,
            kind,
            writable: None,
            read_only: None,
            latest: None,
            gone: HashSet::new(),
            newest: HashMap::new(),
        }
    }

    // ----------------------------------------------------------------- oracle

    /// Checks what was read through the handle that shows `shown`; that is known then.
    fn check(&mut self, shown: &mut Option<u64>, pickle: &[u8], sample: &Sample) {
        let version = sample.version;
        let value = Value::read(pickle)
            .unwrap_or_else(|what| fails(self.object, &format!("version {version}: {what}")));
        if sample.encoding != Encoding::PICKLE || sample.length as usize != pickle.len() {
            fails(
                self.object,
                &format!("{sample:?} is said of {} bytes", pickle.len()),
            );
        }
        if let Some(shown) = *shown
            && shown != value.incarnation
        {
            fails(
                self.object,
                &format!("{value:?}, version {version}, through a handle of {shown}"),
            );
        }
        *shown = Some(value.incarnation);
        self.note(version, value);
    }

    /// Checks that `value` may come after all that was seen before.
    fn note(&mut self, version: u64, value: Value) {
        if self.gone.contains(&value.incarnation) {
            fails(
                self.object,
                &format!("{value:?} of an incarnation that was over"),
            );
        }
        if let Some((last, latest)) = self.latest {
            if latest.incarnation != value.incarnation {
                self.gone.insert(latest.incarnation);
            } else if version < last {
                fails(self.object, &format!("version {version} after {last}"));
            } else if version == last {
                if value != latest {
                    let what = format!("version {version} is {latest:?}, and {value:?}");
                    fails(self.object, &what);
                }
                return;
            }
        }
        let before = self.newest.insert(value.writer, value.sequence);
        if let Some(before) = before
            && value.sequence <= before
        {
            let what = format!("{value:?}, version {version}, after that writer's {before}");
            fails(self.object, &what);
        }
        self.latest = Some((version, value));
    }

    /// Checks a version that was told without its value.
    fn check_version(&self, shown: Option<u64>, version: u64) {
        if let Some((last, latest)) = self.latest
            && shown == Some(latest.incarnation)
            && version < last
        {
            fails(
                self.object,
                &format!("it tells version {version} after {last}"),
            );
        }
    }

    // ---------------------------------------------------------------- handles

    pub(crate) fn close(&mut self) {
        self.writable = None;
        self.read_only = None;
    }

    fn take(&mut self, row: &Row, read_only: bool) -> Option<Handle> {
        let place = if read_only {
            &mut self.read_only
        } else {
            &mut self.writable
        };
        if let Some(handle) = place.take() {
            return Some(handle);
        }
        let open = || {
            self.kind
                .options()
                .read_only(read_only)
                .open(self.kind.name)
        };
        let variable = row.run(Operation::OpenVariable, self.object, open).ok()?;
        Some(Handle {
            variable,
            incarnation: None,
        })
    }

    /// Keeps a handle for later, unless what came of its use says that it is of no use.
    fn keep<T>(&mut self, handle: Handle, result: &Result<T>) {
        if let Err(error) = result
            && *error.reason() == Reason::Retired
        {
            return;
        }
        if handle.variable.is_read_only() {
            self.read_only = Some(handle);
        } else {
            self.writable = Some(handle);
        }
    }

    // ------------------------------------------------------------------ reads

    /// Reads, in one of the ways there are.
    pub(crate) fn read(&mut self, row: &Row, random: &mut Random) {
        let read_only = random.below(2) == 0;
        let Some(mut handle) = self.take(row, read_only) else {
            return;
        };
        let operation = if read_only {
            Operation::ReadOnly
        } else {
            Operation::Read
        };
        while Plant::Hang.is_due(random) {
            std::thread::sleep(Duration::MAX);
        }
        let result = self.read_by(row, operation, &mut handle);
        self.keep(handle, &result);
    }

    fn read_by(&mut self, row: &Row, operation: Operation, handle: &mut Handle) -> Result<()> {
        let (value, sample) = row.run(operation, self.object, || handle.variable.sample())?;
        self.check(&mut handle.incarnation, &value, &sample);
        Ok(())
    }

    /// Looks at the version, with or without what stands beside the value.
    pub(crate) fn look(&mut self, row: &Row, random: &mut Random) {
        let Some(handle) = self.take(row, random.below(2) == 0) else {
            return;
        };
        let whole = random.below(2) == 0;
        let result = row.run(Operation::Look, self.object, || match whole {
            true => handle.variable.latest().map(|sample| sample.version),
            false => handle.variable.version(),
        });
        if let Ok(version) = result {
            self.check_version(handle.incarnation, version);
        }
        self.keep(handle, &result);
    }

    /// Waits for a value that is newer than the last one seen.
    pub(crate) fn wait(&mut self, row: &Row, random: &mut Random) {
        let Some(mut handle) = self.take(row, random.below(3) == 0) else {
            return;
        };
        let result = self.wait_by(row, random, &mut handle);
        self.keep(handle, &result);
    }

    fn wait_by(&mut self, row: &Row, random: &mut Random, handle: &mut Handle) -> Result<()> {
        let since = match self.latest {
            Some((version, value)) if handle.incarnation == Some(value.incarnation) => version,
            _ => 0,
        };
        let timeout = Duration::from_micros(random.below(50_000));
        let version = row.run(Operation::Wait, self.object, || {
            handle.variable.wait_for_update(since, Some(timeout))
        })?;
        if version <= since {
            let what = format!("waiting for more than {since} brought {version}");
            fails(self.object, &what);
        }
        self.check_version(handle.incarnation, version);
        self.read_by(row, Operation::Read, handle)
    }

    /// Borrows the latest value; it must not change before it is given back.
    pub(crate) fn borrow(&mut self, row: &Row, random: &mut Random) {
        if let Some((borrow, bytes)) = self.hold_borrow(row) {
            if random.below(4) == 0 {
                std::thread::sleep(Duration::from_micros(random.below(3000)));
            }
            self.check_held(&borrow, &bytes);
        }
    }

    /// A borrow, and the bytes that it has to keep.
    pub(crate) fn hold_borrow(&mut self, row: &Row) -> Option<(Borrow<'static>, Vec<u8>)> {
        let mut handle = self.take(row, false)?;
        let borrow = row.run(Operation::Borrow, self.object, || {
            handle.variable.borrow().map(Borrow::into_owned)
        });
        let held = borrow.as_ref().ok().map(|borrow| {
            let mut bytes = vec![0; borrow.size()];
            borrow.copy_to(0, &mut bytes);
            self.check(&mut handle.incarnation, &bytes, &borrow.sample());
            bytes
        });
        self.keep(handle, &borrow);
        borrow.ok().zip(held)
    }

    pub(crate) fn check_held(&self, borrow: &Borrow, bytes: &[u8]) {
        let mut now = vec![0; borrow.size()];
        borrow.copy_to(0, &mut now);
        if now != bytes {
            let what = format!("borrowed version {} has changed", borrow.sample().version);
            fails(self.object, &what);
        }
    }

    // ----------------------------------------------------------------- writes

    /// Writes, in one of the ways there are.
    pub(crate) fn write(&mut self, row: &Row, writer: &mut Writer, at_step: &dyn Fn(Step)) {
        let Some(mut handle) = self.take(row, false) else {
            return;
        };
        let result = self
            .learn(row, writer, &mut handle)
            .and_then(|incarnation| match writer.random.below(8) {
                0 => self.write_if(row, writer, &handle, incarnation),
                1 => self.update(row, writer, &handle),
                2 => self.publish_loan(row, writer, &handle, incarnation),
                _ => {
                    let (value, bytes) = writer.value(&self.kind, incarnation);
                    let write =
                        || write_stepping(&handle.variable, &bytes, Encoding::PICKLE, at_step);
                    let sample = row.run(Operation::Write, self.object, write)?;
                    self.wrote(&sample, value);
                    Ok(())
                }
            });
        // What was written is there for the writer itself, or something newer.
        let result = match result {
            Ok(()) if writer.random.below(4) == 0 => {
                self.read_by(row, Operation::Read, &mut handle)
            }
            other => other,
        };
        self.keep(handle, &result);
    }

    fn wrote(&mut self, sample: &Sample, value: Value) {
        if let Some((last, latest)) = self.latest
            && latest.incarnation == value.incarnation
            && sample.version <= last
        {
            let what = format!("{value:?} became version {} after {last}", sample.version);
            fails(self.object, &what);
        }
        self.note(sample.version, value);
    }

    /// The incarnation that a handle shows. If nobody has written yet, this process does,
    /// and names it.
    fn learn(&mut self, row: &Row, writer: &mut Writer, handle: &mut Handle) -> Result<u64> {
        loop {
            if let Some(known) = handle.incarnation {
                return Ok(known);
            }
            match self.read_by(row, Operation::Read, handle) {
                Err(error) if *error.reason() == Reason::NeverWritten => {}
                done => {
                    done?;
                    continue;
                }
            }
            let (value, bytes) = writer.value(&self.kind, writer.random.clone().next());
            writer.random.next();
            let first = row.run(Operation::WriteIf, self.object, || {
                handle.variable.write_if(0, &bytes, Encoding::PICKLE)
            });
            match first {
                Ok(sample) => {
                    handle.incarnation = Some(value.incarnation);
                    self.wrote(&sample, value);
                }
                Err(error) if matches!(error.reason(), Reason::Changed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn write_if(
        &mut self,
        row: &Row,
        writer: &mut Writer,
        handle: &Handle,
        incarnation: u64,
    ) -> Result<()> {
        let replaced = match self.latest {
            Some((version, latest)) if latest.incarnation == incarnation => version,
            _ => return Ok(()),
        };
        let (value, bytes) = writer.value(&self.kind, incarnation);
        let result = row.run(Operation::WriteIf, self.object, || {
            handle.variable.write_if(replaced, &bytes, Encoding::PICKLE)
        });
        match result {
            Ok(sample) if sample.version != replaced + 1 => {
                let what = format!("{} was written instead of {replaced}", sample.version);
                fails(self.object, &what)
            }
            Ok(sample) => {
                self.wrote(&sample, value);
                Ok(())
            }
            Err(error) => match *error.reason() {
                Reason::Changed { version } if version <= replaced => {
                    let what = format!("it says {version} is there instead of {replaced}");
                    fails(self.object, &what)
                }
                Reason::Changed { .. } => Ok(()),
                _ => Err(error),
            },
        }
    }

    fn update(&mut self, row: &Row, writer: &mut Writer, handle: &Handle) -> Result<()> {
        let mut made = None;
        let kind = self.kind;
        let object = self.object;
        let sample = row.run(Operation::Update, self.object, || {
            handle.variable.update(|old| {
                let Some(Ok(old)) = old.map(Value::read) else {
                    fails(object, "an update found a torn value, or none");
                };
                let (value, bytes) = writer.value(&kind, old.incarnation);
                made = Some(value);
                bytes
            })
        })?;
        match made.filter(|value| handle.incarnation == Some(value.incarnation)) {
            Some(value) => self.wrote(&sample, value),
            None => fails(
                self.object,
                "an update saw another incarnation than its handle",
            ),
        }
        Ok(())
    }

    /// Takes a slot, fills it in place, and publishes it or not.
    fn publish_loan(
        &mut self,
        row: &Row,
        writer: &mut Writer,
        handle: &Handle,
        incarnation: u64,
    ) -> Result<()> {
        let (value, bytes) = writer.value(&self.kind, incarnation);
        let is_published = writer.random.below(4) != 0;
        let published = row.run(Operation::Loan, self.object, || {
            let mut loan = handle.variable.loan()?;
            for (index, part) in bytes.chunks(1000).enumerate() {
                loan.write_at(1000 * index, part)?;
            }
            if is_published {
                loan.publish(bytes.len(), Encoding::PICKLE).map(Some)
            } else {
                Ok(None)
            }
        });
        match published {
            Ok(Some(sample)) => self.wrote(&sample, value),
            Ok(None) => {}
            // Nothing to lend: others hold it all.
            Err(error) if matches!(error.reason(), Reason::CannotBorrow { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A loan that is kept for a while.
    pub(crate) fn hold_loan(&mut self, row: &Row) -> Option<Loan<'static>> {
        let handle = self.take(row, false)?;
        let loan = row.run(Operation::Loan, self.object, || {
            handle.variable.loan().map(Loan::into_owned)
        });
        self.keep(handle, &loan);
        loan.ok()
    }

    // ---------------------------------------------------------------- removal

    /// Removes the variable from the machine, if it is one that may be, and writes the
    /// first value into the next.
    pub(crate) fn remove(&mut self, row: &Row, writer: &mut Writer) {
        if !self.kind.is_mortal {
            return;
        }
        if writer.random.below(4) == 0 {
            // As people do it who remove only what is not in use.
            let options = self.kind.options();
            let _ = row.run(Operation::RemoveVariable, self.object, || {
                options.remove_if_unused(self.kind.name)
            });
            return;
        }
        if let Some(handle) = self.take(row, false) {
            let _ = row.run(Operation::RemoveVariable, self.object, || {
                handle.variable.remove(Duration::from_secs(1))
            });
        }
        self.write(row, writer, &|_| {});
    }
}
