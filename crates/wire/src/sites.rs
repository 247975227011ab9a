//! Places in the values of a type that are not there in each of them: what an option, a sequence or a map holds, and the
//! content of a variant.
//!
//! The first value may come back as it was because it has nothing there. So a place counts as tried only when a value
//! that has something there has come back.

use std::{
    any::TypeId,
    hash::Hash,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::id_hash::IdHasher;

/// Where in a value something is written: by struct and field, and by what it is inside of. Some number; it is made up of
/// constants as far as a `Serialize` is inlined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Site(u64);

/// Spreads a number over all bits: odd, without pattern.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

impl Site {
    /// The outermost value.
    pub(crate) const TOP: Self = Self(1);

    /// What has this name. There, what is nested in itself begins anew.
    #[inline(always)]
    pub(crate) fn named(name: &'static str, number: usize) -> Self {
        Self((name.as_ptr() as u64) << 16 ^ (number as u64) << 8)
    }

    /// The field or element with this index, always there.
    #[inline(always)]
    pub(crate) fn part(self, index: usize) -> Self {
        Self(self.0.wrapping_add(index as u64))
    }

    /// What is inside, in the how-manieth way.
    #[inline(always)]
    pub(crate) fn inside(self, way: u64) -> Self {
        Self((self.0 ^ way << 60).wrapping_mul(SPREAD))
    }

    /// As one where a `T` is written.
    #[inline(always)]
    pub(crate) fn of<T: ?Sized>(self) -> Self {
        let mut hasher = IdHasher(0);
        id_of::<T>().hash(&mut hasher);
        Self(self.0 ^ hasher.0)
    }
}

/// Whether a `T` is a number or text, so that where it is matters to nothing inside it. Where it is compiled, this is
/// known; and cheap where nothing is optimised.
#[inline(always)]
pub(crate) fn is_leaf<T: ?Sized>() -> bool {
    let name = std::any::type_name::<T>().as_bytes();
    matches!(
        name,
        [b'u' | b'i' | b'f', b'0'..=b'9', ..] | b"usize" | b"isize" | b"bool" | b"char" | b"alloc::string::String"
    )
}

#[inline(always)]
fn id_of<T: ?Sized>() -> TypeId {
    typeid::of::<T>()
}

/// Sites that a value came back from. Those that do not fit are never tried: their values are read back each time.
#[derive(Default)]
pub(crate) struct Sites {
    /// A power of two, or none. Zero where there is none; a site is in the first free place from its hash on.
    slots: Box<[AtomicU64]>,
}

impl Sites {
    /// For values with so many kinds of structs and variants.
    pub(crate) fn new(n_parts: usize) -> Self {
        let n_slots = (8 * n_parts + 32).next_power_of_two();
        Self { slots: (0..n_slots).map(|_| AtomicU64::new(0)).collect() }
    }

    #[inline(always)]
    fn home(&self, site: Site) -> usize {
        (site.0.wrapping_mul(SPREAD) >> 32) as usize & self.slots.len().wrapping_sub(1)
    }

    /// Whether a value came back with something there.
    #[inline]
    pub(crate) fn has(&self, site: Site) -> bool {
        let home = self.home(site);
        match self.slots.get(home).map(|slot| slot.load(Relaxed)) {
            Some(found) if found == site.0 => true,
            Some(0) | None => false,
            Some(_) => self.has_further(site, home),
        }
    }

    #[cold]
    fn has_further(&self, site: Site, home: usize) -> bool {
        let slots = self.slots[home..].iter().chain(&self.slots[..home]);
        slots.map(|slot| slot.load(Relaxed)).take_while(|found| *found != 0).any(|found| found == site.0)
    }

    /// Notes that a value came back with something there.
    pub(crate) fn add(&self, site: Site) {
        let (after, before) = (self.home(site)..self.slots.len(), 0..self.home(site));
        // Some stay free, so that a search ends soon.
        for at in after.chain(before).take(self.slots.len() / 4) {
            match self.slots[at].compare_exchange(0, site.0, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(found) if found == site.0 => return,
                Err(_) => {}
            }
        }
    }
}
