//! Reading and writing a pipe as a stream of bytes.

use std::{io, sync::Arc};

use super::{
    RecvError, SendError,
    biased::WaitLimit,
    end::{Incoming, Outgoing},
};

/// Reads the bytes of the messages that one end receives as a stream; ends where the other end is closed.
pub struct StreamReader {
    end: Arc<Incoming>,
    message: io::Cursor<Vec<u8>>,
}

/// Writes a stream to one end: every write is a message.
pub struct StreamWriter {
    end: Arc<Outgoing>,
}

impl StreamReader {
    pub(super) fn new(end: Arc<Incoming>) -> Self {
        Self { end, message: io::Cursor::default() }
    }
}

impl StreamWriter {
    pub(super) fn new(end: Arc<Outgoing>) -> Self {
        Self { end }
    }
}

impl io::BufRead for StreamReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.message.position() >= self.message.get_ref().len() as u64 {
            match self.end.receive_bytes(WaitLimit::FOREVER).map_err(RecvError::from) {
                Ok(bytes) => self.message = io::Cursor::new(bytes),
                Err(RecvError::Closed) => return Ok(&[]),
                Err(e) => return Err(e.into()),
            }
        }
        self.message.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        self.message.consume(n);
    }
}

impl io::Read for StreamReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use io::BufRead;
        if buffer.is_empty() {
            return Ok(0);
        }
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

impl io::Write for StreamWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.end.send_bytes(bytes, WaitLimit::FOREVER).map_err(SendError::from)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl std::fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamReader").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamWriter").finish_non_exhaustive()
    }
}
