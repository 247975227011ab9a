#![allow(unsafe_code, reason = "reads memory by its address")]

use std::sync::atomic::AtomicU8;

use super::*;

#[test]
fn a_block_is_zero_and_sealed() {
    let memory = SharedMemory::new(8192).unwrap();
    assert_eq!(memory.len(), 8192);
    assert_eq!(nix::unistd::ftruncate(memory.as_fd(), 0), Err(nix::errno::Errno::EPERM));
}

#[test]
fn an_unsealed_file_is_refused() {
    let fd = nix::sys::memfd::memfd_create("open", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
    assert!(SharedMemory::from_fd(fd).is_err());
}

#[test]
fn memory_that_may_be_missing_or_read_only_is_refused() {
    use nix::{
        fcntl::{FcntlArg, SealFlag, fcntl},
        sys::memfd::{MFdFlags, memfd_create},
    };
    let sealed = |flags, more| {
        let fd = memfd_create("strange", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING | flags)?;
        // As long as one huge page. None is taken before it is touched.
        nix::unistd::ftruncate(&fd, 2 << 20)?;
        fcntl(&fd, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | more))?;
        nix::Result::Ok(fd)
    };
    let errno = |fd| SharedMemory::from_fd(fd).unwrap_err().raw_os_error();
    assert_eq!(errno(sealed(MFdFlags::empty(), SealFlag::F_SEAL_WRITE).unwrap()), Some(libc::EPERM));
    match sealed(MFdFlags::MFD_HUGETLB, SealFlag::empty()) {
        Ok(huge) => assert_eq!(errno(huge), Some(libc::EINVAL)),
        Err(e) => println!("(a kernel without huge pages: {e})"),
    }
    SharedMemory::from_fd(sealed(MFdFlags::empty(), SealFlag::empty()).unwrap()).unwrap();
}

#[test]
fn another_type_is_refused() {
    let small = Shared::new(AtomicU32::new(7)).unwrap();
    assert!(Shared::<AtomicU64>::from_memory(small.memory.clone()).is_err());
    let same = Shared::<AtomicU32>::from_memory(small.memory.clone()).unwrap();
    same.store(8, Ordering::Relaxed);
    assert_eq!(small.load(Ordering::Relaxed), 8);
}

#[test]
fn released_pages_read_as_zeros() {
    let page = page::size();
    let memory = SharedMemory::sparse(page * 3).unwrap();
    let byte = |i: usize| {
        assert!(i < memory.len());
        // SAFETY: inside the block.
        let byte = unsafe { memory.as_ptr().add(i) };
        // SAFETY: any byte is an `AtomicU8`; the block outlives the closure.
        unsafe { byte.cast::<AtomicU8>().as_ref() }
    };
    byte(page).store(1, Ordering::Relaxed);
    byte(page - 1).store(1, Ordering::Relaxed);
    memory.release(10, page * 2).unwrap();
    assert_eq!((byte(page - 1).load(Ordering::Relaxed), byte(page).load(Ordering::Relaxed)), (1, 0));
    assert!(memory.release(0, usize::MAX).is_err());
}
