//! Which instruction it was, for people to look at.

use std::{fs, process::Command};

/// The instruction at `address` of a process: disassembly, function and source line, as far as the tools are at hand.
pub(crate) fn line(pid: i32, address: Option<u64>) -> String {
    let Some(address) = address else { return "nowhere: it has ended".into() };
    let Some((file, address)) = locate(pid, address) else { return format!("{address:#x}") };
    let source = output("addr2line", &["-Cfpie", &file, &format!("{address:#x}")]);
    // From the innermost of the inlined functions outwards, the first that is not the standard library's.
    let mut functions = source.lines().map(|line| line.trim().trim_start_matches("(inlined by) "));
    let ours = functions.clone().find(|function| !function.contains(" at /rustc/"));
    let source = ours.or_else(|| functions.next()).unwrap_or_default();
    let (from, to) = (format!("--start-address={address:#x}"), format!("--stop-address={:#x}", address + 16));
    let disassembly = output("objdump", &["-dC", "--no-show-raw-insn", &from, &to, &file]);
    let instruction = disassembly.lines().find(|line| line.trim_start().starts_with(&format!("{address:x}:")));
    format!("{}   {source}", instruction.unwrap_or_default().trim().replace('\t', " "))
}

/// The file that is mapped at an address, and the address as that file's symbols know it.
fn locate(pid: i32, address: u64) -> Option<(String, u64)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let entries = maps.lines().filter_map(|line| {
        let field: Vec<&str> = line.split_ascii_whitespace().collect();
        let (start, end) = field.first()?.split_once('-')?;
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        Some((hex(start)?, hex(end)?, hex(field.get(2)?)?, (*field.get(5)?).to_owned()))
    });
    let entries: Vec<_> = entries.collect();
    let (.., file) = entries.iter().find(|(start, end, ..)| (*start..*end).contains(&address))?;
    let base = entries.iter().find(|(_, _, offset, name)| *offset == 0 && name == file)?.0;
    Some((file.clone(), address - base))
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}
