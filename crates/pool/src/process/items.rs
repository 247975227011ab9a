//! The items of a chunk: they travel as one run of packed bytes.

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned, ser};

use super::codec::{decode, decode_all, encode, encode_all};

pub(super) struct Items<A>(pub(super) Vec<A>);

impl<A: Serialize + 'static> Serialize for Items<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(8 + self.0.len() * size_of::<A>());
        encode(&self.0.len(), &mut bytes).map_err(ser::Error::custom)?;
        encode_all(&self.0, &mut bytes).map_err(ser::Error::custom)?;
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de, A: DeserializeOwned + 'static> Deserialize<'de> for Items<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Packed(PhantomData))
    }
}

struct Packed<A>(PhantomData<A>);

impl<'de, A: DeserializeOwned + 'static> de::Visitor<'de> for Packed<A> {
    type Value = Items<A>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("packed items")
    }

    fn visit_borrowed_bytes<E: de::Error>(self, mut bytes: &'de [u8]) -> Result<Items<A>, E> {
        // What the owner says is believed by its worker.
        let len = decode(&mut bytes).map_err(E::custom)?;
        let mut items = Vec::new();
        decode_all(len, &mut bytes, &mut items).map_err(E::custom)?;
        Ok(Items(items))
    }
}
