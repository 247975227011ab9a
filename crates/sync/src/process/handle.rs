//! What all handles of this scope are: a reference to a value in shared memory.

use std::{
    fmt, io,
    ops::Deref,
    panic::{RefUnwindSafe, UnwindSafe},
};

use kernel::shm::{Shared, ShmSafe};
#[cfg(feature = "serde")]
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::sys::robust::ThreadList;

/// A handle to a `T` in shared memory; clones and handed-over copies are the same `T`.
pub(crate) struct Handle<T: ShmSafe>(Shared<T>);

impl<T: ShmSafe> Handle<T> {
    pub(crate) fn new(value: T) -> io::Result<Self> {
        prepare()?;
        Shared::new(value).map(Self)
    }
}

fn prepare() -> io::Result<()> {
    let unsupported = || io::Error::new(io::ErrorKind::Unsupported, "this C library keeps no list of robust locks");
    ThreadList::get().map(drop).ok_or_else(unsupported)
}

// What a panic may have left half done is reported by the locks themselves.
impl<T: ShmSafe> UnwindSafe for Handle<T> {}
impl<T: ShmSafe> RefUnwindSafe for Handle<T> {}

impl<T: ShmSafe> Deref for Handle<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ShmSafe> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: ShmSafe> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

#[cfg(feature = "serde")]
impl<T: ShmSafe> Serialize for Handle<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de, T: ShmSafe> Deserialize<'de> for Handle<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        prepare().map_err(de::Error::custom)?;
        Shared::deserialize(deserializer).map(Self)
    }
}
