//! Handing values to another process, with the file descriptors inside them.
//!
//! Handles that mean something in another process (`Queue`, `Lock`, [`Fd`], …) implement `Serialize` and
//! `Deserialize`, but only work *while being handed over*: between [`pack`] and [`unpack`], which processes, pools, pipes,
//! queues and managers use. Serialising such a handle anywhere else is an error that says so, because a descriptor's
//! number means nothing elsewhere.
//!
//! The serialised form of a descriptor says which of those it is that go along. Each path has a socket for them, where the
//! kernel keeps them as `SCM_RIGHTS`, whichever process dies: their sender may have ended before they are received.
//!
//! # Safety
//! A descriptor number noted while serialising is used after `Serialize::serialize` returned; the `Parcel` therefore
//! borrows the value, and [`serialize_fd`] is unsafe, as its caller might hand in a short-lived one.
#![allow(unsafe_code)]

mod context;
mod error;
#[cfg(test)]
mod tests;

use std::{
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned, ser};
use wire::TypeInfo;

use self::context::{Context, RECEIVING, SENDING, Sending, sending};
pub use self::error::Error;

/// A value in serialised form, and the descriptors that belong to it.
#[derive(Debug)]
pub struct Parcel<'a> {
    bytes: Vec<u8>,
    fds: Vec<RawFd>,
    value: PhantomData<&'a ()>,
}

impl Parcel<'_> {
    /// The serialised bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The descriptors to be sent along, in the order in which [`unpack`] must be given them.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        // SAFETY: each is a descriptor of the value that this parcel borrows (`serialize_fd`'s contract).
        self.fds.iter().map(|fd| unsafe { BorrowedFd::borrow_raw(*fd) }).collect()
    }

    fn copy_fds(&self) -> Result<Vec<OwnedFd>, Error> {
        let copies = self.fds().iter().map(BorrowedFd::try_clone_to_owned).collect::<Result<_, _>>();
        copies.map_err(|e| Error::new(format!("its descriptors cannot be copied: {e}")))
    }

    /// The serialised bytes alone; for parcels that carry no descriptors.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// A value in serialised form that has descriptors of its own: it outlives the value.
#[derive(Debug, Default)]
pub struct Packed {
    /// The serialised bytes.
    pub bytes: Vec<u8>,
    /// The descriptors, in the order in which [`unpack`] must be given them.
    pub fds: Vec<OwnedFd>,
}

impl Packed {
    /// Turns it back into the value.
    ///
    /// # Errors
    /// As [`unpack`].
    pub fn unpack<T: DeserializeOwned>(self) -> Result<T, Error> {
        unpack(&self.bytes, self.fds)
    }

    /// The descriptors, to be sent along.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.fds.iter().map(AsFd::as_fd).collect()
    }
}

/// Serialises `value` for a socket.
///
/// # Errors
/// What `value`'s own `Serialize` reports; if it would not arrive equal.
pub fn pack<T: Serialize + DeserializeOwned>(value: &T) -> Result<Parcel<'_>, Error> {
    pack_behind(Vec::new(), value)
}

/// As [`pack`]: the value's bytes come behind those that are there.
///
/// # Errors
/// As there.
pub fn pack_behind<T: Serialize + DeserializeOwned>(bytes: Vec<u8>, value: &T) -> Result<Parcel<'_>, Error> {
    let pack = |bytes: &mut _| wire::encode(TypeInfo::of::<T>(), value, bytes);
    let (bytes, fds) = sending(bytes, 0, pack)?;
    Ok(Parcel { bytes, fds, value: PhantomData })
}

/// As [`pack`], and the parcel outlives the value.
///
/// # Errors
/// As there, and want of descriptors.
pub fn pack_owned<T: Serialize + DeserializeOwned>(value: &T) -> Result<Packed, Error> {
    pack_owned_behind(Vec::new(), value)
}

