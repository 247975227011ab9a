//! What a pool's memory says, for a program that looks from outside.

use kernel::shm::inspect::{Copied, Source, Unreadable, VALUE_AT, shared};

use super::{
    board::{
        DEATH_WORDS, DEATHS, DONE, FAILED, MAGIC, N_DEATHS, PIDS, RESTARTS, RETRIED, SHOWN, TEXT, WAITING, WANTED,
    },
    work::LIMITED_TASK,
    worker::INITIALIZER,
};

/// Where in the program's text the function is that a task calls, and whether it is the pool's initializer.
///
/// `begin` is the first two words of a task with that `tag`.
pub fn function_of(tag: u32, begin: [u64; 2]) -> (u64, bool) {
    let [first, second] = begin;
    (if tag == LIMITED_TASK { second } else { first }, tag == INITIALIZER)
}

/// What a pool shows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoardView {
    /// Tasks that no worker has.
    pub n_waiting: u64,
    /// Tasks that ended with a result; each item of a `map` is one.
    pub n_done: u64,
    /// Tasks that ended without one.
    pub n_failed: u64,
    /// Times that a task was given to another worker after the first died.
    pub retried: u64,
    /// Times that a worker was replaced.
    pub restarts: u64,
    /// How many workers the pool is to have.
    pub n_wanted: u64,
    /// The pids of some of its workers.
    pub pids: Vec<u32>,
    /// Deaths of workers, ever.
    pub n_deaths: u64,
    /// The last of them, the latest first.
    pub deaths: Vec<DeathView>,
}

/// How a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeathView {
    /// Its pid.
    pub pid: u32,
    /// What it died of, and what it reported about that.
    pub text: String,
}

/// What a block of memory says, if it is a pool's.
///
/// # Errors
/// If it is not.
pub fn board(source: &(impl Source + ?Sized)) -> Result<BoardView, Unreadable> {
    let words = DEATHS + SHOWN * DEATH_WORDS;
    if shared(source)?.value_bytes != words as u64 * 8 {
        return Err(Unreadable::Other);
    }
    let copied = Copied::of(source, VALUE_AT, words * 8)?;
    let word = |index: usize| copied.u64(index * 8);
    if word(0) != MAGIC {
        return Err(Unreadable::Other);
    }
    let n_deaths = word(N_DEATHS);
    let numbers = (0..SHOWN as u64).map_while(|age| n_deaths.checked_sub(age)).take_while(|number| *number > 0);
    let death = |number: u64| {
        let at = DEATHS + (number % SHOWN as u64) as usize * DEATH_WORDS;
        // Else it is being written, or was overwritten.
        (word(at) == number).then(|| {
            let len = (word(at + 3) as usize).min((DEATH_WORDS - TEXT) * 8);
            let bytes: Vec<u8> = (at + TEXT..at + DEATH_WORDS).flat_map(|index| word(index).to_ne_bytes()).collect();
            let text = String::from_utf8_lossy(&bytes[..len]);
            let text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            DeathView { pid: word(at + 1) as u32, text }
        })
    };
    Ok(BoardView {
        n_waiting: word(WAITING),
        n_done: word(DONE),
        n_failed: word(FAILED),
        retried: word(RETRIED),
        restarts: word(RESTARTS),
        n_wanted: word(WANTED),
        pids: PIDS.map(|index| word(index) as u32).filter(|pid| *pid != 0).collect(),
        n_deaths,
        deaths: numbers.filter_map(death).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, fs::File, os::fd::AsFd};

    use kernel::shm::{Shared, SharedMemory};

    use super::*;
    use crate::{
        process::board::{Board, News},
        stats::Death,
    };

    fn file(memory: &SharedMemory) -> File {
        File::from(memory.as_fd().try_clone_to_owned().unwrap())
    }

    #[test]
    fn a_board_says_what_it_was_told() {
        let shown = Board::new().unwrap();
        let file = file(shown.memory());
        assert_eq!(board(&file).unwrap(), BoardView::default());
        let deaths: Vec<Death> = (1..=40_u32)
            .map(|pid| Death {
                pid,
                signal: Some(9),
                code: None,
                task: Some(7),
                name: Some("x".repeat(300)),
                crash: None,
            })
            .collect();
        for n in [1, 2, 40] {
            let deaths: VecDeque<Death> = deaths[..n].iter().cloned().collect();
            let n_deaths = n as u64;
            shown.tell(&News { retried: 3, restarts: 4, n_wanted: 2, pids: [8, 0, 9], n_deaths, deaths: &deaths });
            let view = board(&file).unwrap();
            assert_eq!((view.retried, view.restarts, view.n_wanted, view.pids.as_slice()), (3, 4, 2, &[8, 9][..]));
            let pids: Vec<u32> = view.deaths.iter().map(|death| death.pid).collect();
            let expected: Vec<u32> = (1..=n as u32).rev().take(SHOWN).collect();
            assert_eq!((view.n_deaths, pids), (n as u64, expected));
            assert!(view.deaths[0].text.starts_with("killed by signal 9, running xxx"));
        }
    }

    #[test]
    fn other_memory_is_no_board() {
        let other = Shared::new([const { std::sync::atomic::AtomicU64::new(7) }; 472]).unwrap();
        assert!(matches!(board(&file(other.memory())), Err(Unreadable::Other)));
    }
}
