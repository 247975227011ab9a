//! `ipc::Queue`: an acknowledged message is delivered exactly once, any other at most once; a dead taker takes at most
//! what it was taking with it; nobody blocks for good.

use std::time::{Duration, Instant};

use ipc::{GetTimeoutError, PutTimeoutError, Queue, TryGetError, TryPutError};
use proc_core::handover;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use test_support::step::Mark;

use crate::{
    cast::patience,
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
};

pub(super) const CAPACITY: u64 = 4;
const SOON: Duration = Duration::from_millis(2);

/// Who puts what in; the state's own items count from 0. In this order where there is one.
pub(super) const VICTIMS: u64 = 20;
const RECOVERERS: u64 = 30;
const ARRIVALS: u64 = 35;
const HELPERS: u64 = 40;
const WAITERS: u64 = 55;
const SURVIVORS: u64 = 60;

/// Counters: how often the victim was helped; others have put something in meanwhile.
const HELPED: usize = 0;
pub(super) const MIXED: usize = 1;

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    let puts = &["first", "empty", "one", "full-1", "wrapped", "waiter"];
    let gets = &["one", "full", "wrapped", "full-waiter"];
    vec![
        row::<u64>("queue/put", puts, put::<_, VICTIMS>),
        row::<u64>("queue/get", gets, get),
        row::<u64>("queue/try_put", &["full"], try_put),
        row::<u64>("queue/try_get", &["empty", "one"], try_get),
        row::<u64>("queue/put_many", &["empty", "one", "wrapped", "waiter"], put_many),
        row::<u64>("queue/get_many", &["full", "wrapped", "full-waiter"], get_many),
        row::<u64>("queue/loan", &["empty", "wrapped", "waiter"], loan::<VICTIMS>),
        row::<u64>("queue/attach+detach", &["empty", "one"], attach),
        row::<Pair>("queue/put-pair", &["empty", "wrapped", "waiter"], put::<_, VICTIMS>),
        row::<Pair>("queue/get-pair", &["one", "full-waiter"], get),
        row::<Large>("queue/put-large", puts, put::<_, VICTIMS>),
        row::<Large>("queue/get-large", gets, get),
        row::<u64>("queue/get_timeout", &["empty"], get_timeout),
        row::<u64>("queue/put_timeout", &["full"], |queue, ledger, state, mark| {
            warm_up::<u64>(state);
            mark.window(|| {
                ledger.putting(VICTIMS);
                if queue.put_timeout(VICTIMS, SOON).is_ok() {
                    ledger.has_put(VICTIMS);
                }
            });
        }),
        row::<Large>("queue/get_loan", &["one", "full", "wrapped"], get_loan),
        blocking::<u64>("queue/get-blocked", &["empty", "waiter"], get),
        blocking::<u64>("queue/put-blocked", &["full", "full-waiter"], put::<_, VICTIMS>),
        close_on("queue/close", &["empty", "one", "waiter"], world::<u64>),
    ]
}

/// A message that carries an item, and can tell whether it arrived whole.
pub(super) trait Message: Serialize + DeserializeOwned + Send + 'static {
    /// Whether one who stands still may keep others from taking any, and these are told so.
    const MAY_BE_BUSY: bool = false;

    fn of(item: u64) -> Self;
    fn item(self) -> Result<u64, String>;
}

impl Message for u64 {
    fn of(item: u64) -> Self {
        item
    }

    fn item(self) -> Result<u64, String> {
        Ok(self)
    }
}

/// No number, but it fits into a slot.
#[derive(Debug, Serialize, Deserialize)]
struct Pair(u64, u64);

impl Message for Pair {
    fn of(item: u64) -> Self {
        Self(item, !item)
    }

    fn item(self) -> Result<u64, String> {
        if self.1 == !self.0 { Ok(self.0) } else { Err(format!("TORN: {self:?}")) }
    }
}

/// Too long for a slot.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Large(u64, String);

impl Message for Large {
    fn of(item: u64) -> Self {
        Self(item, char::from(b'0' + item as u8).to_string().repeat(1500))
    }

    fn item(self) -> Result<u64, String> {
        if self.1 == Self::of(self.0).1 { Ok(self.0) } else { Err(format!("TORN: {self:?}")) }
    }
}

type Victim<T> = fn(&Queue<T>, &Ledger, &str, &Mark);

