//! What the processes of an experiment share, made once and then copied: every kill starts from the same bytes.
//!
//! A world is any value that can be handed over. Its shared memory is found by handing it over: each memory file among
//! the descriptors that travel can be swapped for a copy, and whoever unpacks the value then works on the copy.
//!
//! # Safety
//! Bytes of shared memory are read and written while every process that has them mapped stands still or is gone.
#![allow(unsafe_code)]

use std::{
    any::Any,
    collections::BTreeMap,
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    rc::Rc,
};

use proc_core::{handover, shm::SharedMemory};
use serde::{Serialize, de::DeserializeOwned};

use crate::ledger::Ledger;

const PAGE: usize = 4096;

/// All the bytes of a world: those pages that are not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Image(BTreeMap<(usize, usize), Rc<[u8; PAGE]>>);

/// A world as its maker left it, and how to make more like it.
pub(crate) struct Template {
    parcel: Vec<u8>,
    fds: Vec<OwnedFd>,
    pub(crate) image: Image,
    /// Keeps alive what the maker holds of it: open ends of pipes, locks, registrations.
    _maker: Box<dyn Any>,
}

impl Template {
    pub(crate) fn new<W: Serialize + DeserializeOwned + 'static>(world: W, ledger: Ledger) -> io::Result<Self> {
        let value = (world, ledger);
        let parcel = handover::pack(&value).map_err(io::Error::other)?;
        let fds: Vec<OwnedFd> = parcel.fds().iter().map(|fd| fd.try_clone_to_owned()).collect::<io::Result<_>>()?;
        let mut image = Image::default();
        for (i, fd) in fds.iter().enumerate() {
            if let Some(memory) = memory_of(fd)? {
                image.update(i, &memory)?;
            }
        }
        Ok(Self { parcel: parcel.into_bytes(), fds, image, _maker: Box::new(value) })
    }

    /// The world that the maker has made, and no copy: for one experiment, and where a copy of the memory would differ
    /// from what sockets and locks on files say.
    pub(crate) fn original(&self) -> io::Result<Instance> {
        let parts = self.fds.iter().map(|fd| {
            Ok(match memory_of(fd)? {
                Some(memory) => Part::Memory(memory),
                None => Part::Other(fd.try_clone()?),
            })
        });
        Ok(Instance { parcel: self.parcel.clone(), parts: parts.collect::<io::Result<_>>()? })
    }

    /// A world of its own with the same contents. What is not memory (sockets, say) is shared with the original.
    pub(crate) fn instance(&self) -> io::Result<Instance> {
        let parts = self.fds.iter().map(|fd| {
            Ok(match memory_of(fd)? {
                Some(memory) => Part::Memory(SharedMemory::sparse(memory.len())?),
                None => Part::Other(fd.try_clone()?),
            })
        });
        let instance = Instance { parcel: self.parcel.clone(), parts: parts.collect::<io::Result<_>>()? };
        instance.load(&self.image)?;
        Ok(instance)
    }
}

/// The memory in a file, if it is one of ours.
fn memory_of(fd: &OwnedFd) -> io::Result<Option<SharedMemory>> {
    let target = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    if !target.to_string_lossy().starts_with("/memfd:") {
        return Ok(None);
    }
    Ok(SharedMemory::from_fd(fd.try_clone()?).ok())
}

enum Part {
    Memory(SharedMemory),
    Other(OwnedFd),
}

/// One world that processes can live in.
pub(crate) struct Instance {
    parcel: Vec<u8>,
    parts: Vec<Part>,
}

impl Instance {
    /// For the processes of the experiment: the world, and the ledger that belongs to it.
    pub(crate) fn enter<W: DeserializeOwned>(&self) -> io::Result<(W, Ledger)> {
        let fds = self.parts.iter().map(|part| match part {
            Part::Memory(memory) => memory.as_fd().try_clone_to_owned(),
            Part::Other(fd) => fd.try_clone(),
        });
        handover::unpack(&self.parcel, fds.collect::<io::Result<_>>()?).map_err(io::Error::other)
    }

