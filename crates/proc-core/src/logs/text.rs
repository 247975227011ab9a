//! Fields of a record as bytes: written up to a limit, read without trust.

use std::fmt;

/// Appends to a buffer, up to a limit, and counts what did not fit.
#[derive(Debug)]
pub(super) struct Limited<'a> {
    bytes: &'a mut Vec<u8>,
    limit: usize,
    n_cut: usize,
}

impl<'a> Limited<'a> {
    /// Up to `limit` bytes of the buffer in all.
    pub(super) fn new(bytes: &'a mut Vec<u8>, limit: usize) -> Self {
        Self { bytes, limit, n_cut: 0 }
    }

    /// Bytes that did not fit.
    pub(super) fn n_cut(&self) -> usize {
        self.n_cut
    }
}

impl fmt::Write for Limited<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // What comes after a cut must not close the gap.
        let room = if self.n_cut > 0 { 0 } else { self.limit.saturating_sub(self.bytes.len()) };
        let kept = if text.len() <= room { text.len() } else { boundary(text, room) };
        self.bytes.extend_from_slice(&text.as_bytes()[..kept]);
        self.n_cut += text.len() - kept;
        Ok(())
    }
}

/// The last place up to `len` between two characters.
fn boundary(text: &str, len: usize) -> usize {
    (0..=len.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

/// The longest name of a file, a module, a key.
const MAX_NAME_BYTES: usize = 1024;

/// Appends a name, which is cut if it is very long.
pub(super) fn put_name(bytes: &mut Vec<u8>, name: &str) {
    let name = &name[..boundary(name, MAX_NAME_BYTES)];
    bytes.extend_from_slice(&(name.len() as u16).to_ne_bytes());
    bytes.extend_from_slice(name.as_bytes());
}

/// Appends a text with its length before it, up to a limit of the buffer's length; returns how many bytes are missing.
pub(super) fn put_text(bytes: &mut Vec<u8>, limit: usize, text: fmt::Arguments<'_>) -> usize {
    let begin = bytes.len();
    bytes.extend_from_slice(&[0; 4]);
    let mut to = Limited::new(bytes, limit);
    // An error of a `Display` cuts the text off, as it does for every logger.
    let _ = fmt::Write::write_fmt(&mut to, text);
    let n_cut = to.n_cut();
    let len = (bytes.len() - begin - 4) as u32;
    bytes[begin..begin + 4].copy_from_slice(&len.to_ne_bytes());
    n_cut
}

/// Takes from the front of bytes; `None` if what is there is not what was asked for.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn utf8(&mut self, len: usize) -> Option<&'a str> {
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    pub(super) fn name(&mut self) -> Option<&'a str> {
        let len = u16::from_ne_bytes(self.array()?);
        self.utf8(len.into())
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let len = u32::from_ne_bytes(self.array()?);
        self.utf8(len as usize)
    }
}
