//! What this program was asked for.

use crate::measuring::Scale;
use std::path::PathBuf;
use support::workspace;

/// What this program was asked for.
pub(crate) struct Arguments {
    quick: bool,
    /// Where to save the rows.
    pub(crate) json: Option<PathBuf>,
    /// Where to save a picture of them.
    pub(crate) plot: Option<PathBuf>,
    /// Rows to show instead of measuring.
    pub(crate) from: Option<PathBuf>,
    filters: Vec<String>,
}

const USAGE: &str = "\
usage: cargo bench -p robot-ipc-tests -- [--quick] [--json FILE] [--plot FILE] [--from FILE] [PART…]
  --quick      roughly, in some seconds
  --json FILE  saves all rows
  --plot FILE  saves a picture of them (SVG)
  --from FILE  measures nothing: shows what --json has saved
  PART         only parts of the table whose name has this in it
A relative FILE is looked for from the workspace's folder.";

impl Arguments {
    /// Reads them; says how they go if they cannot be read, and ends.
    pub(crate) fn parse(words: &[&str]) -> Arguments {
        let mut arguments = Arguments {
            quick: false,
            json: None,
            plot: None,
            from: None,
            filters: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                // Cargo says so to every bench.
                "--bench" => {}
                "--quick" => arguments.quick = true,
                "--json" => arguments.json = Some(file(word, words.next())),
                "--plot" => arguments.plot = Some(file(word, words.next())),
                "--from" => arguments.from = Some(file(word, words.next())),
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

    /// Ends if no part of the table was asked for that there is.
    pub(crate) fn check(&self, groups: &[&str]) {
        if !groups.iter().any(|group| self.wants(group)) {
            let (wanted, all) = (self.filters.join("' or '"), groups.join("\n  "));
            refuse(&format!(
                "no part has '{wanted}' in its name; there are:\n  {all}"
            ));
        }
    }

    /// Whether a part of the table was asked for.
    pub(crate) fn wants(&self, group: &str) -> bool {
        let wanted = |filter: &String| group.to_lowercase().contains(filter.as_str());
        self.filters.is_empty() || self.filters.iter().any(wanted)
    }
}

fn file(option: &str, path: Option<&&str>) -> PathBuf {
    match path {
        // Not from where Cargo starts benches.
        Some(path) => workspace().join(path),
        None => refuse(&format!("{option} needs a file")),
    }
}

fn refuse(why: &str) -> ! {
    eprintln!("{why}\n{USAGE}");
    std::process::exit(2);
}
