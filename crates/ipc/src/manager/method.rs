//! Functions that take an object by reference.
//!
//! # Safety
//! A function that travels has no bytes: it is `Copy`, of size zero (checked at compile time where it is sent), and a
//! value of it existed there.
#![allow(unsafe_code)]

use std::ptr::NonNull;

/// What can be called on an object of type `T`: any function or capture-free closure that takes `&T` or `&mut T` first,
/// and up to six arguments.
///
/// `A` is the tuple of its arguments, `By` how it takes the object; both are inferred. Never implement it yourself.
pub trait Method<T, A, By>: Copy + 'static {
    /// What it returns.
    type Output;

    /// Calls it.
    fn call(self, object: &mut T, args: A) -> Self::Output;
}

/// The object is taken by `&mut`.
#[derive(Debug)]
pub enum ByMut {}

/// The object is taken by `&`.
#[derive(Debug)]
pub enum ByRef {}

macro_rules! impl_method {
    ($($arg:ident),*) => {
        impl<F, T, R, $($arg),*> Method<T, ($($arg,)*), ByMut> for F
        where
            F: Fn(&mut T, $($arg),*) -> R + Copy + 'static,
        {
            type Output = R;

            #[allow(non_snake_case)]
            fn call(self, object: &mut T, ($($arg,)*): ($($arg,)*)) -> R {
                self(object, $($arg),*)
            }
        }

        impl<F, T, R, $($arg),*> Method<T, ($($arg,)*), ByRef> for F
        where
            F: Fn(&T, $($arg),*) -> R + Copy + 'static,
        {
            type Output = R;

            #[allow(non_snake_case)]
            fn call(self, object: &mut T, ($($arg,)*): ($($arg,)*)) -> R {
                self(object, $($arg),*)
            }
        }
    };
}
impl_method!();
impl_method!(A0);
impl_method!(A0, A1);
impl_method!(A0, A1, A2);
impl_method!(A0, A1, A2, A3);
impl_method!(A0, A1, A2, A3, A4);
impl_method!(A0, A1, A2, A3, A4, A5);

/// To be called where a function's type sets out on its way.
pub(super) fn assert_zero_sized<F: Copy + 'static>(_function: F) {
    const {
        assert!(
            size_of::<F>() == 0,
            "only functions and closures that capture nothing can run in the manager's server: pass what it needs as \
             arguments"
        );
    }
}

/// The function whose type arrived.
pub(super) fn arrived<F: Copy + 'static>() -> F {
    const { assert!(size_of::<F>() == 0) }
    // SAFETY: of size zero, so there are no bytes that could be wrong; `Copy`, so that another value may be; and the
    // module's contract is that one existed where the type was named.
    unsafe { NonNull::<F>::dangling().read() }
}
