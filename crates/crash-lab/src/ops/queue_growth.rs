//! `ipc::Queue` without a `maxsize`, where its ring is full and it goes on in the next section: as any other queue, and
//! nobody is told that it is full.

use ipc::{Queue, TryGetError};

use super::queue::{
    Large, Message, VICTIMS, arrive, close_on, get, get_many, get_timeout, put, put_many, recover, stand_by, try_get,
    wait,
};
use crate::{
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
};

/// How many messages fit into the first section: so many as into other queues of the lab.
const FIRST: u64 = super::queue::CAPACITY;

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    let puts = &["filled-1", "filled", "grown", "left"];
    let gets = &["filled", "grown", "left"];
    vec![
        row::<u64>("queue-growing/put", puts, put::<_, VICTIMS>),
        row::<u64>("queue-growing/get", gets, get),
        row::<u64>("queue-growing/try_get", &["grown", "left-1"], try_get),
        row::<u64>("queue-growing/put_many", &["filled-1", "filled"], put_many),
        row::<u64>("queue-growing/get_many", &["filled", "grown"], get_many),
        row::<u64>("queue-growing/get_timeout", &["left-1"], get_timeout),
        row::<Large>("queue-growing/put-large", puts, put::<_, VICTIMS>),
        row::<Large>("queue-growing/get-large", gets, get),
        close_on("queue-growing/close", &["filled", "grown", "left", "left-1"], world::<u64>),
    ]
}

type Victim<T> = fn(&Queue<T>, &Ledger, &str, &test_support::step::Mark);

fn row<T: Message>(name: &'static str, states: &'static [&'static str], victim: Victim<T>) -> Box<dyn Row> {
    let operation = Operation::new(name, states, world::<T>, victim, survive::<T>);
    let operation = operation.recoverer(recover).with(Role::Arrival, arrive).with(Role::Bystander, stand_by);
    operation.with(Role::Waiter, wait).boxed()
}

/// In state "filled", the next put has the queue grow; in "grown", it has just done so; in "left", all messages are in the
/// new section and getters have not come there yet; in "left-1", there is none.
pub(super) fn world<T: Message>(state: &str, ledger: &Ledger) -> Queue<T> {
    let queue = Queue::builder().first_section(FIRST as u32).build().expect("the maker can make a queue");
    let (n_gone, n) = match state {
        "filled-1" => (0, FIRST - 1),
        "filled" => (0, FIRST),
        "grown" => (0, FIRST + 1),
        "left" => (FIRST, 1),
        "left-1" => (FIRST + 1, 0),
        other => panic!("there is no state {other}"),
    };
    for item in 0..n_gone {
        assert!(queue.try_put(T::of(item)).is_ok());
    }
    for item in 0..n {
        ledger.putting(item);
        assert!(queue.try_put(T::of(item)).is_ok());
        ledger.has_put(item);
    }
    for _ in 0..n_gone {
        assert!(queue.try_get().is_ok());
    }
    queue
}

/// Nothing is lost, or comes twice, or out of order; there is room, through some more sections.
pub(super) fn survive<T: Message>(queue: &Queue<T>, ledger: &Ledger, state: &str) -> Verdict {
    super::queue::wake(queue, ledger, state)?;
    let rest = super::queue::drain(queue)?;
    if !rest.is_sorted() && ledger.get(super::queue::MIXED) == 0 {
        return Err(format!("out of order: {rest:?}"));
    }
    ledger.balance(&rest)?;
    for i in 0..5 * FIRST {
        queue.try_put(T::of(i)).map_err(|e| format!("room for {i}: {e}"))?;
    }
    if queue.is_full() || queue.len() as u64 != 5 * FIRST {
        return Err(format!("{} of {} are said to be there", queue.len(), 5 * FIRST));
    }
    for i in 0..5 * FIRST {
        let message = queue.try_get().map_err(|e| format!("get {i}: {e}"))?;
        if message.item()? != i {
            return Err(format!("another message in place of {i}"));
        }
    }
    if matches!(queue.try_get(), Err(TryGetError::Empty)) { Ok(()) } else { Err("an empty queue gives".into()) }
}
