//! The names of functions that tasks call, from the offsets in their program's text that travel.
//!
//! What travels is the place of a trampoline, whose symbol has no parameters in its name. The function that it was made
//! for is found from there: by the symbols that its code refers to, and what they refer to, and by what was inlined into
//! them. One of those may be named after the trampoline with its parameters, which says it all; else the nearest function
//! is taken that is neither of the standard library nor of these crates. That is a guess where a program passes such a
//! library's function itself.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs,
    os::unix::fs::MetadataExt,
};

use addr2line::Loader;
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

/// Crates whose functions are passed through on the way to the program's own.
const PASSED_THROUGH: [&str; 24] = [
    "core",
    "alloc",
    "std",
    "proc_core",
    "wire",
    "kernel",
    "lane",
    "pool",
    "ipc",
    "sync",
    "tls",
    "serde",
    "serde_core",
    "hashbrown",
    "parking_lot",
    "parking_lot_core",
    "nix",
    "libc",
    "compiler_builtins",
    "crossbeam_utils",
    "gimli",
    "addr2line",
    "object",
    "smallvec",
];

/// Symbols that are looked at for one name, at most.
const MAX_LOOKS: usize = 600;

/// A program's functions.
pub(crate) struct Symbols {
    /// Sorted by address: address, length, name.
    functions: Vec<(u64, u64, String)>,
    text_at: u64,
    text: Vec<u8>,
    loader: Option<Loader>,
    known: HashMap<u64, String>,
}

impl Symbols {
    /// Those of the program that a process runs; none if it cannot be read.
    pub(crate) fn of(pid: u32) -> Self {
        Self::read(&format!("/proc/{pid}/exe"))
    }

    pub(crate) fn read(path: &str) -> Self {
        let mut symbols =
            Self { functions: Vec::new(), text_at: 0, text: Vec::new(), loader: None, known: HashMap::new() };
        let Ok(bytes) = fs::read(path) else { return symbols };
        let Ok(file) = object::File::parse(&bytes[..]) else { return symbols };
        let functions = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0);
        symbols.functions = functions
            .filter_map(|symbol| Some((symbol.address(), symbol.size(), demangled(symbol.name().ok()?))))
            .collect();
        symbols.functions.sort();
        if let Some(text) = file.section_by_name(".text") {
            symbols.text_at = text.address();
            symbols.text = text.data().unwrap_or_default().to_vec();
        }
        symbols.loader = Loader::new(path).ok();
        symbols
    }

    /// The name of the function at an offset.
    pub(crate) fn name(&mut self, offset: u64) -> String {
        if let Some(known) = self.known.get(&offset) {
            return known.clone();
        }
        let name = self.seek(offset).unwrap_or_else(|| format!("function at {offset:#x}"));
        // What is asked for may be garbage.
        if self.known.len() > 4096 {
            self.known.clear();
        }
        self.known.insert(offset, name.clone());
        name
    }

    fn function_at(&self, address: u64) -> Option<usize> {
        let after = self.functions.partition_point(|(start, ..)| *start <= address);
        let index = after.checked_sub(1)?;
        let (start, len, _) = &self.functions[index];
        (address - start < *len).then_some(index)
    }

    fn seek(&self, offset: u64) -> Option<String> {
        let mut next = VecDeque::from([self.function_at(offset)?]);
        let mut seen: HashSet<usize> = next.iter().copied().collect();
        let mut guess = None;
        for _ in 0..MAX_LOOKS {
            let Some(index) = next.pop_front() else { break };
            let (start, len, name) = &self.functions[index];
            if let Some(named) = named_in(name) {
                return Some(named);
            }
            if is_the_programs(name) {
                guess.get_or_insert_with(|| name.clone());
                continue;
            }
            if guess.is_none() {
                guess = self.inlined(*start, *len);
            }
            next.extend(self.referred_to(*start, *len).filter(|index| seen.insert(*index)));
        }
        guess
    }

    /// The functions that its calls and jumps lead to, and those whose address it takes.
    fn referred_to(&self, start: u64, len: u64) -> impl Iterator<Item = usize> {
        let begin = start.saturating_sub(self.text_at) as usize;
        let code = self.text.get(begin..begin.saturating_add(len as usize)).unwrap_or_default();
        code.windows(7).enumerate().filter_map(move |(at, bytes)| {
            // Taken for the end of an instruction with a distance: `call`, `jmp`, `lea register, [rip + …]`.
            let is_call = matches!(bytes[2], 0xe8 | 0xe9);
            let is_lea = matches!(bytes[0], 0x48 | 0x4c) && bytes[1] == 0x8d && bytes[2] & 0xc7 == 0x05;
            let distance = i32::from_le_bytes([bytes[3], bytes[4], bytes[5], bytes[6]]);
            let target = start.wrapping_add(at as u64 + 7).wrapping_add_signed(distance.into());
            let function = || self.functions.binary_search_by_key(&target, |(start, ..)| *start).ok();
            (is_call || is_lea).then(function).flatten()
        })
    }

    /// The program's own function that is inlined here, the outermost one at the first place that has one.
    fn inlined(&self, start: u64, len: u64) -> Option<String> {
        let loader = self.loader.as_ref()?;
        (start..start.saturating_add(len.min(1 << 16))).step_by(4).find_map(|address| {
            let mut frames = loader.find_frames(address).ok()?;
            let mut found = None;
            while let Ok(Some(frame)) = frames.next() {
                let name = frame.function.and_then(|function| Some(demangled(&function.raw_name().ok()?)));
                found = name.filter(|name| is_the_programs(name)).or(found);
            }
            found
        })
    }
}

