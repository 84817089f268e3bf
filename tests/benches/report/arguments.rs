//! What this program was asked for.

use crate::measuring::Scale;
use std::path::PathBuf;

/// What this program was asked for.
pub(crate) struct Arguments {
    quick: bool,
    /// Where to save the rows.
    pub(crate) json: Option<PathBuf>,
    filters: Vec<String>,
}

const USAGE: &str = "\
usage: report [--quick] [--json FILE] [PART…]
  --quick      roughly, in some seconds
  --json FILE  saves all rows
  PART         only parts of the table whose name has this in it";

impl Arguments {
    /// Reads them; says how they go if they cannot be read, and ends.
    pub(crate) fn parse(words: &[&str]) -> Arguments {
        let mut arguments = Arguments {
            quick: false,
            json: None,
            filters: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                // Cargo says so to every bench.
                "--bench" => {}
                "--quick" => arguments.quick = true,
                "--json" => match words.next() {
                    Some(path) => arguments.json = Some(PathBuf::from(path)),
                    None => refuse("--json needs a file"),
                },
                option if option.starts_with('-') => refuse(&format!("what is '{option}'?")),
                part => arguments.filters.push(part.to_lowercase()),
            }
        }
        arguments
    }

    /// How thoroughly to measure.
    pub(crate) fn scale(&self) -> Scale {
        // What is measured without optimisation is not worth waiting for.
        if cfg!(debug_assertions) {
            Scale::Tiny
        } else if self.quick {
            Scale::Quick
        } else {
            Scale::Full
        }
    }

    /// Whether a part of the table was asked for.
    pub(crate) fn wants(&self, group: &str) -> bool {
        let wanted = |filter: &String| group.to_lowercase().contains(filter.as_str());
        self.filters.is_empty() || self.filters.iter().any(wanted)
    }
}

fn refuse(why: &str) -> ! {
    eprintln!("{why}\n{USAGE}");
    std::process::exit(2);
}
