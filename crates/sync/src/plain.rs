//! What may lie in shared memory as a plain value.
//!
//! # Safety
//! The implementations below are for types without pointers, without `Drop` and without invalid bit patterns.
#![allow(unsafe_code)]

use std::{
    cell::Cell,
    sync::atomic::{
        AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize,
    },
};

/// A value that may be kept in shared memory while one process at a time has access to it.
///
/// Numbers, arrays and tuples of them, and `Cell`s and atomics; `#[derive(Plain)]` is for structs of your own, and makes
/// them an [`Element`](crate::Element), too. (`bool`, `char`, `Option` and enums are elements, and no `Plain`: not every
/// bit pattern is one of them.)
///
/// # Safety
/// The type must be valid for **any** bit pattern, since a process may be killed halfway through writing it; hold no
/// pointers, references or handles; need no `Drop`; and allow copies to be made of it bit by bit.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept in shared memory under a lock",
    label = "not valid for every bit pattern, or not known to be",
    note = "numbers, `Cell`s, atomics, and arrays and tuples of them are `Plain`; `#[derive(Plain)]` is for structs of them",
    note = "a holder may be killed halfway through a change: for a `bool` take a `u8`, for an enum its number; `ipc::Value` and `ipc::Array` hold `bool`, `char`, `Option` and enums as they are"
)]
pub unsafe trait Plain: Send + 'static {}

macro_rules! plain {
    ($($t:ty),* $(,)?) => {
        $(
            // SAFETY: a number of fixed layout; every bit pattern is one.
            unsafe impl Plain for $t {}
        )*
    };
}
plain!((), u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64);
plain!(AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize);
plain!(AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize);

// SAFETY: as the element.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}
// SAFETY: as the value inside.
unsafe impl<T: Plain> Plain for Cell<T> {}

macro_rules! plain_tuples {
    ($($t:ident)*; $next:ident $($rest:ident)*) => {
        // SAFETY: as its fields. All processes run the same program, so they agree on the order of the fields.
        unsafe impl<$($t: Plain,)* $next: Plain> Plain for ($($t,)* $next,) {}
        plain_tuples!($($t)* $next; $($rest)*);
    };
    ($($t:ident)*;) => {};
}
plain_tuples!(; A B C D E F G H);
