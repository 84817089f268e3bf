//! A simulated arm of three joints and the loop that controls it.

use bytemuck::{Pod, Zeroable};
use robot_ipc::codec::{Encoding, Raw};
use robot_ipc::{HostVariable, Reason, Result, TypedVariable, VariableOptions};
use serde::Deserialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many joints the arm has.
pub(crate) const JOINTS: usize = 3;
/// How often the loop runs.
pub(crate) const PERIOD: Duration = Duration::from_millis(1);

/// What the loop publishes. Python has the same struct.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(crate) struct State {
    sequence: u64,
    pub(crate) position: [f64; JOINTS],
    velocity: [f64; JOINTS],
    checksum: u64,
}

/// Where the arm should be, seen from its centre. Python writes it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(crate) struct Setpoint {
    sequence: u64,
    target: [f64; JOINTS],
    checksum: u64,
}

/// What the process writes that is killed again and again, as Python pickles it.
#[derive(Debug, Deserialize)]
struct Telemetry {
    sequence: u64,
    samples: Vec<u64>,
    note: String,
}

/// The sum of all words before the last one.
pub(crate) fn checksum(value: &impl Pod) -> u64 {
    let words: &[u64] = bytemuck::cast_slice(bytemuck::bytes_of(value));
    words[..words.len() - 1]
        .iter()
        .fold(0, |sum, word| sum.wrapping_add(*word))
}

/// What was counted. Reads of one's own writes are not among them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) written: u64,
    pub(crate) read: u64,
    /// Values that were not of one piece.
    pub(crate) torn: u64,
    /// Published values that later ones do not follow from.
    pub(crate) lost: u64,
}

/// What the arm was told by calls, and where it is: shared with whoever serves them.
#[derive(Debug, Default)]
pub(crate) struct Orders(Mutex<Ordered>);

#[derive(Clone, Copy, Debug, Default)]
struct Ordered {
    /// What the setpoints are relative to.
    centre: [f64; JOINTS],
    /// Where to stay, instead of following the setpoints.
    hold: Option<[f64; JOINTS]>,
    position: [f64; JOINTS],
}

impl Orders {
    fn lock(&self) -> MutexGuard<'_, Ordered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Swings around `centre` from now on, also after a stop. Returns where the arm is.
    pub(crate) fn move_to(&self, centre: [f64; JOINTS]) -> [f64; JOINTS] {
        let mut ordered = self.lock();
        ordered.centre = centre;
        ordered.hold = None;
        ordered.position
    }

    /// Stays where the arm is, and returns that.
    pub(crate) fn stop(&self) -> [f64; JOINTS] {
        let mut ordered = self.lock();
        ordered.hold = Some(ordered.position);
        ordered.position
    }

    /// What to follow, for an arm at `position` that should be `offset` from its centre.
    fn target(&self, position: [f64; JOINTS], offset: [f64; JOINTS]) -> [f64; JOINTS] {
        let mut ordered = self.lock();
        ordered.position = position;
        let centre = ordered.centre;
        ordered
            .hold
            .unwrap_or_else(|| std::array::from_fn(|joint| centre[joint] + offset[joint]))
    }
}

/// What the screen shows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct View {
    pub(crate) counts: Counts,
    pub(crate) state: State,
    /// What the loop follows.
    pub(crate) target: [f64; JOINTS],
    pub(crate) setpoint: Option<(Setpoint, Duration)>,
    pub(crate) telemetry: Option<(u64, Duration)>,
    /// The latest cycle began so much later than it should.
    pub(crate) latest_delay: Duration,
    pub(crate) longest_delay: Duration,
}

/// The three variables and what is known of them.
pub(crate) struct Arm {
    state: TypedVariable<Raw<State>>,
    setpoint: TypedVariable<Raw<Setpoint>>,
    telemetry: HostVariable,
    orders: Arc<Orders>,
    view: Mutex<View>,
}

impl Arm {
    pub(crate) fn new(options: &VariableOptions) -> Result<Arm> {
        let sized = |size: usize| options.clone().max_size(size as u64);
        Ok(Arm {
            state: sized(size_of::<State>()).open_typed("arm-state")?,
            setpoint: sized(size_of::<Setpoint>()).open_typed("arm-setpoint")?,
            telemetry: options.open("telemetry")?,
            orders: Arc::default(),
            view: Mutex::default(),
        })
    }

