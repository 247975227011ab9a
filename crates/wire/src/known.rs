//! What the reading side of a type reads by position.

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::{
    name_hash::NameHash,
    sites::{Site, Sites},
};

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

    /// Whether it is the same, down to where its names lie, as most are.
    #[inline]
    fn is_identical(&self, other: &Self) -> bool {
        self.number == other.number && std::ptr::eq(self.name, other.name) && std::ptr::eq(self.outer, other.outer)
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
    /// The fields' names where it is read; of no names if they have none.
    names: NameHash,
    /// Whether a value with it came back as it was.
    confirmed: AtomicBool,
}

/// Up to so many parts are looked through: cheaper than a hash of a name.
const FEW: usize = 8;

/// The parts that are read by position.
#[derive(Default)]
pub(crate) struct Known {
    /// In the order in which they are read first.
    entries: Box<[Entry]>,
    /// Of more than a few the places, by the hash of their parts: a power of two, at most half of them taken.
    index: Box<[Option<usize>]>,
    /// What came back that is not in each value.
    pub(crate) sites: Sites,
}

impl Known {
    /// Of parts and the names of their fields.
    pub(crate) fn new(parts: &[(Part, &'static [&'static str])]) -> Self {
        let is_unequivocal = |(part, names): &(Part, &'static [&'static str])| {
            !parts.iter().any(|other| part.contradicts(&other.0) || (*part == other.0 && *names != other.1))
        };
        let entry = |(part, names): &(Part, &'static [&'static str])| Entry {
            part: *part,
            names: NameHash::of(names),
            confirmed: AtomicBool::new(false),
        };
        let entries: Box<[Entry]> = parts.iter().filter(|part| is_unequivocal(part)).map(entry).collect();
        let sites = Sites::new(entries.len());
        if entries.len() <= FEW {
            return Self { entries, index: Box::default(), sites };
        }
        let n_slots = (2 * entries.len()).next_power_of_two();
        let mut index: Box<[Option<usize>]> = vec![None; n_slots].into();
        for (at, entry) in entries.iter().enumerate() {
            let mut slot = entry.part.hash() & (n_slots - 1);
            while index[slot].is_some() {
                slot = (slot + 1) & (n_slots - 1);
            }
            index[slot] = Some(at);
        }
        Self { entries, index, sites }
    }

    /// The place of `part`.
    pub(crate) fn find(&self, part: &Part) -> Option<usize> {
        let Some(mask) = self.index.len().checked_sub(1) else {
            let position = |is: fn(&Part, &Part) -> bool| self.entries.iter().position(|entry| is(&entry.part, part));
            return position(Part::is_identical).or_else(|| position(Part::eq));
        };
        let mut slot = part.hash() & mask;
        // Half of them are empty.
        while let Some(at) = *self.index.get(slot)? {
            let found = &self.entries.get(at)?.part;
            if found.is_identical(part) || found == part {
                return Some(at);
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    /// The names of the fields at this place.
    pub(crate) fn names(&self, at: usize) -> NameHash {
        self.entries.get(at).map_or(NameHash::new(), |entry| entry.names)
    }

    /// The names of the fields of `part` where it is read, if a value with it came back as it was.
    #[inline(always)]
    pub(crate) fn confirmed(&self, part: &Part) -> Option<NameHash> {
        // Each value of a struct begins with the first.
        match &*self.entries {
            [first, ..] if first.part.is_identical(part) => first.confirmed(),
            _ => self.find_confirmed(part.outer, part.name, part.number),
        }
    }

    /// Whether values with each of them that has names came back as they were.
    #[inline]
    pub(crate) fn are_names_confirmed(&self) -> bool {
        self.entries.iter().all(|entry| entry.names == NameHash::new() || entry.confirmed().is_some())
    }

    /// In registers: where it is not called, no part need be made.
    #[inline(never)]
    fn find_confirmed(&self, outer: &'static str, name: &'static str, number: u64) -> Option<NameHash> {
        self.entries.get(self.find(&Part { outer, name, number })?)?.confirmed()
    }

    /// Notes that a value with all of this came back as it was.
    pub(crate) fn confirm(&self, met: &Met) {
        for entry in met.parts.iter().filter_map(|at| self.entries.get(*at)) {
            entry.confirmed.store(true, Relaxed);
        }
        met.sites.iter().for_each(|site| self.sites.add(*site));
    }
}

/// What a value relies on that is written by position.
#[derive(Default)]
pub(crate) struct Met {
    /// The places of its parts.
    pub(crate) parts: Vec<usize>,
    /// Those that no value came back with.
    pub(crate) sites: Vec<Site>,
    /// Where its long vectors of numbers are in what was written.
    pub(crate) vectors: Vec<Range<usize>>,
}

impl Met {
    pub(crate) fn add_site(&mut self, site: Site) {
        // More are no type's that ends.
        if self.sites.len() < MAX_SITES && !self.sites.contains(&site) {
            self.sites.push(site);
        }
    }
}

const MAX_SITES: usize = 1000;

impl Entry {
    #[inline]
    fn confirmed(&self) -> Option<NameHash> {
        self.confirmed.load(Relaxed).then_some(self.names)
    }
}
