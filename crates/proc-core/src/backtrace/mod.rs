//! Where a panic, or a crash, came from: return addresses, taken where it happened and named where they are read.
//!
//! Names and line numbers take a hundred milliseconds and many megabytes. The process that failed therefore only takes
//! note of its return addresses ([`capture`]), as places in the files that its code comes from. Its owner, which runs
//! the same program, looks the names up when it is asked for them ([`symbols`]).

mod capture;
mod modules;
mod symbols;

use std::{
    fmt,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A backtrace of a function that ran in another process.
///
/// It is a list of return addresses. Functions, files and lines are looked up in this process, at the first use of
/// [`frames`](Self::frames) or of the text (`Display`, or anything that a `str` can do), which takes up to some hundred
/// milliseconds. A process without debug information shows names only, a stripped one nothing but offsets.
///
/// There is one only if the environment of the process that failed asks for it, as for std's
/// [`Backtrace`](std::backtrace::Backtrace::capture): `RUST_LIB_BACKTRACE`, or else `RUST_BACKTRACE`, is set and not `0`.
/// Without it, this is the empty text.
///
/// # Examples
/// ```
/// use proc_core::{Process, ProcessError};
///
/// fn fail() {
///     panic!("no");
/// }
/// let process = Process::builder().env("RUST_LIB_BACKTRACE", "1").spawn(fail, ())?;
/// let Err(ProcessError::Panicked { backtrace, .. }) = process.join() else { unreachable!() };
/// for frame in backtrace.frames() {
///     println!("{} in {:?}, line {:?}", frame.function().unwrap_or("?"), frame.file(), frame.line());
/// }
/// # Ok::<(), ProcessError>(())
/// ```
#[derive(Clone, Default)]
pub struct Backtrace(Option<Arc<Captured>>);

#[derive(Default)]
struct Captured {
    places: Places,
    source: Provenance,
    frames: OnceLock<Vec<Frame>>,
    text: OnceLock<String>,
}

/// Where the files lie that the places name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Provenance {
    /// On this machine.
    #[default]
    Here,
    /// On another machine, which runs this build of the program.
    SameBuild,
    /// On another machine, which runs another program.
    OtherBuild,
}

/// What travels.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Places {
    /// Shared libraries that the places name.
    libraries: Vec<PathBuf>,
    places: Vec<Place>,
}

impl Places {
    /// Appends a place in a library, or in this program.
    pub(crate) fn push(&mut self, library: Option<&Path>, offset: u64) {
        let file = library.map_or(0, |library| {
            let known = self.libraries.iter().position(|known| known == library);
            let index = known.unwrap_or_else(|| {
                self.libraries.push(library.to_owned());
                self.libraries.len() - 1
            });
            index as u32 + 1
        });
        self.places.push(Place { file, offset });
    }
}

/// An address, as a place in a file.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// The library's index and one; 0 for the program itself.
    file: u32,
    /// The address that the file gives to the place.
    offset: u64,
}

/// One function of a [`Backtrace`]. Functions that the compiler has put into their callers have frames of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    function: Option<String>,
    file: Option<PathBuf>,
    line: Option<u32>,
    module: Option<PathBuf>,
    offset: u64,
}

impl Frame {
    /// The function's name, with its path; `None` if the program has no symbols for it.
    pub fn function(&self) -> Option<&str> {
        self.function.as_deref()
    }

    /// The source file; `None` without debug information.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The line in it, from 1 on; `None` without debug information.
    pub fn line(&self) -> Option<u32> {
        self.line
    }

    /// The shared library that the code is part of; `None` for the program itself.
    pub fn module(&self) -> Option<&Path> {
        self.module.as_deref()
    }

    /// Where in the program's file, or the library's, the address lies: what `addr2line` takes.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl Backtrace {
    /// The calling thread's, if the environment asks for backtraces. Allocates; looks up no names.
    pub(crate) fn capture() -> Self {
        if capture::is_enabled() { Self::of_addresses(&capture::addresses()) } else { Self::default() }
    }

    fn of_addresses(addresses: &[usize]) -> Self {
        Self::of_places(modules::locate(addresses))
    }

    pub(crate) fn of_places(places: Places) -> Self {
        Self::of_places_at(places, Provenance::Here)
    }

    fn of_places_at(places: Places, source: Provenance) -> Self {
        if places.places.is_empty() {
            return Self::default();
        }
        Self(Some(Arc::new(Captured { places, source, ..Captured::default() })))
    }

    /// Marks it as one that came from another machine. Names are then looked up only in this program's own file, if the other
    /// machine runs the same build, and in libraries that this process has loaded: a path from a network opens no other file.
    /// The other frames have their offsets.
    #[doc(hidden)]
    pub fn from_another_machine(self, is_same_build: bool) -> Self {
        let source = if is_same_build { Provenance::SameBuild } else { Provenance::OtherBuild };
        self.0.map_or_else(Self::default, |captured| Self::of_places_at(captured.places.clone(), source))
    }

    /// The functions, from the innermost outward, without those that deal with panics.
    pub fn frames(&self) -> &[Frame] {
        self.0
            .as_ref()
            .map_or(&[], |captured| captured.frames.get_or_init(|| symbols::frames(&captured.places, captured.source)))
    }

    /// As the text that std would print.
    pub fn as_str(&self) -> &str {
        let Some(captured) = &self.0 else { return "" };
        captured.text.get_or_init(|| {
            let mut text = String::new();
            for (number, frame) in self.frames().iter().enumerate() {
                let lines = describe(number, frame, &mut text);
                debug_assert!(lines.is_ok(), "a string takes every text");
            }
            text
        })
    }
}

fn describe(number: usize, frame: &Frame, text: &mut impl fmt::Write) -> fmt::Result {
    match (&frame.function, &frame.module) {
        (Some(function), _) => writeln!(text, "{number:4}: {function}")?,
        (None, Some(module)) => writeln!(text, "{number:4}: {}+{:#x}", module.display(), frame.offset)?,
        (None, None) => writeln!(text, "{number:4}: <program>+{:#x}", frame.offset)?,
    }
    match (&frame.file, frame.line) {
        (Some(file), Some(line)) => writeln!(text, "             at {}:{line}", file.display()),
        (Some(file), None) => writeln!(text, "             at {}", file.display()),
        (None, _) => Ok(()),
    }
}

impl Deref for Backtrace {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Does not look up names: an error that is printed with `{:?}` must not take a hundred milliseconds.
impl fmt::Debug for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Backtrace(none)"),
            Some(captured) => write!(f, "Backtrace({} addresses)", captured.places.places.len()),
        }
    }
}

impl PartialEq for Backtrace {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref().map(|captured| &captured.places) == other.0.as_ref().map(|captured| &captured.places)
    }
}

impl Eq for Backtrace {}

impl Serialize for Backtrace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(captured) => captured.places.serialize(serializer),
            None => Places::default().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Backtrace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Places::deserialize(deserializer).map(Self::of_places)
    }
}

#[cfg(test)]
mod tests;
