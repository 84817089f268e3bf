//! Standard output, and JSON.

use crate::failure::Failure;
use core::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::time::Duration;

/// Writes `text` and a line end, at once even into a pipe.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes `bytes` as they are.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    output
        .write_all(bytes)
        .and_then(|()| output.flush())
        .map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::message(format!("could not write the output: {error}")),
        })
}

/// A duration with as many digits as somebody wants to read.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        _ if seconds < 1e-3 => format!("{:.0} µs", seconds * 1e6),
        _ if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        _ if seconds < 120.0 => format!("{seconds:.1} s"),
        _ if seconds < 7200.0 => format!("{:.0} min", seconds / 60.0),
        _ if seconds < 172_800.0 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.0} days", seconds / 86_400.0),
    }
}

/// A JSON object that grows member by member.
#[derive(Debug)]
pub(crate) struct Json(String);

impl Json {
    pub(crate) fn new() -> Json {
        Json(String::new())
    }

    /// A member that is JSON already.
    fn plain(mut self, key: &str, value: &str) -> Json {
        self.0.push_str(if self.0.is_empty() { "{" } else { ", " });
        put_json_string(&mut self.0, key);
        self.0.push_str(": ");
        self.0.push_str(value);
        self
    }

    pub(crate) fn number(self, key: &str, value: u64) -> Json {
        self.plain(key, &value.to_string())
    }

    pub(crate) fn numbers(self, key: &str, values: &[u32]) -> Json {
        self.plain(key, &format!("{values:?}"))
    }

    /// A time in seconds, or null.
    pub(crate) fn seconds(self, key: &str, value: Option<Duration>) -> Json {
        match value {
            Some(time) => self.plain(key, &format!("{:.9}", time.as_secs_f64())),
            None => self.plain(key, "null"),
        }
    }

    pub(crate) fn text(self, key: &str, value: &str) -> Json {
        let mut json = String::new();
        put_json_string(&mut json, value);
        self.plain(key, &json)
    }

    pub(crate) fn end(mut self) -> String {
        self.0.push_str(if self.0.is_empty() { "{}" } else { "}" });
        self.0
    }
}

fn put_json_string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            control if control.is_control() => {
                let _ = write!(json, "\\u{:04x}", control as u32);
            }
            plain => json.push(plain),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against output that no JSON reader takes.
    #[test]
    fn strings_and_objects_are_json() {
        let json = Json::new()
            .text("a\"\\", "\n\u{1b}\u{7f}ä")
            .number("n", 1)
            .seconds("s", None)
            .numbers("l", &[1, 2])
            .end();
        assert_eq!(
            json,
            r#"{"a\"\\": "\n\u001b\u007fä", "n": 1, "s": null, "l": [1, 2]}"#
        );
        assert_eq!(Json::new().end(), "{}");
    }

    #[test]
    fn durations_are_short() {
        for (time, expected) in [
            (Duration::ZERO, "0 µs"),
            (Duration::from_micros(1500), "1.5 ms"),
            (Duration::from_millis(1500), "1.5 s"),
            (Duration::from_secs(600), "10 min"),
            (Duration::from_secs(9000), "2.5 h"),
            (Duration::from_secs(864_000), "10 days"),
        ] {
            assert_eq!(duration(time), expected);
        }
    }
}
