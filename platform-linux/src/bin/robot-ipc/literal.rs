//! Values as they are typed, to pickles.
//!
//! What is typed looks like JSON or Python: `null` and `None`, `true` and
//! `True`, numbers, quoted text, lists and dicts.

use core::fmt;
use robot_ipc::pickle::MAX_NESTING;

/// Why typed text is not a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LiteralError {
    /// Where, in characters.
    position: usize,
    problem: Problem,
}

#[derive(Debug, PartialEq, Eq)]
enum Problem {
    Ends,
    Word(String),
    Character(char),
    Expected(&'static str),
    Escape,
    Number(String),
    TooDeep,
    Key,
}

impl fmt::Display for LiteralError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the value cannot be read at character {}: ",
            self.position + 1
        )?;
        match &self.problem {
            Problem::Ends => f.write_str("it ends there"),
            Problem::Word(word) => write!(
                f,
                "'{word}' is no value; for text write it in quotes, which the shell must not take: '\"{word}\"'"
            ),
            Problem::Character(character) => {
                write!(f, "'{}' is unexpected", character.escape_debug())
            }
            Problem::Expected(what) => write!(f, "{what} is missing"),
            Problem::Escape => {
                f.write_str("there is no such escape; a backslash itself is written \\\\")
            }
            Problem::Number(number) => {
                write!(f, "{number} is no number, or one of more than 128 bits")
            }
            Problem::TooDeep => write!(f, "it is nested deeper than {MAX_NESTING} levels"),
            Problem::Key => f.write_str("a key of a dict is text, a number, true, false or null"),
        }
    }
}

/// How a pickle begins (protocol 4, without frames).
pub(crate) const PICKLE_HEAD: &[u8] = b"\x80\x04";
/// How a pickle ends.
pub(crate) const PICKLE_END: u8 = b'.';

/// The pickle of the value that `text` is.
pub(crate) fn to_pickle(text: &str) -> Result<Vec<u8>, LiteralError> {
    let mut pickle = PICKLE_HEAD.to_vec();
    append_value(&mut pickle, text, 0)?;
    pickle.push(PICKLE_END);
    Ok(pickle)
}

/// Appends the instructions that make the value that `text` is, inside of `depth`
/// others.
pub(crate) fn append_value(pickle: &mut Vec<u8>, text: &str, depth: u32) -> Parsed {
    let mut parser = Parser {
        text,
        at: 0,
        pickle,
    };
    parser.value(depth)?;
    parser.skip_space();
    match parser.peek() {
        Some(character) => Err(parser.error(Problem::Character(character))),
        None => Ok(()),
    }
}

/// Appends the instructions that make a text.
pub(crate) fn append_text(pickle: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()) {
        Ok(length) => pickle.extend([0x8C, length]),
        Err(_) => {
            pickle.push(0x8D);
            pickle.extend((text.len() as u64).to_le_bytes());
        }
    }
    pickle.extend(text.as_bytes());
}

struct Parser<'a> {
    text: &'a str,
    /// How far it is read, in bytes.
    at: usize,
    pickle: &'a mut Vec<u8>,
}