    /// For the driver: the ledger alone.
    pub(crate) fn ledger(&self) -> io::Result<Ledger> {
        // The last to be packed.
        match self.parts.last() {
            Some(Part::Memory(memory)) => Ledger::in_memory(memory.clone()),
            _ => Err(io::Error::other("a world without a ledger")),
        }
    }

    /// Makes the memory equal to `image`.
    pub(crate) fn load(&self, image: &Image) -> io::Result<()> {
        for (i, memory) in self.memories() {
            for page in data_pages(memory)? {
                if !image.0.contains_key(&(i, page)) {
                    write_page(memory, page, &[0; PAGE]);
                }
            }
        }
        for (&(i, page), bytes) in &image.0 {
            if let Some(Part::Memory(memory)) = self.parts.get(i) {
                write_page(memory, page, bytes);
            }
        }
        Ok(())
    }

    /// Brings `image` up to date with the memory; whether anything had changed.
    pub(crate) fn capture(&self, image: &mut Image) -> io::Result<bool> {
        let mut changed = false;
        for (i, memory) in self.memories() {
            changed |= image.update(i, memory)?;
        }
        Ok(changed)
    }

    /// Where a process has this world's memory mapped.
    pub(crate) fn mappings(&self, pid: i32) -> io::Result<Vec<Mapping>> {
        let mut mappings = Vec::new();
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        for (i, memory) in self.memories() {
            let inode = fs::metadata(format!("/proc/self/fd/{}", memory.as_fd().as_raw_fd()))?.ino();
            for line in maps.lines().filter(|line| line.contains("/memfd:")) {
                let field: Vec<&str> = line.split_ascii_whitespace().collect();
                let hex = |text: &str| u64::from_str_radix(text, 16).ok();
                let Some((start, end)) = field[0].split_once('-') else { continue };
                if let (Some(start), Some(end), Some(offset), Ok(node)) =
                    (hex(start), hex(end), hex(field[2]), field[4].parse::<u64>())
                    && node == inode
                {
                    mappings.push(Mapping { part: i, start, end, offset });
                }
            }
        }
        Ok(mappings)
    }

    fn memories(&self) -> impl Iterator<Item = (usize, &SharedMemory)> {
        self.parts.iter().enumerate().filter_map(|(i, part)| match part {
            Part::Memory(memory) => Some((i, memory)),
            Part::Other(_) => None,
        })
    }
}

/// A stretch of a process's addresses that is memory of the world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    part: usize,
    start: u64,
    end: u64,
    offset: u64,
}

impl Image {
    /// Does to the word at `address` of a process what the kernel does when its owner `tid` dies. Returns whether the
    /// address is in one of the mappings.
    pub(crate) fn owner_died(&mut self, mappings: &[Mapping], address: u64, tid: i32) -> bool {
        let Some(mapping) = mappings.iter().find(|m| (m.start..m.end).contains(&address)) else { return false };
        let offset = (address - mapping.start + mapping.offset) as usize;
        let (page, within) = (offset / PAGE, offset % PAGE);
        if let Some(bytes) = self.0.get_mut(&(mapping.part, page))
            && let Some(word) = bytes.get(within..within + 4)
        {
            let word = u32::from_ne_bytes(word.try_into().expect("four bytes"));
            if word & libc::FUTEX_TID_MASK == tid.cast_unsigned() {
                let marked = word & libc::FUTEX_WAITERS | libc::FUTEX_OWNER_DIED;
                Rc::make_mut(bytes)[within..within + 4].copy_from_slice(&marked.to_ne_bytes());
            }
        }
        true
    }

    fn update(&mut self, part: usize, memory: &SharedMemory) -> io::Result<bool> {
        let mut changed = false;
        for page in data_pages(memory)? {
            let known = self.0.get(&(part, page));
            if !page_equals(memory, page, known.map_or(&[0; PAGE], |known| known)) {
                changed = true;
                self.0.insert((part, page), Rc::new(read_page(memory, page)));
            }
        }
        Ok(changed)
    }
}

