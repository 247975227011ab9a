//! Many values in a row. Numbers, which are most of what is mapped over, are packed as they lie in memory anyway: they
//! are copied all at once, instead of by one call and one check each.

use std::any::Any;

use serde::{Serialize, de::DeserializeOwned};

use super::{Error, decode, encode};

/// Appends `values` to `bytes`, as [`encode`] does one by one.
// A `Vec`, not a slice, for it is asked for its type.
#[allow(clippy::ptr_arg)]
pub(in super::super) fn encode_all<T: Serialize + 'static>(values: &Vec<T>, bytes: &mut Vec<u8>) -> Result<(), Error> {
    if copy_in(values, bytes) {
        return Ok(());
    }
    values.iter().try_for_each(|value| encode(value, bytes))
}

/// Takes `n` values from the front of `bytes`, as [`decode`] does one by one, and appends them to `values`.
pub(in super::super) fn decode_all<T: DeserializeOwned + 'static>(
    n: usize,
    bytes: &mut &[u8],
    values: &mut Vec<T>,
) -> Result<(), Error> {
    values.reserve(n);
    if copy_out(n, bytes, values) {
        return Ok(());
    }
    for _ in 0..n {
        values.push(decode(bytes)?);
    }
    Ok(())
}

macro_rules! numbers {
    ($($type:ty)*) => {
        /// Appends the bytes of `values` if they are numbers (true).
        fn copy_in(values: &dyn Any, bytes: &mut Vec<u8>) -> bool {
            $(
                if let Some(values) = values.downcast_ref::<Vec<$type>>() {
                    let begin = bytes.len();
                    bytes.resize(begin + size_of_val(&values[..]), 0);
                    let (places, _) = bytes[begin..].as_chunks_mut();
                    places.iter_mut().zip(values).for_each(|(place, value)| *place = value.to_le_bytes());
                    return true;
                }
            )*
            false
        }

        /// Appends `n` numbers to `values` if that is what they are, and there are so many (true).
        fn copy_out(n: usize, bytes: &mut &[u8], values: &mut dyn Any) -> bool {
            $(
                if let Some(values) = values.downcast_mut::<Vec<$type>>() {
                    let packed = n.checked_mul(size_of::<$type>()).and_then(|len| bytes.split_off(..len));
                    let Some(packed) = packed else { return false };
                    let (packed, _) = packed.as_chunks();
                    values.extend(packed.iter().map(|value| <$type>::from_le_bytes(*value)));
                    return true;
                }
            )*
            false
        }
    };
}
#[cfg(target_pointer_width = "64")]
numbers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);
#[cfg(not(target_pointer_width = "64"))]
numbers!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64);
