//! What copies of one build tell each other at a start, field after field: no tags, no names.
//!
//! Both sides know the types, so nothing has to say what comes next. A child reads its request before anything else: here
//! that is little code on few pages, where a codec for every type ([`wire`]) has some for each field's type.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
};

pub(crate) trait Plain: Sized {
    fn put(&self, to: &mut Vec<u8>);

    /// The value at the front of `from`; `None` if there is none.
    fn take(from: &mut &[u8]) -> Option<Self>;
}

macro_rules! numbers {
    ($($number:ty)*) => {
        $(impl Plain for $number {
            fn put(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_ne_bytes());
            }

            #[inline]
            fn take(from: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = from.split_first_chunk()?;
                *from = rest;
                Some(Self::from_ne_bytes(*bytes))
            }
        })*
    };
}
numbers!(u8 u16 u32 u64 usize i32);

impl Plain for bool {
    fn put(&self, to: &mut Vec<u8>) {
        to.push((*self).into());
    }

    #[inline]
    fn take(from: &mut &[u8]) -> Option<Self> {
        u8::take(from).map(|byte| byte != 0)
    }
}

fn put_bytes(bytes: &[u8], to: &mut Vec<u8>) {
    bytes.len().put(to);
    to.extend_from_slice(bytes);
}

#[inline]
fn take_bytes(from: &mut &[u8]) -> Option<Vec<u8>> {
    let len = usize::take(from)?;
    let (bytes, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(bytes.to_vec())
}

impl Plain for String {
    fn put(&self, to: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), to);
    }

    #[inline]
    fn take(from: &mut &[u8]) -> Option<Self> {
        Self::from_utf8(take_bytes(from)?).ok()
    }
}

impl Plain for OsString {
    fn put(&self, to: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), to);
    }

    #[inline]
    fn take(from: &mut &[u8]) -> Option<Self> {
        take_bytes(from).map(Self::from_vec)
    }
}

impl Plain for PathBuf {
    fn put(&self, to: &mut Vec<u8>) {
        put_bytes(self.as_os_str().as_bytes(), to);
    }

    #[inline]
    fn take(from: &mut &[u8]) -> Option<Self> {
        OsString::take(from).map(Self::from)
    }
}

impl<T: Plain> Plain for Option<T> {
    fn put(&self, to: &mut Vec<u8>) {
        self.is_some().put(to);
        self.iter().for_each(|value| value.put(to));
    }

    #[inline]
    fn take(from: &mut &[u8]) -> Option<Self> {
        if bool::take(from)? { T::take(from).map(Some) } else { Some(None) }
    }
}

impl<T: Plain> Plain for Vec<T> {
    fn put(&self, to: &mut Vec<u8>) {
        self.len().put(to);
        self.iter().for_each(|value| value.put(to));
    }

    #[inline]
    fn take(from: &mut &[u8]) -> Option<Self> {
        // Of none, which is the rule, on no page but this one.
        let mut values = Self::new();
        for _ in 0..usize::take(from)? {
            values.push(T::take(from)?);
        }
        Some(values)
    }
}

impl<T: Plain + Copy + Default, const N: usize> Plain for [T; N] {
    fn put(&self, to: &mut Vec<u8>) {
        self.iter().for_each(|value| value.put(to));
    }

    #[inline]
    fn take(from: &mut &[u8]) -> Option<Self> {
        let mut values = [T::default(); N];
        for value in &mut values {
            *value = T::take(from)?;
        }
        Some(values)
    }
}

impl<A: Plain, B: Plain> Plain for (A, B) {
    fn put(&self, to: &mut Vec<u8>) {
        self.0.put(to);
        self.1.put(to);
    }

    #[inline]
    fn take(from: &mut &[u8]) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?))
    }
}

/// A struct, by its fields.
macro_rules! plain {
    ($name:ident { $($(#[$attr:meta])* $field:ident),* $(,)? }) => {
        impl $crate::start::plain::Plain for $name {
            fn put(&self, to: &mut Vec<u8>) {
                $($(#[$attr])* self.$field.put(to);)*
            }

            #[inline]
            fn take(from: &mut &[u8]) -> Option<Self> {
                Some(Self { $($(#[$attr])* $field: $crate::start::plain::Plain::take(from)?),* })
            }
        }
    };
}
pub(crate) use plain;

#[cfg(test)]
mod tests {
    use super::*;

    type All = (Vec<(OsString, Option<OsString>)>, (Option<PathBuf>, ([bool; 3], (String, (i32, [u64; 2])))));

    #[test]
    fn what_is_put_is_taken_and_nothing_less() {
        let env = vec![("A".into(), Some(OsString::from_vec(vec![0xff, 0]))), ("B".into(), None)];
        let all: All = (env, (Some("/tmp".into()), ([true, false, true], ("ä".into(), (-7, [1, u64::MAX])))));
        let mut bytes = Vec::new();
        all.put(&mut bytes);
        bytes.push(9);
        let mut rest = &bytes[..];
        assert_eq!(All::take(&mut rest), Some(all));
        assert_eq!(rest, [9]);
        for len in 0..bytes.len() - 1 {
            assert_eq!(All::take(&mut &bytes[..len]), None, "of {len} bytes");
        }
    }

    #[test]
    fn a_length_that_is_not_there_takes_no_memory() {
        let bytes = [0xff; 64];
        assert_eq!(Vec::<u64>::take(&mut &bytes[..]), None);
        assert_eq!(String::take(&mut &bytes[..]), None);
    }
}
