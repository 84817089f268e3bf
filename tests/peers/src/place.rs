//! Where iceoryx2 keeps its files here, and the time that two processes share.

use iceoryx2::prelude::*;
use rustix::time::{ClockId, clock_gettime};

/// Whatever goes wrong: it is only ever told.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
/// Kind of the services: between processes, one thread each.
pub(crate) type Kind = ipc::Service;

/// A node of iceoryx2 with files of its own.
pub(crate) struct Place {
    node: Node<Kind>,
}

impl Place {
    pub(crate) fn new(root: &str, prefix: &str) -> Result<Place, Failure> {
        set_log_level(LogLevel::Error);
        let mut config = Config::default();
        let root = Path::new(root.as_bytes()).map_err(|error| format!("{root:?}: {error:?}"))?;
        config.global.set_root_path(&root);
        let prefix = FileName::new(prefix.as_bytes());
        config.global.prefix = prefix.map_err(|error| format!("a prefix: {error:?}"))?;
        let node = NodeBuilder::new().config(&config).create::<Kind>()?;
        Ok(Place { node })
    }

    /// A builder of the service `name`.
    pub(crate) fn service(
        &self,
        name: &str,
    ) -> Result<iceoryx2::service::builder::Builder<Kind>, Failure> {
        let name: ServiceName = name.try_into()?;
        Ok(self.node.service_builder(&name))
    }
}

/// Nanoseconds since some moment that is the same for every process.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

pub(crate) fn spin_until(time: u64) {
    while now() < time {
        std::hint::spin_loop();
    }
}

/// The nanoseconds of one of as many as there is time for, each of `size` bytes.
pub(crate) fn repeat(size: usize, start: u64, end: u64, mut once: impl FnMut()) -> f64 {
    // Looking at the clock must cost next to nothing.
    let batch = ((1 << 20) / size).clamp(1, 256);
    spin_until(start);
    let start = now();
    let mut count = 0;
    loop {
        for _ in 0..batch {
            once();
        }
        count += batch;
        let time = now();
        if time >= end {
            return (time - start) as f64 / count as f64;
        }
    }
}
