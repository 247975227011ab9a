use std::os::fd::AsFd;

use crate::{
    child::REFUSED,
    current::ProcessIdentity,
    function::{CallError, Function},
    image::Image,
    options::Options,
    report::{Failure, Found, Report},
    start::{
        Started,
        conditions::INHERITS_NOTHING,
        forkserver,
        plain::Plain,
        request::{self, Request},
        spawn,
    },
};
use kernel::sys::{reap, seqpacket};

fn packed(value: &impl Plain) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.put(&mut bytes);
    bytes
}

fn run_forged(fingerprint: u64, offset: u64, options: Options) -> (i32, Found) {
    let function = Function::take(&mut &packed(&offset)[..]).unwrap();
    let identity = ProcessIdentity::of_child(None, false);
    let request = Request { fingerprint, function, identity, options };
    let body = packed(&request);
    let (socket, Started { pidfd, .. }) = spawn::execute("child").unwrap();
    spawn::greet(&socket, "").unwrap();
    request::send(socket.as_fd(), &[INHERITS_NOTHING, &body], &[]).unwrap();
    (reap::blocking(&pidfd).unwrap().code().unwrap(), Report::from(socket).read(false).found.unwrap())
}

#[test]
fn an_offset_outside_the_text_is_refused() {
    for offset in [0, u64::MAX, u64::MAX / 2, 1 << 40] {
        let (code, found) = run_forged(Image::get().fingerprint, offset, Options::default());
        assert_eq!(code, REFUSED);
        assert!(matches!(found, Found::Failure(Failure::Call(CallError::Foreign(_)))), "{found:?}");
    }
}

#[test]
fn another_build_is_refused() {
    let (code, found) = run_forged(Image::get().fingerprint ^ 1, 0, Options::default());
    assert!(matches!((code, found), (REFUSED, Found::Nothing)));
}

#[test]
fn a_request_without_its_descriptors_is_refused() {
    let options = Options { streams: [true; 3], ..Options::default() };
    let (code, found) = run_forged(Image::get().fingerprint, 0, options);
    assert!(matches!((code, found), (REFUSED, Found::Nothing)));
}

/// 400 of each kind: each ends the fork server that it comes to, and the next start finds another.
#[test]
fn a_fork_server_that_is_sent_nonsense_is_replaced() {
    // In a process of its own, with a fork server of its own.
    crate::Process::spawn(send_nonsense, ()).unwrap().join().unwrap();
}

fn send_nonsense() {
    for bytes in [[].as_slice(), &[7], &[0; 8], &[0xa5; 300]] {
        for _ in 0..8 {
            assert_eq!(crate::Process::spawn(|| 5, ()).unwrap().join().unwrap(), 5);
            // It is gone after the first, and nobody listens to the rest.
            forkserver::with_socket(|socket| {
                for _ in 0..50 {
                    let _ = seqpacket::send_bytes(socket, bytes, &[]);
                }
            });
        }
    }
}
