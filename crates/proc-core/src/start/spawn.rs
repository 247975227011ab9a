//! Start method `Spawn`: the program is executed anew for each child.

use std::{
    fmt,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    process::ExitStatus,
};

use nix::errno::Errno;

use crate::{
    child, death_link,
    error::ProcessError,
    report::Report,
    start::{
        Started, conditions, failed, marker,
        request::{self, Receiver},
        vouch,
    },
};
use kernel::sys::{credentials::Credentials, death_signal::Opener, exec, fds, seqpacket};

/// What was executed as a copy of this program has ended without a word of this library.
#[derive(Debug)]
pub(crate) struct NotThisProgram(pub(crate) ExitStatus);

impl fmt::Display for NotThisProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(status) = self;
        if status.code() == Some(child::REFUSED) {
            return write!(
                f,
                "a copy of this program refused to serve, and has said why on its standard error ({status})"
            );
        }
        write!(
            f,
            "a copy of this program, executed from /proc/self/exe, ended before it reached this library ({status}); \
             a program that another one runs, as valgrind does, cannot be copied so"
        )
    }
}

impl std::error::Error for NotThisProgram {}

/// Starts one child, and hands it its request.
pub(crate) fn start(body: &[&[u8]], fds: &[RawFd]) -> Result<(Started, Report), ProcessError> {
    let (socket, started) = execute("child")?;
    let body = [&[conditions::INHERITS_NOTHING], body].concat();
    match greet(&socket, "").and_then(|()| request::send(socket.as_fd(), &body, fds)) {
        // A child that died before it has read this is found out at its join.
        Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok((started, socket.into())),
        Err(e) => {
            started.kill();
            Err(failed("send a request")(e))
        }
    }
}

/// Executes this program in the given role, with a socket to us.
pub(crate) fn execute(role: &str) -> Result<(OwnedFd, Started), ProcessError> {
    if marker::is_pending() {
        return Err(ProcessError::EntryMissed);
    }
    let (ours, theirs) = seqpacket::pair().map_err(failed("make a socket pair"))?;
    // Above the standard streams, where the new program expects nothing of the kind.
    let theirs = fds::duplicate(theirs.as_fd()).map_err(failed("duplicate a descriptor"))?;
    let link = death_link::new_link().map_err(failed("open a pipe"))?;
    let is_to_vouch = vouch::is_needed();
    let numbers = format!("{},{}", theirs.as_raw_fd(), link.as_raw_fd());
    let marker = format!("{role}:{numbers}{}", if is_to_vouch { marker::VOUCH } else { "" });
    let (pid, pidfd) = exec::this_program(theirs.as_fd(), link.as_fd(), (marker::MARKER, &marker))
        .map_err(|source| ProcessError::Start { operation: "execute this program again".into(), source })?;
    let started = Started { pid: pid.cast_unsigned(), pidfd };
    drop((theirs, link));
    if is_to_vouch && let Err(e) = vouch::answer(&ours, &started.pidfd) {
        started.kill();
        return Err(failed("answer a copy with more rights")(e));
    }
    Ok((ours, started))
}

/// The first message to every executed copy: a name, what its owner may do, and the pipe that its life hangs on.
pub(crate) fn greet(socket: &OwnedFd, name: &str) -> nix::Result<()> {
    let link = death_link::end_for_children()?;
    let rights = conditions::rights();
    request::send(socket.as_fd(), &[name.as_bytes(), b"\n", &rights], &[link.as_raw_fd()])
}

/// What [`greet`] says.
pub(crate) struct Greeting {
    pub(crate) name: String,
    pub(crate) link: OwnedFd,
    pub(crate) opener: Opener,
    /// The process's own, kept open.
    pub(crate) status: File,
}

/// The other side of [`greet`]: takes over what its owner may do.
pub(crate) fn await_greeting(socket: &OwnedFd, receiver: &mut Receiver) -> Greeting {
    match receiver.receive(socket.as_fd()) {
        Ok(Some((said, mut fds))) if fds.len() == 1 => {
            let said = String::from_utf8_lossy(said);
            let (name, rights) = said.split_once('\n').unwrap_or((&said, ""));
            let (Ok(status), Ok(opener)) = (File::open("/proc/self/status"), Opener::new()) else {
                child::refuse("no /proc in which it can see itself")
            };
            if let Err(e) = assume(rights, &status) {
                let why = format!("rights that its owner does not have, and that it cannot give up: {e}");
                child::refuse_owner(socket.as_fd(), &why);
            }
            Greeting { name: name.to_owned(), link: fds.remove(0), opener, status }
        }
        // Its owner has ended.
        Ok(None) | Err(Errno::ECONNRESET) => child::end_silently(),
        Ok(Some(_)) | Err(_) => child::refuse("bytes on its socket that are no message of ours"),
    }
}

/// Takes over rights as [`conditions::rights`] tells them. An owner without a `/proc` does not tell.
pub(crate) fn assume(rights: &str, status: &File) -> io::Result<()> {
    if rights.is_empty() { Ok(()) } else { Credentials::parse(rights)?.assume(status) }
}

/// The executed copy's side.
pub(crate) fn serve(socket: OwnedFd) -> ! {
    let mut receiver = Receiver::new();
    let Greeting { link, opener, status, .. } = await_greeting(&socket, &mut receiver);
    drop(status);
    match receiver.receive(socket.as_fd()) {
        Ok(Some((body, fds))) => {
            let tied = opener.open_anew(link.as_fd()).and_then(death_link::tie);
            drop((link, opener));
            match tied {
                Ok(()) => child::run_request(socket, body, fds),
                Err(e) => {
                    child::refuse_owner(socket.as_fd(), &format!("a link to its owner's life that does not hold: {e}"))
                }
            }
        }
        Ok(None) | Err(Errno::ECONNRESET) => child::end_silently(),
        Err(_) => child::refuse("bytes on its socket that are no message of ours"),
    }
}
