//! Models of a fixed writer that only loads and stores, and of its readers.

use super::*;

impl Party {
    /// Writes `number` by loads and stores; the version it has got.
    fn write_plainly(&self, number: u32) -> Result<u64, WriteError> {
        self.now.set(number);
        let details = ExclusiveDetails {
            encoding: Encoding(number),
            has_time: true,
        };
        let variable = PlainVariable::new(self.variable.memory().clone());
        let written = variable.write(self, &bytes_of(number), details);
        Ok(written?.version)
    }
}

/// The writer and a reader, which it laps with its second write.
pub(super) fn plain_writer_and_reader() {
    let segment = Segment::new(2, 0);
    let (reader, writer) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let writer = thread::spawn(move || {
        for number in [1, 2] {
            let version = writer.write_plainly(number);
            assert_eq!(version, Ok(START + u64::from(number)));
        }
    });
    match reader.read() {
        Ok((number, version)) => assert_eq!(version, START + u64::from(number)),
        Err(error) => assert_eq!(error, ReadError::Contended),
    }
    writer.join().unwrap();
    assert_eq!(reader.read(), Ok((2, START + 2)));
}

/// The writer is started again at some step of its first write, and goes on with what
/// lies in memory.
fn plain_writer_starts_again(after: Step) {
    let segment = Segment::new(2, 0);
    let (reader, mut writer) = (Party::new(&segment, 0), Party::new(&segment, 1));
    writer.dies_after = Some(after);
    let published = u64::from(after == Step::Published);
    let writer = thread::spawn(move || {
        let died = catch_unwind(AssertUnwindSafe(|| writer.write_plainly(1)));
        assert!(died.is_err(), "it was never at that step");
        writer.dies_after = None;
        assert_eq!(writer.write_plainly(2), Ok(START + published + 1));
    });
    match reader.read() {
        Ok((0, version)) => assert_eq!(version, START),
        Ok((1, version)) => assert_eq!((version, published), (START + 1, 1)),
        Ok((number, version)) => assert_eq!((number, version), (2, START + published + 1)),
        Err(error) => assert_eq!(error, ReadError::Contended),
    }
    writer.join().unwrap();
    assert_eq!(reader.read(), Ok((2, START + published + 1)));
}

mod tests {
    use super::*;

    /// Against a mixed value, or one that is missing.
    #[test]
    fn a_plain_writer_publishes_whole_values() {
        check(plain_writer_and_reader);
    }

    /// Against a value that was never published, and a writer that stays away.
    #[test]
    fn a_plain_writer_goes_on_where_it_stopped() {
        for step in [Step::Busy, Step::Filled, Step::Stamped, Step::Published] {
            check(move || plain_writer_starts_again(step));
        }
    }
}
