//! [`Locals`]: a bag of named values per thread.

use std::{
    any::{Any, TypeId},
    cell::RefCell,
    collections::HashMap,
    fmt,
    marker::PhantomData,
};

use crate::Local;

/// The name and type of a value in [`Locals`]. Keys of the same name and type are the same key.
pub struct Key<T> {
    name: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// Names a value of type `T`.
    pub const fn new(name: &'static str) -> Self {
        Self { name, value: PhantomData }
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key<{}>({:?})", std::any::type_name::<T>(), self.name)
    }
}

/// Any number of values per thread, each under a typed [`Key`]: for programs that used to say `local.name = …`.
///
/// As [`Local`], but where `Local` knows its one value's type, this looks values up by name at run time: some tens of
/// nanoseconds an access. What becomes of an ended thread's values is as with [`Local::transient`]; a forked child starts
/// empty.
///
/// # Examples
/// ```
/// use tls::{Key, Locals};
///
/// const STUDENT: Key<String> = Key::new("student");
/// static LOCAL: Locals = Locals::new();
///
/// LOCAL.set(STUDENT, "Bob".to_owned());
/// assert_eq!(LOCAL.get(STUDENT).as_deref(), Some("Bob"));
/// std::thread::spawn(|| assert_eq!(LOCAL.get(STUDENT), None)).join().unwrap();
/// ```
pub struct Locals {
    values: Local<RefCell<Bag>>,
}

type Bag = HashMap<(&'static str, TypeId), Box<dyn Any + Send>>;

impl Locals {
    /// Makes an empty bag.
    pub const fn new() -> Self {
        Self { values: Local::transient(RefCell::default) }
    }

    /// Puts a value under `key`, and returns the one that was there.
    pub fn set<T: Send + 'static>(&self, key: Key<T>, value: T) -> Option<T> {
        self.values.with_borrow_mut(|bag| bag.insert(id(&key), Box::new(value))).and_then(unbox)
    }

    /// A copy of the value under `key`.
    pub fn get<T: Clone + Send + 'static>(&self, key: Key<T>) -> Option<T> {
        self.with(key, T::clone)
    }

    /// Gives `f` the value under `key`; `None` if there is none.
    ///
    /// # Panics
    /// If `f` changes this same bag.
    pub fn with<T: Send + 'static, R>(&self, key: Key<T>, f: impl FnOnce(&T) -> R) -> Option<R> {
        self.values.with_borrow(|bag| bag.get(&id(&key)).and_then(|value| value.downcast_ref()).map(f))
    }

    /// Gives `f` the value under `key` to change; `None` if there is none.
    ///
    /// # Panics
    /// If `f` uses this same bag.
    pub fn with_mut<T: Send + 'static, R>(&self, key: Key<T>, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.values.with_borrow_mut(|bag| bag.get_mut(&id(&key)).and_then(|value| value.downcast_mut()).map(f))
    }

    /// Takes the value under `key` out.
    #[doc(alias = "delattr")]
    pub fn take<T: Send + 'static>(&self, key: Key<T>) -> Option<T> {
        self.values.with_borrow_mut(|bag| bag.remove(&id(&key))).and_then(unbox)
    }

    /// Whether there is a value under `key`.
    #[doc(alias = "hasattr")]
    pub fn contains<T: Send + 'static>(&self, key: Key<T>) -> bool {
        self.values.with_borrow(|bag| bag.contains_key(&id(&key)))
    }

    /// The names of the calling thread's values, sorted.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.values.with_borrow(|bag| bag.keys().map(|(name, _)| *name).collect());
        names.sort_unstable();
        names
    }

    /// Drops all values of all threads.
    pub fn clear(&mut self) {
        self.values.clear();
    }
}

fn id<T: 'static>(key: &Key<T>) -> (&'static str, TypeId) {
    (key.name, TypeId::of::<T>())
}

fn unbox<T: 'static>(value: Box<dyn Any + Send>) -> Option<T> {
    value.downcast().ok().map(|value| *value)
}

impl Default for Locals {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Locals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Locals").field(&self.names()).finish()
    }
}
