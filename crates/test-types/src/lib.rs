//! Values of many types, for the suites that send each of them on every path.
//!
//! [`all`] shows them one type after another to a [`Visit`]. A suite sends the values and compares what arrives.

mod attributes;
mod crates;
mod enums;
mod model;

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};

/// What every type here can do.
pub trait Traveller: Serialize + DeserializeOwned + PartialEq + Debug + Clone + Send + 'static {}

impl<T: Serialize + DeserializeOwned + PartialEq + Debug + Clone + Send + 'static> Traveller for T {}

/// What may become of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Must {
    /// It arrives, and is equal.
    Arrive,
    /// It is refused where it is sent: no format that serde knows carries it.
    BeRefused,
    /// It is refused where it is sent, or is an error where it arrives: its own `Deserialize` refuses it.
    BeAnError,
}

/// Takes the values of one type after another.
pub trait Visit {
    /// Takes some values of a type.
    fn visit<T: Traveller>(&mut self, name: &'static str, must: Must, values: Vec<T>);
}

/// Shows those types to `visit` that a format may get wrong: for suites of which each type takes long to compile.
pub fn telling(visit: &mut impl Visit) {
    model::telling(visit);
    attributes::all(visit);
    enums::all(visit);
    crates::telling(visit);
}

/// Shows some types of serde's data model to `visit`.
pub fn model(visit: &mut impl Visit) {
    model::telling(visit);
}

/// Shows all types to `visit`.
pub fn all(visit: &mut impl Visit) {
    model::all(visit);
    attributes::all(visit);
    enums::all(visit);
    crates::all(visit);
}
