//! Reads `/proc/self/maps` inside a signal handler: the lines of code are kept, and what tells a stack that was used up
//! from any other bad address is noted. Allocates nothing.
//!
//! # Safety
//! Three system calls on a buffer and a descriptor of its own.
#![allow(unsafe_code)]

use std::os::fd::RawFd;

use super::packet::MAPS_BYTES;

/// The kernel keeps so much below a stack free of everything else; a function with a larger frame touches each page of it
/// in turn.
const GAP: u64 = 1 << 20;

/// What has been read.
pub(super) struct Maps {
    /// Lines of executable mappings.
    pub(super) code: [u8; MAPS_BYTES],
    pub(super) len: usize,
}

/// What the mappings around a bad address look like.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Around {
    address: u64,
    /// The address is mapped, so that it can be read.
    is_readable: bool,
    /// The lowest readable mapping above the address: begin, end, whether it can be written to.
    above: Option<(u64, u64, bool)>,
}

impl Around {
    /// Whether a thread whose stack pointer is `stack` ran out of stack when it touched the address.
    pub(super) fn is_overflow(self, stack: u64) -> bool {
        let Some((begin, end, true)) = self.above else { return false };
        !self.is_readable && begin - self.address <= GAP && (begin.saturating_sub(GAP)..end).contains(&stack)
    }

    fn see(&mut self, begin: u64, end: u64, permissions: &[u8]) {
        let [b'r', write, ..] = permissions else { return };
        if (begin..end).contains(&self.address) {
            self.is_readable = true;
        } else if begin > self.address && self.above.is_none_or(|(lowest, ..)| begin < lowest) {
            self.above = Some((begin, end, *write == b'w'));
        }
    }
}

impl Maps {
    pub(super) const fn new() -> Self {
        Self { code: [0; MAPS_BYTES], len: 0 }
    }

    /// Opens and reads them. What cannot be read is missing.
    pub(super) fn read(&mut self, address: u64) -> Around {
        // SAFETY: a name that ends with NUL.
        let file = unsafe { libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        if file < 0 {
            return Around { address, ..Around::default() };
        }
        let around = self.read_from(file, address);
        // SAFETY: opened above.
        unsafe { libc::close(file) };
        around
    }

    /// Reads them from where they have been opened before.
    pub(super) fn read_from(&mut self, file: RawFd, address: u64) -> Around {
        let mut around = Around { address, ..Around::default() };
        let mut offset = 0;
        let mut buffer = [0_u8; 4096];
        let mut filled = 0;
        loop {
            let rest = &mut buffer[filled..];
            // SAFETY: the buffer is as long as it is said to be.
            let n = unsafe { libc::pread(file, rest.as_mut_ptr().cast(), rest.len(), offset) };
            offset += n as libc::off_t;
            let Some(n) = usize::try_from(n).ok().filter(|n| *n > 0) else { break };
            filled += n;
            let mut begin = 0;
            while let Some(len) = buffer[begin..filled].iter().position(|byte| *byte == b'\n') {
                self.take(&buffer[begin..=begin + len], &mut around);
                begin += len + 1;
            }
            buffer.copy_within(begin..filled, 0);
            filled -= begin;
            if filled == buffer.len() {
                // A line longer than any path may be.
                break;
            }
        }
        around
    }

    fn take(&mut self, line: &[u8], around: &mut Around) {
        let Some((begin, end, permissions)) = parse(line) else { return };
        around.see(begin, end, permissions);
        if permissions.get(2) == Some(&b'x')
            && let Some(place) = self.code.get_mut(self.len..self.len + line.len())
        {
            place.copy_from_slice(line);
            self.len += line.len();
        }
    }
}

fn parse(line: &[u8]) -> Option<(u64, u64, &[u8])> {
    let (begin, rest) = hex(line)?;
    let (end, rest) = hex(rest.strip_prefix(b"-")?)?;
    Some((begin, end, rest.strip_prefix(b" ")?.get(..4)?))
}

/// A number at the front, and what follows it.
fn hex(text: &[u8]) -> Option<(u64, &[u8])> {
    let len = text.iter().position(|byte| !byte.is_ascii_hexdigit()).filter(|len| (1..=16).contains(len))?;
    let digit = |byte: &u8| (*byte as char).to_digit(16).map_or(0, u64::from);
    let number = text[..len].iter().fold(0, |number, byte| number << 4 | digit(byte));
    Some((number, &text[len..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_code_and_surroundings_are_found() {
        let mut maps = Box::new(Maps::new());
        let here = 0_u8;
        let stack = &raw const here as u64;
        let around = maps.read(stack);
        assert!(around.is_readable && !around.is_overflow(stack));
        let text = std::str::from_utf8(&maps.code[..maps.len]).unwrap();
        let function = own_code_and_surroundings_are_found as fn() as usize as u64;
        let is_in = |line: &str| parse(line.as_bytes()).is_some_and(|(begin, end, _)| (begin..end).contains(&function));
        assert!(text.lines().any(is_in) && text.lines().all(|line| line.as_bytes().contains(&b'x')), "{text}");
    }

    #[test]
    fn an_address_below_a_stack_is_an_overflow() {
        let around = |address| {
            let mut around = Around { address, ..Around::default() };
            around.see(0x1000_0000, 0x1000_1000, b"---p");
            around.see(0x1000_1000, 0x1080_0000, b"rw-p");
            around.see(0x2000_0000, 0x2080_0000, b"r-xp");
            around
        };
        assert!(around(0x1000_0ff8).is_overflow(0x1000_1000));
        assert!(around(0x0fff_fff8).is_overflow(0x0fff_fff0));
        assert!(!around(0x1000_0ff8).is_overflow(0x3000_0000), "another thread's stack");
        assert!(!around(0x1000_2000).is_overflow(0x1000_2000), "mapped");
        assert!(!around(0).is_overflow(0x1000_2000), "far away");
        assert!(!around(0x1fff_fff8).is_overflow(0x2000_0010), "no stack");
    }
}
