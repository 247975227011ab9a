//! Handing values to another process, with the file descriptors inside them.
//!
//! Handles that mean something in another process (`Queue`, `Lock`, [`Fd`], …) implement `Serialize` and
//! `Deserialize`, but only work *while being handed over*: between [`pack`] and [`unpack`], which every start of a
//! process, every `Connection` and every pool task use. Serialising such a handle anywhere else is an error that says
//! so, because a descriptor's number means nothing elsewhere.
//!
//! There are two ways to travel. Over a socket, descriptors go as `SCM_RIGHTS` beside the bytes ([`pack`]). Where only
//! memory is shared, the receiver reopens `/proc/SENDER/fd/N` ([`pack_reopenable`]): memory files, files and pipes
//! travel so, sockets cannot; the sender must live and keep the descriptor open until then.
//!
//! # Safety
//! A descriptor number noted while serialising is used after `Serialize::serialize` returned; the `Parcel` therefore
//! borrows the value, and [`serialize_fd`] is unsafe for those who might hand in a short-lived one.
#![allow(unsafe_code)]

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned, ser};
use wire::TypeInfo;

use crate::{fds, sys::open_file::FileId, thread_slot::ThreadSlot};

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

    /// The serialised bytes alone; for parcels that carry no descriptors, or reopenable ones.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
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
    let (bytes, fds) = sending(bytes, Sending::Socket(Vec::new()), pack)?;
    Ok(Parcel { bytes, fds, value: PhantomData })
}

/// Serialises `value` for shared memory: its descriptors are described so that a process of the same user can reopen
/// them. Sockets and other things without a reopenable file are an error.
///
/// # Errors
/// As [`pack`], and [`Error`] for a descriptor that cannot be reopened elsewhere.
pub fn pack_reopenable<T: Serialize + DeserializeOwned>(value: &T) -> Result<Vec<u8>, Error> {
    pack_reopenable_behind(Vec::new(), value)
}

/// As [`pack_reopenable`]: the value's bytes come behind those that are there.
///
/// # Errors
/// As there.
pub fn pack_reopenable_behind<T: Serialize + DeserializeOwned>(bytes: Vec<u8>, value: &T) -> Result<Vec<u8>, Error> {
    let pack = |bytes: &mut _| wire::encode(TypeInfo::of::<T>(), value, bytes);
    sending(bytes, Sending::Reopen, pack).map(|(bytes, _)| bytes)
}

/// Turns bytes back into a value. `fds` are those that came along, in [`Parcel::fds`]' order; none for
/// [`pack_reopenable`]'s.
///
/// # Errors
/// If the bytes do not decode as a `T`, or leave a rest, or name a descriptor that did not come along; if they are nested
/// so deeply that the value takes more than half of what is left of the calling thread's stack.
pub fn unpack<T: DeserializeOwned>(bytes: &[u8], fds: Vec<OwnedFd>) -> Result<T, Error> {
    let _context = Context::enter(&RECEIVING, Some(fds.into_iter().map(Some).collect()));
    Ok(wire::decode(bytes)?)
}

/// Whether the calling thread is between [`pack`]'s or [`unpack`]'s begin and end.
pub fn is_active() -> bool {
    SENDING.with(|sending| sending.borrow().is_some()) || RECEIVING.with(|receiving| receiving.borrow().is_some())
}

/// For a handle's `Serialize`: sends `fd` along.
///
/// # Errors
/// Outside a hand-over; and in [`pack_reopenable`] for what cannot be reopened.
///
/// # Safety
/// `fd` must stay open for as long as the value that is being serialised.
pub unsafe fn serialize_fd<S: Serializer>(fd: BorrowedFd<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    let wire = SENDING.with(|sending| match &mut *sending.borrow_mut() {
        None => Err(String::from(
            "handles can be serialised only while being handed over to another process \
             (as an argument of a process or task, or through a Connection)",
        )),
        Some(Sending::Socket(fds)) => {
            fds.push(fd.as_raw_fd());
            u32::try_from(fds.len() - 1).map(WireFd::Index).map_err(|e| e.to_string())
        }
        Some(Sending::Reopen) => FileId::of(fd)
            .and_then(|file| if file.is_reopenable() { Ok(file) } else { Err(nix::errno::Errno::EOPNOTSUPP) })
            .map_err(|e| e.to_string())
            .map(|file| WireFd::Reopen { pid: std::process::id(), fd: fd.as_raw_fd(), file }),
    });
    let wire = wire.map_err(ser::Error::custom)?;
    serializer.serialize_newtype_struct(wire::HANDLE, &wire)
}

