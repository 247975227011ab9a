//! The lane, on which the process pool stands: of a dead worker's tasks at most one was running, and the lane tells
//! which; what it had finished is there, whole; what it had not begun can be taken back. A dead owner leaves its worker
//! either a whole task or none.

use std::os::fd::OwnedFd;

use lane::{LaneHandle, OwnerLane, SlotState};
use nix::sys::eventfd::{EfdFlags, EventFd};
use serde::{Deserialize, Serialize};
use test_support::step::Mark;

use crate::{
    ledger::Ledger,
    operation::{Operation, Row, Verdict},
};

/// A lane, from the worker's side; the owner's is what lies in it.
#[derive(Serialize, Deserialize)]
pub(super) struct Lane(pub(super) LaneHandle);

/// Tasks in the lane when the victim comes; counted from here, also by the counters of the ledger.
pub(super) const N_TASKS: u64 = 3;
/// Counters: the claim of task n has returned; its finish has returned; so many of its items were published.
pub(super) const CLAIMED: usize = 0;
pub(super) const FINISHED: usize = 10;
const PUBLISHED: usize = 20;
/// Counter: the owner's call has returned.
const RETURNED: usize = 30;

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    let states = &["first", "wrapped", "hole", "large", "armed"];
    vec![
        Operation::new("pool/claim+finish", states, world, work, judge_worker).boxed(),
        Operation::new("pool/give back", &["first", "wrapped"], world, give_back, judge_give_back).boxed(),
        Operation::new("pool/chunk", &["first", "wrapped"], world, work_on_items, judge_worker).boxed(),
        Operation::new("pool/submit", &["first", "wrapped", "large"], empty_world, submit, judge_submit).boxed(),
        Operation::new("pool/recall", &["first", "wrapped"], world, recall, judge_recall).boxed(),
        Operation::new("pool/collect", &["finished", "large"], finished_world, collect, judge_collect).boxed(),
    ]
}

/// What task `n` says, and is answered with.
pub(super) fn payload(state: &str, n: u64) -> Vec<u8> {
    vec![b'a' + n as u8; if state == "large" { 5000 } else { 40 }]
}

fn fresh(state: &str) -> (OwnerLane, LaneHandle) {
    let bell: OwnedFd = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).expect("the maker can make an eventfd").into();
    let (mut owner, handle) = OwnerLane::new(bell).expect("the maker can make a lane");
    if state == "wrapped" {
        let mut worker = handle.open().expect("the maker has descriptors");
        for _ in 0..lane::N_SLOTS - 1 {
            assert!(owner.push(0, None, b"gone").is_ok_and(|slot| slot.is_some()));
            worker.claim().expect("there is a task").finish(0, b"by").expect("there is room");
            assert!(owner.poll(&mut Vec::new()).is_some());
        }
    }
    (owner, handle)
}

/// A worker that finds nothing to do leaves.
pub(super) fn world(state: &str, _: &Ledger) -> Lane {
    let (mut owner, handle) = fresh(state);
    if state == "hole" {
        let slot = owner.push(99, None, b"taken back").expect("there is memory").expect("there is room");
        assert!(owner.recall(slot));
    }
    for n in 0..N_TASKS {
        assert!(owner.push(n as u32, Some(0), &payload(state, n)).is_ok_and(|slot| slot.is_some()));
    }
    if state == "armed" {
        owner.arm();
    }
    // A worker begins at its first slot, and passes what was there in earlier laps.
    owner.stop();
    Lane(handle)
}

fn empty_world(state: &str, _: &Ledger) -> Lane {
    let (owner, handle) = fresh(state);
    owner.stop();
    Lane(handle)
}

fn finished_world(state: &str, ledger: &Ledger) -> Lane {
    let lane = world(state, ledger);
    let mut worker = lane.0.open().expect("the maker has descriptors");
    while let Some(mut claim) = worker.claim() {
        let n = u64::from(claim.tag());
        claim.finish(n as u32, &payload(state, n)).expect("there is room");
    }
    lane
}

