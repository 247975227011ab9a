//! The places of children's events, as the owner's subscribers know places: made as they come, and kept for good.

use std::{
    collections::HashMap,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tracing_core::{Callsite, Interest, Kind, Metadata, callsite, field::FieldSet, identify_callsite};

use super::{super::draft::Head, level_of};
use crate::lock::lock;
use kernel::fork_local::ForkLocal;

/// Bytes of names that are kept. A program has so many places; a child that makes them up must not fill its owner.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// A place, with the names of its fields.
#[derive(Debug)]
pub(super) struct RemoteCallsite {
    metadata: OnceLock<Metadata<'static>>,
    is_unwanted: AtomicBool,
}

impl Callsite for RemoteCallsite {
    fn set_interest(&self, interest: Interest) {
        // Orders nothing.
        self.is_unwanted.store(interest.is_never(), Relaxed);
    }

    fn metadata(&self) -> &Metadata<'_> {
        self.metadata.get().expect("it is set before the place is known to anybody")
    }
}

impl RemoteCallsite {
    /// What subscribers know of it; `None` if none of them wants its events.
    pub(super) fn wanted(&'static self) -> Option<&'static Metadata<'static>> {
        if self.is_unwanted.load(Relaxed) { None } else { self.metadata.get() }
    }
}

#[derive(Debug, Default)]
struct CallsiteTable {
    known: HashMap<Vec<u8>, &'static RemoteCallsite>,
    n_bytes: usize,
}

static PLACES: ForkLocal<Mutex<CallsiteTable>> = ForkLocal::new();

/// The place of an event with fields of these names. `None` if there are too many, unless it is `always` to be had.
pub(super) fn place(head: &Head<'_>, names: &[&str], always: bool) -> Option<&'static RemoteCallsite> {
    let Head { level, target, module, file, line } = *head;
    let mut key = vec![level];
    key.extend_from_slice(&line.unwrap_or_default().to_ne_bytes());
    for text in [target, module.unwrap_or_default(), file.unwrap_or_default()].iter().chain(names) {
        key.extend_from_slice(text.as_bytes());
        key.push(0);
    }
    let mut places = lock(PLACES.get());
    if let Some(place) = places.known.get(&key) {
        return Some(place);
    }
    if !always && places.n_bytes + key.len() > MAX_KEPT_BYTES {
        return None;
    }
    places.n_bytes += key.len();
    let place = make(head, names);
    places.known.insert(key, place);
    drop(places);
    // Asks the subscribers, which may log.
    callsite::register(place);
    Some(place)
}

fn make(head: &Head<'_>, names: &[&str]) -> &'static RemoteCallsite {
    fn keep(text: &str) -> &'static str {
        Box::leak(text.to_owned().into_boxed_str())
    }
    let names: Vec<&'static str> = names.iter().map(|name| keep(name)).collect();
    let place: &'static RemoteCallsite =
        Box::leak(Box::new(RemoteCallsite { metadata: OnceLock::new(), is_unwanted: AtomicBool::new(false) }));
    let fields = FieldSet::new(Box::leak(names.into_boxed_slice()), identify_callsite!(place));
    let (file, module) = (head.file.map(keep), head.module.map(keep));
    let metadata = Metadata::new(
        "event of a child",
        keep(head.target),
        level_of(head.level),
        file,
        head.line,
        module,
        fields,
        Kind::EVENT,
    );
    let _ = place.metadata.set(metadata);
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_known_again_and_made_up_ones_have_an_end() {
        let head = Head { level: 3, target: "a::b", module: Some("a::b"), file: None, line: Some(7) };
        let first = place(&head, &["message", "n"], false).unwrap();
        let metadata = first.metadata.get().unwrap();
        assert!(std::ptr::eq(first, place(&head, &["message", "n"], false).unwrap()));
        assert!(!std::ptr::eq(first, place(&head, &["message"], false).unwrap()));
        assert_eq!((metadata.target(), metadata.line(), metadata.file()), ("a::b", Some(7), None));
        assert!(metadata.fields().iter().map(|field| field.name()).eq(["message", "n"]));
        let name = "x".repeat(1000);
        let made_up = |line| place(&Head { line: Some(line), target: &name, ..head }, &["message"], false);
        let n = (0..).take_while(|line| made_up(*line).is_some()).count();
        assert!(n < 1100, "{n}");
        assert!(place(&head, &["another"], true).is_some());
        assert!(place(&head, &["message", "n"], false).is_some());
    }
}
