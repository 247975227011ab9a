//! What the documents say is there: links, files, commands, blocks of Rust, dependencies; and their own form.
//!
//! * Each *Markdown file* of the checkout is read. Its relative links lead to files, and to headings that are there.
//! * A *file* that is named in a code span (`queue/mod.rs`) is the end of a path that is there.
//! * A *command* is a line of a block of `sh`, a line after `$ ` in one of `console`, or a code span that begins with `cargo `, also
//!   in comments of Rust. Those of [`CHEAP`] are run. What the others name has to be there: packages, targets, features, commands
//!   of `xtask`; and each of their options is a word in the sources of what they run. A word in capitals stands for any.
//! * A *source file* begins with a line of `//!`, which says what it is about.
//! * A block of *Rust* is a doc test: its file is included by one of [`DOC_TESTS`]. One that says `ignore` is a part of a program
//!   here: each of its lines stands in that, comments at their ends aside. (Not those of `cluster`, which few build.)
//! * A *test* that is named (`FILE::TEST`) is in that file.
//! * A *dependency* in a block of `toml` is a crate here, with the features that it has, or one that `Cargo.lock` knows.
//!
//! What CHANGELOG.md says was true in its time: only its links and its form are looked at. COMPARE.md names files of others.

mod commands;
mod manifests;
mod markdown;

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use self::{commands::Commands, markdown::Document};
use crate::Outcome;

/// Takes less than a few seconds, and changes nothing.
const CHEAP: [&str; 1] = ["cargo xtask help"];
/// Files whose `include_str!` makes doc tests of Markdown files.
const DOC_TESTS: [&str; 2] = ["examples/lib.rs", "crates/lane/src/lib.rs"];
/// In columns: of prose, neither a table's row nor a link on its own.
const MAX_WIDTH: usize = 140;

/// What has been found wrong.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, file: &Path, line: usize, what: impl std::fmt::Display) {
        self.0.push(format!("{}:{line}: {what}", file.display()));
    }
}

/// The checkout.
struct Tree {
    root: PathBuf,
    /// Relative to the root.
    files: Vec<PathBuf>,
    folders: HashSet<PathBuf>,
}

impl Tree {
    fn read() -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut tree = Self { root, files: Vec::new(), folders: HashSet::new() };
        tree.walk(Path::new("")).map_err(|e| format!("cannot read the checkout: {e}"))?;
        tree.files.sort();
        Ok(tree)
    }

    fn walk(&mut self, folder: &Path) -> std::io::Result<()> {
        for entry in fs::read_dir(self.root.join(folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            match entry.file_type()? {
                kind if kind.is_dir() && !is_hidden && path.file_name() != Some("target".as_ref()) => {
                    self.folders.insert(path.clone());
                    self.walk(&path)?;
                }
                kind if kind.is_file() => self.files.push(path),
                _ => {}
            }
        }
        Ok(())
    }

    fn text(&self, file: &Path) -> String {
        fs::read_to_string(self.root.join(file)).unwrap_or_default()
    }

    fn has(&self, path: &Path) -> bool {
        self.folders.contains(path) || self.root.join(path).exists()
    }

    /// Whether the path of a file or of a folder ends so.
    fn has_end(&self, end: &str) -> bool {
        let end = Path::new(end.trim_end_matches('/'));
        self.files.iter().chain(&self.folders).any(|path| path.ends_with(end))
    }

    fn of_kind(&self, extension: &str) -> impl Iterator<Item = &PathBuf> {
        self.files.iter().filter(move |file| file.extension().is_some_and(|e| e == extension))
    }
}

