//! Finds out what a type's `Deserialize` reads, without a value: it is run on made-up ones.
//!
//! A pass runs it once. An enum takes a variant that no pass has tried yet; where the type refuses what was made up for
//! it, the next pass makes up something else. What is nested in itself ends there, with as little as possible. When a
//! pass brings nothing new, all is known, or the type refuses everything (`is_complete` is false).

mod access;
mod made_up;

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{
    Deserialize,
    de::{self, DeserializeSeed, Visitor},
};

use self::access::{Chosen, Row};
use crate::{
    HANDLE,
    error::{Error, Trouble},
    known::Part,
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
}

/// Runs `T`'s `Deserialize` until nothing more can be learnt.
pub(crate) fn probe<'de, T: Deserialize<'de>>() -> Findings {
    let mut state = State::default();
    for _ in 0..MAX_PASSES {
        state.begin();
        let probe = Probe { state: &mut state };
        // The user's code, which has never been run on such values.
        let read = catch_unwind(AssertUnwindSafe(|| T::deserialize(probe).map(drop))).map_err(std::mem::forget);
        if state.findings.asks_for_names {
            break;
        }
        if state.is_new {
            continue;
        }
        let is_read = matches!(read, Ok(Ok(())));
        if !is_read && state.turn < made_up::STRINGS.len() {
            // It looks at more than one thing at a time, or after it has read it.
            state.turn += 1;
            continue;
        }
        let enums_are_done = state.enums.iter().all(Enum::is_done);
        state.findings.is_complete = is_read && enums_are_done && !state.is_exhausted;
        break;
    }
    state.findings
}

/// A bound for types with thousands of variants.
const MAX_PASSES: usize = 2000;
/// A bound for types inside types.
const MAX_DEPTH: usize = 256;
/// A bound for what one pass reads.
const MAX_VALUES: usize = 20_000;

#[derive(Default)]
struct State {
    findings: Findings,
    enums: Vec<Enum>,
    /// What is made up for those that refused something: the how-manieth thing.
    refusals: Vec<(Key, usize)>,
    /// Structs and enums that are being read.
    active: Vec<Key>,
    /// Something was tried in this pass that had not been.
    is_new: bool,
    n_values: usize,
    n_refused: usize,
    is_exhausted: bool,
    /// Added to which thing is made up, everywhere.
    turn: usize,
    /// The enums that this pass met, by their place in `enums`.
    met: Vec<usize>,
}

struct Enum {
    key: Key,
    variants: Vec<VariantState>,
}

#[derive(Clone)]
struct VariantState {
    seen: Seen,
    /// How often it was tried in vain.
    n_tries: u8,
    /// The enums inside it.
    inside: Vec<usize>,
}

impl Enum {
    fn is_done(&self) -> bool {
        self.variants.iter().all(|variant| variant.seen == Seen::Read)
    }

    fn find(&self, is_wanted: impl Fn(&VariantState) -> bool) -> Option<usize> {
        self.variants.iter().position(is_wanted)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    No,
    /// It was begun.
    Begun,
    Read,
}

/// What tells one visitor from another.
type Key = (&'static str, &'static str);

fn key_of<'de, V: Visitor<'de>>() -> Key {
    (std::any::type_name::<V>(), std::any::type_name::<V::Value>())
}

impl State {
    fn begin(&mut self) {
        self.active.clear();
        self.is_new = false;
        self.n_values = 0;
        self.n_refused = 0;
        self.met.clear();
    }

    /// Whether it reads a type inside itself, so that it must come to an end.
    fn is_winding_up(&self) -> bool {
        let nested = self.active.last().is_some_and(|last| self.active.iter().filter(|key| *key == last).count() > 1);
        nested || self.active.len() > MAX_DEPTH / 4
    }

    fn know(&mut self, part: Part, names: &'static [&'static str]) {
        if !self.findings.parts.contains(&(part, names)) {
            self.findings.parts.push((part, names));
        }
    }

