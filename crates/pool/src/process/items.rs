//! The items of a chunk: they travel as one run of packed bytes.

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned, ser};
use wire::{HANDLE, TypeInfo};

use super::codec::{decode, decode_all, encode, encode_all};

pub(super) struct Items<A>(pub(super) Vec<A>);

impl<A: Serialize + DeserializeOwned + 'static> Serialize for Items<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(8 + self.0.len() * size_of::<A>());
        encode(&self.0.len(), &mut bytes).map_err(ser::Error::custom)?;
        encode_all(&self.0, &mut bytes).map_err(ser::Error::custom)?;
        if TypeInfo::of::<A>().may_hold_handles() {
            // Then the run must not be read where it is written.
            return serializer.serialize_newtype_struct(HANDLE, &Run(&bytes));
        }
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de, A: Serialize + DeserializeOwned + 'static> Deserialize<'de> for Items<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let packed = Packed(PhantomData);
        if TypeInfo::of::<A>().may_hold_handles() {
            return deserializer.deserialize_newtype_struct(HANDLE, packed);
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
            // Nobody's: this is how it is found out what the type reads.
            return Ok(Items(Vec::new()));
        }
        // What the owner says is believed by its worker.
        let len = decode(&mut bytes).map_err(E::custom)?;
        let mut items = Vec::new();
        decode_all(len, &mut bytes, &mut items).map_err(E::custom)?;
        Ok(Items(items))
    }
}
