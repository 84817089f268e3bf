//! A process that means harm: it maps the segment of others and stores into it
//! whatever does damage, all the time.

use crate::number;
use robot_ipc_core::header::HEADER_SIZE;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use support::Random;
use support::system::SharedWords;

/// The words of the header, which comes first.
const HEADER_WORDS: usize = HEADER_SIZE / 4;

/// `variable|function PATH SEED`: scribbles until it is killed; now and then all is
/// good again for a while.
pub(crate) fn scribble(arguments: &[&str]) {
    let (kind, path, seed) = (arguments[0], arguments[1], number(arguments[2]));
    let words = SharedWords::open(path);
    let good: Vec<u32> = (0..words.count())
        .map(|index| words.word(index).load(Relaxed))
        .collect();
    let mut random = Random::new(seed ^ 0xABCD);
    println!("scribbling");
    loop {
        if random.below(2) == 0 {
            for (index, word) in good.iter().enumerate() {
                words.word(index).store(*word, Relaxed);
            }
        }
        for _ in 0..random.below(6) {
            let offset = match kind {
                "variable" => offset_in_variable(&mut random),
                _ => offset_in_function(&mut random),
            };
            let index = match offset {
                Some(offset) => offset as usize / 4,
                // Anywhere, but seldom in the header: nothing can be opened then.
                None if random.below(50) == 0 => random.below(HEADER_WORDS as u64) as usize,
                None => HEADER_WORDS + random.below((good.len() - HEADER_WORDS) as u64) as usize,
            };
            let word = bad_word(kind, good[index], &mut random);
            words.word(index).store(word, Relaxed);
        }
        std::thread::sleep(Duration::from_micros(random.below(300)));
    }
}

/// Of a word that matters, in a variable of 4 slots and 100 bytes.
fn offset_in_variable(random: &mut Random) -> Option<u64> {
    match random.below(4) {
        0 => Some(2304),                                               // latest
        1 => Some(2368 + 4 * random.below(64)),                        // owners
        2 => Some(2624 + 192 * random.below(4) + 4 * random.below(6)), // slot heads
        _ => None,
    }
}

/// The same in a function of 4 cells and 100 bytes for arguments and response.
fn offset_in_function(random: &mut Random) -> Option<u64> {
    match random.below(5) {
        0 => Some(2304 + 64 * random.below(5)), // bell, room, tickets, end
        1 => Some(256 + 8 * random.below(8) + 4), // who serves
        2 => Some(2624 + 320 * random.below(4)), // cells
        3 => Some(
            2624 + 320 * random.below(4) + [0, 192][random.below(2) as usize] + 4 * random.below(8),
        ), // their heads
        _ => None,
    }
}

/// Something else instead of `good`.
fn bad_word(kind: &str, good: u32, random: &mut Random) -> u32 {
    match random.below(4) {
        0 => 0,
        1 => u32::MAX,
        // Plausible ones: a few bits differ; some state, of somebody, of an early use.
        2 if kind == "variable" => good ^ 1 << random.below(32),
        2 => {
            (random.below(6) | random.below(4) << 3 | random.below(4) << 5) as u32
                | (random.below(4) as u32) << 13
        }
        _ => random.next() as u32,
    }
}
