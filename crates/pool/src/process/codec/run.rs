//! Many values in a row. Numbers, which are most of what is mapped over, are packed as they lie in memory: they are copied
//! all at once, instead of by one call and one check each.

use serde::{Serialize, de::DeserializeOwned};
use wire::{Error, TypeInfo, extend_plain, is_plain, plain_bytes};

use super::{decode, short};

/// Appends `values` to `bytes`, as [`encode`](super::encode) does one by one.
pub(in super::super) fn encode_all<T: Serialize + DeserializeOwned>(
    values: &[T],
    bytes: &mut Vec<u8>,
) -> Result<(), Error> {
    if let Some(plain) = plain_bytes(values) {
        bytes.extend_from_slice(plain);
        return Ok(());
    }
    let info = TypeInfo::of::<T>();
    values.iter().try_for_each(|value| wire::encode(info, value, bytes))
}

/// Takes `n` values from the front of `bytes`, as [`decode`] does one by one, and appends them to `values`.
pub(in super::super) fn decode_all<T: DeserializeOwned>(
    n: usize,
    bytes: &mut &[u8],
    values: &mut Vec<T>,
) -> Result<(), Error> {
    if is_plain::<T>() {
        let plain = n.checked_mul(size_of::<T>()).and_then(|len| bytes.split_off(..len)).ok_or_else(short)?;
        extend_plain(values, plain);
        return Ok(());
    }
    // Each takes a byte at least.
    values.reserve(n.min(bytes.len()));
    for _ in 0..n {
        values.push(decode(bytes)?);
    }
    Ok(())
}