/// Finds out what a value of this type is like, so that a forked child need not before it packs one.
pub fn get_ready<T: Serialize + DeserializeOwned>() {
    let _ = TypeInfo::of::<T>().may_hold_handles();
}

/// As [`pack_owned`]: the value's bytes come behind those that are there. Of a type without handles no more is done than to serialise it.
///
/// # Errors
/// As there, and want of descriptors.
pub fn pack_owned_behind<T: Serialize + DeserializeOwned>(mut bytes: Vec<u8>, value: &T) -> Result<Packed, Error> {
    let info = TypeInfo::of::<T>();
    if !info.may_hold_handles() {
        wire::encode(info, value, &mut bytes)?;
        return Ok(Packed { bytes, fds: Vec::new() });
    }
    let fds = pack_among(&mut bytes, 0, value)?;
    Ok(Packed { bytes, fds })
}

/// Serialises a value of whose reader nothing is known, with all names. The parcel outlives the value.
///
/// # Errors
/// What `value`'s own `Serialize` reports; want of descriptors.
pub fn pack_named<T: Serialize + ?Sized>(value: &T) -> Result<Packed, Error> {
    let (bytes, fds) = sending(Vec::new(), 0, |bytes| wire::encode_named(value, bytes))?;
    let fds = Parcel { bytes: Vec::new(), fds, value: PhantomData }.copy_fds()?;
    Ok(Packed { bytes, fds })
}

/// Appends `value` to others that go together, with `n_before` descriptors: its own, which come after those.
///
/// # Errors
/// As [`pack_owned_behind`].
pub fn pack_among<T: Serialize + DeserializeOwned>(
    bytes: &mut Vec<u8>,
    n_before: usize,
    value: &T,
) -> Result<Vec<OwnedFd>, Error> {
    let pack = |bytes: &mut _| wire::encode(TypeInfo::of::<T>(), value, bytes);
    let (packed, fds) = sending(std::mem::take(bytes), n_before, pack)?;
    *bytes = packed;
    Parcel { bytes: Vec::new(), fds, value: PhantomData }.copy_fds()
}

/// Turns bytes back into a value. `fds` are those that came along, in [`Parcel::fds`]' order.
///
/// # Errors
/// If the bytes do not decode as a `T`, or leave a rest, or name a descriptor that did not come along; if they are nested
/// so deeply that the value takes more than half of what is left of the calling thread's stack.
pub fn unpack<T: DeserializeOwned>(bytes: &[u8], fds: Vec<OwnedFd>) -> Result<T, Error> {
    receiving(fds, || Ok(wire::decode(bytes)?))
}

/// Runs `f`, which deserialises values that came with `fds`, as [`pack_among`] puts them together.
pub fn receiving<R>(fds: Vec<OwnedFd>, f: impl FnOnce() -> R) -> R {
    let _context = Context::enter(&RECEIVING, Some(fds.into_iter().map(Some).collect()));
    f()
}

/// For a handle's `Serialize`: sends `fd` along.
///
/// # Errors
/// Outside a hand-over.
///
/// # Safety
/// `fd` must stay open for as long as the value that is being serialised.
pub unsafe fn serialize_fd<S: Serializer>(fd: BorrowedFd<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    let index = SENDING.with(|sending| {
        let mut sending = sending.borrow_mut();
        let Some(Sending { n_before, fds }) = &mut *sending else { return Err(nowhere::<Fd, S>()) };
        if wire::is_comparing() {
            return Ok(0);
        }
        fds.push(fd.as_raw_fd());
        u32::try_from(*n_before + fds.len() - 1).map_err(|e| e.to_string())
    });
    let index = index.map_err(ser::Error::custom)?;
    serializer.serialize_newtype_struct(wire::HANDLE, &index)
}

/// For the `Serialize` of a handle with others inside, so that an error names it and not the innermost.
///
/// # Errors
/// Outside a hand-over.
pub fn check_sending<H, S: Serializer>() -> Result<(), S::Error> {
    let is_sending = SENDING.with(|sending| sending.borrow().is_some());
    if is_sending { Ok(()) } else { Err(ser::Error::custom(nowhere::<H, S>())) }
}