/// For a handle's `Deserialize`: takes the descriptor that came along.
///
/// # Errors
/// Outside a hand-over; if it did not come along; if its sender no longer has it.
pub fn deserialize_fd<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OwnedFd, D::Error> {
    let wire = deserializer.deserialize_newtype_struct(wire::HANDLE, WireFdVisitor)?;
    RECEIVING
        .with(|receiving| {
            let Some(fds) = &mut *receiving.borrow_mut() else {
                return Err("handles can be deserialised only while being handed over".into());
            };
            match wire {
                WireFd::Index(i) => {
                    let fd = usize::try_from(i).ok().and_then(|i| fds.get_mut(i)).and_then(Option::take);
                    fd.ok_or_else(|| format!("descriptor {i} did not come along"))
                }
                WireFd::Reopen { pid, fd, file } => {
                    reopen(pid, fd, file).map_err(|e| format!("cannot reopen descriptor {fd} of process {pid}: {e}"))
                }
            }
        })
        .map_err(de::Error::custom)
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

/// Why a value could not be packed or unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    message: String,
}

impl From<wire::Error> for Error {
    fn from(e: wire::Error) -> Self {
        Self { message: e.to_string() }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

enum Sending {
    Socket(Vec<RawFd>),
    Reopen,
}

thread_local! {
    static SENDING: ThreadSlot<Sending> = const { ThreadSlot::new() };
    static RECEIVING: ThreadSlot<Vec<Option<OwnedFd>>> = const { ThreadSlot::new() };
}

/// Puts a hand-over's context in place and the former one back, also when a `Serialize` panics.
struct Context<T: 'static> {
    cell: &'static std::thread::LocalKey<ThreadSlot<T>>,
    former: Option<T>,
}

impl<T> Context<T> {
    fn enter(cell: &'static std::thread::LocalKey<ThreadSlot<T>>, value: Option<T>) -> Self {
        Self { cell, former: cell.with(|cell| cell.replace(value)) }
    }
}

impl<T> Drop for Context<T> {
    fn drop(&mut self) {
        self.cell.with(|cell| cell.replace(self.former.take()));
    }
}

/// Has `pack` write a value, and collects its descriptors.
fn sending(
    mut bytes: Vec<u8>,
    sending: Sending,
    pack: impl FnOnce(&mut Vec<u8>) -> Result<(), wire::Error>,
) -> Result<(Vec<u8>, Vec<RawFd>), Error> {
    let _context = Context::enter(&SENDING, Some(sending));
    pack(&mut bytes)?;
    let fds = match SENDING.with(|sending| sending.take()) {
        Some(Sending::Socket(fds)) => fds,
        _ => Vec::new(),
    };
    Ok((bytes, fds))
}

#[derive(Serialize, Deserialize)]
enum WireFd {
    Index(u32),
    Reopen { pid: u32, fd: RawFd, file: FileId },
}

struct WireFdVisitor;

impl<'de> de::Visitor<'de> for WireFdVisitor {
    type Value = WireFd;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a descriptor")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<WireFd, D::Error> {
        WireFd::deserialize(deserializer)
    }
}

