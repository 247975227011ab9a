//! Bytes that come in pieces, as lines.

/// A longer line comes in several.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// What is kept of the end.
const MAX_END_BYTES: usize = 4096;

/// What a stream has said that is no whole line yet, and its end.
#[derive(Debug, Default)]
pub(super) struct Text {
    partial: Vec<u8>,
    /// The last bytes of all, some more than are wanted.
    end: Vec<u8>,
    is_end_cut: bool,
}

impl Text {
    /// Takes what has come; returns the lines that are whole now.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.end.extend_from_slice(bytes);
        if self.end.len() > 4 * MAX_END_BYTES {
            self.end.drain(..self.end.len() - MAX_END_BYTES);
            self.is_end_cut = true;
        }
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in piece.chunks(MAX_LINE_BYTES) {
                if self.partial.len() + part.len() > MAX_LINE_BYTES {
                    lines.extend(self.flush());
                }
                self.partial.extend_from_slice(part);
            }
            if piece.ends_with(b"\n") {
                self.partial.pop();
                if self.partial.last() == Some(&b'\r') {
                    self.partial.pop();
                }
                lines.push(take(&mut self.partial));
            }
        }
        lines
    }

    /// Nothing more comes: what has come is a line.
    pub(super) fn flush(&mut self) -> Option<String> {
        (!self.partial.is_empty()).then(|| take(&mut self.partial))
    }

    /// The last lines, of 4 KiB at most.
    pub(super) fn end(&self) -> String {
        let begin = self.end.len().saturating_sub(MAX_END_BYTES);
        let mut end = &self.end[begin..];
        // Not from the middle of a line, if there is a whole one.
        if (self.is_end_cut || begin > 0)
            && let Some(at) = end.iter().position(|byte| *byte == b'\n')
            && at + 1 < end.len()
        {
            end = &end[at + 1..];
        }
        String::from_utf8_lossy(end).into_owned()
    }
}

fn take(bytes: &mut Vec<u8>) -> String {
    let line = String::from_utf8_lossy(bytes).into_owned();
    bytes.clear();
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_whatever_pieces_they_come_in() {
        let said = "one\ntwo\r\n\nGrüße\nrest".as_bytes();
        for len in 1..=said.len() {
            let mut text = Text::default();
            let mut lines: Vec<_> = said.chunks(len).flat_map(|piece| text.push(piece)).collect();
            assert_eq!(lines, ["one", "two", "", "Grüße"], "in pieces of {len}");
            lines.extend(text.flush());
            assert_eq!(lines[4], "rest");
            assert_eq!((text.flush(), text.end()), (None, String::from_utf8_lossy(said).into_owned()));
        }
    }

    #[test]
    fn a_line_without_end_comes_in_parts() {
        let mut text = Text::default();
        let mut lines = text.push(&[b'x'; 3 * MAX_LINE_BYTES + 5]);
        lines.extend(text.push(b"y\n"));
        assert_eq!(
            lines.iter().map(String::len).collect::<Vec<_>>(),
            [MAX_LINE_BYTES, MAX_LINE_BYTES, MAX_LINE_BYTES, 6]
        );
    }

    #[test]
    fn the_end_is_that_of_all_and_begins_with_a_line() {
        let mut text = Text::default();
        for n in 0..10_000 {
            text.push(format!("line {n}\n").as_bytes());
        }
        let end = text.end();
        assert!(end.len() <= MAX_END_BYTES && end.len() > MAX_END_BYTES - 12);
        assert!(end.starts_with("line ") && end.ends_with("line 9999\n"));
        let mut text = Text::default();
        text.push(&[b'x'; 100_000]);
        assert_eq!(text.end(), "x".repeat(MAX_END_BYTES));
    }
}
