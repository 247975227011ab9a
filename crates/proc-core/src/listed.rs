//! The functions that the program itself lists as ones that can be called in another process.
//!
//! An offset that comes from another process of this program is trusted. One that comes from a network is looked up here: in
//! the program's table of symbols, where each trampoline has its name. A program that was stripped has no such table.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    sync::OnceLock,
};

use kernel::fds::above_standard_streams;

/// What the names of all [`Function`](crate::function::Function)s contain, by either way of mangling.
const TRAMPOLINE: &[u8] = b"proc_core8function10trampoline";

/// The offsets; `None` if the program has no table.
pub(crate) fn listed() -> Option<&'static HashSet<u64>> {
    static LISTED: OnceLock<Option<HashSet<u64>>> = OnceLock::new();
    LISTED.get_or_init(|| read(&mut program().ok()?).ok().flatten()).as_ref()
}

fn program() -> io::Result<File> {
    let program = File::open("/proc/self/exe")?;
    Ok(above_standard_streams(program)?)
}

const SHT_SYMTAB: u32 = 2;
const STT_FUNC: u8 = 2;
/// Bytes of an entry of the table of sections, and of symbols, of a file of 64 bits.
const SECTION_BYTES: usize = 64;
const SYMBOL_BYTES: usize = 24;

fn read(program: &mut File) -> io::Result<Option<HashSet<u64>>> {
    let mut header = [0; 64];
    program.read_exact(&mut header)?;
    let n_sections = usize::from(u16::from_le_bytes([header[60], header[61]]));
    let table = read_at(program, word(&header, 40), (n_sections * SECTION_BYTES) as u64)?;
    let sections = table.as_chunks::<SECTION_BYTES>().0;
    let kind = |section: &[u8; SECTION_BYTES]| u32::from_le_bytes([section[4], section[5], section[6], section[7]]);
    let Some(symbols) = sections.iter().find(|section| kind(section) == SHT_SYMTAB) else { return Ok(None) };
    let names = u32::from_le_bytes([symbols[40], symbols[41], symbols[42], symbols[43]]);
    let Some(names) = sections.get(names as usize) else { return Ok(None) };
    let mut content = |section: &[u8]| read_at(program, word(section, 24), word(section, 32));
    let (symbols, names) = (content(symbols)?, content(names)?);
    let functions = symbols.as_chunks::<SYMBOL_BYTES>().0.iter().filter(|symbol| symbol[4] & 0xf == STT_FUNC);
    let trampolines = functions.filter(|symbol| {
        let at = u32::from_le_bytes([symbol[0], symbol[1], symbol[2], symbol[3]]) as usize;
        let name = names.get(at..).unwrap_or_default();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        name.windows(TRAMPOLINE.len()).any(|part| part == TRAMPOLINE)
    });
    Ok(Some(trampolines.map(|symbol| word(symbol, 8)).collect()))
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

fn read_at(file: &mut File, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    let end = file.metadata()?.len();
    if offset.checked_add(len).is_none_or(|past| past > end) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}
