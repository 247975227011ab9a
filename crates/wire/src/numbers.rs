//! Vectors of numbers, which are copied as a whole.
//!
//! Through serde each element is a call, which takes twenty times as long as the copy in a build for development.
//! Serde has no place where a sequence says that its elements are numbers, so the type itself is asked for.
//!
//! # Safety
//! A type whose `TypeId` (without regard to lifetimes) is that of `Vec<u8>` is `Vec<u8>`, which has no lifetimes. For a
//! reference the lifetime is not known, and the slice that is read through it is not kept.
#![allow(unsafe_code)]

use std::{any::TypeId, mem::MaybeUninit};

use serde::{
    Deserialize, Deserializer,
    de::{Visitor, value},
    forward_to_deserialize_any,
};

use crate::{journal::is_comparing, once::Once, populate::populate, sparse, tag};

/// Numbers as they lie in memory.
pub(crate) struct Numbers<'a> {
    /// The tag that each would have.
    pub(crate) tag: u8,
    pub(crate) len: usize,
    pub(crate) bytes: &'a [u8],
}

/// How many bytes a number with this tag has.
pub(crate) fn width(tag: u8) -> Option<usize> {
    Some(match tag {
        tag::U8 | tag::I8 => 1,
        tag::U16 | tag::I16 => 2,
        tag::U32 | tag::I32 | tag::F32 => 4,
        tag::U64 | tag::I64 | tag::F64 => 8,
        tag::U128 | tag::I128 => 16,
        _ => return None,
    })
}

/// The numbers that `value` consists of, if it is a vector, a boxed slice or a slice of them.
#[inline]
pub(crate) fn of<T: ?Sized>(value: &T) -> Option<Numbers<'_>> {
    // Vectors, slices and references have one of these sizes: for most types that settles it when they are compiled.
    if !matches!(size_of_val(value), 8 | 16 | 24) {
        return None;
    }
    // What has no such name need not be compared with each of them. Where it is compiled with optimisation, that is known
    // as well; where not, it is cheap.
    if !is_named_so(std::any::type_name::<T>()) {
        return None;
    }
    let id = typeid::of::<T>();
    // SAFETY: the value is of the type with this id.
    unsafe { view((&raw const *value).cast(), id) }
}

/// Whether this is the name of a vector, a boxed slice, a slice or a reference to one of them, with elements that may be numbers.
#[inline(always)]
fn is_named_so(name: &str) -> bool {
    let name = name.strip_prefix('&').unwrap_or(name);
    let element = match name.as_bytes() {
        [b'[', element @ ..] => element,
        name => match name.strip_prefix(b"alloc::vec::Vec<").or_else(|| name.strip_prefix(b"alloc::boxed::Box<[")) {
            Some(element) => element,
            None => return false,
        },
    };
    matches!(element, [b'u' | b'i' | b'f', b'0'..=b'9' | b's', ..])
}

/// Whether `T` is a number of up to eight bytes, a character or a truth value.
#[inline]
pub fn is_number<T>() -> bool {
    let id = typeid::of::<T>();
    size_of::<T>() <= size_of::<u64>()
        && [
            TypeId::of::<u8>(),
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<usize>(),
            TypeId::of::<i8>(),
            TypeId::of::<i16>(),
            TypeId::of::<i32>(),
            TypeId::of::<i64>(),
            TypeId::of::<isize>(),
            TypeId::of::<f32>(),
            TypeId::of::<f64>(),
            TypeId::of::<char>(),
            TypeId::of::<bool>(),
        ]
        .contains(&id)
}

/// The bytes of `values` as they lie in memory, if they are integers or floats.
#[inline]
pub fn plain_bytes<T>(values: &[T]) -> Option<&[u8]> {
    if !is_plain::<T>() {
        return None;
    }
    // SAFETY: numbers have no padding, and any of their bytes may be read.
    Some(unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) })
}

