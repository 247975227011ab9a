//! Loom models: every interleaving of a few threads in the steps of the ring, some of which die in the middle. The steps
//! are the library's own source, built once more on loom's atomics: `cargo xtask loom`.
#![cfg(loom)]

#[path = "../src/queue/protocol.rs"]
#[allow(dead_code, reason = "the rest is for blocks and leases")]
mod protocol;
#[path = "../src/queue/word.rs"]
#[allow(dead_code, reason = "as above")]
mod word;

use std::{ptr::NonNull, sync::atomic::Ordering::*};

use loom::{
    sync::{Arc, Condvar, Mutex},
    thread,
};

use self::{
    protocol::{AtomicU32, AtomicU64, CLOSED, CLOSING, Claim, Claimed, Ring, Short, Side, SlotHead, Stop, fence},
    word::{Owner, Phase, Positions, SlotWord},
};

const PUTTER: Owner = Owner(1);
const GETTER: Owner = Owner(2);
const OTHER: Owner = Owner(3);
/// Dies in the middle of what it does.
const VICTIM: Owner = Owner(4);

/// A ring in the memory of a model, and the kernel's futexes as loom sees them. A wake-up that gets lost is a deadlock,
/// which loom reports.
struct Model {
    positions: Positions,
    slots: Vec<SlotHead>,
    hints: [AtomicU64; 2],
    events: [AtomicU32; 2],
    /// On which event count whoever sleeps does.
    asleep: Mutex<Vec<(usize, usize)>>,
    woken: Condvar,
}

impl Model {
    fn new(capacity: u32) -> Arc<Self> {
        Arc::new(Self {
            positions: Positions::new(capacity),
            slots: (0..capacity).map(|_| SlotHead { word: AtomicU64::new(0), meta: AtomicU64::new(0) }).collect(),
            hints: [AtomicU64::new(0), AtomicU64::new(0)],
            events: [AtomicU32::new(0), AtomicU32::new(0)],
            asleep: Mutex::new(Vec::new()),
            woken: Condvar::new(),
        })
    }

    /// As `events.rs` waits, without the spin and without a limit to the sleep.
    fn patiently<R>(&self, side: Side, attempt: impl Fn(bool) -> Result<R, Stop>) -> Result<R, Stop> {
        let announce = || {
            let seen = self.announce(side);
            self.light();
            Some(seen)
        };
        let mut announced = announce();
        loop {
            match attempt(true) {
                Err(Stop::Held(slot, word)) if word.owner() == VICTIM => {
                    self.free_of_the_dead(&self.slots[slot as usize].word, word);
                }
                Err(Stop::Level | Stop::Held(..)) => match announced.take() {
                    Some(seen) => self.sleep(self.event(side), seen),
                    None => announced = announce(),
                },
                done => return done,
            }
        }
    }

    fn sleep(&self, event: &AtomicU32, seen: u32) {
        let mut asleep = self.asleep.lock().unwrap();
        if event.load(SeqCst) != seen {
            return;
        }
        let me = (std::ptr::from_ref(event).addr(), asleep.len() + 100 * seen as usize);
        asleep.push(me);
        while asleep.contains(&me) {
            asleep = self.woken.wait(asleep).unwrap();
        }
    }

    fn put<M: Short + ?Sized>(&self, message: &M, me: Owner) -> Result<(), Stop> {
        if self.put_at_once(message, me)? {
            return Ok(());
        }
        self.patiently(Side::Space, |_| self.try_put(message, me))
    }

    fn get(&self, me: Owner) -> Result<u64, Stop> {
        match self.take_number_at_once() {
            Some(number) => Ok(number),
            None => self.patiently(Side::Items, |patient| self.try_get(patient, me)),
        }
    }

    fn try_get(&self, patient: bool, me: Owner) -> Result<u64, Stop> {
        let closed = self.event(Side::Items).load(Acquire) & CLOSED != 0;
        match self.claim_read(patient, me) {
            Ok(Claimed::Number(number)) => Ok(number),
            Ok(Claimed::Slot(claim)) => {
                let content = claim.head.meta.load(Relaxed);
                self.free_slot(&claim);
                Ok(content)
            }
            Err(Stop::Level) if closed => Err(Stop::Closed),
            Err(stop) => Err(stop),
        }
    }

    fn close(&self) {
        self.event(Side::Items).fetch_or(CLOSING, AcqRel);
        self.light();
        self.event(Side::Items).fetch_or(CLOSED, AcqRel);
        self.wake_all(self.event(Side::Items));
        self.wake_all(self.event(Side::Space));
    }
}

impl Ring for Model {
    fn positions(&self) -> Positions {
        self.positions
    }

    fn hint(&self, side: Side) -> &AtomicU64 {
        &self.hints[side as usize]
    }

    fn event(&self, side: Side) -> &AtomicU32 {
        &self.events[side as usize]
    }

    fn slot_at(&self, position: u64) -> Option<(Claim<'_>, SlotWord)> {
        let (lap, slot) = self.positions.split(position)?;
        let head = &self.slots[slot as usize];
        let word = SlotWord(head.word.load(Acquire));
        Some((Claim { head, payload: NonNull::dangling(), lap, slot }, word))
    }

    fn provide(&self, _: u64, _: Side) -> Result<bool, Stop> {
        Ok(true)
    }

