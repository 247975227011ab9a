//! Each type on each way that a value is written down for another process: it arrives equal, or is refused. Where two paths write
//! values down alike, one takes all types, and the other one those of serde's model.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{cell::RefCell, collections::BTreeMap, fmt::Display, thread, time::Duration};

use ipc::Manager;
use pool::ProcessPool;
use proc_core::Process;
use test_support::watchdog;
use test_types::{Must, Traveller, Visit};

const LIMIT: Duration = Duration::from_secs(300);

fn same<T>(value: T) -> T {
    value
}

/// What became of a value: itself, or why not.
type Arrived<T> = Result<T, String>;

fn text(e: impl Display) -> String {
    e.to_string()
}

/// The paths' names and how often each brought what.
#[derive(Default)]
struct Table {
    counts: BTreeMap<&'static str, (usize, usize)>,
    wrong: Vec<String>,
    n_types: usize,
}

impl Table {
    fn judge<T: Traveller>(&mut self, path: &'static str, name: &str, must: Must, sent: &T, arrived: Arrived<T>) {
        let counts = self.counts.entry(path).or_default();
        let cell = match arrived {
            Ok(there) if there == *sent => {
                counts.0 += 1;
                "equal".to_owned()
            }
            Ok(there) => format!("{sent:?} arrived as {there:?}"),
            Err(why) => {
                counts.1 += 1;
                format!("refused: {}", why.chars().take(200).collect::<String>())
            }
        };
        let is_right = match must {
            Must::Arrive => cell == "equal",
            Must::BeRefused => cell.starts_with("refused: "),
            Must::BeAnError => cell.starts_with("refused: "),
        };
        println!("{name:50} {path:14} {cell}");
        if !is_right {
            self.wrong.push(format!("{name}, {path}: {cell}"));
        }
    }
}

/// Each value on the paths of `send`.
struct Suite<'a, S: Send> {
    send: &'a S,
    table: RefCell<Table>,
}

/// A way to send values, and to have them back.
trait Send {
    fn send<T: Traveller>(&self, value: &T) -> Vec<(&'static str, Arrived<T>)>;
}

impl<S: Send> Visit for Suite<'_, S> {
    fn visit<T: Traveller>(&mut self, name: &'static str, must: Must, values: Vec<T>) {
        let mut table = self.table.borrow_mut();
        table.n_types += 1;
        for value in values {
            for (path, arrived) in self.send.send(&value) {
                table.judge(path, name, must, &value, arrived);
            }
        }
    }
}

/// Each of those types that a format may get wrong.
fn check<S: Send>(send: &S) {
    check_with(send, 100, |suite| test_types::telling(suite));
}

/// Those of serde's model only: `send` writes down as another one does.
fn check_model<S: Send>(send: &S) {
    check_with(send, 15, |suite| test_types::model(suite));
}

fn check_with<S: Send>(send: &S, more_than: usize, show: fn(&mut Suite<'_, S>)) {
    let mut suite = Suite { send, table: RefCell::default() };
    show(&mut suite);
    let table = suite.table.into_inner();
    for (path, (n_equal, n_refused)) in &table.counts {
        println!("{path}: {} types, {n_equal} values equal, {n_refused} refused", table.n_types);
    }
    assert!(table.n_types > more_than && table.wrong.is_empty(), "{}", table.wrong.join("\n"));
}

struct ByProcess;

impl Send for ByProcess {
    fn send<T: Traveller>(&self, value: &T) -> Vec<(&'static str, Arrived<T>)> {
        let argument = Process::spawn(same::<T>, (value.clone(),)).and_then(Process::join);
        let (here, there) = ipc::pipe::<T>().unwrap();
        let echo = move || {
            let value = there.recv().map_err(text)?;
            there.send(&value).map_err(text)
        };
        // A thread reads while this one writes, and the other way round: a pipe is shorter than some values.
        let piped = thread::scope(|scope| {
            let echo = scope.spawn(echo);
            let sent = here.send(value).map_err(text);
            let back = sent.clone().and_then(|()| here.recv().map_err(text));
            drop(here);
            // The thread has no more than a closed pipe to tell where the value was refused here.
            sent.and(echo.join().unwrap()).and(back)
        });
        vec![("process", argument.map_err(text)), ("pipe", piped)]
    }
}

#[test]
fn process_and_pipe() {
    let _dog = watchdog(LIMIT);
    check(&ByProcess);
}

struct ByPool(ProcessPool);

impl Send for ByPool {
    fn send<T: Traveller>(&self, value: &T) -> Vec<(&'static str, Arrived<T>)> {
        let task = self.0.apply(same::<T>, (value.clone(),)).map_err(text);
        let first = |values: Vec<T>| values.into_iter().next().ok_or_else(|| "nothing came".to_owned());
        let mapped = self.0.map(same::<T>, [value.clone(), value.clone()]).map_err(text).and_then(first);
        vec![("pool task", task), ("pool map", mapped)]
    }
}

#[test]
fn pool() {
    let _dog = watchdog(LIMIT);
    let pool = ProcessPool::new(1).unwrap();
    check(&ByPool(pool));
}

struct ByQueue;

impl Send for ByQueue {
    fn send<T: Traveller>(&self, value: &T) -> Vec<(&'static str, Arrived<T>)> {
        let queue = ipc::Queue::<T>::new(4).unwrap();
        let put = queue.put_many([value.clone(), value.clone()]).map_err(|e| text(e.to_string()));
        let got = put.and_then(|()| {
            let first = queue.get().map_err(text)?;
            queue.close();
            if queue.iter().collect::<Vec<T>>() == [first.clone()] { Ok(first) } else { panic!("the second is lost") }
        });
        vec![("queue", got)]
    }
}

/// As an item of a queue.
struct ByJoinableQueue;

impl Send for ByJoinableQueue {
    fn send<T: Traveller>(&self, value: &T) -> Vec<(&'static str, Arrived<T>)> {
        let joinable = ipc::JoinableQueue::<T>::new(4).unwrap();
        let lent = joinable.put(value.clone()).map_err(|e| text(e.to_string())).and_then(|()| {
            let item = joinable.try_get().map_err(text)?;
            let value = (*item).clone();
            item.task_done();
            Ok(value)
        });
        vec![("joinable", lent)]
    }
}

#[test]
fn queues() {
    let _dog = watchdog(LIMIT);
    check(&ByQueue);
    check_model(&ByJoinableQueue);
}

/// As the arguments and the result of a process.
struct ByManager(Manager);

impl Send for ByManager {
    fn send<T: Traveller>(&self, value: &T) -> Vec<(&'static str, Arrived<T>)> {
        let dict = self.0.dict::<String, T>().and_then(|dict| {
            dict.insert("key".into(), value.clone())?;
            dict.get("key".into())
        });
        let there = dict.map_err(text).and_then(|value| value.ok_or_else(|| "nothing came".to_owned()));
        vec![("manager's dict", there)]
    }
}

#[test]
fn manager() {
    let _dog = watchdog(LIMIT);
    check_model(&ByManager(Manager::new().unwrap()));
}
