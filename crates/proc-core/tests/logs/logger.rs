//! The owner's logger: keeps what it is given.

use std::{
    collections::BTreeMap,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use log::{
    Level, LevelFilter, Log, Metadata, Record,
    kv::{Error, Key, Value, VisitSource},
};

use proc_core::shm::Shared;

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) level: Level,
    pub(crate) target: String,
    pub(crate) module: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
    pub(crate) message: String,
    pub(crate) fields: BTreeMap<String, String>,
}

impl Seen {
    pub(crate) fn pid(&self) -> u32 {
        self.fields.get("process.pid").map_or(0, |pid| pid.parse().unwrap())
    }

    pub(crate) fn name(&self) -> &str {
        self.fields.get("process.name").map_or("", String::as_str)
    }
}

/// What counts records with the target "counted", which are not kept.
static COUNTER: Mutex<Option<Shared<AtomicU64>>> = Mutex::new(None);

pub(crate) fn count(by: Option<Shared<AtomicU64>>) {
    *COUNTER.lock().unwrap() = by;
}

/// What came, and whether records with the target "gate" are let through.
struct State {
    seen: Vec<Seen>,
    is_shut: bool,
}

static STATE: Mutex<State> = Mutex::new(State { seen: Vec::new(), is_shut: false });
static CHANGED: Condvar = Condvar::new();

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Logger;

pub(crate) fn install() {
    let _ = log::set_logger(&Logger);
    log::set_max_level(LevelFilter::Debug);
}

/// What the process `pid` has logged, as far as it has come.
pub(crate) fn of(pid: u32) -> Vec<Seen> {
    state().seen.iter().filter(|seen| seen.pid() == pid).cloned().collect()
}

pub(crate) fn named(name: &str) -> Vec<Seen> {
    state().seen.iter().filter(|seen| seen.name() == name).cloned().collect()
}

/// Forgets what came. For tests with millions of records.
pub(crate) fn forget() {
    state().seen.clear();
}

/// Waits until a process of that name has logged so much.
pub(crate) fn wait_for(name: &str, n: usize) -> Vec<Seen> {
    let mut state = state();
    while state.seen.iter().filter(|seen| seen.name() == name).count() < n {
        state = CHANGED.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    drop(state);
    named(name)
}

/// Has the logger hang at records with the target "gate", or no longer.
pub(crate) fn shut(is_shut: bool) {
    state().is_shut = is_shut;
    CHANGED.notify_all();
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        assert!(record.target() != "panics", "on purpose");
        if record.target() == "counted" {
            COUNTER.lock().unwrap().as_ref().map(|counter| counter.fetch_add(1, SeqCst));
            return;
        }
        let mut fields = Fields(BTreeMap::new());
        record.key_values().visit(&mut fields).unwrap();
        let seen = Seen {
            level: record.level(),
            target: record.target().into(),
            module: record.module_path().map(Into::into),
            file: record.file().map(Into::into),
            line: record.line(),
            message: record.args().to_string(),
            fields: fields.0,
        };
        let mut state = state();
        while state.is_shut && record.target() == "gate" {
            state = CHANGED.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.seen.push(seen);
        CHANGED.notify_all();
    }

    fn flush(&self) {}
}

struct Fields(BTreeMap<String, String>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        assert!(self.0.insert(key.to_string(), value.to_string()).is_none(), "a key that comes twice");
        Ok(())
    }
}
