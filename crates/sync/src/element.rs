//! [`Element`]: what values and arrays in shared memory hold, such as `bool`s and enums too, which not every bit pattern is.
//!
//! # Safety
//! Zeros are made of a type that is valid for any bits.
#![allow(unsafe_code)]

use std::{any, error::Error, fmt, mem::MaybeUninit};

use crate::Plain;

/// A value that shared memory can hold in a form for which every bit pattern is valid.
///
/// Numbers, `bool`, `char`, and `Option`s, arrays and tuples of elements; `#[derive(Element)]` is for enums whose
/// variants have no fields, and for structs whose fields are all elements. `#[derive(Plain)]` makes an element, too.
///
/// What lies in the memory is a [`Stored`](Self::Stored), which is checked each time that it is read: bytes that other
/// programs have overwritten may become another value, or an [`InvalidElement`]; never a `bool` that is neither true
/// nor false. Zeros, which new memory consists of, are the number 0, `false`, `'\0'`, `None` and the first variant of an
/// enum.
///
/// # Examples
/// ```
/// use sync::Element;
///
/// #[derive(Element, Clone, Copy, Debug, PartialEq)]
/// enum Light {
///     Red,
///     Green,
/// }
///
/// let stored = Light::Green.store();
/// assert_eq!(Light::load(stored)?, Light::Green);
/// assert!(Light::load(7).is_err());
/// # Ok::<(), sync::InvalidElement>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an element of shared memory",
    label = "not an element of shared memory",
    note = "numbers, `bool`, `char`, and arrays, tuples and `Option`s of elements are",
    note = "`#[derive(Element)]` makes one of an enum without fields or a struct; what has pointers (`String`, `Vec`, `Box`, references) means nothing to other processes"
)]
pub trait Element: Sized + Send + 'static {
    /// What lies in the memory for it.
    type Stored: Plain;

    /// Its form for the memory.
    fn store(self) -> Self::Stored;

    /// The value whose form that is.
    ///
    /// # Errors
    /// [`InvalidElement`] if there is none.
    fn load(stored: Self::Stored) -> Result<Self, InvalidElement>;

    #[doc(hidden)]
    fn load_array<const N: usize>(stored: [Self::Stored; N]) -> Result<[Self; N], InvalidElement> {
        let mut loaded = [const { None }; N];
        for (place, stored) in loaded.iter_mut().zip(stored) {
            *place = Some(Self::load(stored)?);
        }
        Ok(loaded.map(|element| element.expect("there are as many")))
    }
}

/// Shared memory holds bytes that are no value of the type: some program has overwritten them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidElement {
    type_name: &'static str,
}

impl InvalidElement {
    /// There is no such `T`.
    pub fn of<T>() -> Self {
        Self { type_name: any::type_name::<T>() }
    }
}

impl fmt::Display for InvalidElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shared memory holds bytes that are no {}", self.type_name)
    }
}

impl Error for InvalidElement {}

macro_rules! stored_as_they_are {
    ($($t:ty),* $(,)?) => {
        $(
            impl Element for $t {
                type Stored = Self;

                #[inline]
                fn store(self) -> Self {
                    self
                }

                #[inline]
                fn load(stored: Self) -> Result<Self, InvalidElement> {
                    Ok(stored)
                }

                #[inline]
                fn load_array<const N: usize>(stored: [Self; N]) -> Result<[Self; N], InvalidElement> {
                    Ok(stored)
                }
            }
        )*
    };
}
stored_as_they_are!((), u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64);

impl Element for bool {
    type Stored = u8;

    fn store(self) -> u8 {
        self.into()
    }

    fn load(stored: u8) -> Result<Self, InvalidElement> {
        match stored {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(InvalidElement::of::<Self>()),
        }
    }
}

impl Element for char {
    type Stored = u32;

    fn store(self) -> u32 {
        self.into()
    }

    fn load(stored: u32) -> Result<Self, InvalidElement> {
        Self::from_u32(stored).ok_or(InvalidElement::of::<Self>())
    }
}

impl<T: Element> Element for Option<T> {
    type Stored = (u8, T::Stored);

    fn store(self) -> Self::Stored {
        match self {
            // SAFETY: `Plain` types are valid for any bits.
            None => (0, unsafe { MaybeUninit::zeroed().assume_init() }),
            Some(value) => (1, value.store()),
        }
    }

    fn load((tag, stored): Self::Stored) -> Result<Self, InvalidElement> {
        match tag {
            0 => Ok(None),
            1 => T::load(stored).map(Some),
            _ => Err(InvalidElement::of::<Self>()),
        }
    }
}

impl<T: Element, const N: usize> Element for [T; N] {
    type Stored = [T::Stored; N];

    #[inline]
    fn store(self) -> Self::Stored {
        self.map(T::store)
    }

    #[inline]
    fn load(stored: Self::Stored) -> Result<Self, InvalidElement> {
        T::load_array(stored)
    }
}

macro_rules! tuples {
    ($($t:ident)*; $next:ident $($rest:ident)*) => {
        impl<$($t: Element,)* $next: Element> Element for ($($t,)* $next,) {
            type Stored = ($($t::Stored,)* $next::Stored,);

            #[allow(non_snake_case, reason = "as their types")]
            fn store(self) -> Self::Stored {
                let ($($t,)* $next,) = self;
                ($($t.store(),)* $next.store(),)
            }

            #[allow(non_snake_case, reason = "as their types")]
            fn load(($($t,)* $next,): Self::Stored) -> Result<Self, InvalidElement> {
                Ok(($($t::load($t)?,)* $next::load($next)?,))
            }
        }
        tuples!($($t)* $next; $($rest)*);
    };
    ($($t:ident)*;) => {};
}
tuples!(; A B C D E F G H);

#[cfg(test)]
mod tests {
    use super::*;

    fn round<T: Element + Copy + PartialEq + fmt::Debug>(value: T) {
        assert_eq!(T::load(value.store()), Ok(value));
    }

    #[test]
    fn what_is_stored_is_loaded() {
        round(-7_i64);
        round(true);
        round('ß');
        round(Some('a'));
        round(None::<[f64; 3]>);
        round(Some(None::<bool>));
        round([[true, false], [false, true]]);
        round((1_u8, 'x', [None, Some(2.5_f32)]));
    }

    #[test]
    fn garbage_becomes_no_value() {
        assert_eq!(bool::load(2), Err(InvalidElement::of::<bool>()));
        assert!(char::load(0xD800).is_err() && char::load(u32::MAX).is_err());
        assert!(Option::<u8>::load((2, 0)).is_err());
        assert!(Option::<bool>::load((1, 9)).is_err());
        assert!(<[bool; 3]>::load([0, 1, 255]).is_err());
        assert!(<(u8, char)>::load((0, 0xDFFF)).is_err());
        assert_eq!(InvalidElement::of::<bool>().to_string(), "shared memory holds bytes that are no bool");
    }
}