    fn quarantine(&self) -> Stop {
        panic!("nobody damages a model's memory")
    }

    /// What `membarrier` makes of both halves together.
    fn light(&self) {
        fence(SeqCst);
    }

    fn wake(&self, event: &AtomicU32, n: u32) -> usize {
        let mut asleep = self.asleep.lock().unwrap();
        let before = asleep.len();
        let mut left = n;
        asleep.retain(|(at, _)| {
            let wakes = *at == std::ptr::from_ref(event).addr() && left > 0;
            left -= u32::from(wakes);
            !wakes
        });
        self.woken.notify_all();
        before - asleep.len()
    }
}

/// A message that is read while its slot is *reading*.
struct Slow(u64);

impl Short for Slow {
    fn write(&self, claim: &Claim<'_>) -> SlotWord {
        claim.head.meta.store(self.0, Relaxed);
        SlotWord::ready(claim.lap)
    }
}

/// Explores what `body` can do, with at most so many switches that nothing forces.
fn explore(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(body);
}

/// Puts 1 and 2 while somebody gets two messages; they come whole, in order, and once.
fn in_order(capacity: u32, put: fn(&Model, u64) -> Result<(), Stop>) {
    let ring = Model::new(capacity);
    let putter = ring.clone();
    let putting = thread::spawn(move || (1..=2).for_each(|n| put(&putter, n).unwrap()));
    assert_eq!((ring.get(GETTER), ring.get(GETTER)), (Ok(1), Ok(2)));
    putting.join().unwrap();
    assert_eq!(ring.try_get(true, GETTER), Err(Stop::Level));
}

#[test]
fn numbers_arrive_in_order_and_sleepers_wake() {
    explore(3, || in_order(2, |ring, n| ring.put(&n, PUTTER)));
}

#[test]
fn a_ring_of_one_passes_its_turns_on() {
    explore(3, || in_order(1, |ring, n| ring.put(&n, PUTTER)));
}

#[test]
fn messages_read_in_place_arrive_in_order() {
    explore(3, || in_order(1, |ring, n| ring.put(&Slow(n), PUTTER)));
}

#[test]
fn two_putters_and_a_getter_lose_nothing() {
    explore(2, || {
        let ring = Model::new(2);
        let (a, b) = (ring.clone(), ring.clone());
        let first = thread::spawn(move || a.put(&1_u64, PUTTER).unwrap());
        let second = thread::spawn(move || b.put(&Slow(2), OTHER).unwrap());
        let got = ring.get(GETTER).unwrap() + 10 * ring.get(GETTER).unwrap();
        assert!(got == 12 || got == 21, "{got}");
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn two_getters_take_a_message_once() {
    explore(2, || {
        let ring = Model::new(2);
        ring.put(&1_u64, PUTTER).unwrap();
        ring.put(&Slow(2), PUTTER).unwrap();
        let other = ring.clone();
        let second = thread::spawn(move || other.get(OTHER).unwrap());
        let got = ring.get(GETTER).unwrap() + second.join().unwrap();
        assert_eq!(got, 3);
    });
}

#[test]
fn numbers_taken_together_are_taken_once_and_make_room() {
    explore(2, || {
        let ring = Model::new(2);
        (1..=2).for_each(|n| ring.put(&n, PUTTER).unwrap());
        let (a, b) = (ring.clone(), ring.clone());
        let putting = thread::spawn(move || a.put(&4_u64, PUTTER).unwrap());
        let other = thread::spawn(move || b.get(OTHER).unwrap());
        let mut numbers = [0; 2];
        let (n, _) = ring.take_numbers(&mut numbers);
        assert!(numbers[..n].is_sorted());
        let mut got = numbers.iter().sum::<u64>() + other.join().unwrap();
        putting.join().unwrap();
        while let Ok(number) = ring.try_get(true, GETTER) {
            got += number;
        }
        assert_eq!(got, 7);
    });
}

/// Two find what a dead process held at the same time, and a third one's message gets through.
fn after_a_death(phase: Phase) {
    let ring = Model::new(1);
    match phase {
        Phase::Writing => drop(ring.claim_write(VICTIM)),
        _ => {
            ring.put(&Slow(9), PUTTER).unwrap();
            drop(ring.claim_read(false, VICTIM));
        }
    }
    let putter = ring.clone();
    let putting = thread::spawn(move || putter.put(&1_u64, PUTTER).unwrap());
    assert_eq!(ring.get(GETTER), Ok(1));
    putting.join().unwrap();
}

#[test]
fn a_dead_writer_holds_nobody_up() {
    explore(3, || after_a_death(Phase::Writing));
}

#[test]
fn a_dead_reader_holds_nobody_up() {
    explore(3, || after_a_death(Phase::Reading));
}

#[test]
fn a_message_is_got_or_refused_when_the_queue_closes() {
    explore(2, || {
        let ring = Model::new(1);
        let (putter, closer) = (ring.clone(), ring.clone());
        let putting = thread::spawn(move || putter.put(&1_u64, PUTTER));
        let closing = thread::spawn(move || closer.close());
        let got = ring.get(GETTER);
        assert_eq!(putting.join().unwrap().is_ok(), got.is_ok());
        closing.join().unwrap();
    });
}
