//! [`Local`]: one value of one type per thread.
//!
//! `thread_local::ThreadLocal` gives each running thread a place, and the place of an ended thread to the next one that
//! starts. What is in a place therefore bears the token of its thread: the first thread's value lies in the place
//! itself, where it is found with one comparison and never moves; those of later threads lie beside it.

use std::{
    cell::{self, Cell, OnceCell, RefCell},
    convert::Infallible,
    fmt,
    ops::Deref,
};

use thread_local::ThreadLocal;

use crate::token;

/// A value for each thread that asks for one, made when it first does.
///
/// Belongs to an object or to a `static`. Every thread sees its own value only; code that has the `Local` alone
/// (`&mut self`) sees those of all threads. `T` need not be `Sync`, so `Cell` and `RefCell` serve for values that change.
///
/// No access blocks, except that the very first of each thread takes a lock for a moment. One costs about as much as
/// with the `thread_local` crate; in a thread that took the place of an ended one, a few nanoseconds more.
///
/// # When a thread ends
/// No later thread ever sees its value: a thread begins with a fresh one, also when the system or the library gives it
/// the id of one that ended. The value itself stays for [`iter_mut`](Self::iter_mut) and `into_iter`, so totals over
/// threads are complete; it goes with [`clear`](Self::clear) or with the `Local`. A `Local` that is never iterated, in
/// a `static` above all, of a program that starts threads without end should be made with
/// [`transient`](Self::transient), which keeps at most two values for each thread that ran at one time.
///
/// # Crash safety
/// Memory of one process only. A forked child starts empty: its first access makes a fresh value, and iteration does
/// not show the parent's.
///
/// # Panics
/// An access from the destructor of another thread-local variable of an ending thread may panic, as with
/// [`std::thread::LocalKey::with`]. The first access of a thread that takes the place of an ended one panics if that
/// one leaked a [`Ref`] (`mem::forget`), and so may that of a child forked in the middle of a [`with`](Self::with).
///
/// # Examples
/// ```
/// use std::{cell::Cell, thread};
/// use tls::Local;
///
/// let mut hits = Local::new(|| Cell::new(0));
/// thread::scope(|s| {
///     for n in 1..=4 {
///         let hits = &hits;
///         s.spawn(move || hits.with(|h| h.set(h.get() + n)));
///     }
/// });
/// assert_eq!(hits.iter_mut().map(|h| h.get()).sum::<i32>(), 10);
/// ```
pub struct Local<T: Send, F = fn() -> T> {
    places: ThreadLocal<Place<T>>,
    init: F,
    keep: bool,
}

struct Place<T> {
    token: u64,
    value: T,
    /// Those of the threads that took this place afterwards. A pointer, so that a place is small: it is found by a
    /// multiplication with its size, which for a word of a value is a power of two.
    later: OnceCell<Box<RefCell<Vec<Later<T>>>>>,
}

struct Later<T> {
    token: u64,
    value: T,
}

impl<T: Send, F> Local<T, F> {
    /// Makes a `Local` without values; `init` makes each thread's own.
    pub const fn new(init: F) -> Self {
        Self { places: ThreadLocal::new(), init, keep: true }
    }

    /// As [`new`](Self::new), but the values of ended threads are dropped as other threads take their places: of each
    /// place, only the first and the latest value stay. Iteration may therefore miss threads that ended.
    pub const fn transient(init: F) -> Self {
        Self { places: ThreadLocal::new(), init, keep: false }
    }

    /// The calling thread's value, if it has one yet.
    #[inline]
    pub fn get(&self) -> Option<Ref<'_, T>> {
        let place = self.places.get()?;
        if place.token == token::current() { Some(Ref(Inner::First(&place.value))) } else { place.get_later() }
    }

    /// The calling thread's value; made by `create` if it has none yet.
    ///
    /// If `create` itself makes this thread's value, that one stays and `create`'s result is dropped.
    #[inline]
    pub fn get_or(&self, create: impl FnOnce() -> T) -> Ref<'_, T> {
        match self.get_or_try(|| Ok::<T, Infallible>(create())) {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// The calling thread's value; made by `create` if it has none yet.
    ///
    /// # Errors
    /// What `create` returns; the thread then still has no value.
    #[inline]
    pub fn get_or_try<E>(&self, create: impl FnOnce() -> Result<T, E>) -> Result<Ref<'_, T>, E> {
        match self.get() {
            Some(value) => Ok(value),
            None => Ok(self.insert(create()?)),
        }
    }

    /// Gives `f` the calling thread's value, made by the `Local`'s own `init` if it has none yet.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&T) -> R) -> R
    where
        F: Fn() -> T,
    {
        // Not `get`, which looks twice whether the thread has a place, as it must not give it one.
        if let Ok(place) = self.places.get_or_try(|| Err(())) {
            if place.token == token::current() {
                return f(&place.value);
            }
            if let Some(value) = place.get_later() {
                return f(&value);
            }
        }
        f(&self.get_or_init())
    }

    #[cold]
    #[inline(never)]
    fn get_or_init(&self) -> Ref<'_, T>
    where
        F: Fn() -> T,
    {
        self.get_or(&self.init)
    }

    #[cold]
    fn insert(&self, value: T) -> Ref<'_, T> {
        let token = token::get();
        let mut value = Some(value);
        let place =
            self.places.get_or(|| Place { token, value: value.take().expect("called once"), later: OnceCell::new() });
        if let Some(value) = value
            && self.get().is_none()
        {
            place.insert_later(Later { token, value }, self.keep);
        }
        self.get().expect("this thread's value was just found or made")
    }

    /// The values of all threads, those that ended included, in no particular order.
    pub fn iter_mut(&mut self) -> std::vec::IntoIter<&mut T> {
        let values = self.places.iter_mut().flat_map(|place| {
            let first = (place.token, &mut place.value);
            let later = place.later.get_mut().into_iter().flat_map(|later| later.get_mut());
            std::iter::once(first).chain(later.map(|later| (later.token, &mut later.value)))
        });
        of_this_process(values)
    }

    /// Drops the values of all threads; each begins afresh.
    pub fn clear(&mut self) {
        self.places.clear();
    }
}