pub(super) fn row<T: Message>(name: &'static str, states: &'static [&'static str], victim: Victim<T>) -> Box<dyn Row> {
    let operation = Operation::new(name, states, world::<T>, victim, survive::<T>);
    let operation = operation.recoverer(recover).with(Role::Arrival, arrive).with(Role::Bystander, stand_by);
    operation.with(Role::Waiter, wait).boxed()
}

/// An operation that sleeps until somebody does the opposite.
fn blocking<T: Message>(name: &'static str, states: &'static [&'static str], victim: Victim<T>) -> Box<dyn Row> {
    let operation = Operation::new(name, states, world::<T>, victim, survive::<T>);
    operation.recoverer(recover).with(Role::Helper, help).with(Role::Waiter, wait).boxed()
}

pub(super) fn world<T: Message>(state: &str, ledger: &Ledger) -> Queue<T> {
    let queue = Queue::new(CAPACITY as usize).expect("the maker can make a queue");
    fill(&queue, ledger, state);
    queue
}

/// Brings a new queue into a state.
pub(super) fn fill<T: Message>(queue: &Queue<T>, ledger: &Ledger, state: &str) {
    if state == "wrapped" {
        for item in 0..CAPACITY * 2 - 1 {
            assert!(queue.try_put(T::of(item)).is_ok());
            assert!(queue.try_get().is_ok());
        }
    }
    let n = match state {
        "one" => 1,
        "wrapped" => 2,
        "full-1" => CAPACITY - 1,
        full if full.starts_with("full") => CAPACITY,
        _ => 0,
    };
    for item in 0..n {
        ledger.putting(item);
        assert!(queue.try_put(T::of(item)).is_ok());
        ledger.has_put(item);
    }
}

/// Does what only the first operation of a process has to do, on another queue; in the state "first", nothing.
pub(super) fn warm_up<T: Message>(state: &str) {
    if state != "first" {
        let queue = Queue::new(1).expect("there is memory for another queue");
        assert!(queue.try_put(T::of(0)).is_ok() && queue.try_get().is_ok());
    }
}

pub(super) fn put<T: Message, const ITEM: u64>(queue: &Queue<T>, ledger: &Ledger, state: &str, mark: &Mark) {
    warm_up::<T>(state);
    mark.window(|| {
        ledger.putting(ITEM);
        queue.put(T::of(ITEM)).expect("an open queue takes it");
        ledger.has_put(ITEM);
    });
}

pub(super) fn get<T: Message>(queue: &Queue<T>, ledger: &Ledger, state: &str, mark: &Mark) {
    warm_up::<T>(state);
    mark.window(|| {
        ledger.taking();
        let item = queue.get().expect("an open queue gives it").item().expect("whole");
        ledger.has_taken(item);
    });
}

fn try_put<T: Message>(queue: &Queue<T>, ledger: &Ledger, state: &str, mark: &Mark) {
    warm_up::<T>(state);
    mark.window(|| {
        ledger.putting(VICTIMS);
        if queue.try_put(T::of(VICTIMS)).is_ok() {
            ledger.has_put(VICTIMS);
        }
    });
}

pub(super) fn try_get<T: Message>(queue: &Queue<T>, ledger: &Ledger, state: &str, mark: &Mark) {
    warm_up::<T>(state);
    mark.window(|| {
        ledger.taking();
        let item = queue.try_get().ok().map(|message| message.item().expect("whole"));
        ledger.has_taken(item);
    });
}

pub(super) fn get_timeout(queue: &Queue<u64>, ledger: &Ledger, state: &str, mark: &Mark) {
    warm_up::<u64>(state);
    mark.window(|| {
        ledger.taking();
        let item = queue.get_timeout(SOON).ok();
        ledger.has_taken(item);
    });
}

pub(super) fn put_many<T: Message>(queue: &Queue<T>, ledger: &Ledger, state: &str, mark: &Mark) {
    warm_up::<T>(state);
    mark.window(|| {
        (0..2).for_each(|i| ledger.putting(VICTIMS + i));
        queue.put_many((0..2).map(|i| T::of(VICTIMS + i))).expect("an open queue takes them");
        (0..2).for_each(|i| ledger.has_put(VICTIMS + i));
    });
}

pub(super) fn get_many<T: Message>(queue: &Queue<T>, ledger: &Ledger, state: &str, mark: &Mark) {
    warm_up::<T>(state);
    let n = if state == "wrapped" { 2 } else { 3 };
    mark.window(|| {
        // Each of them may be in the taker's hands.
        (0..n).for_each(|_| ledger.taking());
        let messages = queue.get_many(n).expect("an open queue gives them");
        assert_eq!(messages.len(), n);
        messages.into_iter().for_each(|message| ledger.has_taken(message.item().expect("whole")));
    });
}

pub(super) fn loan<const ITEM: u64>(queue: &Queue<u64>, ledger: &Ledger, state: &str, mark: &Mark) {
    warm_up::<u64>(state);
    let mut serialised = Vec::new();
    wire::encode_named(&ITEM, &mut serialised).expect("a number is serialised");
    mark.window(|| {
        ledger.putting(ITEM);
        let mut loan = queue.loan(serialised.len()).expect("an open queue lends");
        loan.copy_from_slice(&serialised);
        loan.send().expect("an open queue takes it");
        ledger.has_put(ITEM);
    });
}

pub(super) fn get_loan(queue: &Queue<Large>, ledger: &Ledger, state: &str, mark: &Mark) {
    warm_up::<Large>(state);
    mark.window(|| {
        ledger.taking();
        let message = queue.get_loan().expect("an open queue gives it");
        let large: Large = wire::decode(&message).expect("as it was put");
        drop(message);
        ledger.has_taken(large.item().expect("whole"));
    });
}

fn attach(queue: &Queue<u64>, _: &Ledger, _: &str, mark: &Mark) {
    let parcel = handover::pack(queue).expect("a queue can be handed over");
    let fds = parcel.fds().iter().map(|fd| fd.try_clone_to_owned()).collect::<Result<_, _>>().expect("a descriptor");
    mark.window(|| drop(handover::unpack::<Queue<u64>>(parcel.bytes(), fds).expect("a queue arrives")));
}

pub(super) fn recover<T: Message>(queue: &Queue<T>, ledger: &Ledger, state: &str, mark: &Mark) {
    warm_up::<T>(state);
    mark.window(|| {
        ledger.putting(RECOVERERS);
        if queue.try_put(T::of(RECOVERERS)).is_ok() {
            ledger.has_put(RECOVERERS);
        }
        ledger.taking();
        let item = queue.try_get().ok().map(|message| message.item().expect("whole"));
        ledger.has_taken(item);
    });
}

/// Puts and gets, in the order in which neither has to wait for anybody but the victim.
pub(super) fn arrive<T: Message>(queue: &Queue<T>, ledger: &Ledger, _: &str) -> Verdict {
    let limit = patience() / 3;
    ledger.add(MIXED);
    let put = || {
        ledger.putting(ARRIVALS);
        queue.put_timeout(T::of(ARRIVALS), limit).map_err(|e| format!("WEDGED: put: {e}"))?;
        ledger.has_put(ARRIVALS);
        Ok::<_, String>(())
    };
    let get = || {
        ledger.taking();
        let message = queue.get_timeout(limit).map_err(|e| format!("WEDGED: get: {e}"))?;
        ledger.has_taken(message.item()?);
        Ok::<_, String>(())
    };
    ledger.putting(ARRIVALS);
    if queue.try_put(T::of(ARRIVALS)).is_ok() {
        ledger.has_put(ARRIVALS);
        get()
    } else {
        get().and_then(|()| put())
    }
}

/// Timed operations come back in time, whatever the stopped victim has in its hands.
pub(super) fn stand_by<T: Message>(queue: &Queue<T>, ledger: &Ledger, _: &str) -> Verdict {
    let limit = Duration::from_millis(20);
    ledger.add(MIXED);
    let begun = Instant::now();
    ledger.putting(ARRIVALS);
    match queue.put_timeout(T::of(ARRIVALS), limit) {
        Ok(()) => ledger.has_put(ARRIVALS),
        Err(PutTimeoutError::TimedOut(_)) => {}
        Err(e) => return Err(format!("put: {e}")),
    }
    ledger.taking();
    match queue.get_timeout(limit) {
        Ok(message) => ledger.has_taken(message.item()?),
        Err(GetTimeoutError::TimedOut) => ledger.has_taken(None),
        Err(e) => return Err(format!("get: {e}")),
    }
    if begun.elapsed() < limit * 2 + patience() / 4 { Ok(()) } else { Err(format!("took {:?}", begun.elapsed())) }
}

/// Sleeps: in `put` beside a full queue, else in `get`.
pub(super) fn wait<T: Message>(queue: &Queue<T>, ledger: &Ledger, state: &str) -> Verdict {
    ledger.falls_asleep();
    if state.starts_with("full") {
        ledger.add(MIXED);
        ledger.putting(WAITERS);
        queue.put(T::of(WAITERS)).map_err(|e| e.to_string())?;
        ledger.has_put(WAITERS);
    } else {
        ledger.taking();
        let message = queue.get().map_err(|e| e.to_string())?;
        ledger.has_taken(message.item()?);
    }
    ledger.wakes_up();
    Ok(())
}

/// Does what a sleeping victim waits for.
pub(super) fn help<T: Message>(queue: &Queue<T>, ledger: &Ledger, state: &str) -> Verdict {
    if state.starts_with("full") {
        ledger.taking();
        ledger.has_taken(queue.get().map_err(|e| e.to_string())?.item()?);
    } else {
        let item = HELPERS + ledger.get(HELPED);
        ledger.add(HELPED);
        ledger.add(MIXED);
        ledger.putting(item);
        queue.put(T::of(item)).map_err(|e| e.to_string())?;
        ledger.has_put(item);
    }
    Ok(())
}

/// Nobody sleeps beside what it waits for; nothing is lost, or comes twice, or out of order; all the room is there.
pub(super) fn survive<T: Message>(queue: &Queue<T>, ledger: &Ledger, state: &str) -> Verdict {
    wake(queue, ledger, state)?;
    let rest = drain(queue)?;
    if !rest.is_sorted() && ledger.get(MIXED) == 0 {
        return Err(format!("out of order: {rest:?}"));
    }
    ledger.balance(&rest)?;
    for i in 0..CAPACITY {
        queue.try_put(T::of(i)).map_err(|e| format!("room for {i} of {CAPACITY}: {e}"))?;
    }
    if !matches!(queue.try_put(T::of(CAPACITY)), Err(TryPutError::Full(_))) {
        return Err("a full queue takes more".into());
    }
    if drain(queue)? == [0, 1, 2, 3] { Ok(()) } else { Err("a full queue does not give what it took".into()) }
}

/// Has those wake up who sleep, if any do.
pub(super) fn wake<T: Message>(queue: &Queue<T>, ledger: &Ledger, state: &str) -> Verdict {
    if ledger.n_sleepers() <= ledger.n_buried() {
        return Ok(());
    }
    // Whoever sleeps while there is what it waits for would sleep for good.
    if state.starts_with("full") {
        if queue.is_full() {
            ledger.taking();
            ledger.has_taken(queue.get_timeout(patience() / 3).map_err(|e| format!("get: {e}"))?.item()?);
        }
    } else if queue.is_empty() {
        ledger.putting(SURVIVORS);
        queue.put_timeout(T::of(SURVIVORS), patience() / 3).map_err(|e| format!("put: {e}"))?;
        ledger.has_put(SURVIVORS);
    }
    if ledger.all_wake_up(patience() / 3) {
        Ok(())
    } else {
        Err("WEDGED: another sleeper sleeps on beside what it waits for".into())
    }
}

pub(super) fn drain<T: Message>(queue: &Queue<T>) -> Result<Vec<u64>, String> {
    let mut rest = Vec::new();
    loop {
        match queue.try_get() {
            Ok(message) => rest.push(message.item()?),
            Err(TryGetError::Empty) => return Ok(rest),
            Err(e) => return Err(format!("get: {e}")),
        }
    }
}

/// Closing: whoever sleeps in `get` learns of it; what was put before can be taken.
pub(super) fn close_on(
    name: &'static str,
    states: &'static [&'static str],
    world: fn(&str, &Ledger) -> Queue<u64>,
) -> Box<dyn Row> {
    let operation = Operation::new(
        name,
        states,
        world,
        |queue, _, _, mark| mark.window(|| queue.close()),
        |queue, ledger, _| {
            queue.close();
            if !ledger.all_wake_up(patience() / 3) {
                return Err("WEDGED: a sleeper does not learn of the end".into());
            }
            if !matches!(queue.put(1), Err(ipc::PutError::Closed(1))) {
                return Err("a closed queue takes more".into());
            }
            let rest: Vec<u64> = queue.iter().collect();
            ledger.balance(&rest)?;
            if matches!(queue.get(), Err(ipc::GetError::Closed)) { Ok(()) } else { Err("a closed queue gives".into()) }
        },
    );
    let operation = operation.with(Role::Waiter, |queue, ledger, _| {
        ledger.falls_asleep();
        let end = queue.get();
        ledger.wakes_up();
        if matches!(end, Err(ipc::GetError::Closed)) { Ok(()) } else { Err(format!("{end:?}")) }
    });
    operation.recoverer(|queue, _, _, mark| mark.window(|| queue.close())).boxed()
}