/// Appends the values whose bytes these are, if they are integers or floats, and whole ones: true.
#[inline]
pub fn extend_plain<T>(values: &mut Vec<T>, bytes: &[u8]) -> bool {
    if !is_plain::<T>() || !bytes.len().is_multiple_of(size_of::<T>()) {
        return false;
    }
    let n = bytes.len() / size_of::<T>();
    values.reserve(n);
    let end = values.spare_capacity_mut().as_mut_ptr();
    // SAFETY:
    // - there are `bytes.len()` to be read, and there is room for `n` values, which take as many.
    // - what has no value yet does not overlap anything.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), end.cast(), bytes.len()) };
    // SAFETY: so many have been written, and all bytes make numbers.
    unsafe { values.set_len(values.len() + n) };
    true
}

/// Takes the bytes of a value from the front of `bytes`; `None` if they are too few, or it is neither integer nor float.
#[inline]
pub fn take_plain<T>(bytes: &mut &[u8]) -> Option<T> {
    if !is_plain::<T>() {
        return None;
    }
    let value = bytes.split_off(..size_of::<T>())?;
    // SAFETY: there are as many bytes as such a number has, and all make one.
    Some(unsafe { value.as_ptr().cast::<T>().read_unaligned() })
}

/// Whether `T` is an integer or a float.
#[inline]
pub fn is_plain<T>() -> bool {
    let id = typeid::of::<T>();
    let is_wide = id == TypeId::of::<u128>() || id == TypeId::of::<i128>();
    is_wide || (is_number::<T>() && id != TypeId::of::<char>() && id != TypeId::of::<bool>())
}

/// The type of `Vec<T>`'s visitor in serde, which is private.
fn vec_visitor<T: for<'de> Deserialize<'de>>() -> TypeId {
    struct Catch<'a>(&'a mut Option<TypeId>);
    impl<'de> Deserializer<'de> for Catch<'_> {
        type Error = value::Error;
        fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, value::Error> {
            *self.0 = Some(typeid::of::<V>());
            Err(serde::de::Error::custom("its type was what was asked for"))
        }
        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
        }
    }
    let mut id = None;
    // It ends with the error above.
    drop(Vec::<T>::deserialize(Catch(&mut id)));
    // Nothing is a visitor, so that the fast path is not taken.
    id.unwrap_or(TypeId::of::<()>())
}

/// The vector of these numbers, if `V` makes a `Vec` of such numbers as serde does.
#[inline]
pub(crate) fn vector<'de, V: Visitor<'de>>(numbers: &Numbers<'_>) -> Option<V::Value> {
    if size_of::<V>() != 0 || size_of::<V::Value>() != size_of::<Vec<u8>>() {
        return None;
    }
    let mut place = MaybeUninit::<V::Value>::uninit();
    let ids = (typeid::of::<V>(), typeid::of::<V::Value>());
    // SAFETY: it is a place for a value of this type.
    if !unsafe { put_vector(numbers, ids.0, ids.1, place.as_mut_ptr().cast()) } {
        return None;
    }
    // SAFETY: a value of this type has been put there.
    Some(unsafe { place.assume_init() })
}

