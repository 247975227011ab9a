//! Loom models: every interleaving of a few threads in the steps of the ring, in the custody of its blocks and in leases, some of
//! which die in the middle. The steps are the library's own source, built once more on loom's atomics: `cargo xtask loom`.

#[path = "../../../ipc/src/queue/custody.rs"]
#[allow(dead_code, reason = "the rest is for batches")]
mod custody;
#[path = "../../../ipc/src/queue/leasing.rs"]
#[allow(dead_code, reason = "the rest is for futures and dead letters")]
mod leasing;
#[path = "../../../ipc/src/queue/ring/mod.rs"]
#[allow(dead_code, reason = "the rest is for batches and futures")]
mod ring;
#[path = "../../../ipc/src/queue/word/mod.rs"]
#[allow(dead_code, unused_imports, reason = "as above")]
mod word;

mod blocks;
mod leases;
mod memory;
mod passing;

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use loom::sync::{Arc, Condvar, Mutex};

use self::{
    custody::Custody,
    leasing::{Leased, Leasing},
    ring::{AtomicU32, AtomicU64, Dequeue, Enqueue, Locate, Ring, Side, Spot, Stop},
    word::{BlockId, BlockState, Holder, Kind, Owner, Positions, What},
};

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
