//! Commands that documents tell to type.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{CHEAP, Findings, Tree, manifests::Package, markdown::Document};
use crate::cargo;

/// Commands that are not of this project, and are taken as they are.
const ELSEWHERE: [&str; 13] = [
    "cd",
    "curl",
    "docker",
    "gdb",
    "git",
    "ls",
    "nats-server",
    "perf",
    "pip",
    "rustup",
    "strace",
    "systemd-run",
    "valgrind",
];
/// Cargo's own options: those with a value, and those without.
const WITH_VALUE: [&str; 9] =
    ["-p", "--package", "--example", "--test", "--bench", "--bin", "--features", "--manifest-path", "--profile"];
const ALONE: [&str; 12] = [
    "--release",
    "--quiet",
    "--workspace",
    "--doc",
    "--all",
    "--check",
    "--all-targets",
    "--no-deps",
    "--no-run",
    "--lib",
    "--timings",
    "--offline",
];
/// The test harness's own.
const OF_TESTS: [&str; 3] = ["--nocapture", "--ignored", "--test-threads"];

pub(super) struct Commands<'a> {
    tree: &'a Tree,
    packages: Vec<Package>,
    /// Those of `xtask`, with their modules.
    xtask: HashMap<String, String>,
    /// Those of [`CHEAP`] that were found, and where.
    cheap: HashMap<&'static str, (PathBuf, usize)>,
    pub(super) n_checked: usize,
}

