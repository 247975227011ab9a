//! What the passes have found out so far, and what the next one tries.

use serde::de::{DeserializeSeed, Visitor};

use crate::{
    error::{Error, Trouble},
    known::Part,
    shape::{Outline, Step},
};

/// What is known of the reading side.
#[derive(Default)]
pub(crate) struct Findings {
    /// With the names of their fields.
    pub(crate) parts: Vec<(Part, &'static [&'static str])>,
    /// It asks what is there, so that names must be.
    pub(crate) asks_for_names: bool,
    pub(crate) has_handles: bool,
    /// There is no part of it that it has not been seen reading.
    pub(crate) is_complete: bool,
    /// What it read in the last pass, if that is the same each time.
    pub(crate) outline: Option<Outline>,
}

/// A bound for types inside types.
const MAX_DEPTH: usize = 256;
/// A bound for what one pass reads.
const MAX_VALUES: usize = 20_000;

#[derive(Default)]
pub(super) struct State {
    pub(super) findings: Findings,
    pub(super) enums: Vec<Enum>,
    /// What is made up for those that refused something: the how-manieth thing.
    pub(super) refusals: Vec<(Key, usize)>,
    /// Structs and enums that are being read.
    pub(super) active: Vec<Key>,
    /// Something was tried in this pass that had not been.
    pub(super) is_new: bool,
    pub(super) n_values: usize,
    pub(super) n_refused: usize,
    pub(super) is_exhausted: bool,
    /// Added to which thing is made up, everywhere.
    pub(super) turn: usize,
    /// It read something that has not the same parts each time, in whichever pass.
    pub(super) has_choices: bool,
    /// The enums that this pass met, by their place in `enums`.
    pub(super) met: Vec<usize>,
}

pub(super) struct Enum {
    pub(super) key: Key,
    pub(super) variants: Vec<VariantState>,
}

#[derive(Clone)]
pub(super) struct VariantState {
    pub(super) seen: Seen,
    /// How often it was tried in vain.
    pub(super) n_tries: u8,
    /// The enums inside it.
    pub(super) inside: Vec<usize>,
}

impl Enum {
    pub(super) fn is_done(&self) -> bool {
        self.variants.iter().all(|variant| variant.seen == Seen::Read)
    }

    pub(super) fn find(&self, is_wanted: impl Fn(&VariantState) -> bool) -> Option<usize> {
        self.variants.iter().position(is_wanted)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    No,
    /// It was begun.
    Begun,
    Read,
}

/// What tells one visitor from another.
pub(super) type Key = (&'static str, &'static str);

pub(super) fn key_of<'de, V: Visitor<'de>>() -> Key {
    (std::any::type_name::<V>(), std::any::type_name::<V::Value>())
}

impl State {
    pub(super) fn begin(&mut self) {
        self.findings.outline = (!self.has_choices).then(Outline::new);
        self.active.clear();
        self.is_new = false;
        self.n_values = 0;
        self.n_refused = 0;
        self.met.clear();
    }

    /// Whether it reads a type inside itself, so that it must come to an end.
    pub(super) fn is_winding_up(&self) -> bool {
        let nested = self.active.last().is_some_and(|last| self.active.iter().filter(|key| *key == last).count() > 1);
        nested || self.active.len() > MAX_DEPTH / 4
    }

    /// Notes what it reads next.
    pub(super) fn step(&mut self, step: Step) {
        if let Some(outline) = &mut self.findings.outline {
            outline.steps.push(step);
        }
    }

    /// Notes the name of the struct or field that it reads next.
    pub(super) fn name(&mut self, name: &str) {
        if let Some(outline) = &mut self.findings.outline {
            outline.names.push(name);
        }
    }

    /// Notes that it reads something that has not the same parts each time.
    pub(super) fn note_choice(&mut self) {
        self.has_choices = true;
        self.findings.outline = None;
    }

    pub(super) fn know(&mut self, part: Part, names: &'static [&'static str]) {
        if !self.findings.parts.contains(&(part, names)) {
            self.findings.parts.push((part, names));
        }
    }

