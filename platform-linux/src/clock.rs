//! Time, and which boot and namespace it belongs to.

use robot_ipc_core::header::Creator;
use rustix::time::{ClockId, clock_gettime};
use std::sync::OnceLock;
use std::time::Duration;

/// Nanoseconds since boot, suspend included (CLOCK_BOOTTIME, through the vDSO).
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A time that goes on in steps of some milliseconds, and takes a fraction of the time
/// that the exact one does.
pub(crate) fn coarse_now() -> Duration {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// What of a [`Creator`] is the same for the whole life of a process.
struct World {
    boot_id: [u8; 16],
    time_namespace: [u64; 2],
}

#[allow(clippy::unnecessary_cast)] // the widths differ between processors
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World {
        boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .ok()
            .and_then(|text| parse_boot_id(&text))
            .unwrap_or_default(),
        time_namespace: rustix::fs::stat("/proc/self/ns/time")
            .map(|stat| [stat.st_dev as u64, stat.st_ino as u64])
            .unwrap_or_default(),
    })
}

fn parse_boot_id(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    (digits.len() == 32).then(|| {
        u128::from_str_radix(&digits, 16)
            .map(u128::to_be_bytes)
            .ok()
    })?
}

/// This process as the creator of a segment.
pub(crate) fn creator() -> Creator {
    let World {
        boot_id,
        time_namespace,
    } = *world();
    Creator {
        pid: std::process::id(),
        uid: rustix::process::geteuid().as_raw(),
        created_ns: now_ns(),
        boot_id,
        time_namespace,
    }
}

/// Whether a segment was made before the machine was started the last time.
pub(crate) fn is_from_another_boot(creator: &Creator) -> bool {
    let (theirs, ours) = (creator.boot_id, world().boot_id);
    theirs != [0; 16] && ours != [0; 16] && theirs != ours
}

/// Whether the creator's clock is this process's.
pub(crate) fn is_same_clock(creator: &Creator) -> bool {
    let (theirs, ours) = (creator.time_namespace, world().time_namespace);
    theirs == [0; 2] || ours == [0; 2] || theirs == ours
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a boot id that reads as "not known" and is then never checked.
    #[test]
    fn the_boot_id_is_read_and_compared() {
        assert_eq!(
            parse_boot_id("01234567-89ab-cdef-0123-456789abcdef\n").unwrap()[..3],
            [0x01, 0x23, 0x45]
        );
        assert_eq!(parse_boot_id("nonsense"), None);
        let here = creator();
        assert!(!is_from_another_boot(&here));
        assert!(is_same_clock(&here));
        assert!(is_from_another_boot(&Creator {
            boot_id: [9; 16],
            ..here
        }));
        assert!(!is_same_clock(&Creator {
            time_namespace: [9, 9],
            ..here
        }));
        assert!(!is_from_another_boot(&Creator {
            boot_id: [0; 16],
            ..here
        }));
    }

    #[test]
    fn time_goes_on() {
        let before = now_ns();
        assert!(before > 0 && now_ns() >= before);
    }
}
