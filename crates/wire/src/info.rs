//! What is known of a type.

mod table;

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Form,
    error::Error,
    known::Known,
    named,
    numbers::is_number,
    once::Once,
    probe::{self, Findings},
    shape::Shape,
    sparse::Sparse,
};

/// What is known of a type, in this process: in which form its values go, and whether they came back as they were.
///
/// One a type; it lives as long as the process.
pub struct TypeInfo {
    name: &'static str,
    reading: Once<Reading>,
    probe: fn() -> Findings,
    pub(crate) back: fn(&[u8], &mut Sparse<'_>) -> Result<(), Error>,
    /// A value came back as it was.
    is_tried: AtomicBool,
}

/// What its `Deserialize` does.
pub(crate) struct Reading {
    form: Form,
    has_handles: bool,
    pub(crate) known: Known,
    /// What all its values look like, if they do.
    pub(crate) shape: Option<Shape>,
    /// It looks at what is there.
    pub(crate) asks_for_names: bool,
}

impl TypeInfo {
    /// That of `T`.
    #[inline]
    pub fn of<T: Serialize + DeserializeOwned>() -> &'static Self {
        table::get(typeid::of::<T>(), || Self {
            name: std::any::type_name::<T>(),
            reading: Once::new(),
            probe: if is_number::<T>() { number } else { probe::probe::<T> },
            back: named::back::<T>,
            // There is nothing to be found out about a number.
            is_tried: AtomicBool::new(is_number::<T>()),
        })
    }

    /// The form in which its values go; single ones that the compact form cannot carry are in the named one.
    pub fn form(&self) -> Form {
        self.reading().form
    }

    /// Whether a value may have a handle of this library inside. False if it cannot.
    pub fn may_hold_handles(&self) -> bool {
        self.reading().has_handles
    }

    /// Its name, with its path.
    pub fn name(&self) -> &'static str {
        self.name
    }

    #[inline]
    pub(crate) fn reading(&self) -> &'static Reading {
        self.reading.get(|| (self.probe)().into())
    }

    #[inline]
    pub(crate) fn is_tried(&self) -> bool {
        self.is_tried.load(Relaxed)
    }

    pub(crate) fn set_tried(&self) {
        self.is_tried.store(true, Relaxed);
    }
}

/// What a probe of a number finds.
fn number() -> Findings {
    Findings { is_complete: true, ..Findings::default() }
}

impl From<Findings> for Reading {
    fn from(findings: Findings) -> Self {
        let is_plain = findings.is_complete && !findings.asks_for_names;
        Self {
            form: if is_plain { Form::Compact } else { Form::Named },
            has_handles: findings.has_handles || !is_plain,
            known: if is_plain { Known::new(&findings.parts) } else { Known::default() },
            shape: findings.outline.filter(|_| is_plain && !findings.has_handles).and_then(Shape::new),
            asks_for_names: findings.asks_for_names,
        }
    }
}

impl fmt::Debug for TypeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypeInfo").field("name", &self.name).field("form", &self.form()).finish_non_exhaustive()
    }
}
