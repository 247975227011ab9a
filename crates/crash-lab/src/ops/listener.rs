//! `ipc::{Listener, Client}`: whoever dies while two strangers meet, the other goes on; a path that a dead listener left
//! behind is the next one's.

use std::{
    io::ErrorKind,
    os::{fd::AsFd as _, unix::process::parent_id},
    time::Duration,
};

use ipc::{Client, Listener, RecvTimeoutError};
use nix::poll::{PollFd, PollFlags, poll};
use proc_core::Process;
use test_support::step;

use crate::{
    cast::patience,
    driver::scratch_file,
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
};

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    vec![connect(), listen()]
}

/// One for each driver: its children ask.
fn address(state: &str) -> String {
    let path = scratch_file(parent_id()).to_string_lossy().into_owned();
    if state == "abstract" { format!("\0{path}") } else { path }
}

/// The one who connects is killed.
fn connect() -> Box<dyn Row> {
    fn client(address: String, ledger: Ledger) {
        ledger.stand_ready(std::process::id(), true).expect("somebody watches");
        step::breakpoint();
        let connection = Client::connect::<u64>(address).expect("somebody listens");
        connection.send(&7).expect("somebody listens");
        ledger.over();
    }
    let operation = Operation::nothing("listener/connect", &["path", "abstract"]);
    let operation = operation.with(Role::Launcher, |(), ledger, state| {
        let address = address(state);
        let listener = Listener::<u64>::bind(address.as_str()).map_err(|e| e.to_string())?;
        let client = Process::spawn(client, (address.clone(), ledger.clone())).map_err(|e| e.to_string())?;
        while client.is_alive() {
            let accepted = listener.accept_timeout(Duration::from_millis(20)).map_err(|e| format!("accept: {e}"))?;
            match accepted.map(|connection| connection.recv_timeout(3 * patience())) {
                None | Some(Ok(7) | Err(RecvTimeoutError::Closed)) => {}
                other => return Err(format!("heard {other:?}")),
            }
        }
        // Whoever died in the queue before the door is passed over.
        while let Some(dead) = listener.try_accept().map_err(|e| format!("accept: {e}"))? {
            if !matches!(dead.recv_timeout(patience()), Ok(7) | Err(RecvTimeoutError::Closed)) {
                return Err("the dead said something else".into());
            }
        }
        works(&listener, &address)?;
        drop(listener);
        nothing_is_left(&address)
    });
    operation.boxed()
}

/// The listener is killed: while it begins to listen, or lets somebody in.
fn listen() -> Box<dyn Row> {
    fn server(address: String, ledger: Ledger, state: String) {
        let mut listener =
            (state == "accept").then(|| Listener::<u64>::bind(address.as_str()).expect("a free address"));
        if let Some(listener) = &listener {
            // Its client waits.
            let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut fds, 10_000u16), Ok(1));
        }
        ledger.stand_ready(std::process::id(), true).expect("somebody watches");
        step::breakpoint();
        match &listener {
            Some(listener) => {
                let client = listener.accept().expect("a client waits");
                assert_eq!(client.recv().expect("the client says it"), 7);
            }
            None => listener = Some(Listener::bind(address).expect("a free address")),
        }
        ledger.over();
        drop(listener);
    }
    let operation = Operation::nothing("listener/listen", &["bind", "accept"]);
    let operation = operation.with(Role::Launcher, |(), ledger, state| {
        let address = address(state);
        let arguments = (address.clone(), ledger.clone(), state.to_owned());
        let server = Process::spawn(server, arguments).map_err(|e| e.to_string())?;
        while state == "accept" && server.is_alive() {
            let connection = Client::connect_timeout::<u64>(address.as_str(), 5 * patience());
            match connection.map(|connection| connection.send(&7)) {
                Ok(_) => break,
                // Not there yet, or not any more.
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(e) if e.kind() == ErrorKind::TimedOut => return Err(format!("WEDGED: connect: {e}")),
                Err(_) => break,
            }
        }
        let _ = server.wait_timeout(5 * patience());
        let listener = Listener::<u64>::bind(address.as_str()).map_err(|e| format!("the next listener: {e}"))?;
        works(&listener, &address)?;
        drop(listener);
        nothing_is_left(&address)
    });
    operation.boxed()
}

fn works(listener: &Listener<u64>, address: &str) -> Verdict {
    fn speak(address: String) {
        let connection = Client::connect::<u64>(address).expect("somebody listens");
        connection.send(&9).expect("somebody listens");
    }
    let client = Process::spawn(speak, (address.to_owned(),)).map_err(|e| e.to_string())?;
    let connection = listener.accept_timeout(patience() / 2).map_err(|e| e.to_string())?;
    let heard = connection.ok_or("WEDGED: nobody is let in")?.recv_timeout(patience() / 2);
    if !matches!(heard, Ok(9)) {
        return Err(format!("a later client said {heard:?}"));
    }
    client.join().map_err(|e| e.to_string())
}

fn nothing_is_left(address: &str) -> Verdict {
    if address.starts_with('\0') || !std::path::Path::new(address).exists() {
        Ok(())
    } else {
        Err(format!("{address} is left over"))
    }
}
