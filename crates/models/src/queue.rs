//! Loom models: every interleaving of a few threads in the steps of the ring, in the custody of its blocks and in leases, some of
//! which die in the middle. The steps are the library's own source, built once more on loom's atomics: `cargo xtask loom`.

#[path = "../../ipc/src/queue/custody.rs"]
#[allow(dead_code, reason = "the rest is for batches")]
mod custody;
#[path = "../../ipc/src/queue/leasing.rs"]
#[allow(dead_code, reason = "the rest is for futures and dead letters")]
mod leasing;
#[path = "../../ipc/src/queue/ring.rs"]
#[allow(dead_code, reason = "the rest is for batches and futures")]
mod ring;
#[path = "../../ipc/src/queue/word.rs"]
#[allow(dead_code, reason = "as above")]
mod word;

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use loom::{
    sync::{Arc, Condvar, Mutex},
    thread,
};

use self::{
    custody::Custody,
    leasing::{Leased, Leasing},
    ring::{AtomicU32, AtomicU64, Ring, Side, Spot, Stop, fence},
    word::{BlockId, BlockState, Holder, Kind, Owner, Positions, SlotWord, What},
};
use crate::explore;

const PUTTER: Owner = Owner(1);
const GETTER: Owner = Owner(2);
const OTHER: Owner = Owner(3);
/// Dies in the middle of what it does.
const VICTIM: Owner = Owner(4);

fn holder(owner: Owner) -> Holder {
    Holder::numbered(owner, 100 + u64::from(owner.0))
}

fn block(index: u32) -> BlockId {
    BlockId { class: 0, index }
}

/// After so many an item is a dead letter.
const MAX_DELIVERIES: u8 = 2;

/// Deliveries stand in a record's high bits, which a model has none of: they move to where they fit.
const DELIVERIES_SHIFT: u32 = 28;

fn with_deliveries(state: BlockState, n: u8) -> (BlockState, u8) {
    match state {
        BlockState::Leased { to, deliveries } => (BlockState::Leased { to, deliveries: n }, deliveries),
        BlockState::Orphan { deliveries } => (BlockState::Orphan { deliveries: n }, deliveries),
        BlockState::DeadLetter { deliveries } => (BlockState::DeadLetter { deliveries: n }, deliveries),
        state => (state, 0),
    }
}

/// A record's word as a model has it.
fn small(word: u64) -> u64 {
    let (bare, deliveries) = with_deliveries(BlockState::from_word(word), 0);
    bare.to_word() | u64::from(deliveries) << DELIVERIES_SHIFT
}

/// The same as everybody else has it.
fn large(word: u64) -> u64 {
    let bare = BlockState::from_word(word & ((1 << DELIVERIES_SHIFT) - 1));
    with_deliveries(bare, (word >> DELIVERIES_SHIFT) as u8).0.to_word()
}

/// Two words of 32 bits in one of 64: loom knows no swap of two words. A word of ours is small in a model: a lap of a few
/// bits, payloads and holders of a few more.
struct Pair(AtomicU64);

impl Pair {
    fn new(first: u64, second: u64) -> Self {
        Self(AtomicU64::new(Self::pack(first, second)))
    }

    fn pack(first: u64, second: u64) -> u64 {
        assert!(first >> 32 == 0 && second >> 32 == 0, "too large for a model: {first:x} {second:x}");
        first << 32 | second
    }

    fn first(&self) -> u64 {
        self.0.load(Acquire) >> 32
    }

    fn second(&self) -> u64 {
        self.0.load(Acquire) & u64::from(u32::MAX)
    }

    fn swap(&self, from: (u64, u64), to: (u64, u64)) -> bool {
        let (from, to) = (Self::pack(from.0, from.1), Self::pack(to.0, to.1));
        self.0.compare_exchange(from, to, SeqCst, Relaxed).is_ok()
    }

    /// The second word alone is stored by who has the pair to itself.
    fn set_second(&self, second: u64) {
        let first = self.first();
        self.0.store(Self::pack(first, second), Release);
    }
}

