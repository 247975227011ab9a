//! Processes that fill one matrix, each its own rows, with a state and a count that all share.

use std::error::Error;

use ipc::{Array, Element, RawValue, Row, Value};
use proc_core::Process;

#[derive(Element, Clone, Copy, Debug, PartialEq)]
enum State {
    Filling,
    Done,
}

fn fill(row: Row<f64>, n_done: Value<usize>, n_rows: usize, state: RawValue<State>) {
    // A guard is a slice of the row; the other rows are being filled at the same time.
    let mut cells = row.lock().expect("nobody has died");
    let x = row.index() as f64 + 1.0;
    for (y, cell) in (1..).zip(cells.iter_mut()) {
        *cell = x * f64::from(y);
    }
    drop(cells);
    // As Python's `with n_done.get_lock():`: whoever holds the lock goes on using the value.
    let held = n_done.lock().expect("nobody has died");
    n_done.set(n_done.get() + 1);
    if n_done.get() == n_rows {
        state.set(State::Done);
    }
    drop(held);
}

fn main() -> Result<(), Box<dyn Error>> {
    let rows = Array::<f64>::new(4 * 10)?.split_rows(10)?;
    let (n_done, state) = (Value::new(0)?, RawValue::new(State::Filling)?);
    let mut children = Vec::new();
    for row in rows.iter() {
        children.push(Process::spawn(fill, (row, n_done.clone(), rows.len(), state.clone()))?);
    }
    for child in children {
        child.join()?;
    }
    assert_eq!((n_done.get(), state.get()), (4, State::Done));
    // All rows as one slice, in place.
    for row in rows.lock()?.chunks(10) {
        println!("{row:?}");
    }
    assert_eq!(rows.to_vec().iter().sum::<f64>(), 550.0);
    Ok(())
}
