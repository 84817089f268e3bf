//! `robot-ipc set`: a new value.

use crate::failure::Failure;
use crate::literal;
use robot_ipc::{Encoding, Place, VariableOptions};
use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Writes a value into a variable, as a pickle or as bytes
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true)))]
pub(crate) struct Set {
    /// The variable
    name: OsString,
    /// null, true, a number, "text", [list] or {"key": value}; Python reads it
    #[arg(group = "what", allow_negative_numbers = true)]
    value: Option<String>,
    /// Bytes in hexadecimal
    #[arg(long, group = "what", value_name = "DIGITS")]
    hex: Option<String>,
    /// The bytes of a file; - is standard input
    #[arg(long, group = "what", value_name = "PATH")]
    file: Option<PathBuf>,
    /// The bytes of this text
    #[arg(long, group = "what", value_name = "TEXT")]
    text: Option<OsString>,
    /// Creates the variable, for values of up to so many bytes
    #[arg(long, value_name = "BYTES")]
    max_size: Option<u64>,
}

impl Set {
    pub(crate) fn run(self, place: &Place) -> Result<(), Failure> {
        let options = VariableOptions::new().place(place.clone());
        let options = match self.max_size {
            Some(size) => options.max_size(size),
            None => options.adopt_size(),
        };
        let name = self.name.clone();
        let (bytes, encoding) = self.value()?;
        options
            .open_bytes(name.as_bytes())?
            .write_encoded(&bytes, encoding)?;
        Ok(())
    }

    fn value(self) -> Result<(Vec<u8>, Encoding), Failure> {
        if let Some(text) = self.value {
            let pickle =
                literal::to_pickle(&text).map_err(|error| Failure::message(error.to_string()))?;
            return Ok((pickle, Encoding::PICKLE));
        }
        let bytes = match (self.hex, self.file, self.text) {
            (Some(digits), _, _) => from_hex(&digits)?,
            (_, Some(path), _) => contents(&path)?,
            (_, _, text) => text.map(OsString::into_vec).unwrap_or_default(),
        };
        Ok((bytes, Encoding::RAW))
    }
}

fn from_hex(digits: &str) -> Result<Vec<u8>, Failure> {
    let digits: Vec<u32> = digits
        .chars()
        .filter(|character| !character.is_whitespace())
        .map(|character| {
            character.to_digit(16).ok_or_else(|| {
                Failure::message(format!(
                    "--hex takes hexadecimal digits, and '{}' is none",
                    character.escape_debug()
                ))
            })
        })
        .collect::<Result<_, _>>()?;
    if !digits.len().is_multiple_of(2) {
        return Err(Failure::message(
            "--hex takes two digits for each byte, and their number is odd",
        ));
    }
    Ok(digits
        .chunks_exact(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect())
}

fn contents(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    read.map_err(|error| Failure::message(format!("could not read {}: {error}", path.display())))
}