/// A ring in the memory of a model, and the kernel's futexes as loom sees them. A wake-up that gets lost is a deadlock,
/// which loom reports.
struct Model {
    positions: Positions,
    slots: Vec<Pair>,
    records: Vec<Pair>,
    /// What is written in each block.
    bytes: Vec<AtomicU64>,
    leases: bool,
    orphans: AtomicU32,
    done: AtomicU32,
    hints: [AtomicU64; 2],
    events: [AtomicU32; 2],
    /// On which event count whoever sleeps does.
    asleep: Mutex<Vec<(usize, usize)>>,
    woken: Condvar,
}

impl Model {
    fn new(capacity: u32) -> Arc<Self> {
        Arc::new(Self::with(capacity, 0, false))
    }

    /// A ring that grows from `first` slots.
    fn growing(first: u32, n_sections: u32) -> Arc<Self> {
        Arc::new(Self::at(Positions::growing(first, n_sections), 0, false))
    }

    fn with(capacity: u32, blocks: u32, leases: bool) -> Self {
        Self::at(Positions::new(capacity), blocks, leases)
    }

    fn at(positions: Positions, blocks: u32, leases: bool) -> Self {
        Self {
            positions,
            slots: (0..positions.n_slots()).map(|_| Pair::new(0, 0)).collect(),
            records: (0..blocks).map(|_| Pair::new(0, 0)).collect(),
            bytes: (0..blocks).map(|_| AtomicU64::new(0)).collect(),
            leases,
            orphans: AtomicU32::new(0),
            done: AtomicU32::new(0),
            hints: [AtomicU64::new(0), AtomicU64::new(0)],
            events: [AtomicU32::new(0), AtomicU32::new(0)],
            asleep: Mutex::new(Vec::new()),
            woken: Condvar::new(),
        }
    }