fn work(lane: &Lane, ledger: &Ledger, state: &str, mark: &Mark) {
    let mut worker = lane.0.open().expect("there are descriptors");
    let (mut task, answers) = (Vec::with_capacity(1 << 14), [0, 1].map(|n| payload(state, n)));
    mark.window(|| {
        for answer in &answers {
            let mut claim = worker.claim().expect("there is a task");
            let n = claim.tag() as usize;
            ledger.add(CLAIMED + n);
            claim.read(&mut task).expect("there is memory");
            assert_eq!(task, *answer);
            claim.finish(n as u32, answer).expect("there is memory");
            ledger.add(FINISHED + n);
        }
    });
}

fn work_on_items(lane: &Lane, ledger: &Ledger, _: &str, mark: &Mark) {
    let mut worker = lane.0.open().expect("there are descriptors");
    mark.window(|| {
        let mut claim = worker.claim().expect("there is a task");
        ledger.add(CLAIMED);
        let mut stream = claim.stream();
        for item in ITEMS {
            assert!(stream.publish(item));
            ledger.add(PUBLISHED);
        }
        claim.finish(0, &payload("", 0)).expect("there is room");
        ledger.add(FINISHED);
    });
}

fn give_back(lane: &Lane, ledger: &Ledger, _: &str, mark: &Mark) {
    let mut worker = lane.0.open().expect("there are descriptors");
    mark.window(|| {
        worker.claim().expect("there is a task").give_back();
        ledger.add(RETURNED);
    });
}

/// It is the first task that was running, or none was.
fn judge_give_back(lane: &Lane, ledger: &Ledger, _: &str) -> Verdict {
    let mut owner = OwnerLane::adopt(&lane.0).map_err(|e| e.to_string())?;
    let states: Vec<_> = owner.slots().collect();
    let n_running = states.iter().filter(|(_, state)| *state == SlotState::Taken).count();
    let others_wait = states.iter().skip(1).all(|(_, state)| *state == SlotState::Ready);
    if states.len() as u64 != N_TASKS || !others_wait || n_running > 0 && ledger.get(RETURNED) > 0 {
        return Err(format!("{states:?}"));
    }
    match states.iter().filter(|(slot, _)| owner.recall(*slot)).count() as u64 {
        n if n + n_running as u64 == N_TASKS => Ok(()),
        n => Err(format!("{n} tasks can be taken back")),
    }
}

/// First one that goes in as a word, as numbers do.
const ITEMS: [&[u8]; 5] = [b"eight is", b"one", b"twenty-two", b"", b"three hundred and thirty-three"];

/// The owner, after its worker's death.
fn judge_worker(lane: &Lane, ledger: &Ledger, state: &str) -> Verdict {
    let mut owner = OwnerLane::adopt(&lane.0).map_err(|e| e.to_string())?;
    let states: Vec<_> = owner.slots().collect();
    if states.len() as u64 != N_TASKS || !states.is_sorted_by_key(|(_, state)| order(*state)) {
        return Err(format!("{states:?}"));
    }
    let n_running = states.iter().filter(|(_, state)| *state == SlotState::Taken).count();
    if n_running > 1 {
        return Err(format!("{n_running} tasks were running: {states:?}"));
    }
    for (n, (slot, is)) in states.iter().enumerate() {
        let (claimed, finished) = (ledger.get(CLAIMED + n) > 0, ledger.get(FINISHED + n) > 0);
        let agrees = match is {
            SlotState::Ready => !claimed && !finished,
            SlotState::Taken => !finished,
            SlotState::Done => claimed,
            SlotState::Corrupt => false,
        };
        if !agrees {
            return Err(format!("task {n} is {is:?}, claimed: {claimed}, finished: {finished}"));
        }
        judge_items(&owner, *slot, if n == 0 { ledger.get(PUBLISHED) } else { 0 })?;
    }
    let mut arena = Vec::new();
    for (n, (slot, is)) in (0..).zip(states) {
        match is {
            SlotState::Done => {
                let ended = owner.poll(&mut arena).ok_or("a result is gone")?;
                let bytes = ended.bytes.map_err(|e| e.to_string())?;
                if u64::from(ended.tag) != n || arena[bytes.clone()] != payload(state, n) {
                    return Err(format!("TORN: result {n} is {:?}", &arena[bytes]));
                }
            }
            SlotState::Ready if !owner.recall(slot) => return Err(format!("task {n} cannot be taken back")),
            _ => {}
        }
    }
    Ok(())
}

