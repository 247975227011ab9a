//! Reads shared memory from outside: for a program that shows what another one does, and changes nothing there.
//!
//! What is read may have been overwritten with anything, and may change meanwhile: it is copied, then checked.

use std::{fs::File, io, mem::offset_of, os::unix::fs::FileExt};

pub use super::label::label_of;
use super::{Header, MAGIC, VALUE_OFFSET, label::LABEL_BYTES};

/// Where bytes come from.
pub trait Source {
    /// How many there are.
    ///
    /// # Errors
    /// Those of the file.
    fn len_bytes(&self) -> io::Result<u64>;

    /// Copies those from `at` on.
    ///
    /// # Errors
    /// `UnexpectedEof` if there are fewer; those of the file.
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
}

/// Read by copying, not through a mapping: to read a hole through a mapping would give the file a page.
impl Source for File {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(into, at)
    }
}

impl Source for [u8] {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(at).map_err(io::Error::other)?;
        let from = at.checked_add(into.len()).and_then(|end| self.get(at..end));
        into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Why memory does not say what it is expected to say.
#[derive(Debug)]
pub enum Unreadable {
    /// It is something else.
    Other,
    /// It is of another version.
    Version(u32),
    /// It contradicts itself.
    Garbled(&'static str),
    /// It cannot be read.
    Io(io::Error),
}

impl From<io::Error> for Unreadable {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::UnexpectedEof => Self::Garbled("it is shorter than it says"),
            _ => Self::Io(e),
        }
    }
}

/// A copy of some bytes, read word by word.
#[derive(Debug)]
pub struct Copied(Vec<u8>);

impl Copied {
    /// Copies `len` bytes from `at` on.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn of(source: &(impl Source + ?Sized), at: u64, len: usize) -> io::Result<Self> {
        let mut bytes = vec![0; len];
        source.read(at, &mut bytes)?;
        Ok(Self(bytes))
    }

    /// The number of eight bytes at `at`; 0 beyond the end.
    pub fn u64(&self, at: usize) -> u64 {
        self.0.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    }

    /// The number of four bytes at `at`; 0 beyond the end.
    pub fn u32(&self, at: usize) -> u32 {
        self.0.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    }
}

/// What stands in front of a [`Shared`](super::Shared) value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedView {
    /// The begin of its type's name.
    pub label: String,
    /// How long the value is, in bytes.
    pub value_bytes: u64,
}

/// Where the value is.
pub const VALUE_AT: u64 = VALUE_OFFSET as u64;

/// What a block of memory says of the value in it.
///
/// # Errors
/// If there is none.
pub fn shared(source: &(impl Source + ?Sized)) -> Result<SharedView, Unreadable> {
    let len = source.len_bytes()?;
    if len < VALUE_AT {
        return Err(Unreadable::Other);
    }
    let header = Copied::of(source, 0, VALUE_OFFSET)?;
    if header.u64(offset_of!(Header, magic)) != MAGIC {
        return Err(Unreadable::Other);
    }
    let value_bytes = header.u64(offset_of!(Header, value_bytes));
    if value_bytes.checked_add(VALUE_AT).is_none_or(|end| end > len) {
        return Err(Unreadable::Garbled("its value is longer than the memory"));
    }
    let label = offset_of!(Header, label);
    let bytes: Vec<u8> = header.0[label..label + LABEL_BYTES].iter().copied().take_while(|byte| *byte != 0).collect();
    let label = String::from_utf8_lossy(&bytes).chars().filter(|c| !c.is_control()).collect();
    Ok(SharedView { label, value_bytes })
}

#[cfg(test)]
mod tests {
    use std::{
        os::fd::AsFd,
        sync::atomic::{AtomicU64, Ordering::Relaxed},
    };

    use super::*;
    use crate::shm::{Shared, SharedMemory};

    fn file(memory: &SharedMemory) -> File {
        File::from(memory.as_fd().try_clone_to_owned().unwrap())
    }

    #[test]
    fn a_value_says_its_type_and_length() {
        let value = Shared::new(AtomicU64::new(7)).unwrap();
        let view = shared(&file(value.memory())).unwrap();
        assert_eq!((view.label.as_str(), view.value_bytes), (label_of::<AtomicU64>(), 8));
        assert!(view.label.contains("Atomic"), "{view:?}");
    }

    #[test]
    fn other_memory_and_garbage_are_refused() {
        assert!(matches!(shared(&file(&SharedMemory::new(4096).unwrap())), Err(Unreadable::Other)));
        assert!(matches!(shared(&b"short"[..]), Err(Unreadable::Other)));
        let value = Shared::new(AtomicU64::new(7)).unwrap();
        super::super::header(value.memory()).value_bytes.store(u64::MAX, Relaxed);
        assert!(matches!(shared(&file(value.memory())), Err(Unreadable::Garbled(_))));
    }
}
