//! Functions that travel: a capture-free function's place in this program's code, good in every process that runs
//! the same program.
//!
//! # Safety
//! A [`Function`] that comes from elsewhere is only ever an offset. It is called after a check that it lies inside
//! this program's code; its sender was found to run the same build (`entry`), so that the place is the trampoline that
//! [`Function::of`] named there.
#![allow(unsafe_code)]

use std::{fmt, os::fd::OwnedFd, ptr::NonNull};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{image::Image, listed::listed, panic_report::Panic, preloaded, start::plain::plain};
use kernel::handover::{self, Packed};

/// What can run in another process: any function, or closure without captures, of 0 to 8 arguments.
///
/// `A` is the tuple of its arguments. Implemented by the compiler's grace for every `fn` item (generic ones and
/// methods included) and every closure that captures nothing; never implement it yourself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run in another process with these arguments",
    label = "not a function of these arguments that can be copied",
    note = "what runs there is a `fn`, or a closure that captures nothing, of up to 8 arguments; more can go in a tuple or struct",
    note = "the arguments are a tuple that fits the function's: `()` for none, `(x,)` for one",
    note = "a closure with captures runs by `Process::fork`; where `F: Fn(…)` is generic, it needs `Copy + 'static`, too"
)]
pub trait Target<A>: Copy + 'static {
    /// What it returns.
    type Output;

    /// Calls it.
    fn call(self, args: A) -> Self::Output;
}

macro_rules! impl_target {
    ($($arg:ident),*) => {
        impl<F, R, $($arg),*> Target<($($arg,)*)> for F
        where
            F: Fn($($arg),*) -> R + Copy + 'static,
        {
            type Output = R;

            #[allow(non_snake_case)]
            fn call(self, ($($arg,)*): ($($arg,)*)) -> R {
                self($($arg),*)
            }
        }
    };
}
impl_target!();
impl_target!(A0);
impl_target!(A0, A1);
impl_target!(A0, A1, A2);
impl_target!(A0, A1, A2, A3);
impl_target!(A0, A1, A2, A3, A4);
impl_target!(A0, A1, A2, A3, A4, A5);
impl_target!(A0, A1, A2, A3, A4, A5, A6);
impl_target!(A0, A1, A2, A3, A4, A5, A6, A7);

/// A function's place in this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Function {
    offset: u64,
}
plain!(Function { offset });

/// What tells this build of the program from others, as the linker wrote it; `None` if it did not.
pub fn build_id() -> Option<&'static [u8]> {
    Image::get().build_id.as_deref()
}

/// What a [`Function`] does when called: unpack, run, pack, each failure told apart.
type Trampoline = fn(&[u8], Vec<OwnedFd>, &mut Packed) -> Result<(), CallError>;

impl Function {
    /// The place of `target`.
    ///
    /// # Errors
    /// [`ForeignCode`] if `target` was compiled into a shared library: only the program itself is the same everywhere.
    ///
    /// # Panics
    /// Never; a closure with captures does not compile.
    pub fn of<F, A>(_target: F) -> Result<Self, ForeignCode>
    where
        F: Target<A>,
        A: DeserializeOwned,
        F::Output: Serialize + DeserializeOwned,
    {
        let () = const { assert_capture_free::<F>() };
        let trampoline: Trampoline = trampoline::<F, A>;
        Image::get().offset_of(trampoline as usize).map(|offset| Self { offset }).ok_or(ForeignCode)
    }

    /// The place of `target` as a loader, whose value stays in the process that calls it: see [`preloaded`](crate::preloaded()).
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub(crate) fn of_loader<F, A>(_target: F) -> Result<Self, ForeignCode>
    where
        F: Target<A>,
        A: DeserializeOwned,
        F::Output: Sync + 'static,
    {
        let () = const { assert_capture_free::<F>() };
        let trampoline: Trampoline = load_trampoline::<F, A>;
        Image::get().offset_of(trampoline as usize).map(|offset| Self { offset }).ok_or(ForeignCode)
    }

    /// The bytes by which another process of this program knows which function it is.
    pub fn to_bytes(self) -> [u8; 8] {
        self.offset.to_ne_bytes()
    }

    /// Whether this program lists it among its functions; that it lies inside the program's code is less. Call it for a
    /// function that comes from a network. `None` if there is no list, because the program was stripped.
    pub fn is_listed(self) -> Option<bool> {
        listed().map(|listed| listed.contains(&self.offset))
    }

    /// Reads that list now, for the first call of [`is_listed`](Self::is_listed) not to wait for it: of a large program, it takes
    /// a second.
    pub fn read_list() {
        listed();
    }

    /// Takes a function from the front of `bytes`; `None` if they are too few.
    pub fn take(bytes: &mut &[u8]) -> Option<Self> {
        let (offset, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(Self { offset: u64::from_ne_bytes(*offset) })
    }

    /// Calls it with packed arguments and appends the packed value to `value`, which has no descriptors yet.
    ///
    /// Runs on the calling thread, catching panics. The panic's place and backtrace are known in processes that this
    /// crate has started.
    ///
    /// # Errors
    /// Each way in which a call can end without a value.
    pub fn call(self, args: &[u8], fds: Vec<OwnedFd>, value: &mut Packed) -> Result<(), CallError> {
        let address = Image::get().address_of(self.offset).ok_or(CallError::Foreign(ForeignCode))?;
        // SAFETY: the address lies in this program's code, and by the module's contract is a `Trampoline`.
        let trampoline = unsafe { std::mem::transmute::<usize, Trampoline>(address) };
        trampoline(args, fds, value)
    }
}

/// The function is not part of this program's own code (it lives in a shared library), or the offset was made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignCode;

impl fmt::Display for ForeignCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the function lies outside this program's own code")
    }
}

