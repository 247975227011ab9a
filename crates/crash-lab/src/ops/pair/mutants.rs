//! Objects with a fault that shows only if two processes are held at once, and the same objects without the fault.

use super::PHASE;
use crate::{
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
    ring::{CAPACITY, Ring},
    stack::{N_NUMBERS, Stack},
};

/// The items that the actors, the third process and the survivor put.
const VICTIMS: u64 = 20;
const THIRDS: u64 = 40;
const SURVIVORS: u64 = 90;

pub(in crate::ops) fn mutants() -> Vec<Box<dyn Row>> {
    vec![
        ring("mutant/no-jump", |state, ledger| ring_world(false, state, ledger)),
        ring("mutant/jump", |state, ledger| ring_world(true, state, ledger)),
        stack("mutant/counted", |_, _| Stack::new(true).expect("there is memory")),
        stack("mutant/uncounted", |_, _| Stack::new(false).expect("there is memory")),
    ]
}

fn ring_world(jumps: bool, state: &str, ledger: &Ledger) -> Ring {
    let ring = Ring::new(jumps).expect("there is memory");
    if state == "one" {
        put(&ring, ledger, 0);
    }
    ring
}

/// The first actor gets, the second puts.
fn ring(name: &'static str, world: fn(&str, &Ledger) -> Ring) -> Box<dyn Row> {
    let operation = Operation::new(
        name,
        &["one"],
        world,
        |ring, ledger, _, mark| mark.window(|| get(ring, ledger)),
        |ring, ledger, _| {
            ring.repair();
            put(ring, ledger, SURVIVORS);
            let rest: Vec<u64> = std::iter::from_fn(|| ring.get()).collect();
            ledger.balance(&rest)
        },
    );
    let operation = operation.beside(|ring, ledger, _, mark| mark.window(|| put(ring, ledger, VICTIMS)));
    let operation = operation.with(Role::Worker, ring_work).with(Role::Bystander, ring_work);
    operation.recoverer(|ring, ledger, _, mark| mark.window(|| put(ring, ledger, VICTIMS))).boxed()
}

/// First puts and gets one message; then most of a lap; then only tries to get.
fn ring_work(ring: &Ring, ledger: &Ledger, _: &str) -> Verdict {
    let phase = ledger.get(PHASE);
    ledger.add(PHASE);
    let n = [1, CAPACITY - 1, 0].get(phase as usize).copied().unwrap_or(1);
    (0..n).for_each(|i| put(ring, ledger, THIRDS + phase * CAPACITY + i));
    (0..n.max(1)).for_each(|_| get(ring, ledger));
    Ok(())
}

fn put(ring: &Ring, ledger: &Ledger, item: u64) {
    ledger.putting(item);
    if ring.put(item) {
        ledger.has_put(item);
    }
}

fn get(ring: &Ring, ledger: &Ledger) {
    ledger.taking();
    ledger.has_taken(ring.get());
}

/// Counters of a number from here on: it was taken, and is to be given back.
const POPPED: usize = 0;
const PUSHED: usize = 10;

fn stack(name: &'static str, world: fn(&str, &Ledger) -> Stack) -> Box<dyn Row> {
    let operation =
        Operation::new(name, &["full"], world, |stack, ledger, _, mark| mark.window(|| borrow(stack, ledger)), drain);
    let operation = operation.beside(|stack, ledger, _, mark| mark.window(|| borrow(stack, ledger)));
    let operation = operation.with(Role::Worker, stack_work).with(Role::Bystander, stack_work);
    operation.recoverer(|stack, ledger, _, mark| mark.window(|| borrow(stack, ledger))).boxed()
}

/// Takes one and gives it back.
fn borrow(stack: &Stack, ledger: &Ledger) {
    if let Some(number) = stack.pop() {
        ledger.add(POPPED + number as usize);
        ledger.add(PUSHED + number as usize);
        stack.push(number);
    }
}

/// Takes one number and gives it back; in the second phase takes another and keeps it.
fn stack_work(stack: &Stack, ledger: &Ledger, _: &str) -> Verdict {
    let phase = ledger.get(PHASE);
    ledger.add(PHASE);
    borrow(stack, ledger);
    if phase == 1
        && let Some(number) = stack.pop()
    {
        ledger.add(POPPED + number as usize);
    }
    Ok(())
}

/// Each number is in the stack once, or one process has it; dead processes may have some.
fn drain(stack: &Stack, ledger: &Ledger, _: &str) -> Verdict {
    for _ in 0..=N_NUMBERS {
        let Some(number) = stack.pop() else { return Ok(()) };
        ledger.add(POPPED + number as usize);
        let (popped, pushed) = (ledger.get(POPPED + number as usize), ledger.get(PUSHED + number as usize));
        if popped > pushed + 1 {
            return Err(format!("number {number} was taken {popped} times and given back {pushed} times"));
        }
    }
    Err(format!("more than {N_NUMBERS} numbers are in the list"))
}