macro_rules! numbers {
    ($n:literal: $($type:ty: $tag:expr;)*) => {
        /// # Safety
        /// `value` must point to a value whose type has this id, and which lives for `'a`.
        unsafe fn view<'a>(value: *const (), id: TypeId) -> Option<Numbers<'a>> {
            $(
                if id == TypeId::of::<Vec<$type>>() || id == TypeId::of::<&Vec<$type>>()
                    || id == TypeId::of::<Box<[$type]>>() || id == TypeId::of::<&[$type]>()
                {
                    let slice: &[$type] = if id == TypeId::of::<Vec<$type>>() {
                        // SAFETY: by its id it is a vector.
                        unsafe { &*value.cast::<Vec<$type>>() }
                    } else if id == TypeId::of::<&Vec<$type>>() {
                        // SAFETY: by its id it is a reference to a vector.
                        unsafe { *value.cast::<&Vec<$type>>() }
                    } else if id == TypeId::of::<Box<[$type]>>() {
                        // SAFETY: by its id it is a boxed slice.
                        unsafe { &*value.cast::<Box<[$type]>>() }
                    } else {
                        // SAFETY: by its id it is a slice.
                        unsafe { *value.cast::<&[$type]>() }
                    };
                    // SAFETY: numbers have no padding, and any of their bytes may be read.
                    let bytes = unsafe { std::slice::from_raw_parts(slice.as_ptr().cast(), size_of_val(slice)) };
                    return Some(Numbers { tag: $tag, len: slice.len(), bytes });
                }
            )*
            None
        }

        /// Whether a visitor makes a `Vec` of numbers, as serde does: then the vector of these numbers is put into `place`.
        ///
        /// # Safety
        /// There is room at `place` for a value of the type with the id `value`.
        unsafe fn put_vector(numbers: &Numbers<'_>, visitor: TypeId, value: TypeId, place: *mut ()) -> bool {
            static VISITORS: Once<[TypeId; $n]> = Once::new();
            let mut ids = VISITORS.get(|| [$(vec_visitor::<$type>()),*]).iter();
            $(
                if ids.next() == Some(&visitor) && numbers.tag == $tag && value == TypeId::of::<Vec<$type>>() {
                    let mut vector = Vec::<$type>::with_capacity(numbers.len);
                    let n_bytes = numbers.bytes.len().min(numbers.len * size_of::<$type>());
                    if n_bytes >= sparse::LONG && is_comparing() {
                        populate(vector.spare_capacity_mut());
                    }
                    // SAFETY:
                    // - there are `n_bytes` to be read, and the new vector has room for them.
                    // - they do not overlap, since it is new.
                    unsafe {
                        std::ptr::copy_nonoverlapping(numbers.bytes.as_ptr(), vector.as_mut_ptr().cast(), n_bytes);
                    }
                    // SAFETY: so many have been written, and all bytes make numbers.
                    unsafe { vector.set_len(n_bytes / size_of::<$type>()) };
                    // SAFETY: there is room for one, as the caller has found by the id.
                    unsafe { place.cast::<Vec<$type>>().write(vector) };
                    return true;
                }
            )*
            false
        }
    };
}

numbers! {
    14:
    u8: tag::U8; u16: tag::U16; u32: tag::U32; u64: tag::U64; u128: tag::U128; usize: SIZE_TAGS.0;
    i8: tag::I8; i16: tag::I16; i32: tag::I32; i64: tag::I64; i128: tag::I128; isize: SIZE_TAGS.1;
    f32: tag::F32; f64: tag::F64;
}

/// Of `usize` and `isize`.
const SIZE_TAGS: (u8, u8) = if size_of::<usize>() == 8 { (tag::U64, tag::I64) } else { (tag::U32, tag::I32) };

#[cfg(test)]
mod tests {
    use super::*;

    /// Else the elements would go one by one, and the fast path would be gone without a word.
    #[test]
    fn all_vectors_and_slices_of_numbers_are_recognised() {
        macro_rules! recognised {
            ($($type:ty)*) => {
                $(
                    let vector: Vec<$type> = vec![<$type>::default(); 3];
                    let n_bytes = 3 * size_of::<$type>();
                    assert_eq!(of(&vector).map(|numbers| numbers.bytes.len()), Some(n_bytes), stringify!($type));
                    assert_eq!(of(&&vector).map(|numbers| numbers.bytes.len()), Some(n_bytes), stringify!($type));
                    assert_eq!(of(&vector.as_slice()).map(|numbers| numbers.bytes.len()), Some(n_bytes), stringify!($type));
                    let boxed = vector.into_boxed_slice();
                    assert_eq!(of(&boxed).map(|numbers| numbers.bytes.len()), Some(n_bytes), stringify!($type));
                )*
            };
        }
        recognised!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);
        assert!(of(&vec![String::new()]).is_none() && of(&Some(7u32)).is_none() && of(&Some(vec![1u8])).is_none());
        assert!(of(&"text").is_none() && of(&vec![true]).is_none() && of(&7u64).is_none());
    }
}
