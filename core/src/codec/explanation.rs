//! A text of limited length, for errors that are copied and allocate nothing.

use core::fmt::{self, Write};

/// How many bytes an explanation has at most.
const CAPACITY: usize = 87;
/// What stands at the end of one that was cut.
const CUT: &str = "…";

/// Says why a codec refused something. What is too long is cut, and ends with `…`.
///
/// ```
/// use robot_ipc_core::codec::Explanation;
///
/// let short = Explanation::of(&format_args!("{} is no letter", 7));
/// assert_eq!(short.as_str(), "7 is no letter");
/// assert!(Explanation::of(&"long".repeat(50)).as_str().ends_with("long…"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    length: u8,
    bytes: [u8; CAPACITY],
}

impl Explanation {
    /// What `reason` shows.
    pub fn of(reason: &dyn fmt::Display) -> Explanation {
        let mut explanation = Explanation {
            length: 0,
            bytes: [0; CAPACITY],
        };
        // The only error is that the text was cut, and that can be seen in it.
        let _ = write!(explanation, "{reason}");
        explanation
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes
            .get(..self.length.into())
            .and_then(|bytes| core::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }

    fn append(&mut self, text: &str) {
        let start = usize::from(self.length);
        self.bytes[start..start + text.len()].copy_from_slice(text.as_bytes());
        self.length += text.len() as u8;
    }
}

impl Write for Explanation {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = CAPACITY - usize::from(self.length);
        if text.len() <= room {
            self.append(text);
            return Ok(());
        }
        // Also what was appended before may have to make room for the sign.
        let limit = CAPACITY - CUT.len();
        while self.length as usize > limit || !self.ends_with_letter() {
            self.length -= 1;
        }
        let mut end = limit - usize::from(self.length);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.append(&text[..end]);
        self.append(CUT);
        Err(fmt::Error)
    }
}

impl Explanation {
    /// Whether it does not end in the middle of a letter.
    fn ends_with_letter(&self) -> bool {
        core::str::from_utf8(&self.bytes[..self.length.into()]).is_ok()
    }
}

impl fmt::Debug for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(all(test, not(robot_ipc_loom)))]
mod tests {
    use super::*;
    extern crate std;
    use std::string::String;

    /// Against a panic, or half a letter, where a text is cut: in one piece or many, at
    /// letters of every size.
    #[test]
    fn long_texts_are_cut_between_letters() {
        for letter in ["a", "ä", "€", "🤖"] {
            for count in 15..110 {
                let text: String = [letter].repeat(count).concat();
                let pieces = Explanation::of(&Pieces(letter, count));
                assert_eq!(pieces, Explanation::of(&text), "{count} times {letter}");
                let shown = pieces.as_str();
                if text.len() <= CAPACITY {
                    assert_eq!(shown, text);
                } else {
                    let start = shown.strip_suffix(CUT).unwrap();
                    assert!(
                        text.starts_with(start) && shown.len() > CAPACITY - 4,
                        "{shown}"
                    );
                }
            }
        }
    }

    /// Shows a letter, so often, each by itself.
    struct Pieces(&'static str, usize);

    impl fmt::Display for Pieces {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            (0..self.1).try_for_each(|_| f.write_str(self.0))
        }
    }
}
