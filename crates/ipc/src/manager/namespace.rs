use std::{collections::HashMap, fmt};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{ManagerError, Proxy};

type Values = HashMap<String, Vec<u8>>;

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
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Namespace(pub(super) Proxy<Values>);

impl Namespace {
    /// Sets the value of `name`.
    ///
    /// # Errors
    /// `Encode` if it does not serialise; else as [`Proxy::call`].
    pub fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), ManagerError> {
        let mut bytes = Vec::new();
        wire::encode_named(value, &mut bytes)
            .map_err(|e| ManagerError::Refused(format!("the value does not serialise: {e}")))?;
        self.0.call(
            |values: &mut Values, name: String, bytes: Vec<u8>| drop(values.insert(name, bytes)),
            (name.into(), bytes),
        )
    }

    /// The value of `name`.
    ///
    /// # Errors
    /// `Decode` if it is not a `T`; else as [`Proxy::call`].
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ManagerError> {
        let bytes = self.0.call(|values: &Values, name: String| values.get(&name).cloned(), (name.into(),))?;
        bytes.map(|bytes| kernel::handover::unpack(&bytes, Vec::new()).map_err(ManagerError::Decode)).transpose()
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
