//! What all handles of this scope are: a counted reference to a mapping of shared memory.
//!
//! # Safety
//! A handle keeps the address of what its mapping holds, and the mapping itself.
#![allow(unsafe_code)]

use std::{
    fmt, io, mem,
    ops::Deref,
    panic::{RefUnwindSafe, UnwindSafe},
    ptr::NonNull,
    sync::{Arc, Once},
};

use proc_core::{
    at_fork,
    shm::{Shared, ShmSafe},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sys::robust;

/// What lies in the shared memory of a handle.
pub(crate) trait Layout: ShmSafe {
    /// Whether a thread of this process holds any lock in there.
    fn is_held_here(&self) -> bool;
}

/// A handle to a `T` in shared memory; clones and handed-over copies are the same `T`.
pub(crate) struct Handle<T: Layout> {
    place: NonNull<T>,
    mapping: Arc<Mapping<T>>,
}

// SAFETY: a counted reference to a value that every thread may use; `ShmSafe` requires `Sync`.
unsafe impl<T: Layout> Send for Handle<T> {}
// SAFETY: as above.
unsafe impl<T: Layout> Sync for Handle<T> {}

impl<T: Layout> Handle<T> {
    pub(crate) fn new(value: T) -> io::Result<Self> {
        Shared::new(value).map(Self::of)
    }

    fn of(shared: Shared<T>) -> Self {
        static COUNT_FORKS: Once = Once::new();
        COUNT_FORKS.call_once(|| at_fork::on_child(robust::forget_pending_in_child));
        Self { place: NonNull::from(&*shared), mapping: Arc::new(Mapping(shared)) }
    }
}

// What a panic may have left half done is reported by the locks themselves.
impl<T: Layout> UnwindSafe for Handle<T> {}
impl<T: Layout> RefUnwindSafe for Handle<T> {}

impl<T: Layout> Deref for Handle<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `mapping` keeps it where it is.
        unsafe { self.place.as_ref() }
    }
}

impl<T: Layout> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self { place: self.place, mapping: Arc::clone(&self.mapping) }
    }
}

impl<T: Layout> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

impl<T: Layout> Serialize for Handle<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.mapping.0.serialize(serializer)
    }
}

impl<'de, T: Layout> Deserialize<'de> for Handle<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Shared::deserialize(deserializer).map(Self::of)
    }
}

struct Mapping<T: Layout>(Shared<T>);

impl<T: Layout> Drop for Mapping<T> {
    fn drop(&mut self) {
        // Only a forgotten guard gets here. The kernel's list still leads to the lock, so its memory has to stay.
        if self.0.is_held_here() {
            mem::forget(self.0.clone());
        }
    }
}