impl<T: Send, F> Local<Cell<T>, F>
where
    F: Fn() -> Cell<T>,
{
    /// Replaces the calling thread's value.
    pub fn set(&self, value: T) {
        drop(self.replace(value));
    }

    /// Replaces the calling thread's value, and returns the old one.
    pub fn replace(&self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }

    /// Takes the calling thread's value, and leaves the type's default.
    pub fn take(&self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }
}

/// These panic if the value is borrowed, as those of `RefCell` do.
impl<T: Send, F> Local<RefCell<T>, F>
where
    F: Fn() -> RefCell<T>,
{
    /// Gives `f` the calling thread's value to read.
    pub fn with_borrow<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        self.with(|cell| f(&cell.borrow()))
    }

    /// Gives `f` the calling thread's value to change.
    pub fn with_borrow_mut<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        self.with(|cell| f(&mut cell.borrow_mut()))
    }

    /// Replaces the calling thread's value.
    pub fn set(&self, value: T) {
        drop(self.replace(value));
    }

    /// Replaces the calling thread's value, and returns the old one.
    pub fn replace(&self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }

    /// Takes the calling thread's value, and leaves the type's default.
    pub fn take(&self) -> T
    where
        T: Default,
    {
        self.with(RefCell::take)
    }
}

impl<T> Place<T> {
    #[inline(never)]
    fn get_later(&self) -> Option<Ref<'_, T>> {
        // The newest is this thread's, or none is: the threads of all others have ended.
        cell::Ref::filter_map(self.later.get()?.borrow(), |later| {
            later.last().filter(|newest| newest.token == token::current()).map(|newest| &newest.value)
        })
        .ok()
        .map(|value| Ref(Inner::Later(value)))
    }

    fn insert_later(&self, fresh: Later<T>, keep: bool) {
        let dropped = {
            let later = self.later.get_or_init(Box::default);
            let mut later = later.try_borrow_mut().expect("a former thread's value is still borrowed");
            let dropped = if keep { Vec::new() } else { std::mem::take(&mut *later) };
            later.push(fresh);
            dropped
        };
        // Outside the borrow, for a value's destructor may come back here.
        drop(dropped);
    }
}

impl<T: Send, F> IntoIterator for Local<T, F> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    /// The values of all threads, those that ended included, in no particular order.
    fn into_iter(self) -> Self::IntoIter {
        let values = self.places.into_iter().flat_map(|place| {
            let later = place.later.into_inner().into_iter().flat_map(|later| later.into_inner());
            std::iter::once((place.token, place.value)).chain(later.map(|later| (later.token, later.value)))
        });
        of_this_process(values)
    }
}

impl<'a, T: Send, F> IntoIterator for &'a mut Local<T, F> {
    type Item = &'a mut T;
    type IntoIter = std::vec::IntoIter<&'a mut T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

fn of_this_process<V>(values: impl Iterator<Item = (u64, V)>) -> std::vec::IntoIter<V> {
    values
        .filter_map(|(token, value)| token::is_of_this_process(token).then_some(value))
        .collect::<Vec<V>>()
        .into_iter()
}

impl<T: Send + Default> Default for Local<T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

impl<T: Send + fmt::Debug, F> fmt::Debug for Local<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Local").field(&self.get()).finish()
    }
}

/// The calling thread's value of a [`Local`].
pub struct Ref<'a, T>(Inner<'a, T>);

enum Inner<'a, T> {
    First(&'a T),
    Later(cell::Ref<'a, T>),
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match &self.0 {
            Inner::First(value) => value,
            Inner::Later(value) => value,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
