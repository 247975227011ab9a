//! What a thread itself knows of its list of robust locks.
//!
//! The links of a listed lock lie in shared memory, where a hostile process may write anything. So they are written for
//! the kernel, and not read: this record, in the thread's own memory, says which locks stand before and behind one.
//!
//! A single lock is not recorded: there is nothing before and behind it. Neither are locks beyond the first [`MOST`], and
//! those of the C library, which the record knows of only when one of ours is listed upon them. For what is next to such
//! a lock, the links have to be believed.
//!
//! A signal handler may list and remove locks of its own between any two steps; it removes what it has listed.

use std::cell::Cell;

/// How many locks at a time are recorded.
pub(super) const MOST: usize = 16;

#[derive(Clone, Copy)]
struct Entry {
    link: usize,
    /// Whether all that were listed before it are in the record.
    is_sure: bool,
}

#[derive(Clone, Copy)]
struct Count {
    n: u32,
    /// Whether a lock of ours may be listed that is not recorded, as there were too many.
    is_short: bool,
}

thread_local! {
    static COUNT: Cell<Count> = const { Cell::new(Count { n: 0, is_short: false }) };
    static ENTRIES: [Cell<Entry>; MOST] = const { [const { Cell::new(Entry { link: 0, is_sure: false }) }; MOST] };
}

/// A neighbour in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Neighbour {
    Node(usize),
    Head,
    /// The links say which.
    Unknown,
}

fn n() -> usize {
    COUNT.get().n as usize
}

fn set_n(n: usize) {
    COUNT.set(Count { n: n as u32, ..COUNT.get() });
}

fn at(place: usize) -> Entry {
    ENTRIES.with(|entries| entries[place].get())
}

fn set(place: usize, entry: Entry) {
    ENTRIES.with(|entries| entries[place].set(entry));
}

/// The latest first, as a handler of a signal may have come in between.
fn place(link: usize) -> Option<usize> {
    (0..n()).rev().find(|place| at(*place).link == link)
}

pub(super) fn contains(link: usize) -> bool {
    place(link).is_some()
}

pub(super) fn is_empty() -> bool {
    n() == 0
}

/// Whether there may be locks of ours, beside a single one, that are not recorded.
pub(super) fn is_short() -> bool {
    COUNT.get().is_short
}

/// Whether all that are listed are recorded, of which `last` is the last.
pub(super) fn is_exact(last: usize) -> bool {
    !is_short() && n().checked_sub(1).map(at).is_some_and(|entry| entry.is_sure && entry.link == last)
}

/// The thread's list is empty.
#[inline]
pub(super) fn clear() {
    COUNT.set(Count { n: 0, is_short: false });
}

/// Only this lock is listed, or only others that are not ours beside it.
pub(super) fn begin(link: usize) {
    clear();
    append(Entry { link, is_sure: true });
}

/// A lock has been listed upon another one.
pub(super) fn push(link: usize, before: usize) {
    let n = n();
    let is_sure = n > 0 && at(n - 1).link == before && at(n - 1).is_sure;
    append(Entry { link, is_sure });
}

fn append(entry: Entry) {
    let n = n();
    if n < MOST {
        set_n(n + 1);
        set(n, entry);
    } else {
        COUNT.set(Count { is_short: true, ..COUNT.get() });
    }
}

pub(super) fn remove(link: usize) {
    let Some(place) = place(link) else { return };
    for behind in place + 1..n() {
        set(behind - 1, at(behind));
    }
    set_n(n() - 1);
}

/// The lock that was listed before this one.
pub(super) fn before(link: usize) -> Neighbour {
    match place(link) {
        Some(place) if !at(place).is_sure => Neighbour::Unknown,
        Some(0) => Neighbour::Head,
        Some(place) => Neighbour::Node(at(place - 1).link),
        None if is_short() => Neighbour::Unknown,
        // It was listed when there was no other.
        None => Neighbour::Head,
    }
}

/// The lock that was listed after this one, which is not the last.
pub(super) fn behind(link: usize) -> Neighbour {
    match place(link).map(|place| place + 1) {
        Some(behind) if behind < n() && at(behind).is_sure => Neighbour::Node(at(behind).link),
        _ => Neighbour::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_those_that_are_left() {
        begin(1);
        push(2, 1);
        push(3, 2);
        assert_eq!((before(1), before(2), before(3)), (Neighbour::Head, Neighbour::Node(1), Neighbour::Node(2)));
        assert_eq!((behind(1), behind(2), behind(3)), (Neighbour::Node(2), Neighbour::Node(3), Neighbour::Unknown));
        remove(2);
        assert_eq!((before(3), behind(1)), (Neighbour::Node(1), Neighbour::Node(3)));
        remove(1);
        assert_eq!(before(3), Neighbour::Head);
        clear();
    }

    #[test]
    fn locks_of_others_and_those_beyond_the_record_are_not_known() {
        begin(1);
        // Upon one that is none of ours.
        push(2, 77);
        push(3, 2);
        assert_eq!((before(2), before(3), behind(1)), (Neighbour::Unknown, Neighbour::Unknown, Neighbour::Unknown));
        for link in 4..=MOST {
            push(link, link - 1);
        }
        assert!(!is_short());
        push(100, MOST);
        remove(MOST);
        assert!(!contains(100));
        assert_eq!((is_short(), before(100)), (true, Neighbour::Unknown));
        clear();
    }
}
