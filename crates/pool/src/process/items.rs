//! The items of a chunk: they travel as one run of packed bytes.
//!
//! How many there are, and a row of them. Behind an item that its type does not write so that it would be read, there is why,
//! and the others as before: it fails alone.

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned, ser};
use wire::{COMPARED, Error, TypeInfo};

use super::codec::{caught, decode, decode_all, decode_each, encode, encode_all};

pub(super) struct Items<A> {
    /// Those that have come.
    pub(super) items: Vec<A>,
    /// The places of the others, and why they have not.
    pub(super) unread: Vec<(usize, String)>,
    /// How many items of the input come before them, for errors.
    pub(super) n_before: usize,
}

impl<A: Serialize + DeserializeOwned + 'static> Serialize for Items<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(8 + self.items.len() * size_of::<A>());
        let (mut rest, may_hold_handles) = (&self.items[..], TypeInfo::of::<A>().may_hold_handles());
        while let Err((at, e)) = encode_row(rest, &mut bytes) {
            // They cannot be packed twice.
            if may_hold_handles {
                let at = self.items.len() - rest.len() + at;
                return Err(ser::Error::custom(format_args!("item {} of the input: {e}", self.n_before + at)));
            }
            encode_row(&rest[..at], &mut bytes).map_err(|(_, e)| ser::Error::custom(e))?;
            encode(&e.to_string(), &mut bytes).map_err(ser::Error::custom)?;
            rest = &rest[at + 1..];
        }
        // Each of them has been compared already, as far as it has to be.
        serializer.serialize_newtype_struct(COMPARED, &Run(&bytes))
    }
}

/// How many, and themselves; an error with the index of the one that cannot be sent, and nothing.
fn encode_row<A: Serialize + DeserializeOwned>(items: &[A], bytes: &mut Vec<u8>) -> Result<(), (usize, Error)> {
    let begin = bytes.len();
    let written = encode(&items.len(), bytes).map_err(|e| (0, e)).and_then(|()| encode_all(items, bytes));
    written.inspect_err(|_| bytes.truncate(begin))
}

impl<'de, A: Serialize + DeserializeOwned + 'static> Deserialize<'de> for Items<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(COMPARED, Packed(PhantomData))
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
            return Ok(Items { items: Vec::new(), unread: Vec::new(), n_before: 0 });
        }
        let (mut items, mut unread) = (Vec::new(), Vec::new());
        loop {
            // A worker trusts what its owner says.
            let len = decode(&mut bytes).map_err(E::custom)?;
            decode_row(len, &mut bytes, &mut items, &mut unread)?;
            if bytes.is_empty() {
                break;
            }
            unread.push((items.len() + unread.len(), decode(&mut bytes).map_err(E::custom)?));
        }
        Ok(Items { items, unread, n_before: 0 })
    }
}

/// Appends those that `A` reads to `items`, and the others to `unread`.
fn decode_row<A: Serialize + DeserializeOwned + 'static, E: de::Error>(
    len: usize,
    bytes: &mut &[u8],
    items: &mut Vec<A>,
    unread: &mut Vec<(usize, String)>,
) -> Result<(), E> {
    let (row, n_items) = (*bytes, items.len());
    let Err(why) = caught(|| decode_all(len, bytes, items)) else { return Ok(()) };
    if TypeInfo::of::<A>().may_hold_handles() {
        // They cannot be taken twice.
        return Err(E::custom(why));
    }
    items.truncate(n_items);
    *bytes = row;
    let each = |item| match item {
        Ok(item) => items.push(item),
        Err(why) => unread.push((items.len() + unread.len(), format!("it does not decode in the worker: {why}"))),
    };
    decode_each(len, bytes, each).map_err(|_| E::custom(why))
}