/// The pages that hold data. Small memories are looked at whole.
fn data_pages(memory: &SharedMemory) -> io::Result<Vec<usize>> {
    let n_pages = memory.len().div_ceil(PAGE);
    if n_pages <= 16 {
        return Ok((0..n_pages).collect());
    }
    let fd = memory.as_fd().as_raw_fd();
    // SAFETY: moves the offset of a descriptor that nobody reads from.
    let seek = |offset: usize, whence| unsafe { libc::lseek(fd, offset as i64, whence) };
    let mut pages = Vec::new();
    let mut at = 0;
    while let Ok(data) = usize::try_from(seek(at, libc::SEEK_DATA)) {
        let hole = usize::try_from(seek(data, libc::SEEK_HOLE)).map_err(io::Error::other)?;
        pages.extend(data / PAGE..hole.div_ceil(PAGE));
        at = hole;
    }
    Ok(pages)
}

/// How many bytes of the memory lie in `page`, and where that begins.
fn page_at(memory: &SharedMemory, page: usize) -> (*mut u8, usize) {
    let offset = page * PAGE;
    assert!(offset < memory.len());
    // SAFETY: inside the block.
    let start = unsafe { memory.as_ptr().add(offset) };
    (start.as_ptr(), PAGE.min(memory.len() - offset))
}

fn read_page(memory: &SharedMemory, page: usize) -> [u8; PAGE] {
    let (start, len) = page_at(memory, page);
    let mut bytes = [0; PAGE];
    // SAFETY: `len` bytes inside the block; no process that writes them is running.
    unsafe { start.copy_to_nonoverlapping(bytes.as_mut_ptr(), len) };
    bytes
}

fn page_equals(memory: &SharedMemory, page: usize, bytes: &[u8; PAGE]) -> bool {
    let (start, len) = page_at(memory, page);
    // SAFETY: as in `read_page`; the slice does not outlive this function.
    let here = unsafe { std::slice::from_raw_parts(start, len) };
    here == &bytes[..len]
}

fn write_page(memory: &SharedMemory, page: usize, bytes: &[u8; PAGE]) {
    if !page_equals(memory, page, bytes) {
        let (start, len) = page_at(memory, page);
        // SAFETY: `len` bytes inside the block; no process that uses them is running.
        unsafe { start.copy_from_nonoverlapping(bytes.as_ptr(), len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image_of(word: u32) -> Image {
        let mut page = [0; PAGE];
        page[8..12].copy_from_slice(&word.to_ne_bytes());
        Image(BTreeMap::from([((0, 1), Rc::new(page))]))
    }

    #[test]
    fn words_of_the_dead_are_marked_as_the_kernel_does() {
        let mapping = Mapping { part: 0, start: 0x7000_0000, end: 0x7000_2000, offset: 0 };
        let address = 0x7000_1008;
        let after = |word: u32, address: u64| {
            let mut image = image_of(word);
            (image.owner_died(&[mapping], address, 77), image)
        };
        assert_eq!(after(77, address), (true, image_of(libc::FUTEX_OWNER_DIED)));
        let waited_for = 77 | libc::FUTEX_WAITERS;
        assert_eq!(after(waited_for, address).1, image_of(libc::FUTEX_OWNER_DIED | libc::FUTEX_WAITERS));
        assert_eq!(after(78, address).1, image_of(78));
        assert!(!after(77, 0x6000_0000).0);
    }

    #[test]
    fn an_instance_is_a_copy_of_its_own() {
        let template = Template::new(Ledger::new().unwrap(), Ledger::new().unwrap()).unwrap();
        let (one, other) = (template.instance().unwrap(), template.instance().unwrap());
        let (world, ledger) = one.enter::<Ledger>().unwrap();
        world.add(3);
        ledger.add(4);
        let mut image = template.image.clone();
        assert!(one.capture(&mut image).unwrap());
        assert_eq!(other.enter::<Ledger>().unwrap().0.get(3), 0);
        other.load(&image).unwrap();
        let (world, ledger) = other.enter::<Ledger>().unwrap();
        assert_eq!((world.get(3), ledger.get(4), ledger.get(3)), (1, 1, 0));
        other.load(&template.image).unwrap();
        assert_eq!(world.get(3), 0);
    }
}