    /// What calls may change.
    pub(crate) fn orders(&self) -> Arc<Orders> {
        Arc::clone(&self.orders)
    }

    pub(crate) fn view(&self) -> View {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Latest versions of state, setpoint and telemetry: so many writes were
    /// published.
    pub(crate) fn versions(&self) -> Result<[u64; 3]> {
        let variables = [
            self.state.variable(),
            self.setpoint.variable(),
            &self.telemetry,
        ];
        let [state, setpoint, telemetry] = variables.map(HostVariable::version);
        Ok([state?, setpoint?, telemetry?])
    }

    /// Controls the arm until `end` says so.
    pub(crate) fn control(&self, end: impl Fn() -> bool) -> Result<()> {
        let mut next = Instant::now();
        let mut buffer = vec![0; self.telemetry.max_size() as usize];
        let mut state = State::default();
        let mut seen = [0; 2];
        while !end() {
            next += PERIOD;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            let delay = next.elapsed();
            let mut counts = Counts::default();

            let setpoint = self.read_setpoint(&mut counts, &mut seen[0])?;
            let telemetry = self.read_telemetry(&mut buffer, &mut counts, &mut seen[1])?;
            let offset = setpoint.map_or([0.0; JOINTS], |(setpoint, _)| setpoint.target);
            let target = self.orders.target(state.position, offset);
            step(&mut state, &target);
            let sample = self.state.write(&state)?;
            counts.written += 1;
            counts.lost += u64::from(sample.version != state.sequence);

            let mut view = self.lock();
            view.counts.add(&counts);
            view.state = state;
            view.target = target;
            view.setpoint = setpoint;
            view.telemetry = telemetry;
            view.latest_delay = delay;
            view.longest_delay = view.longest_delay.max(delay);
        }
        Ok(())
    }

    fn read_setpoint(
        &self,
        counts: &mut Counts,
        seen: &mut u64,
    ) -> Result<Option<(Setpoint, Duration)>> {
        let (setpoint, sample) = match self.setpoint.sample() {
            Err(error) if *error.reason() == Reason::NeverWritten => return Ok(None),
            read => read?,
        };
        counts.read += 1;
        counts.torn += u64::from(setpoint.checksum != checksum(&setpoint));
        counts.lost += u64::from(setpoint.sequence != sample.version || sample.version < *seen);
        *seen = sample.version;
        Ok(Some((setpoint, self.setpoint.variable().age_of(&sample)?)))
    }

    fn read_telemetry(
        &self,
        buffer: &mut [u8],
        counts: &mut Counts,
        seen: &mut u64,
    ) -> Result<Option<(u64, Duration)>> {
        let sample = match self.telemetry.read_into(buffer) {
            Err(error) if *error.reason() == Reason::NeverWritten => return Ok(None),
            read => read?,
        };
        counts.read += 1;
        let pickled = &buffer[..sample.length as usize];
        let telemetry: Option<Telemetry> = if sample.encoding == Encoding::PICKLE {
            serde_pickle::from_slice(pickled, serde_pickle::DeOptions::new()).ok()
        } else {
            None
        };
        let Some(telemetry) = telemetry else {
            counts.torn += 1;
            return Ok(None);
        };
        let whole = telemetry.note == "whole"
            && telemetry.samples.len() == 200
            && telemetry
                .samples
                .iter()
                .all(|number| *number == telemetry.sequence);
        counts.torn += u64::from(!whole);
        counts.lost += u64::from(telemetry.sequence != sample.version || sample.version < *seen);
        *seen = sample.version;
        Ok(Some((sample.version, self.telemetry.age_of(&sample)?)))
    }
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Counts) {
        self.written += other.written;
        self.read += other.read;
        self.torn += other.torn;
        self.lost += other.lost;
    }
}

/// One period of a joint that is pulled towards its target and damped.
fn step(state: &mut State, target: &[f64; JOINTS]) {
    const STIFFNESS: f64 = 60.0;
    const DAMPING: f64 = 12.0;
    let seconds = PERIOD.as_secs_f64();
    for (joint, target) in target.iter().enumerate() {
        let force = STIFFNESS * (target - state.position[joint]) - DAMPING * state.velocity[joint];
        state.velocity[joint] += force * seconds;
        state.position[joint] += state.velocity[joint] * seconds;
    }
    state.sequence += 1;
    state.checksum = checksum(state);
}
