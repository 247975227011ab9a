//! Objects that live in a process of their own, and are called from any other.
//!
//! How it works is in `README.md` beside this file.

mod collections;
mod error;
mod link;
mod method;
mod namespace;
mod proxy;
mod reply;
mod server;

use std::{collections::HashMap, fmt, hash::Hash, sync::Arc};

use kernel::{
    fds,
    handover::{self, Fd},
};
use proc_core::{Process, StartMethod, Target, function::Function};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

pub use self::{
    collections::{Counter, Dict, List},
    error::ManagerError,
    method::{ByMut, ByRef, Method},
    namespace::Namespace,
    proxy::Proxy,
};
use self::{
    link::{Link, LinkHandle},
    reply::Refusal,
};
use crate::pipe::socket::Socket;

/// Starts and owns a server process in which objects live; they are used through proxies, from any process.
///
/// Slower than [`Value`](crate::Value) and [`Array`](crate::Array), since every call goes to the server and back, but for
/// objects of any type. There is nothing to register: an object is any value, a method any function that takes it by
/// reference first.
///
/// A `Manager` and its proxies can be cloned, and handed over to other processes. The server ends when the last of them
/// is gone, in all processes, or with the process that started it. An object goes when the last of its proxies is.
///
/// # Crash safety
/// A call happens or it does not, whatever becomes of the caller; no other process notices. If the server is killed, the
/// objects are gone: every call, those under way included, reports [`ManagerError::Closed`].
///
/// # Examples
/// ```
/// use ipc::Manager;
/// use proc_core::Process;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Account {
///     balance: i64,
/// }
///
/// impl Account {
///     fn deposit(&mut self, amount: i64) {
///         self.balance += amount;
///     }
///
///     fn balance(&self) -> i64 {
///         self.balance
///     }
/// }
///
/// fn earn(account: ipc::Proxy<Account>, names: ipc::Dict<u32, String>) {
///     account.call(Account::deposit, (50,)).unwrap();
///     names.insert(std::process::id(), "earner".into()).unwrap();
/// }
///
/// let manager = Manager::new()?;
/// let account = manager.create(Account { balance: 100 })?;
/// let names = manager.dict()?;
/// Process::spawn(earn, (account.clone(), names.clone()))?.join()?;
/// assert_eq!(account.call(Account::balance, ())?, 150);
/// assert_eq!(names.values()?, ["earner"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Manager {
    link: Arc<Link>,
}

impl Manager {
    /// Starts a server.
    ///
    /// # Errors
    /// `Process` if it cannot be started, `Io` if descriptors are short.
    pub fn new() -> Result<Self, ManagerError> {
        let (here, there) = Socket::pair().map_err(|e| ManagerError::Io(e.into()))?;
        let server = Process::builder().name("Manager").daemon(true).start_method(StartMethod::ForkServer);
        let server = server.spawn(server::serve, (there,)).map_err(ManagerError::Process)?;
        Ok(Self { link: Link::new(here, Some(server)).map_err(ManagerError::Io)? })
    }

    /// Moves `object` to the server.
    ///
    /// # Errors
    /// `Closed` if the server is gone; `Encode` if the object does not serialise.
    pub fn create<T>(&self, object: T) -> Result<Proxy<T>, ManagerError>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        self.create_with(std::convert::identity, (object,))
    }

    /// Makes an object in the server: `make` is called there. For objects that do not serialise.
    ///
    /// # Errors
    /// `Panicked` if `make` does; else as [`create`](Self::create).
    ///
    /// # Examples
    /// ```
    /// # let manager = ipc::Manager::new()?;
    /// let log = manager.create_with(|path: String| std::fs::File::open(path), ("/dev/null".into(),))?;
    /// assert!(log.call(|file: &std::io::Result<std::fs::File>| file.is_ok(), ())?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create_with<F, A>(&self, make: F, args: A) -> Result<Proxy<F::Output>, ManagerError>
    where
        F: Target<A>,
        A: Serialize + DeserializeOwned + 'static,
        F::Output: Send + 'static,
    {
        method::assert_zero_sized(make);
        // The server sees this pipe close when the last proxy is gone, however it went.
        let (watched, held) = fds::pipe().map_err(ManagerError::Io)?;
        let construct = Function::of(server::construct::<F, A>).map_err(ManagerError::Foreign)?;
        let id = self.link.call::<_, Result<u64, Refusal>>(construct, &(Fd::from(watched), args))??;
        Ok(Proxy::new(Arc::clone(&self.link), id, held.into()))
    }

    /// Makes an empty map.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn dict<K, V>(&self) -> Result<Dict<K, V>, ManagerError>
    where
        K: Eq + Hash + Send + 'static,
        V: Send + 'static,
    {
        self.create_with(HashMap::new, ()).map(Dict)
    }

    /// Makes an empty list.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn list<T: Send + 'static>(&self) -> Result<List<T>, ManagerError> {
        self.create_with(Vec::new, ()).map(List)
    }

    /// Makes an empty namespace: values of any type by name.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn namespace(&self) -> Result<Namespace, ManagerError> {
        self.create_with(HashMap::new, ()).map(Namespace)
    }

    /// Makes a counter.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn counter(&self, start: i64) -> Result<Counter, ManagerError> {
        self.create(start).map(Counter)
    }

    /// Ends the server, with all objects; proxies report [`Closed`](ManagerError::Closed) from now on. Only in the
    /// process that started it.
    ///
    /// # Errors
    /// `Process` if the signal cannot be sent; `Refused` in another process.
    pub fn shutdown(self) -> Result<(), ManagerError> {
        self.link.shutdown()
    }

    /// The server's pid; none in processes that did not start it.
    pub fn pid(&self) -> Option<u32> {
        self.link.server_pid()
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("pid", &self.pid()).finish_non_exhaustive()
    }
}

impl Serialize for Manager {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        handover::check_sending::<Self, S>()?;
        LinkHandle(Arc::clone(&self.link)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Manager {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        LinkHandle::deserialize(deserializer).map(|link| Self { link: link.0 })
    }
}