fn demangled(name: &str) -> String {
    let name = format!("{:#}", addr2line::demangle_auto(name.into(), None));
    name.chars().filter(|c| !c.is_control()).collect()
}

fn is_the_programs(name: &str) -> bool {
    // Of what was inlined, a program without full debug information has names without their paths.
    let is_path = name.split('<').next().is_some_and(|path| path.contains("::")) && !name.starts_with(['<', '_']);
    let first = name.split("::").next().unwrap_or_default();
    is_path && !PASSED_THROUGH.contains(&first) && !name.contains("::_::") && !name.contains(" as ")
}

/// The program's own function in the parameters of a trampoline that a symbol is named after:
/// `drop_in_place<proc_core::function::trampoline<pool::chunk::job<program::f>::{{closure}}, (u64,)>::{{closure}}>`.
fn named_in(name: &str) -> Option<String> {
    let (_, parameters) = name.split_once("function::trampoline<")?;
    let mut depth = 0;
    let end = parameters.find(|c| {
        depth += match c {
            '<' | '(' => 1,
            '>' | ')' => -1,
            _ => 0,
        };
        depth < 0 || depth == 0 && c == ','
    })?;
    parameters[..end].split(['<', '>', '(', ')', ',', ' ']).find(|path| is_the_programs(path)).map(str::to_owned)
}

/// The file of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProgramFile(u64, u64);

/// The symbols of each program that was asked for, by its file.
#[derive(Default)]
pub(crate) struct Programs(HashMap<ProgramFile, Symbols>);

impl Programs {
    pub(crate) fn of(&mut self, pid: u32) -> Option<&mut Symbols> {
        let file = self.load(pid)?;
        self.loaded(file)
    }

    /// Loads the symbols of the program that a process runs, for when it has ended.
    pub(crate) fn load(&mut self, pid: u32) -> Option<ProgramFile> {
        let meta = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
        let file = ProgramFile(meta.dev(), meta.ino());
        self.0.entry(file).or_insert_with(|| Symbols::of(pid));
        Some(file)
    }

    pub(crate) fn loaded(&mut self, file: ProgramFile) -> Option<&mut Symbols> {
        self.0.get_mut(&file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_that_is_called_is_found_from_its_caller() {
        let mut symbols = Symbols::read("/proc/self/exe");
        let index = symbols.functions.iter().position(|(.., name)| name.contains("a_function_that_is_called_is_found"));
        let (start, ..) = symbols.functions[index.unwrap()];
        assert!(symbols.name(start).contains("a_function_that_is_called"), "{}", symbols.name(start));
        assert_eq!(symbols.name(u64::MAX), format!("function at {:#x}", u64::MAX));
    }

    #[test]
    fn a_trampolines_parameters_name_the_function() {
        let named = |parameters: &str| {
            named_in(&format!("core::ptr::drop_in_place<proc_core::function::trampoline<{parameters}"))
        };
        assert_eq!(named("it::programs::grind,(u64,)>::{{closure}}>").as_deref(), Some("it::programs::grind"));
        let chunk =
            "pool::process::chunk::job<wordcount::count_batch,alloc::vec::Vec<wordcount::Row>>::{{closure}},()>>";
        assert_eq!(named(chunk).as_deref(), Some("wordcount::count_batch"));
        assert_eq!(named("core::str::len,(wordcount::Row,)>>"), None, "an argument's type is no function");
        assert_eq!(named_in("wordcount::count_batch"), None);
    }

    #[test]
    fn what_serves_a_type_is_not_the_programs_function() {
        assert!(is_the_programs("wordcount::count_batch"));
        assert!(is_the_programs("wordcount::main::{{closure}}"));
        assert!(!is_the_programs("core::ops::function::FnOnce::call_once"));
        assert!(!is_the_programs("wordcount::_::<impl serde_core::ser::Serialize for wordcount::Counted>::serialize"));
        assert!(!is_the_programs("<wordcount::Counted as core::clone::Clone>::clone"));
        assert!(!is_the_programs("memcpy"));
        assert!(!is_the_programs("trampoline<pool::process::chunk::job::{closure_env#0}<fn() -> wordcount::Counted>>"));
        assert!(is_the_programs("wordcount::count<alloc::vec::Vec<u8>>"));
    }
}