impl<'a> Commands<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        // `"crash" => crash::run(&rest),` of its `main`.
        let main = tree.text(Path::new("xtask/src/main.rs"));
        let arms = main.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" => "));
        let xtask = arms.filter_map(|(name, call)| Some((name.to_owned(), call.split_once("::")?.0.to_owned())));
        let xtask = xtask.chain([("help".to_owned(), "main".to_owned())]).collect();
        Self { tree, packages: Package::all(tree), xtask, cheap: HashMap::new(), n_checked: 0 }
    }

    pub(super) fn of_document(&mut self, document: &Document, findings: &mut Findings) {
        let mut all: Vec<(usize, String)> = Vec::new();
        for block in &document.blocks {
            let lines = block.lines.iter().enumerate().map(|(idx, line)| (block.line + 1 + idx, line.as_str()));
            match block.info.as_str() {
                "sh" => all.extend(continued(lines)),
                "console" => all.extend(lines.filter_map(|(at, line)| Some((at, line.strip_prefix("$ ")?.to_owned())))),
                _ => {}
            }
        }
        all.extend(document.spans().filter(|(_, span)| span.starts_with("cargo ")));
        for (line, text) in all {
            for command in text.split(" # ").next().unwrap_or_default().split("&&") {
                self.check(command.trim(), &document.file, line, findings);
            }
        }
    }

    fn check(&mut self, command: &str, file: &Path, line: usize, findings: &mut Findings) {
        // Variables that are set before it; and brackets around what may be left out.
        let words = command.split_whitespace().map(|word| word.trim_matches(['[', ']', '\'', '"']));
        let words: Vec<&str> = words.skip_while(|word| word.contains('=') && !word.starts_with('-')).collect();
        if let Some(cheap) = CHEAP.into_iter().find(|cheap| words.join(" ") == *cheap) {
            self.cheap.entry(cheap).or_insert_with(|| (file.into(), line));
        }
        self.n_checked += 1;
        let wrong = match words[..] {
            ["cargo", "xtask", ref rest @ ..] => self.xtask(rest),
            ["cargo", "run" | "test" | "bench" | "build" | "check" | "doc" | "clippy" | "fmt", ref rest @ ..] => {
                self.cargo(rest)
            }
            ["cargo"] => Ok(()),
            // A program that a command before it has built.
            [program, ..] if program.starts_with("./") => {
                let name = &program[2..];
                let is_built = self.packages.iter().any(|p| p.has("example", name) || p.has("bin", name));
                if is_built { Ok(()) } else { Err(format!("no program {program} is built here")) }
            }
            [program, ..] if ELSEWHERE.contains(&program) => Ok(()),
            _ => Err("is no command that tidy knows".into()),
        };
        if let Err(what) = wrong {
            findings.add(file, line, format_args!("`{command}`: {what}"));
        }
    }

    fn xtask(&self, words: &[&str]) -> Result<(), String> {
        let Some((name, args)) = words.split_first() else { return Ok(()) };
        if is_placeholder(name) {
            return Ok(());
        }
        let module = self.xtask.get(*name).ok_or_else(|| format!("xtask has no command {name}"))?;
        let source = PathBuf::from("xtask/src").join(module).with_extension("rs");
        // What the command runs has the options, or the command itself.
        let text = self.tree.text(&source);
        let mut strings = text.split('"').skip(1).step_by(2);
        let mut places = vec![source];
        while let Some(string) = strings.next() {
            if string == "-p" || string == "--package" {
                places.extend(strings.next().and_then(|name| self.package(name)).map(|p| p.folder.clone()));
            }
        }
        let is_said = |word: &&&str| !is_placeholder(word) && !self.is_in(&places, word);
        args.iter().find(is_said).map_or(Ok(()), |word| Err(format!("nothing that it runs knows {word}")))
    }

    fn cargo(&self, words: &[&str]) -> Result<(), String> {
        let (own, given) = match words.iter().position(|word| *word == "--") {
            Some(at) => (&words[..at], &words[at + 1..]),
            None => (words, &[][..]),
        };
        let mut package = None;
        let (mut filters, mut places) = (Vec::new(), Vec::new());
        let mut own = own.iter();
        while let Some(word) = own.next() {
            if !WITH_VALUE.contains(word) {
                match word.strip_prefix('-') {
                    Some(_) if !ALONE.contains(word) => return Err(format!("tidy does not know the option {word}")),
                    Some(_) => {}
                    None => filters.push(*word),
                }
                continue;
            }
            let value = own.next().ok_or_else(|| format!("{word} wants a value"))?;
            if is_placeholder(value) {
                continue;
            }
            match *word {
                "-p" | "--package" => {
                    let found = self.package(value).ok_or_else(|| format!("there is no package {value}"))?;
                    places.push(found.folder.clone());
                    package = Some(found);
                }
                "--example" | "--test" | "--bench" | "--bin" => {
                    let kind = word.trim_start_matches('-');
                    let mut all = self.packages.iter().filter(|each| package.is_none_or(|p| p.name == each.name));
                    let found = all.find(|each| each.has(kind, value));
                    package = Some(found.ok_or_else(|| format!("there is no {kind} {value}"))?);
                    places.extend(package.map(|p| p.folder.clone()));
                }
                "--features" => {
                    let has = |p: &Package| p.features.iter().any(|feature| feature == value);
                    if !package.map_or_else(|| self.packages.iter().any(has), has) {
                        return Err(format!("there is no feature {value}"));
                    }
                }
                "--manifest-path" if !self.tree.has(Path::new(value)) => return Err(format!("there is no {value}")),
                _ => {}
            }
        }
        if places.is_empty() {
            places.push(PathBuf::from("crates"));
        }
        // Names of tests, and what the program itself is given. A path or a number is for the program to judge.
        let given = given.iter().filter(|word| !OF_TESTS.iter().any(|of_tests| word.starts_with(of_tests)));
        let is_option = |word: &&&str| word.starts_with("--");
        let mut unknown = filters.iter().chain(given.filter(is_option)).filter(|word| !is_placeholder(word));
        unknown
            .find(|word| !self.is_in(&places, word))
            .map_or(Ok(()), |word| Err(format!("nothing that it runs knows {word}")))
    }

    fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    /// Whether a word stands in the Rust below these places.
    fn is_in(&self, places: &[PathBuf], word: &str) -> bool {
        let word = word.split('=').next().unwrap_or(word);
        self.tree.of_kind("rs").filter(|file| places.iter().any(|place| file.starts_with(place))).any(|file| {
            let text = self.tree.text(file);
            let is_edge = |c: Option<char>| c.is_none_or(|c| !(c.is_alphanumeric() || c == '-'));
            text.match_indices(word).any(|(at, _)| {
                word.starts_with("--")
                    || is_edge(text[..at].chars().next_back())
                    || is_edge(text[at + word.len()..].chars().next())
            })
        })
    }

    /// Runs those that take no time.
    pub(super) fn run_cheap(&self, findings: &mut Findings) {
        for command in CHEAP {
            let Some((file, line)) = self.cheap.get(command) else {
                findings.add(Path::new("xtask/src/tidy.rs"), 1, format_args!("no document says `{command}` any more"));
                continue;
            };
            match cargo(command.split(' ').skip(1)).output() {
                Ok(output) if output.status.success() => {}
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stderr);
                    findings.add(file, *line, format_args!("`{command}`: {}: {said}", output.status));
                }
                Err(e) => findings.add(file, *line, format_args!("`{command}`: {e}")),
            }
        }
    }
}

/// Lines that end with `\` go on in the next one.
fn continued<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    for (at, line) in lines {
        match all.last_mut() {
            Some((_, last)) if last.ends_with('\\') => {
                last.pop();
                last.push_str(line.trim_start());
            }
            _ if line.trim().is_empty() || line.starts_with('#') => {}
            _ => all.push((at, line.into())),
        }
    }
    all
}

/// "NAME", "PID|NAME", "N": the reader's own word. So is what names nothing here: a number, a path, an address.
fn is_placeholder(word: &str) -> bool {
    let is_capitals = word.chars().all(|c| c.is_ascii_uppercase() || "_|.…".contains(c));
    let is_value = word.chars().next().is_some_and(|c| c.is_ascii_digit()) || word.starts_with(['/', '$', '.']);
    is_capitals || is_value
}
