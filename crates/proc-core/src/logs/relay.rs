//! The owner's side: takes records out of the rings of its children, and has them come out here.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicBool,
            Ordering::{Relaxed, SeqCst},
            fence,
        },
    },
};

use log::Level;

use super::{
    doorbell::Doorbell,
    draft::{EVENT, Parts, RECORD},
    emit::{self, Origin},
    ring::{Garbled, Reader, Ring},
    subscriber::OwnersSubscriber,
    text::Cursor,
};
use crate::{
    lock::lock,
    turn::{self, Turn, Waited},
};
use kernel::{fork_local::ForkLocal, helper};

/// How many records of one child come out before those of others have their turn.
const BATCH: usize = 64;

/// All children that forward to this process, and the doorbell of the thread that listens to them.
#[derive(Debug, Default)]
struct Relay {
    sources: Mutex<Vec<Arc<Source>>>,
    /// Made with the thread that sleeps on it.
    doorbell: Mutex<Option<Doorbell>>,
}

static RELAY: ForkLocal<Relay> = ForkLocal::new();

/// What a child is to get before it is started.
#[derive(Debug)]
pub(crate) struct Conduit {
    ring: Ring,
    /// Made before there is a child that could write.
    reader: Reader,
    doorbell: Doorbell,
    subscriber: OwnersSubscriber,
}

impl Conduit {
    /// Makes one, and ensures that a thread listens.
    pub(super) fn open(subscriber: OwnersSubscriber) -> io::Result<Self> {
        let ring = Ring::new()?;
        let mut place = lock(&RELAY.get().doorbell);
        let doorbell = match &*place {
            Some(doorbell) => doorbell.clone(),
            None => {
                let doorbell = Doorbell::new()?;
                let of_thread = doorbell.clone();
                helper::spawn_for_callbacks("proc-core-logs", move || listen(&of_thread))?;
                place.insert(doorbell).clone()
            }
        };
        let reader = Reader::new(ring.clone());
        Ok(Self { ring, reader, doorbell, subscriber })
    }

    /// What the child's `attach` takes.
    pub(crate) fn fds(&self) -> [BorrowedFd<'_>; super::terms::N_FDS] {
        [self.ring.as_fd(), self.doorbell.as_fd()]
    }

    /// The child has been started.
    pub(crate) fn connect(self, name: &str, pid: u32, is_prefixed: bool) -> Tap {
        let source = Arc::new(Source {
            origin: Origin { name: name.to_owned(), pid, is_prefixed },
            subscriber: self.subscriber,
            intake: Mutex::new(Intake { reader: self.reader, is_open: true }),
            has_ended: AtomicBool::new(false),
        });
        lock(&RELAY.get().sources).push(Arc::clone(&source));
        // The child may have logged already, and woken a thread that did not know of it. With the fence in `Doorbell::ring`:
        // either it wakes a thread that knows of it by now, or this sees what it has logged. Not rung for nothing: that costs
        // each start a wake-up.
        fence(SeqCst);
        if !source.is_empty() {
            self.doorbell.ring();
        }
        Tap { source, doorbell: self.doorbell }
    }
}

/// The records of one child, for the thread that learns of its end.
#[derive(Debug)]
pub(crate) struct Tap {
    source: Arc<Source>,
    doorbell: Doorbell,
}

impl Tap {
    /// After the child's end: passes on the rest. Waits for other calls of the program's logger, as long as they come back.
    pub(crate) fn finish(&self) {
        self.source.has_ended.store(true, Relaxed);
        if !self.source.is_open() {
            return;
        }
        match turn::take() {
            Waited::Turn(turn) => {
                self.source.finish(&turn);
                RELAY.get().forget(&self.source);
            }
            // By the thread that has the turn now.
            Waited::Mine | Waited::Stuck => self.doorbell.ring(),
        }
    }

    /// As [`finish`](Self::finish), of a child that still runs: what it has logged before this.
    pub(crate) fn drain(&self) {
        if let Waited::Turn(turn) = turn::take() {
            self.source.drain_all(&turn);
        }
    }
}

/// The child is not known any more: it has been reaped, and has no handle.
impl Drop for Tap {
    fn drop(&mut self) {
        if self.source.is_open() {
            self.source.has_ended.store(true, Relaxed);
            self.doorbell.ring();
        }
    }
}

