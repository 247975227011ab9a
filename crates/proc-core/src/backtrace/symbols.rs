//! Names of places: functions, files and lines, from the symbols and the debug information of the files themselves.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use addr2line::Loader;

use super::{Frame, Place, Places, Provenance, modules};
use crate::lock::lock;
use kernel::fork_local::ForkLocal;

/// This program's own file, whatever has become of its name.
const OWN_FILE: &str = "/proc/self/exe";
/// As many files are kept open for the next backtrace; more are read again each time.
const MAX_FILES: usize = 16;

/// No file has code from here on; readers of debug information add to such numbers without a check.
const MAX_OFFSET: u64 = 1 << 62;

/// Files and their debug information; `None` if it cannot be read.
type Files = Vec<(PathBuf, Option<Loader>)>;

/// What has been read.
static FILES: ForkLocal<Mutex<Files>> = ForkLocal::new();

/// The functions at `places`, those that only deal with a panic left out.
pub(super) fn frames(places: &Places, source: Provenance) -> Vec<Frame> {
    let loaded = if source == Provenance::Here { Vec::new() } else { modules::loaded_files() };
    let may_open = |library: Option<&Path>| match (source, library) {
        (Provenance::Here, _) | (Provenance::SameBuild, None) => true,
        (Provenance::OtherBuild, None) => false,
        (_, Some(library)) => loaded.iter().any(|path| path == library),
    };
    let mut files = lock(FILES.get());
    let mut frames = Vec::new();
    for place in places.places.iter().filter(|place| place.offset < MAX_OFFSET) {
        let library = match place.file {
            0 => None,
            // A number that no library has: the bytes were not ours.
            n => match places.libraries.get(n as usize - 1) {
                Some(library) => Some(library.as_path()),
                None => continue,
            },
        };
        let path = library.unwrap_or(Path::new(OWN_FILE));
        let loader = if may_open(library) { open(&mut files, path) } else { None };
        push_frames(loader, library, *place, &mut frames);
    }
    let begin = frames.iter().rposition(|frame| frame.function().is_some_and(is_of_a_panic));
    frames.drain(..begin.map_or(0, |last| last + 1));
    frames
}

fn open<'a>(files: &'a mut Files, path: &Path) -> Option<&'a Loader> {
    let known = files.iter().position(|(known, _)| known == path);
    let index = known.unwrap_or_else(|| {
        if files.len() == MAX_FILES {
            files.remove(0);
        }
        // Only regular files: the name came from another process, and opening a pipe would block.
        let is_file = std::fs::metadata(path).is_ok_and(|meta| meta.is_file());
        let loader = is_file.then(|| caught(|| Loader::new(path).ok())).flatten();
        files.push((path.to_owned(), loader));
        files.len() - 1
    });
    files[index].1.as_ref()
}

fn push_frames(loader: Option<&Loader>, library: Option<&Path>, place: Place, frames: &mut Vec<Frame>) {
    let bare =
        || Frame { function: None, file: None, line: None, module: library.map(Path::to_owned), offset: place.offset };
    let Some(loader) = loader else { return frames.push(bare()) };
    let before = frames.len();
    frames.extend(caught(|| inlined(loader, place.offset)).into_iter().flatten().map(|found| Frame {
        function: found.function,
        file: found.file,
        line: found.line,
        ..bare()
    }));
    if frames.len() == before {
        frames.push(bare());
    }
    // What a linker knows: functions of libraries without debug information, and whole paths, of which debug information of
    // lines alone has the last part.
    if let Some(outermost) = frames.last_mut().filter(|frame| frame.function().is_none_or(|name| !name.contains("::")))
        && let Some(symbol) = loader.find_symbol(place.offset)
    {
        let symbol = without_hash(addr2line::demangle_auto(symbol.into(), None).into_owned());
        // Two functions of the same instructions may have one symbol.
        let is_it = |name: &str| symbol.ends_with(name) || name.starts_with('{');
        if outermost.function().is_none_or(is_it) {
            outermost.function = Some(symbol);
        }
    }
}

/// What the debug information says of one function.
struct InlinedFrame {
    function: Option<String>,
    file: Option<PathBuf>,
    line: Option<u32>,
}

/// The function at an address, and those that it has been put into.
fn inlined(loader: &Loader, offset: u64) -> Option<Vec<InlinedFrame>> {
    let mut frames = loader.find_frames(offset).ok()?;
    let mut all = Vec::new();
    while let Ok(Some(frame)) = frames.next() {
        let function = frame.function.as_ref().and_then(|name| Some(name.demangle().ok()?.into_owned()));
        let (file, line) = frame.location.map_or((None, None), |at| (at.file.map(PathBuf::from), at.line));
        all.push(InlinedFrame { function: function.map(without_hash), file, line });
    }
    Some(all)
}

/// Runs `read`, whose panic is nothing found: which files are read, another process has said.
fn caught<T>(read: impl FnOnce() -> Option<T>) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).unwrap_or_default()
}

/// The name without the hash that tells one instance of a generic function from another, as std prints it.
fn without_hash(mut name: String) -> String {
    if let Some((path, hash)) = name.rsplit_once("::h")
        && hash.len() == 16
        && hash.bytes().all(|digit| digit.is_ascii_hexdigit())
    {
        name.truncate(path.len());
    }
    name
}

/// The functions between a panic and the note of it that this crate takes.
fn is_of_a_panic(function: &str) -> bool {
    ["rust_begin_unwind", "begin_panic_handler", "std::panicking::", "std::panic::panic_any"]
        .iter()
        .any(|part| function.contains(part))
        && !function.contains("catch_unwind")
        && !function.contains("std::panicking::try")
}
