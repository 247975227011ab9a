//! Finds out what a type's `Deserialize` reads, without a value: it is run on made-up ones.
//!
//! A pass runs it once. An enum takes a variant that no pass has tried yet; where the type refuses what was made up for
//! it, the next pass makes up something else. What is nested in itself ends there, with as little as possible. When a
//! pass brings nothing new, all is known, or the type refuses everything (`is_complete` is false).

mod access;
mod made_up;
mod state;

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{
    Deserialize,
    de::{self, Visitor},
};

pub(crate) use self::state::Findings;
use self::{
    access::{Chosen, Row},
    state::{Enum, Probe, State, key_of},
};
use crate::{
    COMPARED, HANDLE,
    error::{Error, Trouble},
    known::Part,
    shape::Step,
    tag,
};

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
impl Probe<'_> {
    fn elements(&mut self, len: usize) -> Row<'_> {
        Row { state: self.state, left: len, names: [].iter() }
    }

    fn row<'de, V: Visitor<'de>>(self, visitor: V, len: usize) -> Result<V::Value, Error> {
        self.fields(visitor, len, &[])
    }

    /// With names if it is a struct's.
    fn fields<'de, V: Visitor<'de>>(
        self,
        visitor: V,
        len: usize,
        names: &'static [&'static str],
    ) -> Result<V::Value, Error> {
        self.state.step(Step::open(len));
        self.state.make_up(visitor, &[len], |visitor, left, state| {
            visitor.visit_seq(Row { state, left, names: names.iter() })
        })
    }
}

fn made_for_names<T>(state: &mut State) -> Result<T, Error> {
    state.findings.asks_for_names = true;
    Err(Error::needs_names())
}

macro_rules! numbers {
    ($($name:ident $visit:ident $type:ty, $tag:ident;)*) => {
        $(
            fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                self.state.step(Step::leaf(tag::$tag));
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
        deserialize_i8 visit_i8 i8, I8; deserialize_i16 visit_i16 i16, I16; deserialize_i32 visit_i32 i32, I32;
        deserialize_i64 visit_i64 i64, I64; deserialize_i128 visit_i128 i128, I128; deserialize_u8 visit_u8 u8, U8;
        deserialize_u16 visit_u16 u16, U16; deserialize_u32 visit_u32 u32, U32; deserialize_u64 visit_u64 u64, U64;
        deserialize_u128 visit_u128 u128, U128; deserialize_f32 visit_f32 f32, F32; deserialize_f64 visit_f64 f64, F64;
    );
    asks_for_names!(deserialize_any deserialize_identifier deserialize_ignored_any);

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.state.step(Step::leaf(tag::FALSE));
        self.state.make_up(visitor, &[false, true], |visitor, v, _| visitor.visit_bool(v))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.state.step(Step::leaf(tag::CHAR));
        self.state.make_up(visitor, &['a', '0', ' '], |visitor, v, _| visitor.visit_char(v))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.state.note_choice();
        self.state.make_up(visitor, made_up::STRINGS, |visitor, v, _| visitor.visit_borrowed_str(v))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.state.note_choice();
        self.state.make_up(visitor, made_up::BYTES, |visitor, v, _| visitor.visit_borrowed_bytes(v))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.state.note_choice();
        if self.state.is_winding_up() {
            return visitor.visit_none();
        }
        self.state.make_up(visitor, &[()], |visitor, (), state| visitor.visit_some(Probe { state }))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.state.step(Step::leaf(tag::UNIT));
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.state.step(Step::leaf(tag::UNIT));
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if name == HANDLE || name == COMPARED {
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
        self.state.note_choice();
        if self.state.is_winding_up() {
            return self.row(visitor, 0);
        }
        self.state
            .make_up(visitor, made_up::LENGTHS, |visitor, len, state| visitor.visit_seq(Probe { state }.elements(len)))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.state.note_choice();
        if self.state.is_winding_up() {
            return visitor.visit_map(Row { state: self.state, left: 0, names: [].iter() });
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
        self.state.name(name);
        self.state.enter(key_of::<V>(), |state| Probe { state }.fields(visitor, fields.len(), fields))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.state.note_choice();
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
