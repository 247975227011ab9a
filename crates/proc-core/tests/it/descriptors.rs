//! Descriptors of this library's own never lie where a program expects its standard streams.

use std::{fs, path::Path};

/// What makes a descriptor.
const CREATES: [&str; 20] = [
    "socketpair(",
    "socket(AddressFamily",
    "accept4(",
    "recvmsg(",
    "recvmsg::<",
    "memfd_create(",
    "pipe2(",
    "io::pipe(",
    "EventFd::from_",
    "Epoll::new(",
    "SignalFd::",
    "TimerFd::new(",
    "SYS_pidfd_open",
    "CLONE_PIDFD",
    "F_DUPFD",
    "File::open(",
    "File::create(",
    "OpenOptions::new(",
    "fcntl::open(",
    "libc::open(",
];

/// Where it stays for a moment only, or is moved in another way.
const EXEMPT: &[(&str, &str, &str)] = &[
    ("start/vouch.rs", "recvmsg::<", "has no room for descriptors"),
    ("start/vouch.rs", "File::open(", "in a copy, which fills its standard streams first"),
    ("start/spawn.rs", "File::open(", "in a copy, which fills its standard streams first"),
    ("sys/clone.rs", "CLONE_PIDFD", "moved further below, once it is known which process this is"),
    ("sys/exec.rs", "CLONE_PIDFD", "moved further below, once the child is known to run"),
    ("sys/fds.rs", "F_DUPFD", "is what moves it"),
    ("sys/scm_rights.rs", "recvmsg(", "hands them to its callers, which move them"),
    ("command/link.rs", "F_DUPFD", "is what moves it"),
    ("reaper/init.rs", "SignalFd::", "made while the places of the standard streams are occupied"),
    ("confine/calls.rs", "SYS_pidfd_open", "the number of a call, in a list"),
    ("confine/names.rs", "SYS_pidfd_open", "the number of a call, in a list"),
    ("confine/rules.rs", "F_DUPFD", "the number of a command, in a list"),
    ("crash/maps.rs", "libc::open(", "closed by the function that opens it, in a process that is about to end"),
    ("crash/origin.rs", "File::open(", "closed by the function that opens it"),
    ("listener/path.rs", "socket(AddressFamily", "closed by the function that opens it"),
];

/// A moved descriptor is moved by the statement that makes it, or by the next one; the lines that belong to those.
const LINES_BEFORE: usize = 3;
const LINES_AFTER: usize = 14;

fn sources(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// The lines that make descriptors and leave them where they are.
fn unmoved(path: &str, source: &str) -> Vec<String> {
    let shipped = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines: Vec<&str> = shipped.lines().collect();
    let is_code = |line: &str| !line.trim_start().starts_with("//");
    let is_moved = |at: usize| {
        let from = at.saturating_sub(LINES_BEFORE);
        let around = &lines[from..(at + LINES_AFTER).min(lines.len())];
        around.iter().any(|line| is_code(line) && line.contains("above_standard_streams"))
    };
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| is_code(line) && !line.contains("use ")) {
        for what in CREATES.iter().filter(|what| line.contains(**what)) {
            let is_exempt = EXEMPT.iter().any(|(file, exempt, _)| path.ends_with(file) && exempt == what);
            if !is_exempt && !is_moved(at) {
                found.push(format!("{path}:{}: {}", at + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn whatever_makes_a_descriptor_moves_it_above_the_standard_streams() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for name in ["kernel", "proc-core", "sync", "ipc", "lane", "pool", "tls"] {
        sources(&crates.join(name).join("src"), &mut files);
    }
    let (mut found, mut n_made) = (Vec::new(), 0);
    for file in &files {
        let source = fs::read_to_string(file).unwrap();
        n_made += CREATES.iter().map(|what| source.matches(what).count()).sum::<usize>();
        found.extend(unmoved(file.to_str().unwrap(), &source));
    }
    println!("{} files, {n_made} places that make descriptors, {} left where they are", files.len(), found.len());
    assert!(n_made > 20, "the files of this workspace were not found");
    assert!(found.is_empty(), "these must go through `fds::above_standard_streams`:\n{}", found.join("\n"));
}

/// The test above can fail.
#[test]
fn a_descriptor_that_is_not_moved_is_found() {
    let made = "fn f() -> io::Result<OwnedFd> {\n    let fd = memfd_create(\"x\", MFdFlags::MFD_CLOEXEC)?;\n";
    assert_eq!(unmoved("a.rs", &format!("{made}    Ok(fd)\n}}\n")).len(), 1);
    assert_eq!(unmoved("a.rs", &format!("{made}    Ok(above_standard_streams(fd)?)\n}}\n")), Vec::<String>::new());
}