/// Passes on all records that are there, at this process's exit.
pub(crate) fn drain_all() {
    let sources = RELAY.get().sources();
    if !sources.is_empty()
        && let Waited::Turn(turn) = turn::take()
    {
        sources.iter().for_each(|source| source.drain_all(&turn));
    }
}

impl Relay {
    fn sources(&self) -> Vec<Arc<Source>> {
        lock(&self.sources).clone()
    }

    fn forget(&self, source: &Arc<Source>) {
        lock(&self.sources).retain(|known| !Arc::ptr_eq(known, source));
    }
}

/// What the thread does.
fn listen(doorbell: &Doorbell) {
    let relay = RELAY.get();
    loop {
        let sources = relay.sources();
        for source in &sources {
            // Before the look: what it has logged before its end is seen.
            let has_ended = source.has_ended.load(Relaxed);
            if source.is_empty() && !has_ended {
                continue;
            }
            // Others that wait come between two batches. One that is stuck is not in this thread: it is waited for.
            let Waited::Turn(turn) = turn::take() else { continue };
            if has_ended {
                source.finish(&turn);
                relay.forget(source);
            } else {
                source.drain(&turn, BATCH);
            }
        }
        drop(sources);
        doorbell.sleep(|| relay.sources().iter().any(|source| !source.is_empty() || source.has_ended.load(Relaxed)));
    }
}

#[derive(Debug)]
struct Source {
    origin: Origin,
    subscriber: OwnersSubscriber,
    /// For the holder of the turn.
    intake: Mutex<Intake>,
    /// The child has ended: what is there is all there will be. Orders nothing; a child's end comes before.
    has_ended: AtomicBool,
}

#[derive(Debug)]
struct Intake {
    reader: Reader,
    /// False after the end, or once it is garbled.
    is_open: bool,
}

impl Source {
    fn is_open(&self) -> bool {
        lock(&self.intake).is_open
    }

    fn is_empty(&self) -> bool {
        let intake = lock(&self.intake);
        !intake.is_open || intake.reader.is_empty()
    }

    fn finish(&self, turn: &Turn) {
        self.drain_all(turn);
        let n_lost = {
            let mut intake = lock(&self.intake);
            let n_lost = intake.reader.lost_at_end();
            if std::mem::replace(&mut intake.is_open, false) { n_lost } else { 0 }
        };
        if n_lost > 0 {
            self.say(turn, Level::Warn, &emit::lost(n_lost));
        }
    }

    /// What is there now, and not what a child adds meanwhile.
    fn drain_all(&self, turn: &Turn) {
        // Each record takes a word at least.
        let most = lock(&self.intake).reader.n_words();
        self.drain(turn, usize::try_from(most).unwrap_or(usize::MAX));
    }

    fn drain(&self, turn: &Turn, most: usize) {
        let mut record = Vec::new();
        for _ in 0..most {
            // Not locked while the program's logger is called: that may ask how its children are.
            let taken = {
                let mut intake = lock(&self.intake);
                if !intake.is_open {
                    return;
                }
                intake.reader.take(&mut record)
            };
            match taken {
                Ok(None) => break,
                Ok(Some(n_lost)) => {
                    if n_lost > 0 {
                        self.say(turn, Level::Warn, &emit::lost(n_lost));
                    }
                    if !self.emit(turn, &record) {
                        return self.give_up(turn);
                    }
                }
                Err(Garbled) => return self.give_up(turn),
            }
        }
        lock(&self.intake).reader.make_room();
    }

    fn emit(&self, turn: &Turn, record: &[u8]) -> bool {
        let mut cursor = Cursor(record);
        let tag = cursor.byte();
        let Some(parts) = Parts::take(cursor) else { return false };
        match tag {
            Some(RECORD) => turn.call(|| emit::record(&self.origin, &parts)),
            Some(EVENT) => turn.call(|| _ = self.subscriber.emit(&self.origin, &parts)),
            _ => return false,
        }
        true
    }

    /// Says something of the forwarding itself, where it is heard.
    fn say(&self, turn: &Turn, level: Level, message: &str) {
        let parts = emit::notice(level, message);
        turn.call(|| {
            if !self.subscriber.emit(&self.origin, &parts) {
                emit::record(&self.origin, &parts);
            }
        });
    }

    fn give_up(&self, turn: &Turn) {
        lock(&self.intake).is_open = false;
        self.say(turn, Level::Error, emit::GARBLED);
    }
}