pub(crate) fn run() -> Outcome {
    let tree = Tree::read()?;
    let mut findings = Findings::default();
    let mut commands = Commands::new(&tree);
    let documents: Vec<Document> = tree.of_kind("md").map(|file| Document::read(file, &tree.text(file))).collect();
    for document in &documents {
        form(document, &mut findings);
        links(document, &tree, &documents, &mut findings);
        if document.file != Path::new("CHANGELOG.md") {
            named_tests(document, &tree, &mut findings);
            if document.file != Path::new("COMPARE.md") {
                named_files(document, &tree, &mut findings);
            }
            commands.of_document(document, &mut findings);
            rust_blocks(document, &tree, &mut findings);
            manifests::dependencies(document, &tree, &mut findings);
        }
    }
    for file in tree.of_kind("rs") {
        let text = tree.text(file);
        head(file, &text, &mut findings);
        commands.of_document(&Document::of_comments(file, &text), &mut findings);
    }
    commands.run_cheap(&mut findings);
    let n_commands = commands.n_checked;
    println!("{} documents, {n_commands} commands, {} of them run", documents.len(), CHEAP.len());
    if findings.0.is_empty() { Ok(()) } else { Err(format!("what is said is not so:\n{}", findings.0.join("\n"))) }
}

/// A source file of a crate begins with what it is about. (Unit tests are about the file beside them.)
fn head(file: &Path, text: &str, findings: &mut Findings) {
    let is_source = file.starts_with("crates") && file.components().any(|part| part.as_os_str() == "src");
    if is_source && !file.ends_with("tests.rs") && !(text.starts_with("//!") || text.starts_with("#![doc")) {
        findings.add(file, 1, "does not begin with a line of `//!`");
    }
}

/// Width, spaces at the end of lines, empty lines, and the end of the file.
fn form(document: &Document, findings: &mut Findings) {
    let (mut is_empty_before, mut is_block) = (false, false);
    for (idx, line) in document.text.lines().enumerate() {
        let mut add = |what| findings.add(&document.file, idx + 1, what);
        let is_wide = line.chars().count() > MAX_WIDTH;
        if is_wide && !line.starts_with('|') && line.trim().contains(' ') {
            add("wider than 140 columns");
        }
        if line != line.trim_end() {
            add("spaces at the end of the line");
        }
        is_block ^= line.trim_start().starts_with("```");
        if line.is_empty() && is_empty_before && !is_block {
            add("two empty lines");
        }
        is_empty_before = line.is_empty();
    }
    if is_empty_before || !document.text.ends_with('\n') {
        findings.add(&document.file, document.text.lines().count(), "does not end with one end of a line");
    }
}

fn links(document: &Document, tree: &Tree, documents: &[Document], findings: &mut Findings) {
    for (line, target) in document.links() {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, heading) = target.split_once('#').unwrap_or((&target, ""));
        let file = if path.is_empty() { document.file.clone() } else { document.beside(path) };
        if !path.is_empty() && !tree.has(&file) {
            findings.add(&document.file, line, format_args!("{target:?} leads nowhere"));
        }
        let Some(other) = documents.iter().find(|other| other.file == file) else { continue };
        if !heading.is_empty() && !other.anchors().any(|anchor| anchor == heading) {
            findings.add(&document.file, line, format_args!("{} has no heading #{heading}", file.display()));
        }
    }
}

fn named_files(document: &Document, tree: &Tree, findings: &mut Findings) {
    const KINDS: [&str; 7] = [".rs", ".md", ".toml", ".py", ".c", ".css", ".service"];
    const FOLDERS: [&str; 6] = ["crates/", "examples/", "docs/", "benches/", "xtask/", "fuzz/"];
    for (line, span) in document.spans() {
        let is_path =
            span.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c)) && !span.starts_with(['/', '.']);
        let is_named = KINDS.iter().any(|kind| span.len() > kind.len() && span.ends_with(kind))
            || FOLDERS.iter().any(|folder| span.starts_with(folder));
        if is_path && is_named && !tree.has_end(&span) && !tree.has(&document.beside(&span)) {
            findings.add(&document.file, line, format_args!("there is no file {span}"));
        }
    }
}

fn named_tests(document: &Document, tree: &Tree, findings: &mut Findings) {
    for (line, span) in document.spans() {
        let Some((file, test)) = span.split_once(".rs::") else { continue };
        if !tree.text(Path::new(&format!("{file}.rs"))).contains(&format!("fn {test}(")) {
            findings.add(&document.file, line, format_args!("there is no test {span}"));
        }
    }
}

