//! How a value is shown.

use robot_ipc::{Encoding, HostVariable, Sample, pickle};

/// A value in text, and what to say about that.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) text: String,
    /// Why it is not shown as what it means, if so.
    pub(crate) note: Option<String>,
}

impl Shown {
    /// Text for `bytes` that carry the tag `encoding`.
    pub(crate) fn of(bytes: &[u8], encoding: Encoding) -> Shown {
        let as_hex = |note| Shown {
            text: hex(bytes),
            note,
        };
        match encoding {
            Encoding::RAW => as_hex(None),
            Encoding::PICKLE => match pickle::text(bytes) {
                Ok(text) => Shown { text, note: None },
                Err(error) => as_hex(Some(format!("shown as bytes: {error}"))),
            },
            Encoding::POSTCARD => as_hex(Some(
                "shown as bytes: postcard does not say which type they are of".to_owned(),
            )),
            Encoding::UNSPECIFIED => match pickle::text(bytes) {
                Ok(text) => Shown {
                    text,
                    note: Some("its writer named no encoding; it reads as a pickle".to_owned()),
                },
                Err(_) => as_hex(Some(
                    "shown as bytes: its writer named no encoding".to_owned(),
                )),
            },
            other => as_hex(Some(format!(
                "shown as bytes: its encoding is {other}, which nobody here knows"
            ))),
        }
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        match &self.note {
            Some(note) => format!("{} ({note})", self.text),
            None => self.text.clone(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A value and what stands beside it, as JSON.
pub(crate) fn json(variable: &HostVariable, bytes: &[u8], sample: &Sample) -> crate::output::Json {
    let shown = Shown::of(bytes, sample.encoding);
    let json = crate::output::Json::new()
        .number("version", sample.version)
        .seconds("age", variable.age_of(sample).ok())
        .text("encoding", &sample.encoding.to_string())
        .number("size", bytes.len() as u64)
        .text("value", &shown.text);
    match shown.note {
        Some(note) => json.text("note", &note),
        None => json,
    }
}
