//! A queue's memory file, and the parts of it that this process has mapped.
//!
//! # Safety
//! The file is sealed against shrinking and never unmapped while the `Segment` lives, so every address in it stays
//! valid. Control memory is only handed out as atomics and as raw pointers to payloads; every slot, record and
//! participant is asked for by an index that is checked against the geometry.
#![allow(unsafe_code)]

mod blocks;
mod reserve;
#[cfg(test)]
mod tests;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use kernel::{
    handover,
    liveness::{Membership, Register},
    sys::memfd::{self, Reserve},
};
use nix::errno::Errno;
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub(crate) use self::blocks::BlockMemory;
use self::reserve::reserve;
use super::{
    layout::{
        CLASSES, Geometry, HEADER_BYTES, Header, MAGIC, PARTICIPANTS, RECORDS_STEP, Record, SLOTS_STEP, Slot, VERSION,
    },
    windows::{BlockWindows, FurtherSections, Window},
    word::BlockId,
};

/// Up to this length a table is believed to have memory, without asking the kernel.
const BELIEVED_BYTES: u64 = 16 << 20;

// SAFETY: addresses that are valid in every thread.
unsafe impl Send for Segment {}
// SAFETY: as above; what is reachable through them is atomic, or claimed first.
unsafe impl Sync for Segment {}

#[derive(Debug)]
pub(crate) struct Segment {
    fd: OwnedFd,
    pub(crate) geometry: Geometry,
    control: Window,
    /// Where the slots of the first section begin.
    slots: NonNull<Slot>,
    further_slots: FurtherSections,
    further_records: [FurtherSections; CLASSES - 1],
    /// What this process knows of the queue's users.
    membership: Membership,
    /// The mapped windows of the classes of blocks that are mapped by the dozen.
    windows: [BlockWindows; CLASSES - 1],
    large: Mutex<Vec<(u32, Arc<Window>)>>,
}

impl Segment {
    /// Makes the file of a new queue.
    pub(crate) fn create(geometry: Geometry, leases: bool, max_deliveries: u32) -> io::Result<Self> {
        let fd = memfd::sealed("ipc-queue", geometry.file_bytes, Reserve::Lazily)?;
        reserve(&fd, 0, HEADER_BYTES + PARTICIPANTS * 8)?;
        let slots = SLOTS_STEP.min(geometry.ring.capacity);
        reserve(&fd, geometry.slots_at as u64, slots as usize * size_of::<Slot>())?;
        let segment = Self::map(fd, geometry)?;
        let header = segment.header();
        // Relaxed, and then Release: a process that finds the magic number finds all of these.
        header.version.store(VERSION, Relaxed);
        header.leases.store(leases.into(), Relaxed);
        header.capacity.store(geometry.capacity(), Relaxed);
        header.fitted.store(geometry.classes[0].block_bytes as u64, Relaxed);
        header.max_message.store(geometry.max_message as u64, Relaxed);
        header.max_deliveries.store(max_deliveries, Relaxed);
        header.reserved_slots.store(slots, Relaxed);
        header.magic.store(MAGIC, Release);
        Ok(segment)
    }

