//! In the owner: which files the addresses of a process that is gone lay in, by what it sent of its `/proc/PID/maps`.

use std::{
    ffi::OsStr,
    fs::File,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use crate::backtrace::Places;

/// One executable mapping.
struct Mapping<'a> {
    begin: u64,
    end: u64,
    offset: u64,
    inode: u64,
    path: &'a [u8],
}

/// Turns addresses into places in files. Those that lie in no file are left out.
pub(super) fn locate(addresses: &[u64], maps: &[u8]) -> Places {
    let own_inode = std::fs::metadata("/proc/self/exe").map_or(0, |meta| meta.ino());
    let mappings: Vec<Mapping<'_>> = maps.split(|byte| *byte == b'\n').filter_map(parse).collect();
    let mut segments: Vec<(PathBuf, Vec<Segment>)> = Vec::new();
    let mut places = Places::default();
    for address in addresses {
        let Some(mapping) = mappings.iter().find(|mapping| (mapping.begin..mapping.end).contains(address)) else {
            continue;
        };
        // Whatever its name is: it runs the same program.
        let is_own = mapping.inode == own_inode;
        let path = if is_own { Path::new("/proc/self/exe") } else { Path::new(OsStr::from_bytes(mapping.path)) };
        if !path.is_absolute() {
            continue;
        }
        let known = segments.iter().position(|(known, _)| known == path);
        let index = known.unwrap_or_else(|| {
            segments.push((path.to_owned(), read_segments(path).unwrap_or_default()));
            segments.len() - 1
        });
        let in_file = address - mapping.begin + mapping.offset;
        let Some(offset) = segments[index].1.iter().find_map(|segment| segment.address_of(in_file)) else { continue };
        places.push((!is_own).then_some(path), offset);
    }
    places
}

fn parse(line: &[u8]) -> Option<Mapping<'_>> {
    let mut fields = line.splitn(6, |byte| *byte == b' ');
    let mut text = || std::str::from_utf8(fields.next()?).ok();
    let (begin, end) = text()?.split_once('-')?;
    let _permissions = text()?;
    let offset = text()?;
    let _device = text()?;
    let inode = text()?;
    let path = fields.next()?.trim_ascii();
    let number = |text| u64::from_str_radix(text, 16).ok();
    let (begin, end, offset) = (number(begin)?, number(end)?, number(offset)?);
    Some(Mapping { begin, end, offset, inode: inode.parse().ok()?, path })
}

/// A part of an executable file that is mapped as code.
struct Segment {
    offset: u64,
    len: u64,
    address: u64,
}

impl Segment {
    fn address_of(&self, offset: u64) -> Option<u64> {
        let inside = offset.checked_sub(self.offset).filter(|inside| *inside < self.len)?;
        self.address.checked_add(inside)
    }
}

/// Bytes of a 64-bit ELF file's header, and of one of its program headers.
const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;

fn read_segments(path: &Path) -> Option<Vec<Segment>> {
    // Only regular files: the name came from another process, and opening a pipe would block.
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let file = File::open(path).ok()?;
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0).ok()?;
    if header[..5] != *b"\x7fELF\x02" || usize::from(u16_at(&header, 54)?) != PROGRAM_HEADER_BYTES {
        return None;
    }
    let mut table = vec![0; usize::from(u16_at(&header, 56)?) * PROGRAM_HEADER_BYTES];
    file.read_exact_at(&mut table, u64_at(&header, 32)?).ok()?;
    let (headers, _) = table.as_chunks::<PROGRAM_HEADER_BYTES>();
    let code = headers.iter().filter(|header| {
        let word =
            |at: usize| header.get(at..at + 4).map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
        word(0) == Some(libc::PT_LOAD) && word(4).is_some_and(|flags| flags & libc::PF_X != 0)
    });
    code.map(|header| {
        Some(Segment { offset: u64_at(header, 8)?, address: u64_at(header, 16)?, len: u64_at(header, 32)? })
    })
    .collect()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|word| u16::from_ne_bytes(*word))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|word| u64::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_functions_are_found_by_the_maps() {
        let maps = std::fs::read("/proc/self/maps").unwrap();
        let code: Vec<u8> = maps
            .split_inclusive(|byte| *byte == b'\n')
            .filter(|line| line.contains(&b'x'))
            .flatten()
            .copied()
            .collect();
        let here = own_functions_are_found_by_the_maps as fn() as usize;
        let there = libc::getpid as *const () as usize;
        let places = locate(&[here as u64, there as u64, 7], &code);
        let backtrace = crate::Backtrace::of_places(places);
        let names: Vec<_> = backtrace.frames().iter().filter_map(|frame| frame.function()).collect();
        assert!(names[0].ends_with("own_functions_are_found_by_the_maps"), "{names:?}");
        assert!(names[1].contains("getpid"), "{names:?}");
    }

    #[test]
    fn garbage_is_no_place() {
        let backtrace = crate::Backtrace::of_places(locate(
            &[0, 5, u64::MAX],
            b"0-ffffffffffffffff r-xp 0 0:0 1 /dev/zero\n\xff\n-\n\n",
        ));
        assert!(backtrace.frames().is_empty());
    }
}
