//! The table of operations: a file each area, an entry each operation.

mod selftest;

use crate::operation::Row;

/// Everything that must be survived.
pub(crate) fn all() -> Vec<Box<dyn Row>> {
    selftest::operations()
}

/// Operations with a known fault each, which the lab must find.
pub(crate) fn mutants() -> Vec<Box<dyn Row>> {
    selftest::mutants()
}
