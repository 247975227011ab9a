//! Maps and lists in a manager's server.

use std::{collections::HashMap, fmt, hash::Hash};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{ManagerError, Proxy};

/// A map in a [`Manager`](super::Manager)'s server. Every method is one call; each can fail as [`Proxy::call`] can.
#[derive(Deserialize)]
#[serde(bound = "", transparent)]
pub struct Dict<K, V>(pub(super) Proxy<HashMap<K, V>>);

kernel::serialize_as_inner!(Dict<K, V> where K: [], V: []);

/// A list in a [`Manager`](super::Manager)'s server. Every method is one call; each can fail as [`Proxy::call`] can.
#[derive(Deserialize)]
#[serde(bound = "", transparent)]
pub struct List<T>(pub(super) Proxy<Vec<T>>);

kernel::serialize_as_inner!(List<T> where T: []);

/// A number in a [`Manager`](super::Manager)'s server. [`Value`](crate::Value) is much faster.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Counter(pub(super) Proxy<i64>);

kernel::serialize_as_inner!(Counter);

#[allow(clippy::missing_errors_doc, reason = "said once, at the type")]
impl<K, V> Dict<K, V>
where
    K: Eq + Hash + Clone + Serialize + DeserializeOwned + Send + 'static,
    V: Clone + Serialize + DeserializeOwned + Send + 'static,
{
    /// Sets the value of `key`; returns the former one.
    pub fn insert(&self, key: K, value: V) -> Result<Option<V>, ManagerError> {
        self.0.call(HashMap::insert, (key, value))
    }

    /// The value of `key`.
    pub fn get(&self, key: K) -> Result<Option<V>, ManagerError> {
        self.0.call(|map: &HashMap<K, V>, key: K| map.get(&key).cloned(), (key,))
    }

    /// The value of `key`, which becomes `default` if there is none.
    #[doc(alias = "setdefault")]
    pub fn get_or_insert(&self, key: K, default: V) -> Result<V, ManagerError> {
        let method = |map: &mut HashMap<K, V>, key: K, default: V| map.entry(key).or_insert(default).clone();
        self.0.call(method, (key, default))
    }

    /// Removes `key`; returns its value.
    #[doc(alias = "pop")]
    pub fn remove(&self, key: K) -> Result<Option<V>, ManagerError> {
        self.0.call(|map: &mut HashMap<K, V>, key: K| map.remove(&key), (key,))
    }

    /// Whether `key` has a value.
    pub fn contains_key(&self, key: K) -> Result<bool, ManagerError> {
        self.0.call(|map: &HashMap<K, V>, key: K| map.contains_key(&key), (key,))
    }

    /// Sets several values at once: all, or none if the call fails.
    #[doc(alias = "update")]
    pub fn extend(&self, items: impl IntoIterator<Item = (K, V)>) -> Result<(), ManagerError> {
        let items: Vec<(K, V)> = items.into_iter().collect();
        self.0.call(|map: &mut HashMap<K, V>, items: Vec<(K, V)>| map.extend(items), (items,))
    }

    /// How many keys there are.
    pub fn len(&self) -> Result<usize, ManagerError> {
        self.0.call(|map: &HashMap<K, V>| map.len(), ())
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.len().map(|n| n == 0)
    }

    /// Removes all keys.
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.0.call(|map: &mut HashMap<K, V>| map.clear(), ())
    }

    /// A copy of all keys, in no order.
    pub fn keys(&self) -> Result<Vec<K>, ManagerError> {
        self.0.call(|map: &HashMap<K, V>| map.keys().cloned().collect::<Vec<_>>(), ())
    }

    /// A copy of all values, in no order.
    pub fn values(&self) -> Result<Vec<V>, ManagerError> {
        self.0.call(|map: &HashMap<K, V>| map.values().cloned().collect::<Vec<_>>(), ())
    }

    /// A copy of it all.
    #[doc(alias = "items")]
    pub fn to_map(&self) -> Result<HashMap<K, V>, ManagerError> {
        self.0.get()
    }

    /// The object itself, for methods of your own.
    pub fn proxy(&self) -> &Proxy<HashMap<K, V>> {
        &self.0
    }
}