fn rust_blocks(document: &Document, tree: &Tree, findings: &mut Findings) {
    let name = document.file.file_name().unwrap_or_default().to_string_lossy();
    let is_included = DOC_TESTS.iter().any(|file| {
        let includes = tree.text(Path::new(file));
        let folder = Path::new(file).parent().unwrap_or(Path::new(""));
        includes
            .split("include_str!(\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .any(|path| markdown::normal(&folder.join(path)) == document.file && path.ends_with(&*name))
    });
    for block in &document.blocks {
        let mut words = block.info.split([',', ' ']);
        if words.next() != Some("rust") {
            continue;
        }
        if words.any(|word| word == "ignore") {
            let is_of_cluster = block.lines.iter().any(|line| line.contains("cluster::"));
            if !is_of_cluster && !tree.of_kind("rs").any(|file| has_lines(&tree.text(file), &block.lines)) {
                findings.add(&document.file, block.line, "is ignored, and no part of a program");
            }
        } else if !is_included {
            findings.add(&document.file, block.line, "no doc test: no file of DOC_TESTS includes this one");
        }
    }
}

/// Whether each of `lines` stands in `text`, whatever its indentation and the comment at its end.
fn has_lines(text: &str, lines: &[String]) -> bool {
    let bare = |line: &str| line.split(" // ").next().unwrap_or(line).trim().to_owned();
    let there: HashSet<String> = text.lines().map(|line| bare(line.trim_start().trim_start_matches("//!"))).collect();
    lines.iter().all(|line| there.contains(&bare(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRONG: &str = "\
# One
[a](nowhere.md) [b](README.md#no-such-heading) [c](#one) [d](README.md)
`crates/none/src/lib.rs` `xtask/src/tidy.rs` `tidy.rs` `xtask/src/tidy.rs::no_such_test`
`cargo xtask nothing` `cargo xtask cluster --nothing` `cargo xtask cluster --faults` `cargo xtask NAME`
`cargo test -p none` `cargo run --example none` `cargo run --example wordcount -- DIR --nothing`
`cargo run --release --example wordcount --features cluster -- --kill-workers 5` `cargo test --nothing`
```sh
frobnicate all
```
```rust
let x = 1;
```
```rust,ignore
let n\x6fbody_has_this_line = 1;
```
```toml
[dependencies]
pool = { path = \"../x/crates/pool\", features = [\"log\", \"none\"] }
serde = \"1\"
serde = \"0.1\"
```
 \n";

    #[test]
    fn what_is_not_so_is_found() {
        let tree = Tree::read().unwrap();
        let documents = [
            Document::read(Path::new("wrong.md"), WRONG),
            Document::read(Path::new("README.md"), &tree.text(Path::new("README.md"))),
        ];
        let (mut findings, mut commands) = (Findings::default(), Commands::new(&tree));
        let wrong = &documents[0];
        form(wrong, &mut findings);
        links(wrong, &tree, &documents, &mut findings);
        named_tests(wrong, &tree, &mut findings);
        named_files(wrong, &tree, &mut findings);
        commands.of_document(wrong, &mut findings);
        rust_blocks(wrong, &tree, &mut findings);
        manifests::dependencies(wrong, &tree, &mut findings);
        let expected = [
            "spaces at the end of the line",
            "\"nowhere.md\" leads nowhere",
            "README.md has no heading #no-such-heading",
            "there is no test xtask/src/tidy.rs::no_such_test",
            "there is no file crates/none/src/lib.rs",
            "`frobnicate all`: is no command that tidy knows",
            "`cargo xtask nothing`: xtask has no command nothing",
            "`cargo xtask cluster --nothing`: nothing that it runs knows --nothing",
            "`cargo test -p none`: there is no package none",
            "`cargo run --example none`: there is no example none",
            "`cargo run --example wordcount -- DIR --nothing`: nothing that it runs knows --nothing",
            "`cargo test --nothing`: tidy does not know the option --nothing",
            "no doc test: no file of DOC_TESTS includes this one",
            "is ignored, and no part of a program",
            "pool: there is no feature none",
            "serde: Cargo.lock has no such version of it",
        ];
        let found: Vec<&str> = findings.0.iter().filter_map(|line| line.split_once(": ")).map(|line| line.1).collect();
        assert_eq!(found, expected);
    }
}
