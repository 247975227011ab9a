//! The types of this process.
//!
//! Without locks: a process may fork while another thread is here, and its child looks types up as well.
//!
//! # Safety
//! An entry is leaked before it can be reached, and is only ever read.
#![allow(unsafe_code)]

use std::{
    any::TypeId,
    hash::{Hash, Hasher},
    ptr::null_mut,
    sync::atomic::{
        AtomicPtr,
        Ordering::{AcqRel, Acquire},
    },
};

use super::TypeInfo;

struct Entry {
    id: TypeId,
    info: TypeInfo,
    next: *mut Entry,
}

const N_LISTS: usize = 256;

/// The first entry of each list.
static LISTS: [AtomicPtr<Entry>; N_LISTS] = [const { AtomicPtr::new(null_mut()) }; N_LISTS];

/// The entry of a type, which is made if there is none.
///
/// Where it is called, the type is known, and so is the list.
#[inline]
pub(super) fn get(id: TypeId, make: fn() -> TypeInfo) -> &'static TypeInfo {
    let mut hasher = PartOfHash(0);
    id.hash(&mut hasher);
    let list = &LISTS[hasher.finish() as usize % N_LISTS];
    // Acquire: with what was written to the entry before it was published.
    let first = list.load(Acquire);
    match find(first, id) {
        Some(info) => info,
        None => insert(list, first, id, make),
    }
}

#[cold]
fn insert(list: &AtomicPtr<Entry>, mut first: *mut Entry, id: TypeId, make: fn() -> TypeInfo) -> &'static TypeInfo {
    let entry = Box::leak(Box::new(Entry { id, info: make(), next: first }));
    loop {
        entry.next = first;
        match list.compare_exchange(first, entry, AcqRel, Acquire) {
            Ok(_) => return &entry.info,
            Err(newer) => first = newer,
        }
        // Another thread may have had the same to do. This entry is lost then, which is no harm.
        if let Some(info) = find(first, id) {
            return info;
        }
    }
}

/// A type's id is a hash as it is; some of it will do.
struct PartOfHash(u64);

impl Hasher for PartOfHash {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 ^= hash;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[inline]
fn find(mut entry: *mut Entry, id: TypeId) -> Option<&'static TypeInfo> {
    // SAFETY: entries are leaked and not changed any more once they are in a list.
    while let Some(found) = unsafe { entry.as_ref::<'static>() } {
        if found.id == id {
            return Some(&found.info);
        }
        entry = found.next;
    }
    None
}
