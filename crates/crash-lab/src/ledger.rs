//! Who was promised what: words beside the object under test, each written after the call that makes the promise.

use std::{
    io,
    panic::PanicHookInfo,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use proc_core::shm::{Shared, SharedMemory};
use serde::{Deserialize, Serialize};

use crate::{operation::Verdict, stopwatch::Stopwatch};

/// A table of words, all zero at the beginning: what was put in and taken out, by item, and [counters](Self::add) whose
/// meaning is the operation's business.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ledger(Shared<[AtomicU64; 512]>);

/// Items are numbers below this.
pub(crate) const N_ITEMS: u64 = 128;

/// Those that the victim puts in.
pub(crate) const VICTIMS: std::ops::Range<usize> = 20..30;

const PUT: usize = 0;
const TAKEN: usize = N_ITEMS as usize;
const N_TAKERS: usize = 2 * N_ITEMS as usize;
const N_TAKEN: usize = N_TAKERS + 1;
const VICTIM: usize = N_TAKEN + 1;
const GO: usize = VICTIM + 1;
const OVER: usize = GO + 1;
const ASLEEP: usize = OVER + 1;
const AWAKE: usize = ASLEEP + 1;
const BURIED: usize = AWAKE + 1;
const REFUSED: usize = BURIED + 1;
const FAULTS: usize = REFUSED + 1;
const COUNTERS: usize = FAULTS + 1;
/// From here on, what the victim said when it panicked.
const SAID: usize = 384;

const BEGUN: u64 = 1;
const ACKNOWLEDGED: u64 = 2;
const GIVEN_BACK: u64 = 3;

/// How many items this process is taking.
static TAKING: AtomicU64 = AtomicU64::new(0);

impl Ledger {
    pub(crate) fn new() -> io::Result<Self> {
        Shared::new([const { AtomicU64::new(0) }; 512]).map(Self)
    }

    /// The one that lies in this memory.
    pub(crate) fn in_memory(memory: SharedMemory) -> io::Result<Self> {
        Shared::from_memory(memory).map(Self)
    }

    /// `item` is about to be put in.
    pub(crate) fn putting(&self, item: u64) {
        self.0[PUT + item as usize].store(BEGUN, SeqCst);
    }

    /// The call that puts it in has returned.
    pub(crate) fn has_put(&self, item: u64) {
        self.0[PUT + item as usize].store(ACKNOWLEDGED, SeqCst);
    }

    /// The call that puts it in has returned, and given it back.
    pub(crate) fn has_not_put(&self, item: u64) {
        self.0[PUT + item as usize].store(GIVEN_BACK, SeqCst);
    }

    /// Something is about to be taken out.
    pub(crate) fn taking(&self) {
        self.0[N_TAKERS].fetch_add(1, SeqCst);
        TAKING.fetch_add(1, SeqCst);
    }

    /// The call that takes it out has returned with `item`, or without one.
    pub(crate) fn has_taken(&self, item: impl Into<Option<u64>>) {
        if let Some(item) = item.into() {
            self.0[TAKEN + item as usize].fetch_add(1, SeqCst);
        }
        self.0[N_TAKEN].fetch_add(1, SeqCst);
        TAKING.fetch_sub(1, SeqCst);
    }

    /// How many takers have begun and not come back.
    pub(crate) fn n_takers(&self) -> u64 {
        self.0[N_TAKERS].load(SeqCst) - self.0[N_TAKEN].load(SeqCst)
    }

    /// Given everything that could still be taken out, in its order: each acknowledged item was delivered exactly once
    /// but for those that dead takers had in their hands, each other item at most once, and nothing else came out.
    pub(crate) fn balance(&self, rest: &[u64]) -> Verdict {
        self.balance_lending(rest, self.n_takers())
    }

    /// As [`balance`](Self::balance), where at most `lost` items may be gone.
    pub(crate) fn balance_lending(&self, rest: &[u64], lost: u64) -> Verdict {
        if let Some(stray) =
            rest.iter().find(|item| **item >= N_ITEMS || self.0[PUT + **item as usize].load(SeqCst) == 0)
        {
            return Err(format!("{stray:#x} came out and nobody put it in"));
        }
        let mut missing = Vec::new();
        for item in 0..N_ITEMS {
            let n_out = rest.iter().filter(|out| **out == item).count() as u64 + self.get_item(TAKEN, item);
            match (self.get_item(PUT, item), n_out) {
                (_, 2..) => return Err(format!("item {item} was delivered {n_out} times; the rest was {rest:?}")),
                (GIVEN_BACK, 1..) => return Err(format!("item {item} was given back, and delivered")),
                (ACKNOWLEDGED, 0) => missing.push(item),
                _ => {}
            }
        }
        if missing.len() as u64 > lost {
            return Err(format!("items {missing:?} are lost where {lost} may be; the rest was {rest:?}"));
        }
        Ok(())
    }

    /// Whether "empty" may be the answer to somebody while nobody else moves: what is acknowledged and not taken may be
    /// in the hands of takers who have not come back.
    pub(crate) fn may_be_empty(&self) -> Verdict {
        let inside = self.inside(|put| put == ACKNOWLEDGED);
        if inside.len() as u64 <= self.n_takers() {
            return Ok(());
        }
        Err(format!("EMPTY, where items {inside:?} are in and {} takers are at work", self.n_takers()))
    }

    /// Whether "full" may be the answer, likewise: what nobody has taken, or may still come in, needs all the room.
    pub(crate) fn may_be_full(&self, capacity: u64) -> Verdict {
        let inside = self.inside(|put| put == ACKNOWLEDGED || put == BEGUN);
        if inside.len() as u64 >= capacity {
            return Ok(());
        }
        Err(format!("FULL, where no more than {inside:?} can be in, and there is room for {capacity}"))
    }

    /// Items that nobody has taken out, of those who were put in like this.
    fn inside(&self, is_put: impl Fn(u64) -> bool) -> Vec<u64> {
        (0..N_ITEMS).filter(|item| is_put(self.get_item(PUT, *item)) && self.get_item(TAKEN, *item) == 0).collect()
    }

    fn get_item(&self, table: usize, item: u64) -> u64 {
        self.0[table + item as usize].load(SeqCst)
    }

    /// In the victim: takes down what it says if it panics. A panic of the lab's own code says that an operation was
    /// refused with an error: then what it was putting in is its own again, and it has taken nothing.
    pub(crate) fn listen_for_panics(&self) {
        let (ledger, former) = (self.clone(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |info| {
            ledger.take_down(info);
            former(info);
        }));
    }

    fn take_down(&self, info: &PanicHookInfo) {
        if info.location().is_some_and(|location| location.file().contains("crash-lab/src")) {
            self.0[REFUSED].store(1, SeqCst);
            for item in VICTIMS {
                let _ = self.0[PUT + item].compare_exchange(BEGUN, GIVEN_BACK, SeqCst, SeqCst);
            }
            (0..TAKING.load(SeqCst)).for_each(|_| self.has_taken(None));
        }
        let text = info.to_string();
        for (word, letters) in self.0[SAID..].iter().zip(text.as_bytes().chunks(8)) {
            let mut bytes = [0; 8];
            bytes[..letters.len()].copy_from_slice(letters);
            word.store(u64::from_ne_bytes(bytes), SeqCst);
        }
    }

    /// In the driver: nobody is to be killed, and system calls fail.
    pub(crate) fn expect_faults(&self) {
        self.0[FAULTS].store(1, SeqCst);
    }

    /// Whether an error of the system is as good an answer as a death.
    pub(crate) fn has_faults(&self) -> bool {
        self.0[FAULTS].load(SeqCst) > 0
    }

    /// The victim was refused what it wanted, with an error.
    pub(crate) fn is_refused(&self) -> bool {
        self.0[REFUSED].load(SeqCst) > 0
    }

    /// What the victim said when it panicked, if it did.
    pub(crate) fn said(&self) -> String {
        let bytes: Vec<u8> = self.0[SAID..].iter().flat_map(|word| word.load(SeqCst).to_ne_bytes()).collect();
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
    }

    /// In a launcher, or its child: names the victim, and waits until it is watched.
    pub(crate) fn stand_ready(&self, victim: u32, has_breakpoint: bool) -> Verdict {
        if victim == std::process::id() {
            self.listen_for_panics();
        }
        self.0[VICTIM].store(u64::from(victim) << 1 | u64::from(has_breakpoint), SeqCst);
        if wait_for(Duration::from_secs(10), || self.0[GO].load(SeqCst) > 0) {
            Ok(())
        } else {
            Err("nobody watches the victim".into())
        }
    }

    /// In the driver: the victim's pid, and whether its window begins at a breakpoint.
    pub(crate) fn victim(&self) -> Option<(i32, bool)> {
        let named = wait_for(Duration::from_secs(10), || self.0[VICTIM].load(SeqCst) > 0)
            .then(|| self.0[VICTIM].load(SeqCst))?;
        Some(((named >> 1) as i32, named & 1 == 1))
    }

    /// In the driver: the victim is watched.
    pub(crate) fn go(&self) {
        self.0[GO].store(1, SeqCst);
    }

    /// In the victim of a launcher: its window is over.
    pub(crate) fn over(&self) {
        self.0[OVER].store(1, SeqCst);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0[OVER].load(SeqCst) > 0
    }

    /// In a sleeper: it goes to sleep now.
    pub(crate) fn falls_asleep(&self) {
        self.0[ASLEEP].fetch_add(1, SeqCst);
    }

    /// In a sleeper: it is back.
    pub(crate) fn wakes_up(&self) {
        self.0[AWAKE].fetch_add(1, SeqCst);
    }

    /// In the driver, which has a copy of the memory judged: the sleepers in the picture died with the victim.
    pub(crate) fn bury_sleepers(&self) {
        self.0[BURIED].fetch_add(self.n_asleep(), SeqCst);
    }

    /// How many sleepers ever came.
    pub(crate) fn n_sleepers(&self) -> u64 {
        self.0[ASLEEP].load(SeqCst)
    }

    /// How many of them live and are not back.
    pub(crate) fn n_asleep(&self) -> u64 {
        self.n_sleepers().saturating_sub(self.n_awake() + self.n_buried())
    }

    /// How many of them are back.
    pub(crate) fn n_awake(&self) -> u64 {
        self.0[AWAKE].load(SeqCst)
    }

    /// How many of them are dead.
    pub(crate) fn n_buried(&self) -> u64 {
        self.0[BURIED].load(SeqCst)
    }

    /// Waits until every living sleeper is back; false after `limit`.
    pub(crate) fn all_wake_up(&self, limit: Duration) -> bool {
        wait_for(limit, || self.n_asleep() == 0)
    }

    /// Waits until one sleeper is back, if one lives; false after `limit`.
    pub(crate) fn one_wakes_up(&self, limit: Duration) -> bool {
        wait_for(limit, || self.n_awake() > 0 || self.n_asleep() == 0)
    }

    /// Counts one more of `what`.
    pub(crate) fn add(&self, what: usize) {
        self.0[COUNTERS + what].fetch_add(1, SeqCst);
    }

    /// Raises `what` to `value`, if it is less; returns what it was.
    pub(crate) fn raise(&self, what: usize, value: u64) -> u64 {
        self.0[COUNTERS + what].fetch_max(value, SeqCst)
    }

    /// The count of `what`.
    pub(crate) fn get(&self, what: usize) -> u64 {
        self.0[COUNTERS + what].load(SeqCst)
    }

    /// Waits until `what` has been counted; false after `limit`.
    pub(crate) fn comes(&self, what: usize, limit: Duration) -> bool {
        wait_for(limit, || self.get(what) > 0)
    }
}

fn wait_for(limit: Duration, is_so: impl Fn() -> bool) -> bool {
    let mut begun = Stopwatch::start();
    while !is_so() {
        if begun.elapsed() >= limit {
            return false;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    true
}
