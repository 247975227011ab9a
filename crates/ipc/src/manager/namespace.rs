//! Values of any type by name, in a manager's server.

use std::{collections::HashMap, fmt, io};

use kernel::handover::{self, Fd};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{ManagerError, Proxy};

type Values = HashMap<String, Stored>;

/// A serialised value, with its descriptors.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    bytes: Vec<u8>,
    fds: Vec<Fd>,
}

impl Stored {
    fn try_clone(&self) -> io::Result<Self> {
        let fds = self.fds.iter().map(|fd| fd.0.try_clone().map(Fd)).collect::<io::Result<_>>()?;
        Ok(Self { bytes: self.bytes.clone(), fds })
    }
}

/// Values of any type by name, in a [`Manager`](super::Manager)'s server.
///
/// # Examples
/// ```
/// let manager = ipc::Manager::new()?;
/// let settings = manager.namespace()?;
/// settings.set("retries", &3_u32)?;
/// settings.set("host", "localhost")?;
/// assert_eq!(settings.get::<u32>("retries")?, Some(3));
/// assert_eq!(settings.get::<String>("host")?.as_deref(), Some("localhost"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Namespace(pub(super) Proxy<Values>);

kernel::serialize_as_inner!(Namespace);

impl Namespace {
    /// Sets the value of `name`.
    ///
    /// # Errors
    /// `Encode` if it does not serialise; else as [`Proxy::call`].
    pub fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), ManagerError> {
        let packed = self.0.as_peer(|| handover::pack_named(value)).map_err(ManagerError::Encode)?;
        let stored = Stored { bytes: packed.bytes, fds: packed.fds.into_iter().map(Fd).collect() };
        let set = |values: &mut Values, name: String, stored: Stored| drop(values.insert(name, stored));
        self.0.call(set, (name.into(), stored))
    }

    /// The value of `name`.
    ///
    /// # Errors
    /// `Decode` if it is not a `T`; else as [`Proxy::call`].
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ManagerError> {
        let get = |values: &Values, name: String| {
            let stored = values.get(&name).map(Stored::try_clone).transpose();
            stored.map_err(|e| e.raw_os_error().unwrap_or(0))
        };
        let stored = self.0.call(get, (name.into(),))?;
        let stored = stored.map_err(|errno| ManagerError::Io(io::Error::from_raw_os_error(errno)))?;
        let unpack = |stored: Stored| {
            let fds = stored.fds.into_iter().map(|fd| fd.0).collect();
            self.0.as_peer(|| handover::unpack(&stored.bytes, fds)).map_err(ManagerError::Decode)
        };
        stored.map(unpack).transpose()
    }

    /// Removes `name`; whether it had a value.
    ///
    /// # Errors
    /// As [`Proxy::call`].
    pub fn remove(&self, name: &str) -> Result<bool, ManagerError> {
        self.0.call(|values: &mut Values, name: String| values.remove(&name).is_some(), (name.into(),))
    }

    /// The names that have a value, sorted.
    ///
    /// # Errors
    /// As [`Proxy::call`].
    #[doc(alias = "dir")]
    pub fn names(&self) -> Result<Vec<String>, ManagerError> {
        let mut names = self.0.call(|values: &Values| values.keys().cloned().collect::<Vec<_>>(), ())?;
        names.sort();
        Ok(names)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Namespace").field(&self.0).finish()
    }
}
