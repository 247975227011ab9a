//! What a pool shows of itself to the outside: a page of shared memory that it only writes.
//!
//! | words | what |
//! |---|---|
//! | 0 | [`MAGIC`] |
//! | 1–4 | times tried again, restarts, workers wanted, deaths |
//! | 5–7 | pids of some of its workers |
//! | 8 | tasks that no worker has |
//! | 16, 17 | tasks done, tasks failed |
//! | from 24 | the last deaths, each in [`DEATH_WORDS`]: its number, 0 while it is being written; its pid; its task's id; the length of the text; the text |
//!
//! Each word is a number for people, so none is ordered with another: a look may see one of them newer than the next.

use std::{
    collections::VecDeque,
    io,
    sync::atomic::{
        AtomicU64,
        Ordering::{Relaxed, Release},
    },
};

use kernel::shm::Shared;

use crate::stats::Death;

const _: () = assert!(DEATHS + SHOWN * DEATH_WORDS == N_WORDS);

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"plBoard1");
const N_WORDS: usize = 472;
pub(super) const RETRIED: usize = 1;
pub(super) const RESTARTS: usize = 2;
pub(super) const WANTED: usize = 3;
pub(super) const N_DEATHS: usize = 4;
pub(super) const PIDS: std::ops::Range<usize> = 5..8;
pub(super) const WAITING: usize = 8;
pub(super) const DONE: usize = 16;
pub(super) const FAILED: usize = 17;
pub(super) const DEATHS: usize = 24;
pub(super) const DEATH_WORDS: usize = 32;
/// How many deaths are shown.
pub(super) const SHOWN: usize = (N_WORDS - DEATHS) / DEATH_WORDS;
pub(super) const TEXT: usize = 4;

/// What the pool's thread knows, and tells now and then.
#[derive(Debug)]
pub(super) struct News<'a> {
    pub(super) retried: u64,
    pub(super) restarts: u64,
    pub(super) n_wanted: usize,
    pub(super) pids: [u32; PIDS.end - PIDS.start],
    pub(super) n_deaths: u64,
    /// The last of them, the latest at the end.
    pub(super) deaths: &'a VecDeque<Death>,
}

/// The page.
#[derive(Debug)]
pub(super) struct Board(Shared<[AtomicU64; N_WORDS]>);

impl Board {
    pub(super) fn new() -> io::Result<Self> {
        let board = Self(Shared::new([const { AtomicU64::new(0) }; N_WORDS])?);
        board.set(0, MAGIC);
        Ok(board)
    }

    fn set(&self, word: usize, value: u64) {
        self.0[word].store(value, Relaxed);
    }

    #[cfg(all(test, feature = "inspect"))]
    pub(super) fn memory(&self) -> &kernel::shm::SharedMemory {
        self.0.memory()
    }

    pub(super) fn waiting(&self, n: usize) {
        self.set(WAITING, n as u64);
    }

    pub(super) fn done(&self) -> &AtomicU64 {
        &self.0[DONE]
    }

    pub(super) fn failed(&self) -> &AtomicU64 {
        &self.0[FAILED]
    }

    pub(super) fn tell(&self, news: &News<'_>) {
        self.set(RETRIED, news.retried);
        self.set(RESTARTS, news.restarts);
        self.set(WANTED, news.n_wanted as u64);
        PIDS.zip(news.pids).for_each(|(word, pid)| self.set(word, pid.into()));
        let told = self.0[N_DEATHS].load(Relaxed);
        let n_new = news.n_deaths.saturating_sub(told).min(SHOWN as u64);
        for (age, death) in news.deaths.iter().rev().take(n_new as usize).enumerate() {
            self.tell_death(news.n_deaths - age as u64, death);
        }
        self.set(N_DEATHS, news.n_deaths);
    }

    fn tell_death(&self, number: u64, death: &Death) {
        let at = DEATHS + number as usize % SHOWN * DEATH_WORDS;
        let mut text = match (death.signal, death.code) {
            (Some(signal), _) => format!("killed by signal {signal}"),
            (None, Some(code)) => format!("exited with {code}"),
            (None, None) => "ended".into(),
        };
        if let Some(name) = &death.name {
            text = format!("{text}, running {name}");
        }
        if let Some(crash) = &death.crash {
            text = format!("{text}: {crash}");
        }
        self.set(at, 0);
        self.set(at + 1, death.pid.into());
        self.set(at + 2, death.task.unwrap_or(0));
        let room = (DEATH_WORDS - TEXT) * 8;
        let bytes = &text.as_bytes()[..text.len().min(room)];
        for (word, chunk) in bytes.chunks(8).enumerate() {
            let mut whole = [0; 8];
            whole[..chunk.len()].copy_from_slice(chunk);
            self.set(at + TEXT + word, u64::from_ne_bytes(whole));
        }
        self.set(at + 3, bytes.len() as u64);
        // Release: a reader that sees the number in a copy taken from the front saw no older text behind it.
        self.0[at].store(number, Release);
    }
}