    /// Reads a value with made-up things from `candidates`, the next of them if it refused the one before.
    pub(super) fn make_up<'de, V: Visitor<'de>, C: Copy>(
        &mut self,
        visitor: V,
        candidates: &[C],
        visit: impl FnOnce(V, C, &mut Self) -> Result<V::Value, Error>,
    ) -> Result<V::Value, Error> {
        self.n_values += 1;
        if self.n_values > MAX_VALUES {
            self.is_exhausted = true;
            return Err(Error::too_deep());
        }
        let key = key_of::<V>();
        let at = self.refusals.iter().position(|(refused, _)| *refused == key);
        let turn = at.map_or(0, |at| self.refusals[at].1);
        let candidate = candidates[(turn + self.turn) % candidates.len()];
        let n_refused = self.n_refused;
        let value = visit(visitor, candidate, self);
        // Not if something inside it was refused.
        if value.is_err() && self.n_refused == n_refused {
            self.n_refused += 1;
            if turn + 1 < candidates.len() {
                self.is_new = true;
                match at {
                    Some(at) => self.refusals[at].1 += 1,
                    None => self.refusals.push((key, 1)),
                }
            }
        }
        value
    }

    /// Reads something that may have itself inside.
    pub(super) fn enter<T>(&mut self, key: Key, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.active.len() >= MAX_DEPTH {
            return Err(Error::too_deep());
        }
        self.active.push(key);
        let value = read(self);
        self.active.pop();
        value
    }

    /// The variant to be read, and the enum's place in `enums`.
    pub(super) fn choose(&mut self, key: Key, n_variants: usize) -> Option<(usize, usize)> {
        let at = self.enums.iter().position(|e| e.key == key).unwrap_or_else(|| {
            let unseen = VariantState { seen: Seen::No, n_tries: 0, inside: Vec::new() };
            self.enums.push(Enum { key, variants: vec![unseen; n_variants] });
            self.enums.len() - 1
        });
        self.met.push(at);
        let this = &self.enums[at];
        let unread = this.find(|variant| variant.seen == Seen::No);
        let read = this.find(|variant| variant.seen == Seen::Read);
        let index = if self.active.iter().filter(|active| **active == key).count() > 1 {
            read.or(unread)
        } else {
            // One that was begun may have met something that was refused then, and is not now; one that was read may
            // have enums inside of which there is more to be read.
            let again = || this.find(|variant| variant.seen == Seen::Begun && variant.n_tries < MAX_TRIES);
            let has_more = |variant: &VariantState| variant.inside.iter().any(|at| !self.enums[*at].is_done());
            let deeper = || this.find(|variant| variant.seen == Seen::Read && has_more(variant));
            unread.or_else(again).or_else(deeper).or(read)
        }?;
        let variant = &mut self.enums[at].variants[index];
        if variant.seen != Seen::Read {
            self.is_new = true;
            variant.seen = Seen::Begun;
            variant.n_tries += 1;
        }
        Some((at, index))
    }

    /// Reads a variant, and notes what it has inside.
    pub(super) fn read_variant<T>(
        &mut self,
        (at, index): (usize, usize),
        read: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let n_met = self.met.len();
        let value = read(self);
        let variant = &mut self.enums[at].variants[index];
        for inner in &self.met[n_met..] {
            if *inner != at && !variant.inside.contains(inner) {
                variant.inside.push(*inner);
            }
        }
        if value.is_ok() {
            variant.seen = Seen::Read;
        }
        value
    }
}

/// How often to try a variant.
const MAX_TRIES: u8 = 40;

/// The deserializer that a type is run on.
pub(super) struct Probe<'a> {
    pub(super) state: &'a mut State,
}

/// Reads a value with `seed`.
pub(super) fn seed<'de, T: DeserializeSeed<'de>>(seed: T, state: &mut State) -> Result<T::Value, Error> {
    seed.deserialize(Probe { state })
}