fn reopen(pid: u32, fd: RawFd, file: FileId) -> io::Result<OwnedFd> {
    let path = format!("/proc/{pid}/fd/{fd}");
    let open =
        |flags| nix::fcntl::open(path.as_str(), flags | nix::fcntl::OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty());
    // Checked before it is opened for use: opening a stranger's FIFO or device could block or have effects.
    let looked = open(nix::fcntl::OFlag::O_PATH)?;
    if FileId::of(looked.as_fd())? != file {
        return Err(io::Error::other("it is another file by now"));
    }
    let link = format!("/proc/self/fd/{}", looked.as_raw_fd());
    let access = fs_access_mode(pid, fd)?;
    let opened = fds::above_standard_streams(nix::fcntl::open(
        link.as_str(),
        access | nix::fcntl::OFlag::O_CLOEXEC | nix::fcntl::OFlag::O_NOCTTY,
        nix::sys::stat::Mode::empty(),
    )?)?;
    Ok(opened)
}

/// The access mode with which the sender holds it, so that no more is asked for than it had.
fn fs_access_mode(pid: u32, fd: RawFd) -> io::Result<nix::fcntl::OFlag> {
    let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}"))?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim);
    let flags =
        flags.and_then(|flags| i32::from_str_radix(flags, 8).ok()).ok_or_else(|| io::Error::other("no flags"))?;
    Ok(nix::fcntl::OFlag::from_bits_truncate(flags & (libc::O_ACCMODE | libc::O_APPEND)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_handle_elsewhere_is_an_error_that_says_so() {
        let fd = Fd::from(std::fs::File::open("/dev/null").unwrap());
        assert!(wire::encode(TypeInfo::of::<Fd>(), &fd, &mut Vec::new()).is_err());
        let bytes = pack(&fd).unwrap().into_bytes();
        let error = wire::decode::<Fd>(&bytes).unwrap_err().to_string();
        assert_eq!(error, "handles can be deserialised only while being handed over");
        let error = unpack::<Fd>(&bytes, Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "descriptor 0 did not come along");
    }

    #[test]
    fn reopened_pipe_is_the_same_pipe() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let sent = Fd::from(writer);
        let got: Fd = unpack(&pack_reopenable(&sent).unwrap(), Vec::new()).unwrap();
        drop(sent);
        std::fs::File::from(got.0).write_all(b"x").unwrap();
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, "x");
    }

    #[test]
    fn a_socket_cannot_be_reopened() {
        let (a, _b) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(pack_reopenable(&Fd::from(a)).unwrap_err().to_string().contains("EOPNOTSUPP"));
    }

    #[test]
    fn another_file_under_the_number_is_refused() {
        let mut fd = Fd::from(std::fs::File::open("/dev/null").unwrap());
        let bytes = pack_reopenable(&fd).unwrap();
        nix::unistd::dup2(std::fs::File::open("/dev/zero").unwrap(), &mut fd.0).unwrap();
        assert!(unpack::<Fd>(&bytes, Vec::new()).unwrap_err().to_string().contains("another file"));
    }

    #[derive(Serialize, Deserialize)]
    struct Nested(Option<Box<Nested>>);

    /// The bytes of a value of so many levels; making the value itself could take more stack than there is.
    fn nested(depth: usize) -> Vec<u8> {
        // The tags of an option that has something, and of one that has nothing.
        let mut bytes = vec![2; depth];
        bytes.push(1);
        bytes
    }

    #[test]
    fn what_is_nested_too_deeply_for_the_stack_is_an_error() {
        for stack_bytes in [64 * 1024, 2 << 20] {
            let run = move || {
                assert!(unpack::<Nested>(&nested(20), Vec::new()).is_ok());
                let errors = [1_000_000, 10_000_000].map(|depth| unpack::<Nested>(&nested(depth), Vec::new()).err());
                errors.map(|error| error.expect("too deep").to_string())
            };
            let errors = std::thread::Builder::new().stack_size(stack_bytes).spawn(run).unwrap().join().unwrap();
            assert!(errors.iter().all(|error| error.contains("nested too deeply")), "{errors:?}");
        }
    }

    #[test]
    fn bytes_left_over_are_an_error() {
        assert!(unpack::<u8>(&[1, 2], Vec::new()).is_err());
    }
}
