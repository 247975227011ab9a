//! What runs in the server: a thread for each connection, which calls what it is told to.

use std::{
    any::Any,
    collections::HashMap,
    os::fd::OwnedFd,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use kernel::{
    fds::above_standard_streams,
    handover::{Fd, Packed},
};
use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        signal::{SigSet, Signal},
    },
};
use parking_lot::Mutex;
use proc_core::{
    Panic, Target,
    function::{CallError, Function},
};
use serde::de::DeserializeOwned;

use super::{
    method::{self, Method},
    reply::{FAILED, RETURNED, Refusal, Reply},
};
use crate::{
    Connection,
    pipe::{
        handles::NO_LIMIT,
        handshake,
        socket::{MAX_FDS, Packet, Socket},
    },
};

/// How long to leave a system alone that has no memory for a caller.
const WANT: Duration = Duration::from_millis(1);

/// The event of the socket through which connections come.
const DOOR: u64 = 0;

struct Server {
    objects: Mutex<HashMap<u64, Object>>,
    next_id: AtomicU64,
    events: Epoll,
}

struct Object {
    value: Arc<Mutex<dyn Any + Send>>,
    /// Closes at the other end with the last proxy.
    watched: OwnedFd,
}

impl Server {
    /// Lets go of an object that no process has a proxy of any more.
    fn forget(&self, id: u64) {
        let object = self.objects.lock().remove(&id);
        if let Some(object) = object {
            // By hand: a copy of the descriptor, in a process that was forked meanwhile, would keep it in.
            let _ = self.events.delete(&object.watched);
            // The object's own `Drop` may panic; that is between the two of them.
            let _ = Panic::catch(|| drop(object));
        }
    }
}

static SERVER: OnceLock<Server> = OnceLock::new();

/// Whether this process is a server.
pub(super) fn is_here() -> bool {
    SERVER.get().is_some()
}

/// The server's life: ends when no process has the other end of `door` any more.
pub(super) fn serve(door: Socket) {
    // What is typed at the terminal is for the users of the objects. Inherited by the threads to come.
    let mut interrupt = SigSet::empty();
    interrupt.add(Signal::SIGINT);
    let _ = interrupt.thread_block();
    let Ok(events) = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).and_then(|epoll| above_standard_streams(epoll.0))
    else {
        return;
    };
    let events = Epoll(events);
    if events.add(door.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, DOOR)).is_err() {
        return;
    }
    let server = SERVER.get_or_init(|| Server { objects: Mutex::default(), next_id: AtomicU64::new(DOOR + 1), events });
    let mut ready = [EpollEvent::empty(); 64];
    loop {
        let n = match server.events.wait(&mut ready, EpollTimeout::NONE) {
            Ok(n) => n,
            Err(Errno::EINTR) => continue,
            Err(_) => return,
        };
        for event in &ready[..n] {
            match event.data() {
                DOOR => {
                    if !admit(&door) {
                        return;
                    }
                }
                id => server.forget(id),
            }
        }
    }
}

/// Takes in one connection; false if no more can come.
fn admit(door: &Socket) -> bool {
    match door.receive(MAX_FDS) {
        Ok(Packet::Fds(_, fds)) => {
            fds.into_iter().for_each(begin);
            true
        }
        Ok(Packet::Bell | Packet::Nothing) => true,
        // Others' objects must not go for that; the request is still in the socket.
        Err(Errno::ENOMEM | Errno::ENOBUFS) => {
            thread::sleep(WANT);
            true
        }
        Ok(Packet::End) | Err(_) => false,
    }
}

/// Begins a connection; a caller that gets no answer sees the socket close.
fn begin(socket: OwnedFd) {
    let Ok(end) = handshake::offer(socket, NO_LIMIT) else { return };
    let _ = thread::Builder::new().name("Manager".into()).spawn(move || attend(&Connection::new(end)));
}

/// Begins a connection of the server's to itself.
pub(super) fn admit_from_here(socket: Socket) {
    begin(socket.into_fd());
}

/// Does what comes through one connection, until its other end is closed.
fn attend(connection: &Connection<()>) {
    let mut reply = Packed::default();
    loop {
        let called = connection.receive_with(|mut bytes, fds| {
            reply.bytes.clear();
            reply.fds.clear();
            reply.bytes.push(RETURNED);
            let result = match Function::take(&mut bytes) {
                Some(function) => function.call(bytes, fds, &mut reply),
                None => Err(CallError::Arguments("they are cut off".into())),
            };
            if let Err(e) = result {
                reply = Packed { bytes: vec![FAILED], fds: Vec::new() };
                if wire::encode_named(&e, &mut reply.bytes).is_err() {
                    reply.bytes.truncate(1);
                }
            }
            Ok(())
        });
        if called.is_err() || connection.send_packed(&reply).is_err() {
            return;
        }
    }
}

/// Makes an object, to live until the other end of `watched` is closed everywhere.
pub(super) fn construct<F, A>(watched: Fd, args: A) -> Result<u64, Refusal>
where
    F: Target<A>,
    F::Output: Send + 'static,
{
    let server = SERVER.get().ok_or(Refusal::NoSuchObject)?;
    let value = Arc::new(Mutex::new(method::arrived::<F>().call(args)));
    let id = server.next_id.fetch_add(1, Relaxed);
    let watched = watched.0;
    // The end of a pipe is an event of its own, asked for or not. It must find the object there.
    let mut objects = server.objects.lock();
    let event = EpollEvent::new(EpollFlags::empty(), id);
    server.events.add(&watched, event).map_err(|e| Refusal::Errno(e as i32))?;
    objects.insert(id, Object { value, watched });
    Ok(id)
}

/// Calls a method of an object.
pub(super) fn invoke<T, M, A, By>(id: u64, args: A) -> Reply<Result<M::Output, Refusal>>
where
    T: Send + 'static,
    M: Method<T, A, By>,
    A: DeserializeOwned,
    By: 'static,
{
    let object = SERVER.get().and_then(|server| server.objects.lock().get(&id).map(|object| Arc::clone(&object.value)));
    let Some(object) = object else { return Reply(Err(Refusal::NoSuchObject)) };
    let mut object = object.lock();
    let object = object.downcast_mut::<T>().ok_or(Refusal::NoSuchObject);
    Reply(object.map(|object| method::arrived::<M>().call(object, args)))
}