impl std::error::Error for ForeignCode {}

/// How a [`Function::call`] ended without a value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum CallError {
    /// It panicked.
    Panicked(Panic),
    /// Its arguments did not decode.
    Arguments(String),
    /// Its value did not encode.
    Value(String),
    /// There is no such function here.
    Foreign(ForeignCode),
    /// It was not called: the memory that it may take cannot be limited here.
    Unlimited,
}

const fn assert_capture_free<F>() {
    assert!(
        size_of::<F>() == 0,
        "only functions and closures that capture nothing can run in another process: pass what it needs as arguments \
         (for a closure with captures, use Process::fork)"
    );
}

fn trampoline<F, A>(args: &[u8], fds: Vec<OwnedFd>, value: &mut Packed) -> Result<(), CallError>
where
    F: Target<A>,
    A: DeserializeOwned,
    F::Output: Serialize + DeserializeOwned,
{
    // SAFETY: `F` is zero-sized (checked in `Function::of`, the only place that names this trampoline), `Copy`, and a
    // value of it existed there; it has no bytes that could be wrong.
    let target = unsafe { NonNull::<F>::dangling().read() };
    run(value, || {
        let args = handover::unpack(args, fds).map_err(|e| CallError::Arguments(e.to_string()))?;
        Ok(target.call(args))
    })
}

fn load_trampoline<F, A>(args: &[u8], fds: Vec<OwnedFd>, value: &mut Packed) -> Result<(), CallError>
where
    F: Target<A>,
    A: DeserializeOwned,
    F::Output: Sync + 'static,
{
    // SAFETY: as in `trampoline`, with `Function::of_loader`.
    let target = unsafe { NonNull::<F>::dangling().read() };
    run(value, || {
        let args = handover::unpack(args, fds).map_err(|e| CallError::Arguments(e.to_string()))?;
        preloaded::keep(target.call(args));
        Ok(())
    })
}

/// Runs `f` with panics caught and appends what it returns, packed, to `value`.
pub(crate) fn run<R: Serialize + DeserializeOwned>(
    value: &mut Packed,
    f: impl FnOnce() -> Result<R, CallError>,
) -> Result<(), CallError> {
    let buffer = std::mem::take(value).bytes;
    let run = || -> Result<Packed, CallError> {
        let result = f()?;
        handover::pack_owned_behind(buffer, &result).map_err(|e| CallError::Value(e.to_string()))
    };
    *value = Panic::catch(run).unwrap_or_else(|panic| Err(CallError::Panicked(panic)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add<T: std::ops::Add<Output = T>>(a: T, b: T) -> T {
        a + b
    }

    fn call<R: DeserializeOwned>(f: Function, args: impl Serialize + DeserializeOwned) -> Result<R, CallError> {
        let mut value = Packed::default();
        f.call(handover::pack(&args).unwrap().bytes(), Vec::new(), &mut value)?;
        Ok(value.unpack().unwrap())
    }

    #[test]
    fn generic_functions_and_closures() {
        assert_eq!(call::<u64>(Function::of(add::<u64>).unwrap(), (40_u64, 2_u64)).unwrap(), 42);
        assert_eq!(call::<String>(Function::of(|a: String| a + "!").unwrap(), ("hi".to_owned(),)).unwrap(), "hi!");
        assert_eq!(call::<u8>(Function::of(|| 7_u8).unwrap(), ()).unwrap(), 7);
    }

    #[test]
    fn functions_are_listed_and_other_places_are_not() {
        let f = Function::of(add::<u64>).unwrap();
        assert_eq!(f.is_listed(), Some(true));
        assert_eq!(Function::of(|a: String| a + "?").unwrap().is_listed(), Some(true));
        for offset in [f.offset + 1, f.offset + 16, 0, u64::MAX] {
            let made_up = Function { offset };
            assert!(Function::of(add::<u64>).unwrap() == made_up || made_up.is_listed() == Some(false), "{offset}");
        }
        let here = functions_are_listed_and_other_places_are_not as fn() as usize;
        let test = Function { offset: Image::get().offset_of(here).unwrap() };
        assert_eq!(test.is_listed(), Some(false));
    }

    #[test]
    fn bad_arguments_and_panics_are_told_apart() {
        let f = Function::of(|a: u64| if a == 0 { panic!("nought") } else { a }).unwrap();
        assert!(matches!(call::<u64>(f, ()), Err(CallError::Arguments(_))));
        assert!(matches!(call::<u64>(f, (0_u64,)), Err(CallError::Panicked(p)) if p.message == "nought"));
        let nowhere = Function { offset: u64::MAX / 2 };
        assert!(matches!(call::<u64>(nowhere, ()), Err(CallError::Foreign(_))));
    }
}
