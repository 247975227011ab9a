//! What the reading side of a type reads by position.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Something that is written by position, and must be read so: the fields of a struct, a variant, its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The enum's name.
    outer: &'static str,
    name: &'static str,
    /// How many fields they are, or the variant's index.
    number: u64,
}

/// Added to the number of fields, to tell them from indices.
const FIELDS: u64 = 1 << 63;

impl Part {
    #[inline]
    pub(crate) fn fields(name: &'static str, len: usize) -> Self {
        Self { outer: "", name, number: FIELDS | len as u64 }
    }

    #[inline]
    pub(crate) fn variant(outer: &'static str, index: u32, name: &'static str) -> Self {
        Self { outer, name, number: index.into() }
    }

    #[inline]
    pub(crate) fn variant_fields(outer: &'static str, name: &'static str, len: usize) -> Self {
        Self { outer, name, number: FIELDS | len as u64 }
    }

    #[inline]
    fn hash(&self) -> usize {
        let name = self.name.as_bytes();
        let ends = usize::from(*name.first().unwrap_or(&0)) + 7 * usize::from(*name.last().unwrap_or(&0));
        ends.wrapping_add(31 * name.len() + 5 * self.outer.len()).wrapping_add(3 * (self.number as u32) as usize)
    }

    /// Whether both cannot be read by position, since the same name stands for two things.
    fn contradicts(&self, other: &Self) -> bool {
        let same_kind = self.number & FIELDS == other.number & FIELDS;
        self.outer == other.outer && self.name == other.name && same_kind && self.number != other.number
    }
}

struct Entry {
    part: Part,
    /// The fields' names where it is read, if they have any.
    names: &'static [&'static str],
    /// Whether a value with it came back as it was.
    confirmed: AtomicBool,
}

/// Up to so many slots are looked through.
const FEW: usize = 4;

/// The parts that are read by position, by their hash.
#[derive(Default)]
pub(crate) struct Known {
    /// A power of two, or none.
    slots: Box<[Option<Entry>]>,
}

impl Known {
    /// Of parts and the names of their fields.
    pub(crate) fn new(parts: &[(Part, &'static [&'static str])]) -> Self {
        if parts.is_empty() {
            return Self::default();
        }
        let n_slots = (2 * parts.len()).next_power_of_two();
        let mut slots: Box<[Option<Entry>]> = (0..n_slots).map(|_| None).collect();
        let unequivocal = parts.iter().filter(|part| {
            !parts.iter().any(|other| part.0.contradicts(&other.0) || (part.0 == other.0 && part.1 != other.1))
        });
        for (part, names) in unequivocal {
            let mut at = part.hash() & (n_slots - 1);
            while slots[at].as_ref().is_some_and(|entry| entry.part != *part) {
                at = (at + 1) & (n_slots - 1);
            }
            slots[at] = Some(Entry { part: *part, names, confirmed: AtomicBool::new(false) });
        }
        Self { slots }
    }

    /// The slot of `part`.
    #[inline]
    pub(crate) fn find(&self, part: &Part) -> Option<usize> {
        if self.slots.len() <= FEW {
            // Cheaper than a hash of its name.
            return self.slots.iter().position(|entry| entry.as_ref().is_some_and(|entry| entry.is(part)));
        }
        let mask = self.slots.len() - 1;
        let mut at = part.hash() & mask;
        // There are more slots than entries.
        while let Some(entry) = self.slots.get(at)? {
            if entry.is(part) {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// The names of the fields in this slot.
    pub(crate) fn names(&self, slot: usize) -> &'static [&'static str] {
        self.slots.get(slot).and_then(Option::as_ref).map_or(&[], |entry| entry.names)
    }

    /// Whether a value with `part` came back as it was.
    #[inline]
    pub(crate) fn is_confirmed(&self, part: &Part) -> bool {
        let entry = self.find(part).and_then(|at| self.slots[at].as_ref());
        entry.is_some_and(|entry| entry.confirmed.load(Relaxed))
    }

    /// Notes that values with these came back as they were.
    pub(crate) fn confirm(&self, slots: &[usize]) {
        for entry in slots.iter().filter_map(|at| self.slots[*at].as_ref()) {
            entry.confirmed.store(true, Relaxed);
        }
    }
}

impl Entry {
    #[inline]
    fn is(&self, part: &Part) -> bool {
        let (ours, theirs) = (&self.part, part);
        ours.number == theirs.number && same(ours.name, theirs.name) && same(ours.outer, theirs.outer)
    }
}

/// Whether two names are equal; most are even the same.
#[inline]
fn same(a: &'static str, b: &'static str) -> bool {
    a.len() == b.len() && (a.as_ptr() == b.as_ptr() || a == b)
}