    /// Maps the file of a queue that came from elsewhere, if that is what it is.
    fn attach(fd: OwnedFd) -> io::Result<Self> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let file_bytes = match memfd::sealed_len(&fd) {
            Err(Errno::EPERM) => return Err(invalid("the file's length is not sealed, so it is no queue")),
            len => len?,
        };
        if file_bytes < HEADER_BYTES as u64 {
            return Err(invalid("the file is too short for a queue"));
        }
        let first = Window::new(&fd, 0, HEADER_BYTES)?;
        // SAFETY: so many bytes are mapped, page-aligned; `Header` is made of atomics.
        let header = unsafe { first.start.cast::<Header>().as_ref() };
        // Acquire: pairs with `create`.
        if header.magic.load(Acquire) != MAGIC || header.version.load(Relaxed) != VERSION {
            return Err(invalid("the file is no queue of this version"));
        }
        let [capacity, fitted, max_message] =
            [&header.capacity, &header.fitted, &header.max_message].map(|number| number.load(Relaxed));
        let geometry = Geometry::new(capacity, fitted, max_message)
            .filter(|geometry| geometry.file_bytes == file_bytes)
            .ok_or_else(|| invalid("the queue's header contradicts itself"))?;
        Self::map(fd, geometry)
    }

    fn map(fd: OwnedFd, geometry: Geometry) -> io::Result<Self> {
        let control = Window::new(&fd, 0, geometry.control_bytes)?;
        let membership = Membership::new(fd.as_fd())?;
        let windows = [0, 1, 2].map(|class: usize| BlockWindows::new(&geometry.classes[class]));
        // SAFETY: `Geometry` puts the slots inside the control window.
        let slots = unsafe { control.start.add(geometry.slots_at) }.cast();
        let (further_slots, further_records) = Default::default();
        let large = Mutex::new(Vec::new());
        Ok(Self { fd, geometry, control, slots, further_slots, further_records, membership, windows, large })
    }

    pub(crate) fn header(&self) -> &Header {
        // SAFETY: the control window is longer than a header, page-aligned; `Header` is made of atomics.
        unsafe { self.control.start.cast::<Header>().as_ref() }
    }

    pub(crate) fn participants(&self) -> &[AtomicU64; PARTICIPANTS] {
        // SAFETY: `Geometry` puts the participants behind the header.
        let start = unsafe { self.control.start.add(HEADER_BYTES) };
        // SAFETY: as above; aligned to 8, and made of atomics.
        unsafe { start.cast().as_ref() }
    }

    /// The processes that use the queue, and which of them are dead.
    pub(crate) fn register(&self) -> Register<'_> {
        Register::new(self.fd.as_fd(), &self.header().register, &self.membership)
    }

    /// A slot.
    ///
    /// # Safety
    /// There must be such a slot, and it must have been [reached](Self::reach_slots).
    #[inline(always)]
    pub(crate) unsafe fn slot(&self, index: u32) -> &Slot {
        let slot = if index < self.geometry.ring.capacity {
            // SAFETY: `Geometry` has room for `capacity` slots there.
            unsafe { self.slots.add(index as usize) }
        } else {
            self.further_slot(index)
        };
        // SAFETY: as above; aligned to a page at the start, and made of atomics.
        unsafe { slot.as_ref() }
    }

    /// A slot of the first section.
    ///
    /// # Safety
    /// There must be such a slot.
    #[inline(always)]
    pub(crate) unsafe fn near_slot(&self, index: u32) -> &Slot {
        // SAFETY: `Geometry` has room for `capacity` slots there.
        let slot = unsafe { self.slots.add(index as usize) };
        // SAFETY: as above; aligned to a page at the start, and made of atomics.
        unsafe { slot.as_ref() }
    }

    #[cold]
    #[inline(never)]
    fn further_slot(&self, index: u32) -> NonNull<Slot> {
        let entry = self.further_slots.entry(self.geometry.ring.sections(), index, size_of::<Slot>());
        entry.expect("slots are reached before they are asked for").cast()
    }

    /// Maps those of the first `end` slots that are not mapped yet.
    pub(crate) fn reach_slots(&self, end: u32) -> io::Result<()> {
        if end <= self.geometry.ring.capacity {
            return Ok(());
        }
        self.further_slots.map_up_to(self.geometry.ring.sections(), end, &self.fd, |section| self.slots_of(section))
    }

    /// Where in the file the slots of a section are, and how long that is.
    fn slots_of(&self, section: u32) -> (u64, usize) {
        let sections = self.geometry.ring.sections();
        let at = self.geometry.slot_at(sections.first(section));
        (at, sections.len(section) as usize * size_of::<Slot>())
    }

    /// The record of a block, after mapping it if need be; `None` if there is no such block, or no address for it.
    #[inline]
    pub(crate) fn find_record(&self, id: BlockId) -> Option<&Record> {
        let class = &self.geometry.classes[usize::from(id.class & 3)];
        if id.index >= class.near {
            return self.find_further_record(id);
        }
        let offset = class.records_at + id.index as usize * size_of::<Record>();
        // SAFETY: `Geometry` has room for `near` records there.
        let start = unsafe { self.control.start.add(offset) };
        // SAFETY: as above; page-aligned at the start, and made of atomics.
        Some(unsafe { start.cast().as_ref() })
    }

    #[cold]
    #[inline(never)]
    fn find_further_record(&self, id: BlockId) -> Option<&Record> {
        if !self.geometry.has(id) {
            return None;
        }
        self.reach_records(id.class, id.index + 1).ok()?;
        let sections = self.geometry.classes[usize::from(id.class & 3)].sections();
        let further = self.further_records.get(usize::from(id.class & 3))?;
        let record = further.entry(sections, id.index, size_of::<Record>())?.cast();
        // SAFETY: in the window of its section, page-aligned at the start, and made of atomics.
        Some(unsafe { record.as_ref() })
    }

    /// The record of a block that has been [found](Self::find_record) or [reached](Self::reach_records) before.
    ///
    /// # Panics
    /// If there is no such block.
    #[inline]
    pub(crate) fn record(&self, id: BlockId) -> &Record {
        self.find_record(id).expect("a block is found before its record is used")
    }

    /// Maps those of the first `end` records of a class that are not mapped yet.
    #[inline]
    pub(crate) fn reach_records(&self, class: u8, end: u32) -> io::Result<()> {
        let shape = &self.geometry.classes[usize::from(class & 3)];
        if end <= shape.near { Ok(()) } else { self.reach_further_records(class, end) }
    }

    #[cold]
    fn reach_further_records(&self, class: u8, end: u32) -> io::Result<()> {
        let shape = &self.geometry.classes[usize::from(class & 3)];
        let further = self.further_records.get(usize::from(class & 3)).ok_or(Errno::EINVAL)?;
        further.map_up_to(shape.sections(), end.min(shape.count), &self.fd, |section| self.records_of(class, section))
    }

    /// Where in the file the records of a section are, and how long that is.
    fn records_of(&self, class: u8, section: u32) -> (u64, usize) {
        let shape = &self.geometry.classes[usize::from(class & 3)];
        let first = shape.sections().first(section);
        let len = shape.sections().len(section).min(shape.count.next_multiple_of(RECORDS_STEP) - first);
        (shape.record_at(first), len as usize * size_of::<Record>())
    }

    /// Puts memory behind `bytes` bytes of control memory.
    pub(crate) fn reserve_control(&self, offset: u64, bytes: usize) -> io::Result<()> {
        reserve(&self.fd, offset, bytes)
    }

    /// How much memory the file takes, if the kernel says so.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        let stat = nix::sys::stat::fstat(&self.fd).ok()?;
        Some(u64::try_from(stat.st_blocks).unwrap_or(0) * 512)
    }

    /// Whether the file may have memory behind so many bytes of one table. What others have written there as its length is not
    /// believed where it has not: to look through such a table would put memory behind all of it.
    pub(crate) fn may_have(&self, bytes: u64) -> bool {
        bytes <= BELIEVED_BYTES || self.may_hold(bytes)
    }

    /// Whether so many bytes can lie in what the file takes of memory. It is believed where a filter of system calls keeps the kernel
    /// from saying: a queue is not given up for that.
    pub(crate) fn may_hold(&self, bytes: u64) -> bool {
        self.memory_bytes().is_none_or(|memory| bytes <= memory)
    }
}

impl Serialize for Segment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // SAFETY: the descriptor is this value's own.
        unsafe { handover::serialize_fd(self.fd.as_fd(), serializer) }
    }
}

impl<'de> Deserialize<'de> for Segment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        handover::deserialize_fd(deserializer).and_then(|fd| Self::attach(fd).map_err(de::Error::custom))
    }
}

impl AsFd for Segment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        for (windows, class) in self.windows.iter_mut().zip(&self.geometry.classes) {
            windows.unmap(class);
        }
        let mut slots = std::mem::take(&mut self.further_slots);
        slots.unmap(|section| self.slots_of(section));
        for (mut records, class) in std::mem::take(&mut self.further_records).into_iter().zip(0..) {
            records.unmap(|section| self.records_of(class, section));
        }
    }
}
