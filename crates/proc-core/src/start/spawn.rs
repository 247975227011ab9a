//! Start method `Spawn`: the program is executed anew for each child.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::{
    child, death_link, entry,
    error::ProcessError,
    report::Report,
    start::{
        Started, failed,
        request::{self, Receiver},
        vouch,
    },
    sys::{exec, fds, seqpacket},
};

/// Starts one child, and hands it its request.
pub(crate) fn start(body: &[&[u8]], fds: &[RawFd]) -> Result<(Started, Report), ProcessError> {
    let (socket, started) = execute("child")?;
    match greet(&socket, "").and_then(|()| request::send(socket.as_fd(), body, fds)) {
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
    if entry::is_pending() {
        return Err(ProcessError::EntryMissed);
    }
    let (ours, theirs) = seqpacket::pair().map_err(failed("make a socket pair"))?;
    // Above the standard streams, where the new program expects nothing of the kind.
    let theirs = fds::duplicate(theirs.as_fd()).map_err(failed("duplicate a descriptor"))?;
    let is_to_vouch = vouch::is_needed();
    let marker = format!("{role}:{}{}", theirs.as_raw_fd(), if is_to_vouch { entry::VOUCH } else { "" });
    let (pid, pidfd) = exec::this_program(theirs.as_fd(), (entry::MARKER, &marker))
        .map_err(|source| ProcessError::Start { operation: "execute this program again".into(), source })?;
    let started = Started { pid: pid.cast_unsigned(), pidfd };
    drop(theirs);
    if is_to_vouch && let Err(e) = vouch::answer(&ours, &started.pidfd) {
        started.kill();
        return Err(failed("answer a copy with more rights")(e));
    }
    Ok((ours, started))
}

/// The first message to every executed copy: a name, and the pipe that its life hangs on.
pub(crate) fn greet(socket: &OwnedFd, name: &str) -> nix::Result<()> {
    let link = death_link::end_for_children()?;
    request::send(socket.as_fd(), &[name.as_bytes()], &[link.as_raw_fd()])
}

/// The other side of [`greet`].
pub(crate) fn await_greeting(socket: &OwnedFd, receiver: &mut Receiver) -> (String, OwnedFd) {
    match receiver.receive(socket.as_fd()) {
        Ok(Some((name, mut fds))) if fds.len() == 1 => (String::from_utf8_lossy(name).into_owned(), fds.remove(0)),
        Ok(None) => child::refuse("a socket that its owner closed again"),
        Ok(Some(_)) | Err(_) => child::refuse("bytes on its socket that are no message of ours"),
    }
}

/// The executed copy's side.
pub(crate) fn serve(socket: OwnedFd) -> ! {
    let mut receiver = Receiver::new();
    let (_, link) = await_greeting(&socket, &mut receiver);
    match receiver.receive(socket.as_fd()) {
        Ok(Some((body, fds))) => {
            let tied = death_link::new_link(link.as_fd()).and_then(death_link::tie);
            drop(link);
            match tied {
                Ok(()) => child::run_request(socket, body, fds),
                Err(e) => child::refuse(&format!("a link to its owner's life that does not hold: {e}")),
            }
        }
        Ok(None) => child::refuse("a socket that its owner closed again"),
        Err(_) => child::refuse("bytes on its socket that are no message of ours"),
    }
}