/// The `Serialize` of a handle that is another one inside: an error outside a hand-over names it, and not the inner one.
#[doc(hidden)]
#[macro_export]
macro_rules! serialize_as_inner {
    ($handle:ty $(where $param:ident: [$($bound:tt)*] $(, $params:ident: [$($bounds:tt)*])*)?) => {
        impl $(<$param: $($bound)* $(, $params: $($bounds)*)*>)? ::serde::Serialize for $handle {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::handover::check_sending::<Self, S>()?;
                ::serde::Serialize::serialize(&self.0, serializer)
            }
        }
    };
}

/// The error of an `H` that is serialised by an `S` outside a hand-over.
#[cold]
fn nowhere<H, S>() -> String {
    format!(
        "a handle ({}) cannot travel by {}; it can, while it is being handed over, as an argument or value of a process, as \
         an argument or result of a pool's task, and in messages of queues and pipes and objects of managers",
        std::any::type_name::<H>(),
        std::any::type_name::<S>()
    )
}

/// For a handle's `Deserialize`: takes the descriptor that came along.
///
/// # Errors
/// Outside a hand-over; if it did not come along.
pub fn deserialize_fd<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OwnedFd, D::Error> {
    let index = deserializer.deserialize_newtype_struct(wire::HANDLE, IndexVisitor)?;
    if wire::is_comparing() {
        return copy_of_sent(index).map_err(de::Error::custom);
    }
    let taken = RECEIVING.with(|receiving| {
        let mut receiving = receiving.borrow_mut();
        let Some(fds) = &mut *receiving else {
            return Err("handles can be deserialised only while being handed over".into());
        };
        let fd = usize::try_from(index).ok().and_then(|index| fds.get_mut(index)).and_then(Option::take);
        fd.ok_or_else(|| format!("descriptor {index} did not come along"))
    });
    taken.map_err(de::Error::custom)
}

/// A copy of a descriptor that is being sent, for a value that is read where it is written.
#[cold]
fn copy_of_sent(index: u32) -> Result<OwnedFd, String> {
    SENDING.with(|sending| {
        let sending = sending.borrow();
        let fd =
            sending.as_ref().and_then(|Sending { n_before, fds }| fds.get((index as usize).checked_sub(*n_before)?));
        let fd = *fd.ok_or_else(|| format!("descriptor {index} does not go along"))?;
        // SAFETY: a descriptor of the value that is being sent, which outlives this (`serialize_fd`'s contract).
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        fd.try_clone_to_owned().map_err(|e| format!("descriptor {index} cannot be copied: {e}"))
    })
}

/// Any descriptor, as a value that can be handed over.
///
/// # Examples
/// ```
/// # use kernel as proc_core;
/// use proc_core::handover::{Fd, pack, unpack};
/// let fd = Fd::from(std::fs::File::open("/dev/null")?);
/// let parcel = pack(&fd)?;
/// let fds = parcel.fds().iter().map(|fd| fd.try_clone_to_owned()).collect::<Result<_, _>>()?;
/// let there: Fd = unpack(parcel.bytes(), fds)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Fd(pub OwnedFd);

impl<T: Into<OwnedFd>> From<T> for Fd {
    fn from(fd: T) -> Self {
        Self(fd.into())
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Serialize for Fd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // SAFETY: the descriptor is this value's own.
        unsafe { serialize_fd(self.as_fd(), serializer) }
    }
}

impl<'de> Deserialize<'de> for Fd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_fd(deserializer).map(Self)
    }
}

struct IndexVisitor;

impl<'de> de::Visitor<'de> for IndexVisitor {
    type Value = u32;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a descriptor")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<u32, D::Error> {
        u32::deserialize(deserializer)
    }
}
