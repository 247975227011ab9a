//! How a process reaches the server: through a socket that every handle's process has, over connections of its own.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    sync::{Arc, OnceLock, Weak},
};

use kernel::{at_fork, handover};
use nix::sys::stat::fstat;
use parking_lot::Mutex;
use proc_core::{
    Process,
    function::{CallError, Function},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned, ser};

use super::{
    ManagerError,
    reply::{self, FAILED, RETURNED},
    server,
};
use crate::{
    Connection,
    pipe::{handles::NO_LIMIT, handshake, socket::Socket},
};

/// One a process and server.
pub(super) struct Link {
    /// None in the server itself: it must not be what keeps its own door open.
    door: Option<Socket>,
    /// Connections that no call is using. Those made before a fork belong to the parent.
    idle: Mutex<(u32, Vec<Connection<()>>)>,
    /// In the process that started it.
    server: Option<Process<()>>,
}

/// The links of this process, by the inode of their door.
static LINKS: Mutex<Option<HashMap<u64, Weak<Link>>>> = Mutex::new(None);

/// Connections kept for later calls, at most.
const MAX_IDLE: usize = 8;

impl Link {
    pub(super) fn new(door: Socket, server: Option<Process<()>>) -> io::Result<Arc<Self>> {
        let inode = fstat(door.as_fd())?.st_ino;
        let mut links = LINKS.lock();
        let links = links.get_or_insert_default();
        if let Some(link) = links.get(&inode).and_then(Weak::upgrade) {
            return Ok(link);
        }
        links.retain(|_, link| link.strong_count() > 0);
        let link = Arc::new(Self { door: Some(door), idle: Mutex::new((at_fork::generation(), Vec::new())), server });
        links.insert(inode, Arc::downgrade(&link));
        Ok(link)
    }

    /// In a server: the link to itself.
    fn own() -> Option<Arc<Self>> {
        static OWN: OnceLock<Arc<Link>> = OnceLock::new();
        let new = || Arc::new(Self { door: None, idle: Mutex::new((at_fork::generation(), Vec::new())), server: None });
        server::is_here().then(|| Arc::clone(OWN.get_or_init(new)))
    }

    /// Runs `f`, which packs what goes to the server, or unpacks what comes from it. Proxies of objects there go without
    /// the door.
    pub(super) fn as_peer<R>(self: &Arc<Self>, f: impl FnOnce() -> R) -> R {
        let _context = Context(PEER.replace(Some(Arc::clone(self))));
        f()
    }

    /// Makes the server call `function` and waits for what it returns.
    pub(super) fn call<A, R>(self: &Arc<Self>, function: Function, args: &A) -> Result<R, ManagerError>
    where
        A: Serialize + DeserializeOwned,
        R: DeserializeOwned,
    {
        let call = self.as_peer(|| handover::pack_behind(function.to_bytes().into(), args));
        let call = call.map_err(ManagerError::Encode)?;
        let connection = self.connection()?;
        connection.send_parcel(&call)?;
        let result = connection.receive_with(|bytes, fds| {
            Ok(match bytes {
                [RETURNED, value @ ..] => self.as_peer(|| handover::unpack(value, fds)).map_err(ManagerError::Decode),
                [FAILED, error @ ..] => Err(match wire::decode::<CallError>(error) {
                    Ok(e) => e.into(),
                    Err(e) => ManagerError::Refused(format!("the server's error does not decode: {e}")),
                }),
                _ => Err(ManagerError::Refused("the server's reply is empty".into())),
            })
        })?;
        self.keep(connection);
        result
    }

    pub(super) fn server_pid(&self) -> Option<u32> {
        self.server.as_ref().map(|server| server.pid())
    }

    pub(super) fn shutdown(&self) -> Result<(), ManagerError> {
        let Some(server) = &self.server else {
            return Err(ManagerError::Refused("only the process that started the server can shut it down".into()));
        };
        server.kill().map_err(ManagerError::Process)?;
        server.wait().map(drop).map_err(ManagerError::Process)
    }

    fn connection(&self) -> Result<Connection<()>, ManagerError> {
        {
            let mut idle = self.idle.lock();
            let generation = at_fork::generation();
            if idle.0 != generation {
                *idle = (generation, Vec::new());
            }
            if let Some(connection) = idle.1.pop() {
                return Ok(connection);
            }
        }
        let (here, there) = Socket::pair().map_err(|e| ManagerError::Io(e.into()))?;
        let Some(door) = &self.door else {
            server::admit_from_here(there);
            return accept(here);
        };
        door.send_fds(0, &[there.as_fd()], None).map_err(|e| match e {
            nix::errno::Errno::EPIPE => ManagerError::Closed,
            e => ManagerError::Io(e.into()),
        })?;
        drop(there);
        accept(here)
    }

    /// A connection on which a call came to its end.
    fn keep(&self, connection: Connection<()>) {
        let mut idle = self.idle.lock();
        if idle.0 == at_fork::generation() && idle.1.len() < MAX_IDLE {
            idle.1.push(connection);
        }
    }
}

/// The end of a new connection.
fn accept(here: Socket) -> Result<Connection<()>, ManagerError> {
    handshake::accept(here.into_fd(), None, NO_LIMIT).map(Connection::new).map_err(|e| match e.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => ManagerError::Closed,
        _ => ManagerError::Io(e),
    })
}

thread_local! {
    /// The link to the server that is being written to, or read from.
    static PEER: RefCell<Option<Arc<Link>>> = const { RefCell::new(None) };
}

/// Puts the former [`PEER`] back.
struct Context(Option<Arc<Link>>);

impl Drop for Context {
    fn drop(&mut self) {
        PEER.set(self.0.take());
    }
}

/// A link on its way, as part of a proxy.
pub(super) struct LinkHandle(pub(super) Arc<Link>);

#[derive(Serialize)]
enum Sent<'a> {
    /// The server at the other end.
    Peer,
    Door(&'a Socket),
}

#[derive(Deserialize)]
enum Arrived {
    Peer,
    Door(Socket),
}

impl Serialize for LinkHandle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_peer = PEER.with_borrow(|peer| peer.as_ref().is_some_and(|peer| Arc::ptr_eq(peer, &self.0)));
        match &self.0.door {
            _ if is_peer => Sent::Peer.serialize(serializer),
            Some(door) => Sent::Door(door).serialize(serializer),
            None if reply::is_being_written() => Sent::Peer.serialize(serializer),
            None => Err(ser::Error::custom(
                "a proxy cannot travel from within its own manager's server; it can as what a method returns",
            )),
        }
    }
}

impl<'de> Deserialize<'de> for LinkHandle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Arrived::deserialize(deserializer)? {
            Arrived::Door(door) => Link::new(door, None).map(Self).map_err(de::Error::custom),
            Arrived::Peer => {
                let link = PEER.with_borrow(Clone::clone).or_else(Link::own);
                link.map(Self).ok_or_else(|| de::Error::custom("a proxy came from elsewhere than its manager"))
            }
        }
    }
}