pub(crate) type Parsed = Result<(), LiteralError>;

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Passes over `wanted` if it comes next.
    fn takes(&mut self, wanted: char) -> bool {
        self.skip_space();
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn error(&self, problem: Problem) -> LiteralError {
        LiteralError {
            position: self.text[..self.at].chars().count(),
            problem,
        }
    }

    fn value(&mut self, depth: u32) -> Parsed {
        self.skip_space();
        if depth >= MAX_NESTING && matches!(self.peek(), Some('[' | '{')) {
            return Err(self.error(Problem::TooDeep));
        }
        match self.peek() {
            None => Err(self.error(Problem::Ends)),
            Some('[') => self.list(depth),
            Some('{') => self.dict(depth),
            Some(quote @ ('"' | '\'')) => self.string(quote),
            Some(first) if first.is_alphanumeric() || matches!(first, '-' | '+' | '.' | '_') => {
                self.word()
            }
            Some(other) => Err(self.error(Problem::Character(other))),
        }
    }

    fn list(&mut self, depth: u32) -> Parsed {
        self.at += 1;
        self.pickle.extend(b"](");
        while !self.takes(']') {
            self.value(depth + 1)?;
            self.separator(']', "a comma or ']'")?;
        }
        self.pickle.push(b'e');
        Ok(())
    }

    fn dict(&mut self, depth: u32) -> Parsed {
        self.at += 1;
        self.pickle.extend(b"}(");
        while !self.takes('}') {
            if matches!(self.peek(), Some('[' | '{')) {
                return Err(self.error(Problem::Key));
            }
            self.value(depth + 1)?;
            if !self.takes(':') {
                return Err(self.error(Problem::Expected("':'")));
            }
            self.value(depth + 1)?;
            self.separator('}', "a comma or '}'")?;
        }
        self.pickle.push(b'u');
        Ok(())
    }

    /// A comma, or the end, which is left there.
    fn separator(&mut self, end: char, what: &'static str) -> Parsed {
        self.skip_space();
        if self.takes(',') || self.peek() == Some(end) {
            return Ok(());
        }
        Err(self.error(if self.peek().is_none() {
            Problem::Ends
        } else {
            Problem::Expected(what)
        }))
    }

    fn string(&mut self, quote: char) -> Parsed {
        self.at += 1;
        let mut string = String::new();
        loop {
            match self.next() {
                None => return Err(self.error(Problem::Expected("the closing quote"))),
                Some(end) if end == quote => break,
                Some('\\') => string.push(self.escape()?),
                Some(plain) => string.push(plain),
            }
        }
        append_text(self.pickle, &string);
        Ok(())
    }

    fn escape(&mut self) -> Result<char, LiteralError> {
        Ok(match self.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some(plain @ ('"' | '\'' | '\\' | '/')) => plain,
            Some('x') => self.code(2)?,
            Some('u') => self.code(4)?,
            Some('U') => self.code(8)?,
            _ => return Err(self.error(Problem::Escape)),
        })
    }

    fn digits(&mut self, count: usize) -> Result<u32, LiteralError> {
        let digits = self
            .rest()
            .get(..count)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let number = number.ok_or_else(|| self.error(Problem::Escape))?;
        self.at += count;
        Ok(number)
    }

    /// A character by its number; JSON writes some as two halves.
    fn code(&mut self, count: usize) -> Result<char, LiteralError> {
        let mut code = self.digits(count)?;
        if count == 4 && (0xD800..0xDC00).contains(&code) && self.rest().starts_with("\\u") {
            self.at += 2;
            let low = self.digits(4)?.wrapping_sub(0xDC00);
            if low >= 0x400 {
                return Err(self.error(Problem::Escape));
            }
            code = 0x1_0000 + ((code - 0xD800) << 10) + low;
        }
        char::from_u32(code).ok_or_else(|| self.error(Problem::Escape))
    }

    /// A number or one of the few words.
    fn word(&mut self) -> Parsed {
        let is_part = |character: char| {
            character.is_alphanumeric() || matches!(character, '-' | '+' | '.' | '_')
        };
        let length = self
            .rest()
            .find(|character| !is_part(character))
            .unwrap_or(self.rest().len());
        let word = self.rest()[..length].to_owned();
        match word.as_str() {
            "null" | "None" => self.pickle.push(b'N'),
            "true" | "True" => self.pickle.push(0x88),
            "false" | "False" => self.pickle.push(0x89),
            "nan" | "NaN" => self.float(f64::NAN),
            "inf" | "Infinity" => self.float(f64::INFINITY),
            "-inf" | "-Infinity" => self.float(f64::NEG_INFINITY),
            _ => self.number(&word)?,
        }
        self.at += length;
        Ok(())
    }

    fn number(&mut self, word: &str) -> Parsed {
        let digits = word.trim_start_matches(['-', '+']);
        if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
            return Err(self.error(Problem::Word(word.to_owned())));
        }
        if digits.bytes().all(|digit| digit.is_ascii_digit()) {
            let number: i128 = word
                .parse()
                .map_err(|_| self.error(Problem::Number(word.to_owned())))?;
            match i32::try_from(number) {
                Ok(small) => {
                    self.pickle.push(b'J');
                    self.pickle.extend(small.to_le_bytes());
                }
                Err(_) => {
                    self.pickle.extend([0x8A, 16]);
                    self.pickle.extend(number.to_le_bytes());
                }
            }
            return Ok(());
        }
        let number: f64 = word
            .parse()
            .map_err(|_| self.error(Problem::Number(word.to_owned())))?;
        self.float(number);
        Ok(())
    }

    fn float(&mut self, number: f64) {
        self.pickle.push(b'G');
        self.pickle.extend(number.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use robot_ipc::pickle::{check, text};

    /// Against a value that another one was typed for.
    #[test]
    fn what_is_typed_is_what_is_read() {
        for (typed, shown) in [
            ("null", "None"),
            (" [ True,false , None,] ", "[True, False, None]"),
            ("-12", "-12"),
            (
                "170141183460469231731687303715884105727",
                "170141183460469231731687303715884105727",
            ),
            ("-2147483649", "-2147483649"),
            (
                "[1.5, -2e3, .5, NaN, -inf]",
                "[1.5, -2000.0, 0.5, nan, -inf]",
            ),
            (
                r#"{"z": 1, 'a': {"k": []}, 3: {}}"#,
                "{'z': 1, 'a': {'k': []}, 3: {}}",
            ),
            (r#""a\"\n\u00e4\x41\ud834\udd1eß\/""#, "'a\"\\näA𝄞ß/'"),
            ("'it''", "error"),
            ("\"\"", "''"),
        ] {
            match to_pickle(typed) {
                Ok(pickle) => {
                    assert_eq!(text(&pickle).as_deref(), Ok(shown), "{typed}");
                    assert_eq!(check(&pickle), Ok(()));
                }
                Err(error) => assert_eq!(shown, "error", "{typed}: {error}"),
            }
        }
        let long = "x".repeat(300);
        assert_eq!(
            text(&to_pickle(&format!("'{long}'")).unwrap()),
            Ok(format!("'{long}'"))
        );
    }

    /// Against text that is guessed to mean something.
    #[test]
    fn what_is_no_value_is_refused() {
        for typed in [
            "",
            " ",
            "[",
            "[1",
            "[1 2]",
            "{",
            "{1}",
            "{1:}",
            "{[]: 1}",
            "hello",
            "'x",
            "1 2",
            "1x",
            "--1",
            "\"\\q\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "(1, 2)",
            "0x10",
            "99999999999999999999999999999999999999999",
            "[,]",
        ] {
            assert!(to_pickle(typed).is_err(), "{typed}");
        }
        assert!(
            to_pickle("hello")
                .unwrap_err()
                .to_string()
                .contains("'\"hello\"'")
        );
        let nested = |depth: usize| [vec!["["; depth], vec!["]"; depth]].concat().concat();
        assert!(to_pickle(&nested(MAX_NESTING as usize)).is_ok());
        assert_eq!(
            to_pickle(&nested(100_000)).unwrap_err().problem,
            Problem::TooDeep
        );
    }
}
