//! How a process reaches the server: through a socket that every handle's process has, over connections of its own.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Weak},
};

use kernel::{at_fork, handover};
use nix::sys::stat::fstat;
use parking_lot::Mutex;
use proc_core::{
    Process,
    function::{CallError, Function},
};
use serde::{Deserialize, Deserializer, Serialize, de, de::DeserializeOwned};

use super::{
    ManagerError,
    server::{FAILED, RETURNED},
};
use crate::{
    Connection,
    pipe::{handles::NO_LIMIT, handshake, socket::Socket},
};

/// One a process and server.
pub(super) struct Link {
    door: Socket,
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
        let link = Arc::new(Self { door, idle: Mutex::new((at_fork::generation(), Vec::new())), server });
        links.insert(inode, Arc::downgrade(&link));
        Ok(link)
    }

    /// Has the server call `function` and waits for what it returns.
    pub(super) fn call<A, R>(&self, function: Function, args: &A) -> Result<R, ManagerError>
    where
        A: Serialize + DeserializeOwned,
        R: DeserializeOwned,
    {
        let call = handover::pack_behind(function.to_bytes().into(), args).map_err(ManagerError::Encode)?;
        let connection = self.connection()?;
        connection.send_parcel(&call)?;
        let result = connection.receive_with(|bytes, _| {
            Ok(match bytes {
                [RETURNED, value @ ..] => handover::unpack(value, Vec::new()).map_err(ManagerError::Decode),
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

    /// What is handed over.
    pub(super) fn handle(&self) -> &Socket {
        &self.door
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
        self.door.send_fds(0, &[there.as_fd()], None).map_err(|e| match e {
            nix::errno::Errno::EPIPE => ManagerError::Closed,
            e => ManagerError::Io(e.into()),
        })?;
        drop(there);
        handshake::accept(here.into_fd(), None, NO_LIMIT).map(Connection::new).map_err(|e| match e.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => ManagerError::Closed,
            _ => ManagerError::Io(e),
        })
    }

    /// A connection on which a call came to its end.
    fn keep(&self, connection: Connection<()>) {
        let mut idle = self.idle.lock();
        if idle.0 == at_fork::generation() && idle.1.len() < MAX_IDLE {
            idle.1.push(connection);
        }
    }
}

/// A link that was handed over by its door.
pub(super) struct LinkHandle(pub(super) Arc<Link>);

impl<'de> Deserialize<'de> for LinkHandle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Link::new(Socket::deserialize(deserializer)?, None).map(Self).map_err(de::Error::custom)
    }
}
