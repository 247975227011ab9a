//! Two threads in the victim: one is stepped, the other sleeps in a call of its own or is at work; then the whole
//! process is killed.

use std::{cell::Cell, sync::mpsc, time::Duration};

use ::sync::process::{Lock, RLock, RwLock, Semaphore};
use ipc::{JoinableQueue, Queue};
use serde::{Serialize, de::DeserializeOwned};
use test_support::{processes, step::Mark};

use super::{joinable, lock, queue, sync};
use crate::{
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
};

const STATES: &[&str] = &["asleep", "busy"];

pub(crate) fn locks() -> Vec<Box<dyn Row>> {
    vec![
        locking::<Lock<lock::Pair>>("threads/lock"),
        locking::<RLock<Cell<lock::Pair>>>("threads/rlock"),
        locking::<RwLock<lock::Pair>>("threads/rwlock"),
        notifying(),
        releasing(),
    ]
}

pub(crate) fn queues() -> Vec<Box<dyn Row>> {
    vec![putting(), getting(), finishing()]
}

/// Calls `life` beside a thread that sleeps in `other` already or, in the state "busy", has done it once and goes on
/// doing it.
fn beside(state: &str, other: impl Fn() + Sync, life: impl FnOnce()) {
    let (tell, told) = mpsc::channel();
    let other = &other;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _ = tell.send(nix::unistd::gettid().as_raw());
            other();
            if state == "busy" {
                loop {
                    let _ = tell.send(0);
                    other();
                }
            }
        });
        let tid = told.recv().expect("the thread says who it is");
        if state == "busy" {
            told.recv().expect("the thread is at work");
            drop(told);
        } else {
            let mut n_looks = 0;
            while n_looks < 3 {
                n_looks = if processes::is_asleep(tid) { n_looks + 1 } else { 0 };
                std::thread::sleep(Duration::from_micros(150));
            }
        }
        // The scope would wait for the other thread before it passed a panic on.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(life)).is_err() {
            std::process::abort();
        }
    });
}

/// Lets go of the lock that the other thread sleeps for, and takes it again; or takes it beside one who does.
fn locking<L: lock::Exclusive>(name: &'static str) -> Box<dyn Row> {
    let victim: fn(&L, &Ledger, &str, &Mark) = |lock, ledger, state, mark| {
        let held = (state == "asleep").then(|| lock.hold());
        let other = || lock::change(lock, ledger);
        beside(state, other, || {
            mark.window(|| {
                drop(held);
                lock::change(lock, ledger);
            });
        });
    };
    let operation = row(name, lock::world::<L>, victim, lock::survive);
    operation.with(Role::Arrival, lock::arrive).boxed()
}

/// Notifies the other thread; or anybody, beside one who does.
fn notifying() -> Box<dyn Row> {
    let victim: fn(&sync::Stock, &Ledger, &str, &Mark) = |stock, _, state, mark| {
        let notify = || {
            *sync::hold(&stock.0) += 1;
            stock.1.notify_one();
        };
        let other = || if state == "busy" { notify() } else { sync::wait_for_stock(stock) };
        beside(state, other, || mark.window(notify));
    };
    let operation = row("threads/condvar", sync::stock, victim, |stock, ledger, _| sync::condvar_works(stock, ledger));
    operation.boxed()
}

/// Releases permits beside a thread that sleeps for one, or that takes one and gives it back.
fn releasing() -> Box<dyn Row> {
    let victim: fn(&Semaphore, &Ledger, &str, &Mark) = |semaphore, ledger, state, mark| {
        ledger.add(sync::BEGUN);
        let other = || {
            if state == "busy" {
                drop(semaphore.acquire());
            } else {
                semaphore.acquire().forget();
                ledger.add(sync::DONE);
            }
        };
        beside(state, other, || mark.window(|| sync::release_two(semaphore, ledger)));
    };
    let world =
        |state: &str, _: &Ledger| Semaphore::new(u32::from(state == "busy")).expect("there is memory for a semaphore");
    let operation = row("threads/semaphore", world, victim, |semaphore, ledger, state| {
        sync::conserved(semaphore, ledger, u64::from(state == "busy"))
    });
    operation.boxed()
}

/// Takes one message and puts it back, which whoever dies amid of it takes with it.
fn turn_over(queue: &Queue<u64>) {
    let message = queue.get().expect("an open queue gives it");
    queue.put(message).expect("an open queue takes it");
}

/// Puts what the other thread waits for; or something beside one who takes and puts.
fn putting() -> Box<dyn Row> {
    let victim: fn(&Queue<u64>, &Ledger, &str, &Mark) = |queue, ledger, state, mark| {
        ledger.taking();
        let other = || if state == "busy" { turn_over(queue) } else { ledger.has_taken(queue.get().ok()) };
        beside(state, other, || queue::put::<_, { queue::VICTIMS }>(queue, ledger, state, mark));
    };
    row("threads/queue-put", queue_world, victim, queue::survive).boxed()
}

/// Sleeps for the same as the other thread; or takes something beside one who takes and puts.
fn getting() -> Box<dyn Row> {
    let victim: fn(&Queue<u64>, &Ledger, &str, &Mark) = |queue, ledger, state, mark| {
        ledger.taking();
        let other = || if state == "busy" { turn_over(queue) } else { ledger.has_taken(queue.get().ok()) };
        beside(state, other, || queue::get(queue, ledger, state, mark));
    };
    let operation = row("threads/queue-get", queue_world, victim, queue::survive);
    operation.with(Role::Helper, queue::help).boxed()
}

fn queue_world(state: &str, ledger: &Ledger) -> Queue<u64> {
    ledger.add(queue::MIXED);
    queue::world(if state == "busy" { "wrapped" } else { "empty" }, ledger)
}

/// Deals with the last item beside a thread that sleeps in `join`; or with an item beside one who deals with others.
fn finishing() -> Box<dyn Row> {
    let victim: fn(&JoinableQueue<u64>, &Ledger, &str, &Mark) = |queue, ledger, state, mark| {
        // The other thread's item comes again and again, so nobody is promised anything about it.
        let deal = || {
            let item = queue.get().expect("an open queue gives it");
            if *item == joinable::OTHERS { item.task_done() } else { joinable::finish(item, ledger) }
        };
        let other = || {
            if state == "busy" {
                ledger.putting(joinable::OTHERS);
                queue.put(joinable::OTHERS).expect("an open queue takes it");
                deal();
            } else {
                queue.join().expect("sound memory");
            }
        };
        beside(state, other, || mark.window(deal));
    };
    let world = |state: &str, ledger: &Ledger| joinable::world(if state == "busy" { "empty" } else { "one" }, ledger);
    row("threads/joinable", world, victim, joinable::survive).boxed()
}

fn row<W: Serialize + DeserializeOwned + 'static>(
    name: &'static str,
    world: fn(&str, &Ledger) -> W,
    victim: fn(&W, &Ledger, &str, &Mark),
    survivor: fn(&W, &Ledger, &str) -> Verdict,
) -> Operation<W> {
    Operation::new(name, STATES, world, victim, survivor).threaded()
}
