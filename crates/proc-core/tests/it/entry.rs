//! Forged starts end with a clear message and run nothing.

use std::{
    io::{Read, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
    process::{Command, Stdio},
};

use crate::watchdog;

const MARKER: &str = "PROC_CORE_ENTRY";
const REFUSED: i32 = 126;

/// Starts this test program with a marker and a standard input; its exit code and what it said.
fn start_forged(marker: &str, input: impl Into<Stdio>) -> (i32, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--list", "--format=terse"])
        .env(MARKER, marker)
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(out, "", "main was reached");
    (child.wait().unwrap().code().unwrap(), err)
}

#[test]
fn forged_markers() {
    let _dog = watchdog();
    for (marker, complaint) in [
        ("", "a marker that is not ours"),
        ("garbage", "a marker that is not ours"),
        ("server:", "a marker that is not ours"),
        ("server:-1", "not open"),
        ("child:4711", "not open"),
        ("server:99999999999", "a marker that is not ours"),
        // The null device.
        ("server:0", "not its parent's socket"),
        ("child:2", "not its parent's socket"),
    ] {
        let (code, said) = start_forged(marker, Stdio::null());
        assert_eq!(code, REFUSED, "{marker}");
        assert!(said.contains(complaint), "{marker}: {said}");
    }
}

/// The tests of the crates that do without it could fail.
#[test]
fn a_program_that_starts_processes_is_seen_to_have_an_entry() {
    assert!(test_support::entry::is_linked());
    assert!(!test_support::entry::is_passed_by());
}

#[test]
fn a_socket_of_another_process() {
    let _dog = watchdog();
    // Passed down by a parent that did not make it.
    fn pass_down(socket: proc_core::handover::Fd) -> (i32, String) {
        start_forged("child:0", socket.0)
    }
    let (ours, theirs) = UnixStream::pair().unwrap();
    (&ours).write_all(&[0x5a; 600]).unwrap();
    let (code, said) = proc_core::Process::spawn(pass_down, (theirs.into(),)).unwrap().join().unwrap();
    assert_eq!(code, REFUSED);
    assert!(said.contains("not its parent's socket"), "{said}");
}

#[test]
fn random_bytes_on_the_socket() {
    let _dog = watchdog();
    let mut random = 99_u32;
    for kind in ["server", "child"] {
        for len in [1, 11, 12, 13, 64, 1000, 40_000] {
            let flags = nix::sys::socket::SockFlag::SOCK_CLOEXEC;
            let (ours, theirs) = nix::sys::socket::socketpair(
                nix::sys::socket::AddressFamily::Unix,
                nix::sys::socket::SockType::SeqPacket,
                None,
                flags,
            )
            .unwrap();
            let bytes: Vec<u8> = (0..len)
                .map(|_| {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (random >> 24) as u8
                })
                .collect();
            nix::sys::socket::send(ours.as_raw_fd(), &bytes, nix::sys::socket::MsgFlags::empty()).unwrap();
            drop(ours);
            let (code, said) = start_forged(&format!("{kind}:0"), theirs);
            assert_eq!(code, REFUSED);
            assert!(said.contains("no message of ours"), "{said}");
        }
    }
}