#[allow(clippy::missing_errors_doc, reason = "said once, at the type")]
impl<T: Clone + Serialize + DeserializeOwned + Send + 'static> List<T> {
    /// Adds a value at the end.
    #[doc(alias = "append")]
    pub fn push(&self, value: T) -> Result<(), ManagerError> {
        self.0.call(|list: &mut Vec<T>, value: T| list.push(value), (value,))
    }

    /// Removes the last value.
    pub fn pop(&self) -> Result<Option<T>, ManagerError> {
        self.0.call(|list: &mut Vec<T>| list.pop(), ())
    }

    /// The value at `i`.
    pub fn get(&self, i: usize) -> Result<Option<T>, ManagerError> {
        self.0.call(|list: &Vec<T>, i: usize| list.get(i).cloned(), (i,))
    }

    /// Changes the value at `i`; returns the former one, or none if there is no such place.
    pub fn set(&self, i: usize, value: T) -> Result<Option<T>, ManagerError> {
        let method =
            |list: &mut Vec<T>, i: usize, value: T| list.get_mut(i).map(|place| std::mem::replace(place, value));
        self.0.call(method, (i, value))
    }

    /// Removes the value at `i`, if there is one.
    pub fn remove(&self, i: usize) -> Result<Option<T>, ManagerError> {
        self.0.call(|list: &mut Vec<T>, i: usize| (i < list.len()).then(|| list.remove(i)), (i,))
    }

    /// Adds several values at the end, at once: all, or none if the call fails.
    pub fn extend(&self, values: impl IntoIterator<Item = T>) -> Result<(), ManagerError> {
        let values: Vec<T> = values.into_iter().collect();
        self.0.call(|list: &mut Vec<T>, values: Vec<T>| list.extend(values), (values,))
    }

    /// How many values there are.
    pub fn len(&self) -> Result<usize, ManagerError> {
        self.0.call(|list: &Vec<T>| list.len(), ())
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.len().map(|n| n == 0)
    }

    /// Removes all values.
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.0.call(|list: &mut Vec<T>| list.clear(), ())
    }

    /// A copy of it all.
    pub fn to_vec(&self) -> Result<Vec<T>, ManagerError> {
        self.0.get()
    }

    /// Sorts it.
    pub fn sort(&self) -> Result<(), ManagerError>
    where
        T: Ord,
    {
        self.0.call(|list: &mut Vec<T>| list.sort(), ())
    }

    /// The object itself, for methods of your own.
    pub fn proxy(&self) -> &Proxy<Vec<T>> {
        &self.0
    }
}

#[allow(clippy::missing_errors_doc, reason = "said once, at the type")]
impl Counter {
    /// Adds `n`, wrapping around, and returns the sum.
    pub fn add(&self, n: i64) -> Result<i64, ManagerError> {
        let method = |counter: &mut i64, n: i64| {
            *counter = counter.wrapping_add(n);
            *counter
        };
        self.0.call(method, (n,))
    }

    /// Adds one and returns the sum.
    pub fn increment(&self) -> Result<i64, ManagerError> {
        self.add(1)
    }

    /// The number now.
    pub fn get(&self) -> Result<i64, ManagerError> {
        self.0.get()
    }

    /// Changes the number; returns the former one.
    pub fn set(&self, value: i64) -> Result<i64, ManagerError> {
        self.0.call(|counter: &mut i64, value: i64| std::mem::replace(counter, value), (value,))
    }
}

impl<K, V> Clone for Dict<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> fmt::Debug for Dict<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dict").field(&self.0).finish()
    }
}

impl<T> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("List").field(&self.0).finish()
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counter").field(&self.0).finish()
    }
}
