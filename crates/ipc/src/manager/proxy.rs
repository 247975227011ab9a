//! Handles to objects in a manager's server, and calls by them.

use std::{fmt, marker::PhantomData, sync::Arc};

use kernel::handover::{self, Fd};
use proc_core::function::Function;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

use super::{
    ManagerError, Method,
    link::{Link, LinkHandle},
    method,
    reply::{Refusal, Reply},
    server,
};

/// An object of a [`Manager`](super::Manager), wherever it is called from.
///
/// Clones and handed-over copies are the same object, which lives as long as any of them. Those inside objects count, too:
/// objects that lead to each other in a circle live as long as the server. They do not keep the server alive.
pub struct Proxy<T> {
    link: Arc<Link>,
    id: u64,
    /// The end of a pipe whose other end the server watches, to see when no process has the object any more.
    held: Arc<Fd>,
    object: PhantomData<fn(T)>,
}

impl<T> Proxy<T> {
    pub(super) fn new(link: Arc<Link>, id: u64, held: Fd) -> Self {
        Self { link, id, held: Arc::new(held), object: PhantomData }
    }
}

impl<T> Proxy<T> {
    /// Runs `f`, which packs what goes to the server, or unpacks what comes from it.
    pub(super) fn as_peer<R>(&self, f: impl FnOnce() -> R) -> R {
        self.link.as_peer(f)
    }
}

impl<T: Send + 'static> Proxy<T> {
    /// Calls `method` on the object, in the server, with `args`, a tuple; returns what it returns.
    ///
    /// One call at a time has the object; the others wait for it. A method that calls its own object through a proxy
    /// waits for ever. Handles may be among the arguments, and in what is returned.
    ///
    /// # Errors
    /// [`Panicked`](ManagerError::Panicked) if the method does; [`Closed`](ManagerError::Closed) if the server is gone;
    /// else what [`ManagerError`] says.
    ///
    /// # Examples
    /// ```
    /// # let manager = ipc::Manager::new()?;
    /// let words = manager.create(vec!["b".to_string(), "a".to_string()])?;
    /// words.call(|words: &mut Vec<String>, word: String| words.push(word), ("c".into(),))?;
    /// words.call(|words: &mut Vec<String>| words.sort(), ())?;
    /// assert_eq!(words.call(Vec::len, ())?, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn call<M, A, By>(&self, method: M, args: A) -> Result<M::Output, ManagerError>
    where
        M: Method<T, A, By>,
        M::Output: Serialize + DeserializeOwned,
        A: Serialize + DeserializeOwned + 'static,
        By: 'static,
    {
        method::assert_zero_sized(method);
        let function = Function::of(server::invoke::<T, M, A, By>).map_err(ManagerError::Foreign)?;
        let Reply(result): Reply<Result<M::Output, Refusal>> = self.link.call(function, &(self.id, args))?;
        result.map_err(ManagerError::from)
    }

    /// A copy of the object as it is now.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn get(&self) -> Result<T, ManagerError>
    where
        T: Clone + Serialize + DeserializeOwned,
    {
        self.call(T::clone, ())
    }
}

impl<T> Clone for Proxy<T> {
    fn clone(&self) -> Self {
        Self { link: Arc::clone(&self.link), id: self.id, held: Arc::clone(&self.held), object: PhantomData }
    }
}

impl<T> fmt::Debug for Proxy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("type", &std::any::type_name::<T>()).field("id", &self.id).finish_non_exhaustive()
    }
}

impl<T> Serialize for Proxy<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        handover::check_sending::<Self, S>()?;
        (LinkHandle(Arc::clone(&self.link)), self.id, &*self.held).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Proxy<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (link, id, held): (LinkHandle, u64, Fd) = Deserialize::deserialize(deserializer)?;
        Ok(Self::new(link.0, id, held))
    }
}
