//! Copies of this program never run its `main`, whatever rights it has, and have the rights of their owner. Most of these
//! cases need root.

use std::{
    ffi::CString,
    fs::{self, OpenOptions, Permissions},
    io::Write,
    os::{
        fd::AsRawFd,
        unix::{
            fs::{PermissionsExt, chown},
            process::CommandExt,
        },
    },
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicI32, Ordering::Relaxed},
    time::Duration,
};

use nix::{
    sys::{
        socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair},
        wait::wait,
    },
    unistd::{ForkResult, Uid, fork, getresuid, read, seteuid, setresuid},
};
use proc_core::{Process, ProcessError, StartMethod};
use test_support::hosts;

use crate::CASE;

const MARKER: &str = "PROC_CORE_ENTRY";
const NOBODY: u32 = 65534;
const METHODS: [StartMethod; 3] = [StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork];

/// Users, groups and capabilities, as `/proc` tells them.
fn rights() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let is_right =
        |line: &&str| ["Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:"].iter().any(|name| line.starts_with(name));
    status.lines().filter(is_right).collect::<Vec<_>>().join("\n")
}

/// Notes in a file that `main` was reached; ends a second one, so that copies of copies do not flood the machine.
fn count_mains() {
    let mut mains = OpenOptions::new().append(true).create(true).open("mains").unwrap();
    mains.write_all(b"m").unwrap();
    if fs::read("mains").unwrap().len() > 1 {
        println!("a copy has reached main");
        std::process::exit(99);
    }
}

const GIVE_UP: &str = "PROC_CORE_GIVE_UP";

/// Starts children by each method, and compares their rights with its own.
pub(super) fn children_have_the_rights_of_their_owner() {
    count_mains();
    match std::env::var(GIVE_UP).as_deref() {
        Ok("for a while") => {
            let real = getresuid().unwrap().real;
            seteuid(if real.is_root() { Uid::from_raw(NOBODY) } else { real }).unwrap();
        }
        Ok("for good") => {
            let real = getresuid().unwrap().real;
            setresuid(real, real, real).unwrap();
        }
        _ => {}
    }
    for method in METHODS {
        for _ in 0..2 {
            let childs = Process::builder().start_method(method).spawn(rights, ()).and_then(Process::join);
            assert_eq!(childs.unwrap_or_else(|e| e.to_string()), rights(), "{method:?}");
        }
    }
}

/// A copy of this program's file.
fn install(path: &Path, mode: u32, owner: (u32, u32), has_capability: bool) -> bool {
    let program = std::env::current_exe().unwrap();
    // By another process: if this one opened it for writing, a fork could hold it open, and exec would refuse it.
    assert!(Command::new("cp").arg(program).arg(path).status().unwrap().success());
    chown(path, Some(owner.0), Some(owner.1)).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    if !has_capability {
        return true;
    }
    // Permitted and effective: to use ports below 1024.
    let (revision_2, effective, bind) = (0x0200_0000_u32, 1, 1_u32 << 10);
    let value: Vec<u8> = [revision_2 | effective, bind, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    let path = CString::new(path.to_str().unwrap()).unwrap();
    let name = c"security.capability";
    // SAFETY: C strings and bytes that outlive the call.
    unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) == 0 }
}

pub(super) fn programs_with_more_rights_than_their_callers() {
    if !hosts::is_root() {
        return;
    }
    fs::set_permissions(".", Permissions::from_mode(0o777)).unwrap();
    let program = std::env::current_dir().unwrap().join("program");
    programs_with_rights(&program);
    // Where they do not see their parents.
    hosts::hide_processes();
    programs_with_rights(&program);
}

fn programs_with_rights(program: &Path) {
    for (what, mode, owner, has_capability, user, give_up) in [
        ("no more rights", 0o755, (0, 0), false, NOBODY, ""),
        ("a file capability", 0o755, (0, 0), true, NOBODY, ""),
        ("the set-user-ID bit, of root", 0o4755, (0, 0), false, NOBODY, ""),
        ("the set-user-ID bit, of somebody else", 0o4755, (NOBODY, 0), false, 0, ""),
        ("the set-group-ID bit", 0o2755, (0, 0), false, NOBODY, ""),
        ("root's rights, given up for a while", 0o755, (0, 0), false, 0, "for a while"),
        ("root's rights by a bit, given up for a while", 0o4755, (0, 0), false, NOBODY, "for a while"),
        ("root's rights by a bit, given up for good", 0o4755, (0, 0), false, NOBODY, "for good"),
    ] {
        if !install(program, mode, owner, has_capability) {
            println!("{what}: skipped, this file system has no capabilities");
            continue;
        }
        let _ = fs::remove_file("mains");
        let output = Command::new(program)
            .env(CASE, "entry::children_have_the_rights_of_their_owner")
            .env(GIVE_UP, give_up)
            .uid(user)
            .gid(user)
            .output()
            .unwrap();
        let n_mains = fs::read("mains").unwrap().len();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        println!("{what}: {n_mains} main, {}", output.status);
        assert!(output.status.success() && n_mains == 1, "{what}: {n_mains} mains, {}: {said}", output.status);
        fs::remove_file(program).unwrap();
    }
}

