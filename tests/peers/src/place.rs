//! Where iceoryx2 keeps its files here, and the time that two processes share.

use iceoryx2::prelude::*;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Whatever goes wrong: it is only ever told.
pub(crate) type Failure = Box<dyn std::error::Error>;
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

/// Nanoseconds of one of those operations that were done within so many milliseconds; the
/// clock is looked at after every `batch` of them.
pub(crate) fn each(milliseconds: u64, batch: u64, mut operation: impl FnMut()) -> f64 {
    let length = Duration::from_millis(milliseconds);
    let (start, mut count) = (Instant::now(), 0);
    loop {
        for _ in 0..batch {
            operation();
        }
        count += batch;
        let passed = start.elapsed();
        if passed >= length {
            return passed.as_nanos() as f64 / count as f64;
        }
    }
}
