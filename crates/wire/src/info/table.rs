//! The types of this process.
//!
//! Without locks: a process may fork while another thread is here, and its child looks types up as well.
//!
//! # Safety
//! An entry is leaked before it can be reached, and is only ever read.
#![allow(unsafe_code)]

use std::{
    any::TypeId,
    hash::Hash,
    ptr::null_mut,
    sync::atomic::{
        AtomicPtr,
        Ordering::{AcqRel, Acquire},
    },
};

use super::TypeInfo;
use crate::id_hash::IdHasher;

struct ListNode {
    id: TypeId,
    info: TypeInfo,
    next: *mut ListNode,
}

const N_LISTS: usize = 256;

/// The first entry of each list.
static LISTS: [AtomicPtr<ListNode>; N_LISTS] = [const { AtomicPtr::new(null_mut()) }; N_LISTS];

/// The entry of a type, which is made if there is none.
///
/// Where it is called, the type is known, and so is the list.
#[inline]
pub(super) fn get(id: TypeId, make: fn() -> TypeInfo) -> &'static TypeInfo {
    let mut hasher = IdHasher(0);
    id.hash(&mut hasher);
    let list = &LISTS[hasher.0 as usize % N_LISTS];
    // Acquire: with what was written to the entry before it was published.
    let first = list.load(Acquire);
    match find(first, id) {
        Some(info) => info,
        None => insert(list, first, id, make),
    }
}

#[cold]
fn insert(
    list: &AtomicPtr<ListNode>,
    mut first: *mut ListNode,
    id: TypeId,
    make: fn() -> TypeInfo,
) -> &'static TypeInfo {
    let entry = Box::leak(Box::new(ListNode { id, info: make(), next: first }));
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

#[inline]
fn find(mut entry: *mut ListNode, id: TypeId) -> Option<&'static TypeInfo> {
    // SAFETY: entries are leaked and not changed any more once they are in a list.
    while let Some(found) = unsafe { entry.as_ref::<'static>() } {
        if found.id == id {
            return Some(&found.info);
        }
        entry = found.next;
    }
    None
}
