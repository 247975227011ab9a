//! This program's own image in memory: where its code lies, and which build it is.
//!
//! # Safety
//! Reads the program headers that the dynamic loader reports, which stay mapped for good.
#![allow(unsafe_code)]

use std::{ops::Range, sync::OnceLock};

/// The main executable as the loader has mapped it.
#[derive(Debug)]
pub(crate) struct Image {
    /// What is added to addresses in the file to get addresses in memory.
    base: usize,
    /// The executable segments, in memory.
    text: Vec<Range<usize>>,
    /// Tells one build from another: a hash of the linker's build id and of the layout of the segments.
    pub(crate) fingerprint: u64,
    /// What the linker has written into the program to tell one build from another; most do.
    pub(crate) build_id: Option<Vec<u8>>,
}

impl Image {
    pub(crate) fn get() -> &'static Self {
        static IMAGE: OnceLock<Image> = OnceLock::new();
        IMAGE.get_or_init(Self::read)
    }

    /// Where `address` lies in this program's code; `None` if it lies elsewhere (in a shared library).
    pub(crate) fn offset_of(&self, address: usize) -> Option<u64> {
        let inside = self.text.iter().any(|text| text.contains(&address));
        inside.then(|| (address.wrapping_sub(self.base)) as u64)
    }

    /// The address of a place in this program's code; `None` if the offset is not inside it.
    pub(crate) fn address_of(&self, offset: u64) -> Option<usize> {
        let address = self.base.wrapping_add(usize::try_from(offset).ok()?);
        self.text.iter().any(|text| text.contains(&address)).then_some(address)
    }

    fn read() -> Self {
        let mut image = Self { base: 0, text: Vec::new(), fingerprint: FNV_OFFSET, build_id: None };
        // SAFETY: the callback takes `data` for what it is, and does not unwind.
        unsafe { libc::dl_iterate_phdr(Some(read_first), (&raw mut image).cast()) };
        image
    }
}

/// The loader reports the main executable first.
unsafe extern "C" fn read_first(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: `data` is the `&raw mut image` of `Image::read`.
    let image = unsafe { &mut *data.cast::<Image>() };
    // SAFETY: the loader hands in a valid description.
    let info = unsafe { &*info };
    image.base = info.dlpi_addr as usize;
    // SAFETY: the loader's program headers stay mapped as long as the program.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    for header in headers {
        let start = image.base.wrapping_add(header.p_vaddr as usize);
        let len = header.p_memsz as usize;
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0 {
            let segment = start..start + len;
            // On aarch64, linkers put the file's headers into the segment of the code.
            let table = info.dlpi_phdr as usize..headers.as_ptr_range().end as usize;
            let begin = if segment.contains(&table.start) { table.end } else { segment.start };
            image.text.push(begin..segment.end);
        }
        let layout = [u64::from(header.p_type), u64::from(header.p_flags), header.p_vaddr, header.p_memsz];
        hash(&mut image.fingerprint, &layout.map(u64::to_le_bytes).concat());
        if header.p_type == libc::PT_NOTE {
            // SAFETY: notes are part of a loaded, readable segment.
            let notes = unsafe { std::slice::from_raw_parts(start as *const u8, len) };
            hash(&mut image.fingerprint, notes);
            image.build_id = image.build_id.take().or_else(|| build_id(notes));
        }
    }
    1
}

/// The description of the note `GNU` of type 3 among `notes`.
fn build_id(mut notes: &[u8]) -> Option<Vec<u8>> {
    const NT_GNU_BUILD_ID: u32 = 3;
    let mut take = |n: usize| notes.split_off(..n);
    loop {
        let (header, _) = take(12)?.as_chunks::<4>();
        let [name_bytes, bytes, kind] = [0, 1, 2].map(|i| u32::from_ne_bytes(header[i]));
        let padded = |n: u32| (n as usize).next_multiple_of(4);
        let name = take(padded(name_bytes))?;
        let description = take(padded(bytes))?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return Some(description[..bytes as usize].to_vec());
        }
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

fn hash(state: &mut u64, bytes: &[u8]) {
    for byte in bytes {
        *state = (*state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_id_is_found_behind_other_notes() {
        let note = |kind: u32, name: &[u8], description: &[u8]| {
            let mut note = [name.len() as u32, description.len() as u32, kind].map(u32::to_ne_bytes).concat();
            for part in [name, description] {
                note.extend_from_slice(part);
                note.resize(note.len().next_multiple_of(4), 0);
            }
            note
        };
        let id = note(3, b"GNU\0", b"twenty bytes or so");
        assert_eq!(build_id(&id).unwrap(), b"twenty bytes or so");
        assert_eq!(build_id(&[note(1, b"GNU\0", b"abc"), id.clone()].concat()).unwrap(), b"twenty bytes or so");
        assert_eq!(build_id(&note(3, b"Go\0", b"another")), None);
        assert_eq!(build_id(&id[..id.len() - 4]), None);
    }

    #[test]
    fn own_code_is_inside_and_libc_is_not() {
        let image = Image::get();
        let here = own_code_is_inside_and_libc_is_not as fn() as usize;
        let offset = image.offset_of(here).unwrap();
        assert_eq!(image.address_of(offset), Some(here));
        assert_eq!(image.offset_of(libc::getpid as *const () as usize), None);
        assert_eq!(image.address_of(u64::MAX), None);
    }
}
