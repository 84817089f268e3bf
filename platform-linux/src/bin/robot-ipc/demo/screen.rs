//! What the demo shows: a live picture on a terminal, plain lines in a pipe.

use super::arm::{JOINTS, View};
use super::calls::Tally;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Half the width of a joint's bar.
const HALF: usize = 24;
/// Lines of the live picture.
const LINES: usize = JOINTS + 5;

/// Where the picture goes, and what the last one was made of.
#[derive(Debug)]
pub(crate) struct Screen {
    live: bool,
    drawn: bool,
    last: Instant,
    before: [u64; 4],
    rates: [f64; 4],
}

impl Screen {
    pub(crate) fn new() -> Screen {
        Screen {
            live: std::io::stdout().is_terminal(),
            drawn: false,
            last: Instant::now(),
            before: [0; 4],
            rates: [0.0; 4],
        }
    }

    /// How often it wants to be drawn.
    pub(crate) fn interval(&self) -> Duration {
        if self.live {
            Duration::from_millis(100)
        } else {
            Duration::from_secs(1)
        }
    }

    /// Draws what is known now. `versions` are those of the three variables, `calls` is
    /// what was counted of all calls.
    pub(crate) fn draw(&mut self, view: &View, versions: [u64; 3], calls: &Tally, kills: u32) {
        let [state, setpoint, telemetry] = versions;
        let counts = [state, setpoint, telemetry, calls.answered];
        let seconds = self.last.elapsed().as_secs_f64();
        if seconds >= 0.5 {
            for (index, count) in counts.into_iter().enumerate() {
                self.rates[index] = (count - self.before[index]) as f64 / seconds;
            }
            self.before = counts;
            self.last = Instant::now();
        }
        let text = if self.live {
            self.picture(view, calls, kills)
        } else {
            self.line(view, kills)
        };
        let mut out = std::io::stdout().lock();
        // A closed pipe ends the picture, not the demo.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        self.drawn = true;
    }

    fn picture(&self, view: &View, calls: &Tally, kills: u32) -> String {
        let mut text = String::new();
        if self.drawn {
            text += &format!("\x1b[{LINES}A");
        }
        for joint in 0..JOINTS {
            let position = view.state.position[joint];
            let mut bar = [' '; 2 * HALF + 1];
            bar[HALF] = '·';
            bar[place(view.target[joint])] = '|';
            bar[place(position)] = '●';
            let bar: String = bar.iter().collect();
            text += &format!("\x1b[Kjoint {joint}  [{bar}] {position:+.3} rad\n");
        }
        let [state, setpoint, telemetry, called] = self.rates;
        text += &format!("\x1b[Kstate      {state:8.0} /s   written by the 1 kHz loop in Rust\n");
        text += &format!(
            "\x1b[Ksetpoint   {setpoint:8.0} /s   written by Python, {} old\n",
            age(view.setpoint.map(|(_, age)| age))
        );
        text += &format!(
            "\x1b[Ktelemetry  {telemetry:8.0} /s   written by Python, {} old, killed {kills} times\n",
            age(view.telemetry.map(|(_, age)| age))
        );
        text += &format!(
            "\x1b[Kcalls      {called:8.0} /s   Rust and Python, p50 {:.0?}, p99 {:.0?}, mixed {}, hung {}\n",
            calls.percentile(0.5),
            calls.percentile(0.99),
            calls.mixed,
            calls.hung
        );
        let counts = view.counts;
        text += &format!(
            "\x1b[Kread {}, torn {}, lost {}; the loop was late by {:?} at most\n",
            counts.read, counts.torn, counts.lost, view.longest_delay
        );
        text
    }

    fn line(&self, view: &View, kills: u32) -> String {
        let [state, setpoint, telemetry, called] = self.rates;
        let [first, second, third] = view.state.position;
        format!(
            "joints {first:+.3} {second:+.3} {third:+.3}  state {state:.0}/s  setpoint \
             {setpoint:.0}/s ({} old)  telemetry {telemetry:.0}/s ({} old)  \
             calls {called:.0}/s  kills {kills}\n",
            age(view.setpoint.map(|(_, age)| age)),
            age(view.telemetry.map(|(_, age)| age)),
        )
    }
}

/// Where a position between -1.5 and 1.5 rad stands in a bar.
fn place(position: f64) -> usize {
    let offset = (position / 1.5 * HALF as f64).round();
    (HALF as f64 + offset).clamp(0.0, 2.0 * HALF as f64) as usize
}

fn age(age: Option<Duration>) -> String {
    match age {
        Some(age) => format!("{:.2} ms", age.as_secs_f64() * 1000.0),
        None => "not".to_owned(),
    }
}