/// Waits for the children that the program which it was before has started.
pub(super) fn stays_until_its_children_have_ended() {
    while wait().is_ok() {}
}

const PROGRAM: &str = "PROC_CORE_PROGRAM";

/// Makes a socket, has an accomplice at its other end, starts a privileged copy that is to serve it, and becomes the
/// privileged program itself, so that the copy's parent has all rights.
pub(super) fn becomes_the_program() {
    let Ok(program) = std::env::var(PROGRAM) else { return };
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let (closed_by_exec, held) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
    // SAFETY: this process has one thread.
    if let ForkResult::Child = unsafe { fork() }.unwrap() {
        drop((theirs, held));
        let mut question = [0; 64];
        let len = recv(ours.as_raw_fd(), &mut question, MsgFlags::empty()).unwrap();
        send(ours.as_raw_fd(), &question[..len], MsgFlags::empty()).unwrap();
        std::process::exit(0);
    }
    drop(ours);
    // SAFETY: this process has one thread.
    if let ForkResult::Child = unsafe { fork() }.unwrap() {
        drop(held);
        // Until the parent has become the program.
        assert_eq!(read(&closed_by_exec, &mut [0]).unwrap(), 0);
        nix::fcntl::fcntl(&theirs, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
        let mut copy = Command::new(&program);
        let error = copy.env(MARKER, format!("child:{}:vouch", theirs.as_raw_fd())).exec();
        panic!("{error}");
    }
    let error = Command::new(&program).env(CASE, "entry::stays_until_its_children_have_ended").exec();
    panic!("{error}");
}

pub(super) fn impostors_are_not_served() {
    if !hosts::is_root() {
        return;
    }
    let program = std::env::current_dir().unwrap().join("program");
    assert!(install(&program, 0o4755, (0, 0), false));
    let output = Command::new("/proc/self/exe")
        .env(CASE, "entry::becomes_the_program")
        .env(PROGRAM, &program)
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("not for the one who answers"), "{}: {said}", output.status);
    // Without a word about the rights.
    let output = Command::new(&program).env(MARKER, "server:0").uid(NOBODY).gid(NOBODY).stdin(Stdio::null()).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(126));
    assert!(output.stdout.is_empty(), "main was reached");
}

/// In its environment, copies take more seconds than a fork server is waited for at first.
const SLOW: &str = "PROC_CORE_ALONE_SLOW";

#[used]
#[unsafe(link_section = ".init_array")]
static IS_SLOW: extern "C" fn() = {
    extern "C" fn sleep() {
        if std::env::var_os(SLOW).is_some() {
            std::thread::sleep(Duration::from_secs(7));
        }
    }
    sleep
};

/// Each copy would be given up and replaced by another one, which is as slow.
pub(super) fn a_program_that_begins_slowly_is_waited_for() {
    // SAFETY: this process has one thread.
    unsafe { std::env::set_var(SLOW, "") };
    assert_eq!(Process::spawn(|| 7, ()).unwrap().join().unwrap(), 7);
}

/// What the constructor below has found: 0 if it has not run, 1 if it has started a process, 2 if it could not.
static STARTED: AtomicI32 = AtomicI32::new(0);

/// Starts a process before `main`. In a copy that does not work: each would start another one.
#[used]
#[unsafe(link_section = ".init_array")]
static STARTS: extern "C" fn() = {
    extern "C" fn start() {
        if std::env::var(CASE).is_ok_and(|case| case.ends_with("constructors_that_start_processes")) {
            let outcome = match Process::spawn(|| (), ()).and_then(Process::join) {
                Ok(()) => 1,
                Err(ProcessError::EntryMissed) => 2,
                Err(_) => 3,
            };
            STARTED.store(outcome, Relaxed);
        }
    }
    start
};

pub(super) fn constructors_that_start_processes() {
    count_mains();
    let started = || STARTED.load(Relaxed);
    assert_eq!(started(), 1);
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let process = Process::builder().start_method(method).spawn(|| STARTED.load(Relaxed), ()).unwrap();
        assert_eq!(process.join().unwrap(), 2, "{method:?}");
    }
}
