//! The machine that the figures are of.

use serde::{Deserialize, Serialize};

/// The machine that the figures are of, and when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Host {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) date: String,
}

impl Host {
    /// This one, now.
    pub(crate) fn new(cores: usize) -> Host {
        let text = |path| std::fs::read_to_string(path).unwrap_or_default();
        let processors = text("/proc/cpuinfo");
        // What ARM calls it is a number, if there is a name at all.
        let model = processors.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            let names = ["model name", "Model", "uarch", "CPU part"];
            names.contains(&key.trim()).then(|| value.trim().to_owned())
        });
        Host {
            processor: model.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores,
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            date: today(),
        }
    }
}

/// Today, as 2026-01-31, in UTC.
fn today() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut days = since.map_or(0, |since| since.as_secs() / 86400);
    let leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [
        31,
        28 + u64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
    ] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}
