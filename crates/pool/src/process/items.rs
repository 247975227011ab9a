//! The items of a chunk: they travel as one run of packed bytes.

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned, ser};
use wire::{COMPARED, TypeInfo};

use super::codec::{decode, decode_all, encode, encode_all};

pub(super) struct Items<A> {
    pub(super) items: Vec<A>,
    /// How many items of the input come before them, for errors.
    pub(super) n_before: usize,
}

impl<A: Serialize + DeserializeOwned + 'static> Serialize for Items<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(8 + self.items.len() * size_of::<A>());
        encode(&self.items.len(), &mut bytes).map_err(ser::Error::custom)?;
        encode_all(&self.items, &mut bytes)
            .map_err(|(at, e)| ser::Error::custom(format_args!("item {} of the input: {e}", self.n_before + at)))?;
        if TypeInfo::of::<A>().may_hold_handles() {
            // Each of them has been compared already; as a run, all would be read a second time, with their handles.
            return serializer.serialize_newtype_struct(COMPARED, &Run(&bytes));
        }
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de, A: Serialize + DeserializeOwned + 'static> Deserialize<'de> for Items<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let packed = Packed(PhantomData);
        if TypeInfo::of::<A>().may_hold_handles() {
            return deserializer.deserialize_newtype_struct(COMPARED, packed);
        }
        deserializer.deserialize_bytes(packed)
    }
}

/// Bytes, which are no sequence of numbers.
struct Run<'a>(&'a [u8]);

impl Serialize for Run<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

struct Packed<A>(PhantomData<A>);

impl<'de, A: Serialize + DeserializeOwned + 'static> de::Visitor<'de> for Packed<A> {
    type Value = Items<A>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("packed items")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Items<A>, D::Error> {
        deserializer.deserialize_bytes(self)
    }

    fn visit_borrowed_bytes<E: de::Error>(self, mut bytes: &'de [u8]) -> Result<Items<A>, E> {
        if bytes.is_empty() {
            // No task's: an empty input shows what the type reads.
            return Ok(Items { items: Vec::new(), n_before: 0 });
        }
        // A worker trusts what its owner says.
        let len = decode(&mut bytes).map_err(E::custom)?;
        let mut items = Vec::new();
        decode_all(len, &mut bytes, &mut items).map_err(E::custom)?;
        Ok(Items { items, n_before: 0 })
    }
}