/// What was published of a task's items is whole, and no less than what the worker was told.
fn judge_items(owner: &OwnerLane, slot: usize, published: u64) -> Verdict {
    let mut arena = Vec::new();
    let progress = owner.progress(slot, &mut arena).ok_or("the stream is gone")?;
    let whole: Vec<u8> = ITEMS.iter().take(progress.n_items as usize).copied().flatten().copied().collect();
    if u64::from(progress.n_items) < published || arena[progress.bytes.clone()] != whole {
        return Err(format!("{} items, {published} acknowledged, {:?}", progress.n_items, &arena[progress.bytes]));
    }
    Ok(())
}

pub(super) fn order(state: SlotState) -> u8 {
    match state {
        SlotState::Done => 0,
        SlotState::Taken => 1,
        SlotState::Ready => 2,
        SlotState::Corrupt => 3,
    }
}

fn submit(lane: &Lane, ledger: &Ledger, state: &str, mark: &Mark) {
    let mut owner = OwnerLane::adopt(&lane.0).expect("there are descriptors");
    let task = payload(state, 0);
    mark.window(|| {
        owner.push(0, Some(0), &task).expect("there is memory").expect("there is room");
        owner.notify();
        ledger.add(RETURNED);
    });
}

/// The worker, after its owner's death.
fn judge_submit(lane: &Lane, ledger: &Ledger, state: &str) -> Verdict {
    let given = take_all(lane)?;
    let whole = vec![(0, payload(state, 0))];
    if given == whole || given.is_empty() && ledger.get(RETURNED) == 0 {
        return Ok(());
    }
    Err(format!("the worker finds {given:?}"))
}

/// Works on what there is; the tags and payloads.
fn take_all(lane: &Lane) -> Result<Vec<(u32, Vec<u8>)>, String> {
    let mut worker = lane.0.open().map_err(|e| e.to_string())?;
    let mut all = Vec::new();
    while let Some(mut claim) = worker.claim() {
        let mut task = Vec::new();
        claim.read(&mut task).map_err(|e| e.to_string())?;
        all.push((claim.tag(), task));
        claim.finish(0, b"done").map_err(|e| e.to_string())?;
    }
    Ok(all)
}

fn recall(lane: &Lane, ledger: &Ledger, _: &str, mark: &Mark) {
    let mut owner = OwnerLane::adopt(&lane.0).expect("there are descriptors");
    let (slot, _) = owner.slots().nth(1).expect("there are three");
    mark.window(|| {
        assert!(owner.recall(slot));
        ledger.add(RETURNED);
    });
}

fn judge_recall(lane: &Lane, ledger: &Ledger, _: &str) -> Verdict {
    let given: Vec<u32> = take_all(lane)?.into_iter().map(|(tag, _)| tag).collect();
    if given == [0, 2] || given == [0, 1, 2] && ledger.get(RETURNED) == 0 {
        return Ok(());
    }
    Err(format!("the worker finds {given:?}"))
}

fn collect(lane: &Lane, _: &Ledger, state: &str, mark: &Mark) {
    let mut owner = OwnerLane::adopt(&lane.0).expect("there are descriptors");
    let mut arena = Vec::with_capacity(1 << 15);
    let expected = payload(state, 0);
    mark.window(|| {
        let ended = owner.poll(&mut arena).expect("there is a result");
        assert_eq!(arena[ended.bytes.expect("it can be read")], expected);
    });
}

/// The worker is unmoved by an owner that dies while it collects; it only has nothing more to do.
fn judge_collect(lane: &Lane, _: &Ledger, _: &str) -> Verdict {
    let given = take_all(lane)?;
    if given.is_empty() { Ok(()) } else { Err(format!("the worker finds {given:?}")) }
}
