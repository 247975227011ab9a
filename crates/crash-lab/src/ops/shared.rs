//! `ipc::{Value, Array}`: each change happens or does not, whatever its size, and nobody waits for the dead.

use ipc::{Array, RowGuard, Rows, Value};
use test_support::step::Mark;

use crate::{
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
};

/// Too large for one store; all words are equal.
type Wide = [u64; 4];

/// Counters: changes begun and done.
const BEGUN: usize = 0;
const DONE: usize = 1;

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    vec![
        value("value/set", |value, ledger, _, mark| {
            change(value, ledger, mark, |value| value.set([value.get()[0] + 1; 4]))
        }),
        value("value/update", |value, ledger, _, mark| {
            change(value, ledger, mark, |value| {
                value.update(|old| [old[0] + 1; 4]);
            });
        }),
        locked_value(),
        held_value(),
        array(),
        locked_array(),
        locked_row(),
    ]
}

fn change(value: &Value<Wide>, ledger: &Ledger, mark: &Mark, how: impl FnOnce(&Value<Wide>)) {
    mark.window(|| {
        ledger.add(BEGUN);
        how(value);
        ledger.add(DONE);
    });
}

fn world(_: &str, _: &Ledger) -> Value<Wide> {
    Value::new([0; 4]).expect("there is memory for a value")
}

fn value(name: &'static str, victim: fn(&Value<Wide>, &Ledger, &str, &Mark)) -> Box<dyn Row> {
    let operation = Operation::new(name, &["free"], world, victim, survive);
    let operation = operation.recoverer(victim).with(Role::Arrival, |value, ledger, _| {
        ledger.add(BEGUN);
        value.update(|old| [old[0] + 1; 4]);
        ledger.add(DONE);
        Ok(())
    });
    operation.boxed()
}

fn survive(value: &Value<Wide>, ledger: &Ledger, _: &str) -> Verdict {
    let wide = value.get();
    let (begun, done) = (ledger.get(BEGUN), ledger.get(DONE));
    if wide != [wide[0]; 4] || !(done..=begun).contains(&wide[0]) {
        return Err(format!("{wide:?} after {done} of {begun} changes"));
    }
    value.set([7; 4]);
    if value.update(|old| [old[0] + 1; 4]) != [7; 4] && value.get() != [8; 4] {
        return Err(format!("set to 7 and one more: {:?}", value.get()));
    }
    Ok(())
}

/// Several steps under the value's lock: what is half done is said to be.
fn locked_value() -> Box<dyn Row> {
    let victim: fn(&Value<Wide>, &Ledger, &str, &Mark) = |value, ledger, _, mark| {
        mark.window(|| {
            ledger.add(BEGUN);
            let mut guard = value.lock().unwrap_or_else(|died| {
                let mut guard = died.into_inner();
                let first = guard[0];
                *guard = [first; 4];
                guard.mark_consistent();
                guard
            });
            for word in guard.iter_mut() {
                *word += 1;
                std::hint::black_box(word);
            }
            drop(guard);
            ledger.add(DONE);
        });
    };
    let operation = Operation::new("value/lock", &["free"], world, victim, |value, ledger, state| {
        match value.lock() {
            Ok(guard) if *guard != [guard[0]; 4] => return Err(format!("{:?} and not a word of the dead", *guard)),
            Ok(_) => {}
            Err(died) => {
                let mut guard = died.into_inner();
                let first = guard[0];
                *guard = [first; 4];
                guard.mark_consistent();
            }
        }
        survive(value, ledger, state)
    });
    operation.recoverer(victim).boxed()
}

/// The holder of the lock changes the value by the handle: each change happens or does not.
fn held_value() -> Box<dyn Row> {
    let victim: fn(&Value<Wide>, &Ledger, &str, &Mark) = |value, ledger, _, mark| {
        mark.window(|| {
            let held = value.lock().unwrap_or_else(|died| {
                died.get_ref().mark_consistent();
                died.into_inner()
            });
            for _ in 0..2 {
                ledger.add(BEGUN);
                value.set([value.get()[0] + 1; 4]);
                ledger.add(DONE);
            }
            drop(held);
        });
    };
    let operation = Operation::new("value/lock+set", &["free"], world, victim, |value, ledger, state| {
        value.lock().unwrap_or_else(sync::OwnerDied::into_inner).mark_consistent();
        survive(value, ledger, state)
    });
    operation.recoverer(victim).boxed()
}

