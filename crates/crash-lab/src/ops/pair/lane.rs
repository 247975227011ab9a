//! A lane whose worker and whose owner are both slow: no task is both run and taken back, no result is lost or torn.

use lane::{N_SLOTS, OwnerLane, SlotState};
use test_support::step::Mark;

use super::super::lane::{CLAIMED, FINISHED, Lane, N_TASKS, order, payload, world};
use crate::{
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
};

/// Counters of the owner, for task n from here on: it was taken back; its result was collected; a call that may do
/// either was begun, and has returned.
const RECALLED: usize = 42;
const COLLECTED: usize = 52;
const BEGUN: usize = 62;
const RETURNED: usize = 63;

/// The tag of the task that the owner adds.
const ADDED: u64 = N_TASKS;

pub(super) fn operations() -> Vec<Box<dyn Row>> {
    vec![
        row("pair/lane/work+recall", &["first", "wrapped"], recall),
        row("pair/lane/work+push", &["first", "wrapped", "large"], push),
        row("pair/lane/work+poll", &["first", "large"], poll),
    ]
}

fn row(name: &'static str, states: &'static [&'static str], owner: fn(&Lane, &Ledger, &str, &Mark)) -> Box<dyn Row> {
    let operation = Operation::new(name, states, world, work, judge).beside(owner).only_pair();
    operation.with(Role::Worker, look).boxed()
}

/// The worker: runs all that it finds.
fn work(lane: &Lane, ledger: &Ledger, state: &str, mark: &Mark) {
    let mut worker = lane.0.open().expect("there are descriptors");
    let mut task = Vec::with_capacity(1 << 14);
    let tasks: Vec<_> = (0..=ADDED).map(|n| payload(state, n)).collect();
    mark.window(|| {
        while let Some(mut claim) = worker.claim() {
            let n = claim.tag() as usize;
            ledger.add(CLAIMED + n);
            claim.read(&mut task).expect("there is memory");
            assert_eq!(task, tasks[n], "TORN");
            claim.finish(n as u32, &tasks[n]).expect("there is memory");
            ledger.add(FINISHED + n);
        }
    });
}

/// Which task lies in a slot.
fn task_in(slot: usize, state: &str) -> usize {
    let first = if state == "wrapped" { N_SLOTS - 1 } else { 0 };
    (slot + N_SLOTS - first) % N_SLOTS
}

/// The owner: takes back the last tasks, if they have not begun.
fn recall(lane: &Lane, ledger: &Ledger, state: &str, mark: &Mark) {
    let mut owner = OwnerLane::adopt(&lane.0).expect("there are descriptors");
    let slots: Vec<usize> = owner.slots().map(|(slot, _)| slot).filter(|slot| task_in(*slot, state) > 0).collect();
    mark.window(|| {
        for slot in slots {
            ledger.add(BEGUN);
            if owner.recall(slot) {
                ledger.add(RECALLED + task_in(slot, state));
            }
            ledger.add(RETURNED);
        }
    });
}

/// The owner: adds a task.
fn push(lane: &Lane, _: &Ledger, state: &str, mark: &Mark) {
    let mut owner = OwnerLane::adopt(&lane.0).expect("there are descriptors");
    let task = payload(state, ADDED);
    mark.window(|| {
        owner.push(ADDED as u32, Some(0), &task).expect("there is memory").expect("there is room");
        owner.notify();
    });
}

/// The owner: collects what has ended.
fn poll(lane: &Lane, ledger: &Ledger, state: &str, mark: &Mark) {
    let mut owner = OwnerLane::adopt(&lane.0).expect("there are descriptors");
    let mut arena = Vec::with_capacity(1 << 15);
    let results: Vec<_> = (0..N_TASKS).map(|n| payload(state, n)).collect();
    mark.window(|| {
        for _ in 0..N_TASKS {
            ledger.add(BEGUN);
            if let Some(ended) = owner.poll(&mut arena) {
                let n = ended.tag as usize;
                assert_eq!(arena[ended.bytes.expect("it can be read")], results[n], "TORN");
                ledger.add(COLLECTED + n);
            }
            ledger.add(RETURNED);
        }
    });
}

/// The third process looks at the slots: those that ended, then one at most that runs, then those that wait.
fn look(lane: &Lane, _: &Ledger, _: &str) -> Verdict {
    let owner = OwnerLane::adopt(&lane.0).map_err(|e| e.to_string())?;
    let states: Vec<_> = owner.slots().map(|(_, state)| state).collect();
    let n_running = states.iter().filter(|state| **state == SlotState::Taken).count();
    let is_right = states.is_sorted_by_key(|state| order(*state)) && !states.contains(&SlotState::Corrupt);
    if is_right && n_running <= 1 { Ok(()) } else { Err(format!("{states:?}")) }
}

fn judge(lane: &Lane, ledger: &Ledger, state: &str) -> Verdict {
    look(lane, ledger, state)?;
    let mut owner = OwnerLane::adopt(&lane.0).map_err(|e| e.to_string())?;
    let slots: Vec<_> = owner.slots().map(|(slot, is)| (task_in(slot, state), is)).collect();
    // An owner that died in a call may have taken one out of the lane.
    let mut in_hand = ledger.get(BEGUN) - ledger.get(RETURNED);
    for n in 0..N_TASKS as usize {
        let [claimed, finished, recalled, collected] =
            [CLAIMED, FINISHED, RECALLED, COLLECTED].map(|what| ledger.get(what + n) > 0);
        let is = slots.iter().find(|(task, _)| *task == n).map(|(_, is)| *is);
        let is_gone_with_owner = is.is_none() && !recalled && !collected && in_hand > 0;
        in_hand -= u64::from(is_gone_with_owner);
        let is_right = match is {
            None => (recalled && !claimed) || collected || is_gone_with_owner,
            Some(SlotState::Ready) => !claimed && !recalled,
            Some(SlotState::Taken) => !finished && !recalled && !collected,
            Some(SlotState::Done) => claimed && !recalled && !collected,
            Some(_) => false,
        };
        if !is_right {
            return Err(format!(
                "task {n} is {is:?}; claimed: {claimed}, finished: {finished}, taken back: {recalled}, collected: {collected}"
            ));
        }
    }
    let mut arena = Vec::new();
    while let Some(ended) = owner.poll(&mut arena) {
        let bytes = ended.bytes.map_err(|e| e.to_string())?;
        if arena[bytes.clone()] != payload(state, u64::from(ended.tag)) {
            return Err(format!("TORN: result {} is {:?}", ended.tag, &arena[bytes]));
        }
    }
    Ok(())
}
