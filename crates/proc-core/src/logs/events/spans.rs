//! The spans of a child: their names and fields go along with each event in them, as one text.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt::{self, Write},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tracing_core::{
    Field, Metadata,
    field::Visit,
    span::{Attributes, Current, Id, Record},
};

use crate::lock::lock;
use kernel::fork_local::ForkLocal;

/// The text of a span's fields may be so long.
const MAX_FIELDS_BYTES: usize = 1024;
/// So many spans around an event are told, the innermost ones.
const MAX_DEPTH: usize = 16;

#[derive(Debug)]
struct Span {
    metadata: &'static Metadata<'static>,
    fields: String,
    parent: Option<u64>,
    n_handles: usize,
}

/// All spans that are open. A forked child does not know its parent's.
#[derive(Debug, Default)]
struct Spans {
    open: Mutex<HashMap<u64, Span>>,
    n: AtomicU64,
}

static SPANS: ForkLocal<Spans> = ForkLocal::new();

thread_local! {
    /// Those that this thread has entered, the innermost last.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

fn current() -> Option<u64> {
    ENTERED.try_with(|entered| entered.borrow().last().copied()).ok().flatten()
}

pub(super) fn open(attributes: &Attributes<'_>) -> Id {
    let spans = SPANS.get();
    let mut fields = FieldText::default();
    // Before the lock: what is formatted may have spans of its own.
    attributes.record(&mut fields);
    let parent = match attributes.parent() {
        Some(parent) => Some(parent.into_u64()),
        None if attributes.is_contextual() => current(),
        None => None,
    };
    // From 1: an id is not 0.
    let id = spans.n.fetch_add(1, Relaxed) + 1;
    let mut open = lock(&spans.open);
    if let Some(parent) = parent.and_then(|parent| open.get_mut(&parent)) {
        parent.n_handles += 1;
    }
    open.insert(id, Span { metadata: attributes.metadata(), fields: fields.0, parent, n_handles: 1 });
    Id::from_u64(id)
}

pub(super) fn record(id: &Id, values: &Record<'_>) {
    let mut more = FieldText::default();
    values.record(&mut more);
    if let Some(span) = lock(&SPANS.get().open).get_mut(&id.into_u64())
        && span.fields.len() + more.0.len() < MAX_FIELDS_BYTES
    {
        if !span.fields.is_empty() && !more.0.is_empty() {
            span.fields.push(' ');
        }
        span.fields.push_str(&more.0);
    }
}

pub(super) fn keep(id: &Id) {
    if let Some(span) = lock(&SPANS.get().open).get_mut(&id.into_u64()) {
        span.n_handles += 1;
    }
}

/// Gives a handle up; true if it was the last.
pub(super) fn give_up(id: &Id) -> bool {
    let mut open = lock(&SPANS.get().open);
    let mut next = Some(id.into_u64());
    let mut is_first_closed = false;
    while let Some(id_) = next.take() {
        let Some(span) = open.get_mut(&id_) else { break };
        span.n_handles = span.n_handles.saturating_sub(1);
        if span.n_handles == 0 {
            is_first_closed |= id_ == id.into_u64();
            // It was a handle to its parent.
            next = open.remove(&id_).and_then(|span| span.parent);
        }
    }
    is_first_closed
}

pub(super) fn enter(id: &Id) {
    let _ = ENTERED.try_with(|entered| entered.borrow_mut().push(id.into_u64()));
}

pub(super) fn exit(id: &Id) {
    let _ = ENTERED.try_with(|entered| {
        let mut entered = entered.borrow_mut();
        if let Some(at) = entered.iter().rposition(|entered| *entered == id.into_u64()) {
            entered.remove(at);
        }
    });
}

pub(super) fn current_span() -> Current {
    let Some(id) = current() else { return Current::none() };
    match lock(&SPANS.get().open).get(&id) {
        Some(span) => Current::new(Id::from_u64(id), span.metadata),
        None => Current::none(),
    }
}

/// The spans around an event, the outermost first: `request{id=7}:query`. Empty if there are none.
pub(super) fn around(parent: Option<&Id>, is_contextual: bool) -> String {
    let mut next = match parent {
        Some(parent) => Some(parent.into_u64()),
        None if is_contextual => current(),
        None => None,
    };
    if next.is_none() {
        return String::new();
    }
    let open = lock(&SPANS.get().open);
    let mut around = Vec::new();
    while let Some(span) = next.and_then(|id| open.get(&id)).filter(|_| around.len() < MAX_DEPTH) {
        let name = span.metadata.name();
        around.push(if span.fields.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", span.fields) });
        next = span.parent;
    }
    around.reverse();
    around.join(":")
}

/// `key=value`, one after another.
#[derive(Debug, Default)]
struct FieldText(String);

impl Visit for FieldText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.0.len() < MAX_FIELDS_BYTES {
            let separator = if self.0.is_empty() { "" } else { " " };
            // An error of a `Debug` cuts its text off.
            let _ = write!(self.0, "{separator}{field}={value:?}");
        }
    }
}