    /// Reads a value with made-up things from `candidates`, the next of them if it refused the one before.
    fn make_up<'de, V: Visitor<'de>, C: Copy>(
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
    fn enter<T>(&mut self, key: Key, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.active.len() >= MAX_DEPTH {
            return Err(Error::too_deep());
        }
        self.active.push(key);
        let value = read(self);
        self.active.pop();
        value
    }

    /// The variant to be read, and the enum's place in `enums`.
    fn choose(&mut self, key: Key, n_variants: usize) -> Option<(usize, usize)> {
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
    fn read_variant<T>(
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
struct Probe<'a> {
    state: &'a mut State,
}

impl Probe<'_> {
    fn elements(&mut self, len: usize) -> Row<'_> {
        Row { state: self.state, left: len }
    }

    fn row<'de, V: Visitor<'de>>(self, visitor: V, len: usize) -> Result<V::Value, Error> {
        self.state.make_up(visitor, &[len], |visitor, len, state| visitor.visit_seq(Probe { state }.elements(len)))
    }
}

fn made_for_names<T>(state: &mut State) -> Result<T, Error> {
    state.findings.asks_for_names = true;
    Err(Error::needs_names())
}

macro_rules! numbers {
    ($($name:ident $visit:ident $type:ty;)*) => {
        $(
            fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                self.state.make_up(visitor, made_up::NUMBERS, |visitor, v, _| visitor.$visit(v as $type))
            }
        )*
    };
}

macro_rules! asks_for_names {
    ($($name:ident)*) => {
        $(
            fn $name<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
                made_for_names(self.state)
            }
        )*
    };
}

impl<'de> de::Deserializer<'de> for Probe<'_> {
    type Error = Error;

    numbers!(
        deserialize_i8 visit_i8 i8; deserialize_i16 visit_i16 i16; deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64; deserialize_i128 visit_i128 i128; deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16; deserialize_u32 visit_u32 u32; deserialize_u64 visit_u64 u64;
        deserialize_u128 visit_u128 u128; deserialize_f32 visit_f32 f32; deserialize_f64 visit_f64 f64;
    );
    asks_for_names!(deserialize_any deserialize_identifier deserialize_ignored_any);

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.state.make_up(visitor, &[false, true], |visitor, v, _| visitor.visit_bool(v))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.state.make_up(visitor, &['a', '0', ' '], |visitor, v, _| visitor.visit_char(v))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.state.make_up(visitor, made_up::STRINGS, |visitor, v, _| visitor.visit_borrowed_str(v))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.state.make_up(visitor, made_up::BYTES, |visitor, v, _| visitor.visit_borrowed_bytes(v))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.state.is_winding_up() {
            return visitor.visit_none();
        }
        self.state.make_up(visitor, &[()], |visitor, (), state| visitor.visit_some(Probe { state }))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if name == HANDLE {
            self.state.findings.has_handles = true;
            // It would take one that came along with the value that is being read.
            return Err(serde::de::Error::custom("handles are not made up"));
        }
        if name.starts_with('$') {
            return made_for_names(self.state);
        }
        self.state.enter(key_of::<V>(), |state| visitor.visit_newtype_struct(Probe { state }))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.state.is_winding_up() {
            return self.row(visitor, 0);
        }
        self.state
            .make_up(visitor, made_up::LENGTHS, |visitor, len, state| visitor.visit_seq(Probe { state }.elements(len)))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.state.is_winding_up() {
            return visitor.visit_map(Row { state: self.state, left: 0 });
        }
        self.state
            .make_up(visitor, made_up::LENGTHS, |visitor, len, state| visitor.visit_map(Probe { state }.elements(len)))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.row(visitor, len)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.state.know(Part::fields(name, len), &[]);
        self.state.enter(key_of::<V>(), |state| Probe { state }.row(visitor, len))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.state.know(Part::fields(name, fields.len()), fields);
        self.state.enter(key_of::<V>(), |state| Probe { state }.row(visitor, fields.len()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        for (index, variant) in (0..).zip(variants) {
            self.state.know(Part::variant(name, index, variant), &[]);
        }
        let key = key_of::<V>();
        self.state.enter(key, |state| {
            let Some((at, index)) = state.choose(key, variants.len()) else {
                return Err(Error::malformed("no variant can be made up"));
            };
            state.read_variant((at, index), |state| {
                visitor.visit_enum(Chosen { state, name, variant: variants[index], index: index as u32 })
            })
        })
    }
}

/// Reads a value with `seed`.
fn seed<'de, T: DeserializeSeed<'de>>(seed: T, state: &mut State) -> Result<T::Value, Error> {
    seed.deserialize(Probe { state })
}