/// A row under its own lock: a half-done change is reported by the row, and by all, and disturbs no other row.
fn locked_row() -> Box<dyn Row> {
    fn mend(row: &mut RowGuard<'_, u64>) {
        let first = row[0];
        row.fill(first);
        row.mark_consistent();
    }
    fn change(row: &ipc::Row<u64>) {
        let mut guard = row.lock().unwrap_or_else(|died| {
            let mut guard = died.into_inner();
            mend(&mut guard);
            guard
        });
        for element in guard.iter_mut() {
            *element += 1;
            std::hint::black_box(element);
        }
    }
    let victim: fn(&Rows<u64>, &Ledger, &str, &Mark) = |rows, ledger, _, mark| {
        let row = rows.row(1);
        mark.window(|| {
            ledger.add(BEGUN);
            change(&row);
            ledger.add(DONE);
        });
    };
    let world = |_: &str, _: &Ledger| {
        let array = Array::<u64>::new(9).expect("there is memory for an array");
        array.split_rows(3).expect("9 are 3 rows of 3")
    };
    let operation = Operation::new("rows/lock", &["free"], world, victim, |rows, ledger, _| {
        change(&rows.row(0));
        let told = rows.lock().is_err();
        if told != rows.row(1).lock().is_err() {
            return Err("the rows and one of them disagree about a death".into());
        }
        match rows.row(1).lock() {
            Ok(row) if row.iter().any(|element| *element != row[0]) => {
                return Err(format!("{row:?}, and no holder was reported dead"));
            }
            Ok(_) => {}
            Err(died) => mend(&mut died.into_inner()),
        }
        let all = rows.lock().map(|all| all.to_vec()).map_err(|_| "after the repair, somebody is still dead")?;
        let (begun, done) = (ledger.get(BEGUN), ledger.get(DONE));
        if all[3..6] == [all[3]; 3] && (done..=begun).contains(&all[3]) && all[0] > 0 && all[8] == 0 {
            Ok(())
        } else {
            Err(format!("{all:?} after {done} of {begun} changes"))
        }
    });
    operation.recoverer(victim).boxed()
}

/// One element at a time happens or does not; of many, the next to lock is told that some may be missing.
fn array() -> Box<dyn Row> {
    let victim: fn(&Array<u64>, &Ledger, &str, &Mark) = |array, ledger, state, mark| {
        mark.window(|| {
            ledger.add(BEGUN);
            if state == "one" {
                array.update(1, |old| old + 1);
            } else {
                let all = array.lock().map(|guard| guard[1]).unwrap_or(0);
                array.fill(all + 1);
            }
            ledger.add(DONE);
        });
    };
    let world = |_: &str, _: &Ledger| Array::from_slice(&[0; 9]).expect("there is memory for an array");
    let operation = Operation::new("array/set", &["one", "all"], world, victim, |array, ledger, state| {
        let (is_whole, told) = match array.lock() {
            Ok(guard) => (state == "one" || guard.iter().all(|n| *n == guard[0]), false),
            Err(died) => {
                died.get_ref().mark_consistent();
                (true, true)
            }
        };
        let all = array.to_vec();
        let (begun, done) = (ledger.get(BEGUN), ledger.get(DONE));
        let others = if state == "one" { [0, 0] } else { [all[1], all[1]] };
        if !is_whole || !(done..=begun).contains(&all[1]) || (!told && [all[0], all[8]] != others) {
            return Err(format!("{all:?} after {done} of {begun} changes, told: {told}"));
        }
        array.set(2, 5);
        if array.get(2) == 5 && array.lock().is_ok() { Ok(()) } else { Err("after the repair".into()) }
    });
    operation.boxed()
}

/// Several elements under the array's lock: a half-done change is reported.
fn locked_array() -> Box<dyn Row> {
    let victim: fn(&Array<u64>, &Ledger, &str, &Mark) = |array, ledger, _, mark| {
        mark.window(|| {
            ledger.add(BEGUN);
            let mut guard = array.lock().unwrap_or_else(|died| {
                let mut guard = died.into_inner();
                let first = guard[0];
                guard.fill(first);
                guard.mark_consistent();
                guard
            });
            for element in guard.iter_mut() {
                *element += 1;
                std::hint::black_box(element);
            }
            drop(guard);
            ledger.add(DONE);
        });
    };
    let world = |_: &str, _: &Ledger| Array::from_slice(&[0; 9]).expect("there is memory for an array");
    let operation = Operation::new("array/lock", &["free"], world, victim, |array, ledger, _| {
        match array.lock() {
            Ok(guard) if guard.iter().any(|element| *element != guard[0]) => {
                return Err(format!("{:?}, and no holder was reported dead", &*guard));
            }
            Ok(_) => {}
            Err(died) => {
                let mut guard = died.into_inner();
                let first = guard[0];
                guard.fill(first);
                guard.mark_consistent();
            }
        }
        let (all, begun, done) = (array.to_vec(), ledger.get(BEGUN), ledger.get(DONE));
        let is_whole = all.iter().all(|element| *element == all[0]);
        if is_whole && (done..=begun).contains(&all[0]) && array.lock().is_ok() {
            Ok(())
        } else {
            Err(format!("{all:?} after {done} of {begun} changes"))
        }
    });
    operation.recoverer(victim).boxed()
}