    /// As `events.rs` waits, without the spin and without a limit to the sleep.
    fn patiently<R>(&self, side: Side, attempt: impl Fn() -> Result<R, Stop>) -> Result<R, Stop> {
        loop {
            match attempt() {
                Err(Stop::WouldBlock) => {}
                done => return done,
            }
            let seen = self.announce(side);
            match attempt() {
                Err(Stop::WouldBlock) => self.sleep(self.event(side), seen),
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

    fn put(&self, number: u64) -> Result<(), Stop> {
        if self.put_at_once(What::NUMBER, number, |_| ()) {
            return Ok(());
        }
        self.patiently(Side::Space, || self.try_put(What::NUMBER, number, |_| ()))
    }

    fn get(&self) -> Result<u64, Stop> {
        match self.take_number_at_once() {
            Some(number) => Ok(number),
            None => self.patiently(Side::Items, || self.try_get(GETTER)),
        }
    }

    /// Takes a number, or what is written in the block of the message.
    fn try_get(&self, me: Owner) -> Result<u64, Stop> {
        loop {
            let spot = self.next()?;
            let Some((kind, payload)) = self.whole(&spot) else { continue };
            if kind == Some(Kind::Block) {
                let Some(block) = self.take_from_ring(&spot, payload, holder(me)) else { continue };
                let (word, _) = self.record(block);
                assert_eq!(word, self.when_taken(Some(holder(me))).to_word());
                let content = self.bytes[block.index as usize].load(Relaxed);
                if !self.leases {
                    self.free(block);
                }
                return Ok(content);
            }
            if self.take(&spot) {
                return Ok(payload);
            }
        }
    }

    fn claim(&self, at: BlockId, me: Owner) -> bool {
        self.records[at.index as usize].swap((0, 0), (BlockState::Held(holder(me)).to_word(), 0))
    }

    fn free(&self, at: BlockId) {
        let record = &self.records[at.index as usize];
        let word = record.first();
        assert!(record.swap((word, 0), (0, 0)), "a block that is held is nowhere");
    }

    fn try_put_block(&self, at: BlockId, content: u64) -> Result<(), Stop> {
        let index = at.index as usize;
        self.bytes[index].store(content, Relaxed);
        self.try_put(What::BLOCK, at.to_bits(), |position| self.records[index].set_second(position + 1))
    }

    /// What a sweep does for a dead participant: see `garbage.rs`.
    fn sweep(&self, dead: Owner, me: Owner) {
        for slot in 0..self.positions.n_slots() {
            let word = self.word(slot).unwrap();
            let spot = Spot { position: self.positions.join(word.lap(), slot), lap: word.lap(), slot, word };
            if word.is_taken()
                && let Some((None, payload)) = self.whole(&spot)
                && word::Taken::from_payload(payload).by == dead
            {
                self.settle(&spot, payload);
            }
        }
        for index in 0..self.records.len() as u32 {
            if self.collect(block(index), Some(holder(dead)), BlockState::Held(holder(me))) {
                self.free(block(index));
            }
            let (word, _) = self.record(block(index));
            if let BlockState::Leased { to, deliveries } = BlockState::from_word(word)
                && to == holder(dead)
            {
                self.abandon(block(index), word, deliveries);
            }
        }
    }

    fn state(&self, index: usize) -> BlockState {
        BlockState::from_word(self.record(block(index as u32)).0)
    }

    /// Lends what is in a block that nobody has put, to `me`.
    fn lend(&self, index: u32, content: u64, me: Owner) -> Leased {
        assert!(self.claim(block(index), me));
        self.try_put_block(block(index), content).unwrap();
        let spot = self.next().unwrap();
        let (_, payload) = self.whole(&spot).unwrap();
        let block = self.take_from_ring(&spot, payload, holder(me)).unwrap();
        Leased { block, word: self.record(block).0, deliveries: 1 }
    }

    /// As `Raw::try_lease`, without the looks after the dead.
    fn try_lease(&self, me: Owner) -> Result<Leased, Stop> {
        if self.orphans().load(Relaxed) != 0
            && let Some(lease) = self.adopt(holder(me))?
        {
            return Ok(lease);
        }
        loop {
            let spot = self.next()?;
            let Some((_, payload)) = self.whole(&spot) else { continue };
            if let Some(block) = self.take_from_ring(&spot, payload, holder(me)) {
                return Ok(Leased { block, word: self.record(block).0, deliveries: 1 });
            }
        }
    }

    fn lease(&self, me: Owner) -> Leased {
        self.patiently(Side::Items, || self.try_lease(me)).unwrap()
    }

    /// As `Raw::join`, which is the only one to look without being woken.
    fn join(&self) {
        while !self.has_all_done().unwrap() {
            let seen = self.announce_joiner();
            if self.has_all_done().unwrap() {
                return;
            }
            self.sleep(self.done(), seen);
        }
    }
}

impl Ring for Model {
    type At<'a> = &'a Pair;

    fn positions(&self) -> &Positions {
        &self.positions
    }

    fn hint(&self, side: Side) -> &AtomicU64 {
        &self.hints[side as usize]
    }

    fn event(&self, side: Side) -> &AtomicU32 {
        &self.events[side as usize]
    }

    fn word(&self, slot: u32) -> Option<SlotWord> {
        Some(SlotWord(self.slots[slot as usize].first()))
    }

    fn at(&self, slot: u32) -> &Pair {
        &self.slots[slot as usize]
    }

    fn is_readable(&self, _: u32) -> bool {
        true
    }

    fn word_at(&self, at: &Pair) -> SlotWord {
        SlotWord(at.first())
    }

    fn payload_at(&self, at: &Pair) -> u64 {
        at.second()
    }

    fn swap_word_at(&self, at: &Pair, from: SlotWord, to: SlotWord) -> bool {
        let second = at.second();
        at.swap((from.0, second), (to.0, second))
    }

    fn swap_at(&self, at: &Pair, from: (SlotWord, u64), to: (SlotWord, u64)) -> bool {
        at.swap((from.0.0, from.1), (to.0.0, to.1))
    }

    fn may_put(&self, _: u32) -> bool {
        true
    }

    fn provide(&self, _: u32) -> Result<(), Stop> {
        Ok(())
    }

    fn is_untouched(&self, _: u32) -> bool {
        false
    }

    fn settle_taken(&self, spot: &Spot, payload: u64) -> Result<(), Stop> {
        self.settle(spot, payload);
        Ok(())
    }

    fn quarantine(&self) -> Stop {
        panic!("nobody damages a model's memory")
    }

    fn after_swap(&self) {
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

impl Custody for Model {
    fn record(&self, block: BlockId) -> (u64, u64) {
        let record = &self.records[block.index as usize];
        (large(record.first()), record.second())
    }

    fn swap_record(&self, block: BlockId, from: (u64, u64), to: (u64, u64)) -> bool {
        self.records[block.index as usize].swap((small(from.0), from.1), (small(to.0), to.1))
    }

    fn holder_at(&self, owner: Owner) -> Option<Holder> {
        Some(holder(owner))
    }

    fn when_taken(&self, by: Option<Holder>) -> BlockState {
        match by {
            Some(to) if self.leases => BlockState::Leased { to, deliveries: 1 },
            None if self.leases => BlockState::Orphan { deliveries: 0 },
            by => by.map_or(BlockState::Free, BlockState::Held),
        }
    }
}

/// Explores what `body` can do, with at most so many switches that nothing forces.
impl Leasing for Model {
    fn orphans(&self) -> &AtomicU32 {
        &self.orphans
    }

    fn done(&self) -> &AtomicU32 {
        &self.done
    }

    fn max_deliveries(&self) -> u8 {
        MAX_DELIVERIES
    }

    fn all_blocks(&self) -> Result<impl Iterator<Item = BlockId>, Stop> {
        Ok((0..self.records.len() as u32).map(block))
    }

    fn swap_state(&self, block: BlockId, from: u64, to: BlockState) -> bool {
        let record = &self.records[block.index as usize];
        loop {
            let (word, place) = (record.first(), record.second());
            if word != small(from) {
                return false;
            }
            if record.swap((word, place), (small(to.to_word()), place)) {
                return true;
            }
        }
    }

    fn free_finished(&self, block: BlockId) {
        self.free(block);
    }
}

/// Puts 1 and 2 while somebody gets two messages; they come whole, in order, and once.
fn in_order(capacity: u32) {
    let ring = Model::new(capacity);
    let putter = ring.clone();
    let putting = thread::spawn(move || (1..=2).for_each(|n| putter.put(n).unwrap()));
    assert_eq!((ring.get(), ring.get()), (Ok(1), Ok(2)));
    putting.join().unwrap();
    assert_eq!(ring.try_get(GETTER), Err(Stop::WouldBlock));
}

#[test]
fn numbers_arrive_in_order_and_sleepers_wake() {
    explore(3, || in_order(2));
}

#[test]
fn a_ring_of_one_passes_its_turns_on() {
    explore(3, || in_order(1));
}

/// Over two laps with two switches that nothing forces, a model takes minutes; so that is for a ring of one.
#[test]
fn two_putters_pass_a_ring_of_one_to_a_getter() {
    explore(2, || {
        let ring = Model::new(1);
        let (a, b) = (ring.clone(), ring.clone());
        let first = thread::spawn(move || a.put(1).unwrap());
        let second = thread::spawn(move || b.put(10).unwrap());
        assert_eq!(ring.get().unwrap() + ring.get().unwrap(), 11);
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn two_putters_and_a_getter_lose_nothing_over_two_laps() {
    explore(1, || {
        let ring = Model::new(2);
        let (a, b) = (ring.clone(), ring.clone());
        let first = thread::spawn(move || [1, 2].map(|n| a.put(n).unwrap()));
        let second = thread::spawn(move || [10, 20].map(|n| b.put(n).unwrap()));
        let got: Vec<_> = (0..4).map(|_| ring.get().unwrap()).collect();
        let of = |from: &[u64]| got.iter().copied().filter(|n| from.contains(n)).collect::<Vec<_>>();
        assert_eq!((of(&[1, 2]), of(&[10, 20])), (vec![1, 2], vec![10, 20]));
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn two_getters_and_a_putter_take_each_message_once_over_two_laps() {
    explore(1, || {
        let ring = Model::new(2);
        let (a, b) = (ring.clone(), ring.clone());
        let putting = thread::spawn(move || (0..4).for_each(|n| a.put(1 << n).unwrap()));
        let other = thread::spawn(move || [b.get().unwrap(), b.get().unwrap()]);
        let mine = [ring.get().unwrap(), ring.get().unwrap()];
        let others = other.join().unwrap();
        putting.join().unwrap();
        assert!(mine.is_sorted() && others.is_sorted());
        assert_eq!(mine.iter().chain(&others).sum::<u64>(), 0b1111);
    });
}

/// Whoever has put finds something to take, and whoever has taken finds room: whatever two others are in the middle of.
#[test]
fn empty_and_full_are_exact_beside_two_others() {
    explore(3, || {
        let ring = Model::new(2);
        let (a, b) = (ring.clone(), ring.clone());
        let putter = thread::spawn(move || a.try_put(What::NUMBER, 1, |_| ()));
        let getter = thread::spawn(move || b.try_get(GETTER));
        let put = ring.try_put(What::NUMBER, 2, |_| ());
        assert_eq!(put, Ok(()), "of two slots one was free");
        let mine = ring.try_get(OTHER);
        let (theirs, others) = (putter.join().unwrap(), getter.join().unwrap());
        assert_eq!(theirs, Ok(()));
        // One getter at most was too early for both messages.
        let got = [mine, others];
        assert!(mine.is_ok() || others.is_ok(), "{got:?}");
        let rest: u64 = std::iter::from_fn(|| ring.try_get(OTHER).ok()).sum();
        assert_eq!(got.iter().flatten().sum::<u64>() + rest, 3);
    });
}

#[test]
fn a_hint_of_long_ago_costs_steps_and_no_message() {
    explore(2, || {
        let ring = Model::new(2);
        for n in 1..=5 {
            ring.put(n).unwrap();
            assert_eq!(ring.get(), Ok(n));
        }
        let (late, putter) = (ring.clone(), ring.clone());
        // One that was slow in storing its hint, for both sides.
        let storing = thread::spawn(move || {
            late.hint(Side::Items).store(1, Release);
            late.hint(Side::Space).store(late.positions().join(1, 0), Release);
        });
        let putting = thread::spawn(move || [6, 7].map(|n| putter.put(n).unwrap()));
        assert_eq!((ring.get(), ring.get()), (Ok(6), Ok(7)));
        assert_eq!(ring.try_get(GETTER), Err(Stop::WouldBlock));
        storing.join().unwrap();
        putting.join().unwrap();
        assert_eq!((ring.put(8), ring.put(9)), (Ok(()), Ok(())));
        assert_eq!(ring.try_put(What::NUMBER, 10, |_| ()), Err(Stop::WouldBlock));
    });
}

#[test]
fn numbers_taken_together_are_taken_once_and_make_room() {
    explore(2, || {
        let ring = Model::new(2);
        (1..=2).for_each(|n| ring.put(n).unwrap());
        let (a, b) = (ring.clone(), ring.clone());
        let putting = thread::spawn(move || a.put(4).unwrap());
        let other = thread::spawn(move || b.get().unwrap());
        let mut numbers = [0; 2];
        let (n, _) = ring.take_numbers(&mut numbers);
        assert!(numbers[..n].is_sorted());
        let mut got = numbers.iter().sum::<u64>() + other.join().unwrap();
        putting.join().unwrap();
        while let Ok(number) = ring.try_get(GETTER) {
            got += number;
        }
        assert_eq!(got, 7);
    });
}

#[test]
fn a_message_is_got_or_refused_when_the_queue_closes() {
    for full in [false, true] {
        explore(2, move || {
            let ring = Model::new(1);
            if full {
                ring.put(7).unwrap();
            }
            let (putter, closer) = (ring.clone(), ring.clone());
            let putting = thread::spawn(move || putter.put(1));
            let closing = thread::spawn(move || closer.close().unwrap());
            let got: Vec<u64> = std::iter::from_fn(|| ring.get().ok()).collect();
            closing.join().unwrap();
            let put = putting.join().unwrap();
            let expected = [full.then_some(7), put.is_ok().then_some(1)];
            assert_eq!(got, expected.into_iter().flatten().collect::<Vec<_>>());
            assert_eq!((put, ring.try_get(OTHER)), (put, Err(Stop::Closed)));
            assert_eq!(ring.try_put(What::NUMBER, 9, |_| ()), Err(Stop::Closed));
        });
    }
}

/// Nobody waits for room, and each putter's messages come in their order, through a section that becomes full and another.
#[test]
fn a_ring_that_grows_keeps_everything_in_order() {
    explore(1, || {
        let ring = Model::growing(1, 2);
        let (a, b) = (ring.clone(), ring.clone());
        let first = thread::spawn(move || [1, 2].map(|n| a.try_put(What::NUMBER, n, |_| ()).unwrap()));
        let second = thread::spawn(move || b.try_put(What::NUMBER, 10, |_| ()).unwrap());
        let got: Vec<_> = (0..3).map(|_| ring.get().unwrap()).collect();
        assert_eq!(got.iter().copied().filter(|n| *n < 10).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(got.iter().sum::<u64>(), 13);
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!((ring.try_get(GETTER), ring.count()), (Err(Stop::WouldBlock), Ok(0)));
    });
}

#[test]
fn two_getters_take_each_message_of_a_ring_that_grows_once() {
    explore(1, || {
        let ring = Model::growing(1, 2);
        let (a, b) = (ring.clone(), ring.clone());
        let putting = thread::spawn(move || (0..3).for_each(|n| a.try_put(What::NUMBER, 1 << n, |_| ()).unwrap()));
        let other = thread::spawn(move || b.get().unwrap());
        let mine = [ring.get().unwrap(), ring.get().unwrap()];
        let others = other.join().unwrap();
        putting.join().unwrap();
        assert!(mine.is_sorted());
        assert_eq!(mine.iter().sum::<u64>() + others, 0b111);
    });
}

/// A message is never said to be missing that was put before the look, while the ring grows under the one who looks.
#[test]
fn empty_is_exact_where_the_ring_grows() {
    explore(2, || {
        let ring = Model::growing(1, 3);
        ring.put(1).unwrap();
        let putter = ring.clone();
        let putting = thread::spawn(move || putter.try_put(What::NUMBER, 2, |_| ()).unwrap());
        assert_eq!(ring.try_get(GETTER), Ok(1));
        ring.try_put(What::NUMBER, 4, |_| ()).unwrap();
        let (n, got) = (ring.count().unwrap(), ring.try_get(GETTER));
        putting.join().unwrap();
        assert!((1..=2).contains(&n) && matches!(got, Ok(2 | 4)), "{n} {got:?}");
        assert_eq!(ring.try_get(GETTER).map(|last| last + got.unwrap()), Ok(6));
        assert_eq!((ring.count(), ring.try_get(GETTER)), (Ok(0), Err(Stop::WouldBlock)));
    });
}

#[test]
fn a_ring_closes_in_the_section_that_it_has_grown_to() {
    explore(2, || {
        let ring = Model::growing(1, 2);
        ring.put(7).unwrap();
        let (putter, closer) = (ring.clone(), ring.clone());
        let putting = thread::spawn(move || putter.try_put(What::NUMBER, 1, |_| ()));
        let closing = thread::spawn(move || closer.close().unwrap());
        let got: Vec<u64> = std::iter::from_fn(|| ring.get().ok()).collect();
        closing.join().unwrap();
        let put = putting.join().unwrap();
        assert_eq!(got, [Some(7), put.is_ok().then_some(1)].into_iter().flatten().collect::<Vec<_>>());
        assert_eq!((put, ring.try_get(OTHER)), (put, Err(Stop::Closed)));
        assert_eq!(ring.try_put(What::NUMBER, 9, |_| ()), Err(Stop::Closed));
    });
}

/// A getter dies right after its one step, in a section that the ring has left meanwhile: nobody puts there any more.
#[test]
fn what_a_dead_getter_took_before_the_ring_grew_is_free() {
    explore(2, || {
        let ring = Arc::new(Model::at(Positions::growing(1, 2), 1, false));
        assert!(ring.claim(block(0), PUTTER));
        ring.try_put_block(block(0), 5).unwrap();
        let (a, b) = (ring.clone(), ring.clone());
        let putting = thread::spawn(move || a.try_put(What::NUMBER, 6, |_| ()).unwrap());
        let dying = thread::spawn(move || {
            let taken = word::Taken { by: VICTIM, block: block(0) };
            loop {
                let spot = b.next().unwrap();
                // The putter may mark the word meanwhile.
                if let Some((_, payload)) = b.whole(&spot)
                    && b.take_block(&spot, payload, taken.to_payload())
                {
                    break;
                }
            }
        });
        dying.join().unwrap();
        ring.sweep(VICTIM, OTHER);
        putting.join().unwrap();
        assert_eq!(ring.state(0), BlockState::Free);
        assert_eq!((ring.try_get(GETTER), ring.try_get(GETTER)), (Ok(6), Err(Stop::WouldBlock)));
    });
}

#[test]
fn a_block_is_its_takers_whoever_settles_it() {
    explore(3, || {
        let ring = Arc::new(Model::with(1, 2, false));
        assert!(ring.claim(block(0), PUTTER) && ring.claim(block(1), PUTTER));
        ring.try_put_block(block(0), 5).unwrap();
        let (a, b) = (ring.clone(), ring.clone());
        // The next putter settles what the first getter has not.
        let putting = thread::spawn(move || a.patiently(Side::Space, || a.try_put_block(block(1), 6)).unwrap());
        let other = thread::spawn(move || b.patiently(Side::Items, || b.try_get(OTHER)).unwrap());
        let got = ring.patiently(Side::Items, || ring.try_get(GETTER)).unwrap() + other.join().unwrap();
        putting.join().unwrap();
        assert_eq!(got, 11);
        assert_eq!((ring.state(0), ring.state(1)), (BlockState::Free, BlockState::Free));
    });
}

/// A getter dies right after its one step; a sweeper and the next putter both settle what it took.
fn after_a_death(leases: bool) {
    let ring = Arc::new(Model::with(1, 2, leases));
    assert!(ring.claim(block(0), PUTTER) && ring.claim(block(1), PUTTER));
    ring.try_put_block(block(0), 5).unwrap();
    let spot = ring.next().unwrap();
    let (_, payload) = ring.whole(&spot).unwrap();
    let taken = word::Taken { by: VICTIM, block: block(0) };
    assert!(ring.take_block(&spot, payload, taken.to_payload()));
    let (a, b) = (ring.clone(), ring.clone());
    let putting = thread::spawn(move || a.try_put_block(block(1), 6).unwrap());
    let sweeping = thread::spawn(move || b.sweep(VICTIM, OTHER));
    let got = ring.patiently(Side::Items, || ring.try_get(GETTER));
    putting.join().unwrap();
    sweeping.join().unwrap();
    assert_eq!(got, Ok(6));
    ring.sweep(VICTIM, OTHER);
    let expected = if leases { BlockState::Orphan { deliveries: 1 } } else { BlockState::Free };
    assert_eq!(ring.state(0), expected);
}

#[test]
fn what_a_dead_getter_took_is_free() {
    explore(2, || after_a_death(false));
}

#[test]
fn what_a_dead_getter_was_lent_is_an_orphan() {
    explore(2, || after_a_death(true));
}

/// A putter is dead, before or after its one step; its block is in the ring or free, whatever getter and sweeper do.
fn after_a_putters_death(was_put: bool) {
    let ring = Arc::new(Model::with(2, 1, false));
    assert!(ring.claim(block(0), VICTIM));
    if was_put {
        ring.try_put_block(block(0), 5).unwrap();
    } else {
        // It was about to, and somebody else was faster.
        ring.records[0].set_second(1);
    }
    let (a, b) = (ring.clone(), ring.clone());
    let putting = thread::spawn(move || a.put(6).unwrap());
    let sweeping = thread::spawn(move || b.sweep(VICTIM, OTHER));
    let mut got = ring.patiently(Side::Items, || ring.try_get(GETTER)).unwrap();
    if was_put {
        got += ring.patiently(Side::Items, || ring.try_get(GETTER)).unwrap();
    }
    putting.join().unwrap();
    sweeping.join().unwrap();
    assert_eq!(got, if was_put { 11 } else { 6 });
    assert_eq!(ring.state(0), BlockState::Free);
}

#[test]
fn a_dead_putters_message_is_taken_and_its_block_free() {
    explore(2, || after_a_putters_death(true));
}

#[test]
fn a_dead_putters_block_is_free() {
    explore(2, || after_a_putters_death(false));
}

/// The last of several who are done wakes the joiner, who sleeps without a limit.
#[test]
fn a_joiner_wakes_when_the_last_item_is_done() {
    explore(3, || {
        let ring = Arc::new(Model::with(2, 2, true));
        let (first, second) = (ring.lend(0, 5, GETTER), ring.lend(1, 6, OTHER));
        let (a, b) = (ring.clone(), ring.clone());
        let one = thread::spawn(move || a.finish(first.block, first.word, holder(GETTER)));
        let other = thread::spawn(move || b.finish(second.block, second.word, holder(OTHER)));
        ring.join();
        // Whoever has finished may still hold the block, to free it.
        assert!([0, 1].iter().all(|index| !ring.is_unfinished(block(*index))));
        one.join().unwrap();
        other.join().unwrap();
    });
}

/// Whoever joins is not told that all is done while an item is between two holders.
#[test]
fn a_joiner_waits_for_an_item_that_is_given_back() {
    explore(3, || {
        let ring = Arc::new(Model::with(2, 1, true));
        let lease = ring.lend(0, 5, VICTIM);
        let (a, b) = (ring.clone(), ring.clone());
        let dropping = thread::spawn(move || a.abandon(lease.block, lease.word, lease.deliveries));
        let getting = thread::spawn(move || {
            let lease = b.lease(GETTER);
            assert_eq!(lease.deliveries, 2);
            b.finish(lease.block, lease.word, holder(GETTER));
        });
        ring.join();
        assert!(!ring.is_unfinished(block(0)));
        dropping.join().unwrap();
        getting.join().unwrap();
    });
}

/// Two items come back while two getters sleep: each gets one.
#[test]
fn items_that_are_given_back_wake_those_who_wait() {
    explore(2, || {
        let ring = Arc::new(Model::with(2, 2, true));
        let leases = [ring.lend(0, 5, VICTIM), ring.lend(1, 6, VICTIM)];
        let (a, b) = (ring.clone(), ring.clone());
        let dropping =
            thread::spawn(move || leases.iter().for_each(|lease| a.abandon(lease.block, lease.word, lease.deliveries)));
        let other = thread::spawn(move || b.lease(OTHER).block);
        let mine = ring.lease(GETTER).block;
        assert_ne!(other.join().unwrap(), mine);
        dropping.join().unwrap();
    });
}

/// The holder of an item dies while a getter takes it for abandoned and it is swept: it is delivered once more, to one.
#[test]
fn an_item_of_the_dead_is_delivered_once_more() {
    explore(2, || {
        let ring = Arc::new(Model::with(2, 1, true));
        ring.lend(0, 5, VICTIM);
        let (a, b) = (ring.clone(), ring.clone());
        let sweeping = thread::spawn(move || a.sweep(VICTIM, OTHER));
        let also = thread::spawn(move || b.sweep(VICTIM, PUTTER));
        let lease = ring.lease(GETTER);
        assert_eq!(lease.deliveries, 2);
        sweeping.join().unwrap();
        also.join().unwrap();
        assert_eq!(ring.state(0), BlockState::Leased { to: holder(GETTER), deliveries: 2 });
        // That was the last: nobody gets it again, and nobody waits for it.
        ring.abandon(lease.block, lease.word, lease.deliveries);
        assert_eq!(ring.state(0), BlockState::DeadLetter { deliveries: 2 });
        assert_eq!((ring.try_lease(OTHER).err(), ring.has_all_done()), (Some(Stop::WouldBlock), Ok(true)));
    });
}
