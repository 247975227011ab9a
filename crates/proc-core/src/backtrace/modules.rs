//! Which files addresses of this process lie in.
//!
//! # Safety
//! Reads what the dynamic loader reports, while it reports it.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, OsStr},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
};

use super::Places;
use crate::image::Image;

/// Turns addresses into places. Those that lie in no file are left out.
pub(super) fn locate(addresses: &[usize]) -> Places {
    let image = Image::get();
    let mut places = Places::default();
    let mut libraries: Option<Vec<Library>> = None;
    for address in addresses {
        if let Some(offset) = image.offset_of(*address) {
            places.push(None, offset);
            continue;
        }
        let libraries = libraries.get_or_insert_with(loaded);
        let Some(library) = libraries.iter().find(|library| library.contains(*address)) else { continue };
        places.push(Some(&library.path), address.wrapping_sub(library.base) as u64);
    }
    places
}

struct Library {
    path: PathBuf,
    base: usize,
    /// Its executable segments, in memory.
    text: Vec<std::ops::Range<usize>>,
}

impl Library {
    fn contains(&self, address: usize) -> bool {
        self.text.iter().any(|text| text.contains(&address))
    }
}

/// The files of this process's shared libraries, by the names that they were loaded by and by their real names.
pub(super) fn loaded_files() -> Vec<PathBuf> {
    let names = loaded().into_iter().map(|library| library.path).filter(|path| path.is_absolute());
    names.flat_map(|path| [std::fs::canonicalize(&path).unwrap_or_default(), path]).collect()
}

/// The shared libraries of this process.
fn loaded() -> Vec<Library> {
    let mut libraries = Vec::new();
    // SAFETY: the callback takes `data` for what it is, and does not unwind.
    unsafe { libc::dl_iterate_phdr(Some(push), (&raw mut libraries).cast()) };
    libraries
}

unsafe extern "C" fn push(info: *mut libc::dl_phdr_info, _size: libc::size_t, data: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `data` is the `&raw mut libraries` of `loaded`.
    let libraries = unsafe { &mut *data.cast::<Vec<Library>>() };
    // SAFETY: the loader hands in a valid description.
    let info = unsafe { &*info };
    // SAFETY: null, or a name that lives as long as the loader's description.
    let name = (!info.dlpi_name.is_null()).then(|| unsafe { CStr::from_ptr(info.dlpi_name) });
    let base = info.dlpi_addr as usize;
    // SAFETY: the loader's program headers stay mapped as long as the library, which cannot go during this call.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let text = headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0).map(
        |header| {
            let start = base.wrapping_add(header.p_vaddr as usize);
            start..start + header.p_memsz as usize
        },
    );
    let path = name.map(|name| PathBuf::from(OsStr::from_bytes(name.to_bytes()))).unwrap_or_default();
    libraries.push(Library { path, base, text: text.collect() });
    0
}
