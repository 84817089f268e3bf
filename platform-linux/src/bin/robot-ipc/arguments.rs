//! A call as it is typed, to the one pickle that a function in Python takes: the
//! tuple of positional arguments and the dict of those by name.

use crate::literal::{LiteralError, PICKLE_END, PICKLE_HEAD, append_text, append_value};
use core::fmt;

/// The arguments lie in a tuple or a dict, which lies in a tuple.
const DEPTH: u32 = 2;

/// Which argument is why no argument.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ArgumentError {
    argument: String,
    problem: Problem,
}

#[derive(Debug, PartialEq, Eq)]
enum Problem {
    Value(LiteralError),
    GivenTwice(String),
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "argument {}: ", self.argument)?;
        match &self.problem {
            Problem::Value(error) => error.fmt(f),
            Problem::GivenTwice(name) => write!(f, "'{name}' is given twice"),
        }
    }
}

/// The pickle of a call: each argument is a value, or `name=value`.
pub(crate) fn to_pickle(arguments: &[String]) -> Result<Vec<u8>, ArgumentError> {
    let mut positional = Vec::new();
    let mut by_name = Vec::new();
    let mut names = Vec::new();
    for argument in arguments {
        let failed = |problem| ArgumentError {
            argument: argument.clone(),
            problem,
        };
        let (instructions, value) = match name_and_value(argument) {
            None => (&mut positional, argument.as_str()),
            Some((name, _)) if names.contains(&name) => {
                return Err(failed(Problem::GivenTwice(name.to_owned())));
            }
            Some((name, value)) => {
                names.push(name);
                append_text(&mut by_name, name);
                (&mut by_name, value)
            }
        };
        append_value(instructions, value, DEPTH).map_err(|error| failed(Problem::Value(error)))?;
    }
    // ((…), {…}), in the instructions of pickle: mark, tuple; empty dict, mark, set
    // items; tuple of two.
    let parts: [&[u8]; 7] = [
        PICKLE_HEAD,
        b"(",
        &positional,
        b"t}(",
        &by_name,
        b"u\x86",
        &[PICKLE_END],
    ];
    Ok(parts.concat())
}

/// The parts of `name=value`. No value begins like that: text is quoted.
fn name_and_value(argument: &str) -> Option<(&str, &str)> {
    let (name, value) = argument.split_once('=')?;
    let mut letters = name.chars();
    let is_name = letters
        .next()
        .is_some_and(|first| first.is_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_alphanumeric() || letter == '_');
    is_name.then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use robot_ipc::pickle::{MAX_NESTING, check, text};

    fn pickle_of(arguments: &[&str]) -> Result<Vec<u8>, ArgumentError> {
        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        to_pickle(&arguments)
    }

    /// Against arguments that arrive as others, or in another order.
    #[test]
    fn what_is_typed_is_what_is_called() {
        for (typed, shown) in [
            (&[][..], "((), {})"),
            (&["1"], "((1,), {})"),
            (
                &[
                    "1",
                    "speed=0.5",
                    "\"a=b\"",
                    "_q=[null]",
                    "größe={\"x\": true}",
                ],
                "((1, 'a=b'), {'speed': 0.5, '_q': [None], 'größe': {'x': True}})",
            ),
        ] {
            match pickle_of(typed) {
                Ok(pickle) => {
                    assert_eq!(text(&pickle).as_deref(), Ok(shown), "{typed:?}");
                    assert_eq!(check(&pickle), Ok(()));
                }
                Err(error) => panic!("{typed:?}: {error}"),
            }
        }
        let deep = MAX_NESTING as usize - 2;
        let nested = |depth: usize| [vec!["["; depth], vec!["]"; depth]].concat().concat();
        let pickle = pickle_of(&[&nested(deep)]).unwrap();
        assert_eq!(check(&pickle), Ok(()));
        assert!(pickle_of(&[&nested(deep + 1)]).is_err());
    }

    /// Against a call with other arguments than somebody meant.
    #[test]
    fn what_is_no_argument_is_refused() {
        for (typed, why) in [
            (&["hello"][..], "argument hello: "),
            (&["1", "x="], "argument x=: "),
            (&["x=1", "2", "x=3"], "'x' is given twice"),
            (&["1=2"], "argument 1=2: "),
            (&["a-b=2"], "argument a-b=2: "),
            (&["=2"], "argument =2: "),
            (&["1 2"], "argument 1 2: "),
            (&[""], "argument : "),
        ] {
            let error = pickle_of(typed).expect_err("it is no call").to_string();
            assert!(error.contains(why), "{typed:?}: {error}");
        }
    }
}
