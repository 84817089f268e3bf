//! One line of the table: what was measured, beside what it is compared with and what
//! it is meant to be.
//!
//! Rows come from this program and from others (peers, Python), so they are the same in
//! JSON. A goal's limit is a figure of the same run, because machines differ and because
//! one machine differs from itself: a limit typed in by hand would be met by a new
//! processor, or missed on a busy afternoon.

use serde::{Deserialize, Serialize};

/// One line of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The part of the table.
    #[serde(default)]
    pub(crate) group: String,
    /// What was measured, with its size.
    pub(crate) name: String,
    /// The unit of all figures, such as `ns`.
    pub(crate) unit: String,
    /// The median of the rounds.
    pub(crate) median: f64,
    /// The smallest of the rounds.
    pub(crate) min: f64,
    /// The largest of the rounds.
    pub(crate) max: f64,
    /// What it is compared with, in the same unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<Reference>,
    /// The median in times of the reference's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
    /// What it is meant to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) goal: Option<Goal>,
    /// Whether it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) met: Option<bool>,
}

/// What a row is compared with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reference {
    /// The name of its row.
    pub(crate) name: String,
    /// Its median.
    pub(crate) median: f64,
}

/// What a row is meant to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Goal {
    /// In words, such as `≤ memcpy + 10 ns`.
    pub(crate) text: String,
    /// The figure that it comes to in this run.
    pub(crate) limit: f64,
}

impl Row {
    /// A row without comparison or goal.
    pub(crate) fn of(name: &str, unit: &str, rounds: &[f64]) -> Row {
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        Row {
            group: String::new(),
            name: name.to_owned(),
            unit: unit.to_owned(),
            median: sorted[sorted.len() / 2],
            min: sorted[0],
            max: sorted[sorted.len() - 1],
            reference: None,
            ratio: None,
            goal: None,
            met: None,
        }
    }

    /// Compares it with another row's figure.
    pub(crate) fn beside(&mut self, name: &str, median: f64) -> &mut Row {
        self.reference = Some(Reference {
            name: name.to_owned(),
            median,
        });
        self.ratio = Some(self.median / median);
        self
    }

    /// Wants it to be that much at most.
    pub(crate) fn at_most(&mut self, limit: f64, text: &str) -> &mut Row {
        self.wants(limit, text, self.median <= limit)
    }

    /// Wants it to be that much at least.
    pub(crate) fn at_least(&mut self, limit: f64, text: &str) -> &mut Row {
        self.wants(limit, text, self.median >= limit)
    }

    fn wants(&mut self, limit: f64, text: &str, met: bool) -> &mut Row {
        self.goal = Some(Goal {
            text: text.to_owned(),
            limit,
        });
        self.met = Some(met);
        self
    }
}
