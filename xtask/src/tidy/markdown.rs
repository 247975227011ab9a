//! As much of Markdown as the documents use.

use std::path::{Component, Path, PathBuf};

/// A fenced block.
pub(super) struct Block {
    /// Of its first fence, from 1.
    pub(super) line: usize,
    /// What stands after the first fence: "rust,ignore".
    pub(super) info: String,
    pub(super) lines: Vec<String>,
}

pub(super) struct Document {
    /// Relative to the root of the checkout.
    pub(super) file: PathBuf,
    pub(super) text: String,
    pub(super) blocks: Vec<Block>,
    /// What is no block: each paragraph, row or heading in one line, with the number of its first.
    paragraphs: Vec<(usize, String)>,
}

impl Document {
    pub(super) fn read(file: &Path, text: &str) -> Self {
        let mut document = Self { file: file.into(), text: text.into(), blocks: Vec::new(), paragraphs: Vec::new() };
        let (mut fence, mut is_joined) = (None::<Block>, false);
        for (idx, line) in text.lines().enumerate() {
            let trimmed = line.trim_start();
            match (&mut fence, trimmed.strip_prefix("```")) {
                (None, Some(info)) => {
                    fence = Some(Block { line: idx + 1, info: info.trim().into(), lines: Vec::new() });
                    is_joined = false;
                }
                (Some(_), Some(_)) => document.blocks.extend(fence.take()),
                (Some(block), None) => block.lines.push(line.into()),
                (None, None) => {
                    let begins = ["|", "#", "* ", "- "].iter().any(|mark| trimmed.starts_with(mark));
                    match document.paragraphs.last_mut() {
                        Some((_, paragraph)) if is_joined && !begins => {
                            paragraph.push(' ');
                            paragraph.push_str(trimmed);
                        }
                        _ => document.paragraphs.push((idx + 1, trimmed.into())),
                    }
                    is_joined = !trimmed.is_empty() && !trimmed.starts_with('#');
                }
            }
        }
        document
    }

    /// The comments of a Rust file, in their lines.
    pub(super) fn of_comments(file: &Path, text: &str) -> Self {
        let comment = |line: &str| {
            let line = line.trim_start();
            let words = ["//! ", "/// ", "// "].iter().find_map(|mark| line.strip_prefix(mark));
            words.unwrap_or_default().to_owned() + "\n"
        };
        Self::read(file, &text.lines().map(comment).collect::<String>())
    }

    /// A path that is written in this document, relative to the root.
    pub(super) fn beside(&self, path: &str) -> PathBuf {
        normal(&self.file.parent().unwrap_or(Path::new("")).join(path))
    }

    /// The code spans, with their lines.
    pub(super) fn spans(&self) -> impl Iterator<Item = (usize, String)> {
        self.paragraphs.iter().flat_map(|(line, text)| split(text).1.into_iter().map(|span| (*line, span)))
    }

    /// Where links lead.
    pub(super) fn links(&self) -> impl Iterator<Item = (usize, String)> {
        self.paragraphs.iter().flat_map(|(line, text)| {
            let (prose, _) = split(text);
            let targets: Vec<_> =
                prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect();
            targets.into_iter().map(|target| (*line, target))
        })
    }

    /// What links to headings say, as the usual web sites make it of them.
    pub(super) fn anchors(&self) -> impl Iterator<Item = String> {
        let headings = self.paragraphs.iter().filter_map(|(_, text)| text.strip_prefix('#'));
        headings.map(|text| {
            let words = text.trim_start_matches('#').trim().to_lowercase();
            words
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
    }
}

/// Prose without code, and the code spans in it.
fn split(text: &str) -> (String, Vec<String>) {
    let (mut prose, mut spans, mut rest) = (String::new(), Vec::new(), text);
    while let Some(at) = rest.find('`') {
        let n = rest[at..].len() - rest[at..].trim_start_matches('`').len();
        let (fence, after) = (&rest[at..at + n], &rest[at + n..]);
        let Some(end) = after.find(fence) else { break };
        prose.push_str(&rest[..at]);
        // Something stands there, so that `[`x`](y)` remains a link.
        prose.push('_');
        spans.push(after[..end].to_owned());
        rest = &after[end + n..];
    }
    prose.push_str(rest);
    (prose, spans)
}

/// The same path without `.` and `..`.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if normal.pop() => {}
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_taken_apart() {
        let text = "# One `two`, three\n\nSee [`a`](b/c.md#d) and `x\n y`.\n\n```sh\nls `z`\n```\n| `q` | [r](s) |\n";
        let document = Document::read(Path::new("docs/x.md"), text);
        assert_eq!(document.links().collect::<Vec<_>>(), [(3, "b/c.md#d".to_owned()), (9, "s".to_owned())]);
        let spans: Vec<_> = document.spans().map(|(line, span)| format!("{line} {span}")).collect();
        assert_eq!(spans, ["1 two", "3 a", "3 x y", "9 q"]);
        assert_eq!(document.blocks.iter().map(|block| (block.line, block.lines.len())).collect::<Vec<_>>(), [(6, 1)]);
        assert_eq!(document.anchors().collect::<Vec<_>>(), ["one-two-three"]);
        assert_eq!(document.beside("../README.md"), Path::new("README.md"));
    }
}
