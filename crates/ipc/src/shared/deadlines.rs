//! Locking until a time.

use std::time::Instant;

use sync::{Element, OwnerDied, Plain};

use super::{Array, ArrayGuard, Row, RowGuard, Value, ValueGuard};
use crate::time::remaining;

impl<T: Element + Copy> Value<T> {
    /// As [`lock_timeout`](Self::lock_timeout), until `deadline`.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn lock_deadline(&self, deadline: Instant) -> Result<Option<ValueGuard<'_, T>>, OwnerDied<ValueGuard<'_, T>>> {
        self.lock_timeout(remaining(deadline))
    }
}

impl<T: Element + Copy> Array<T> {
    /// As [`lock_timeout`](Self::lock_timeout), until `deadline`.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn lock_deadline(&self, deadline: Instant) -> Result<Option<ArrayGuard<'_, T>>, OwnerDied<ArrayGuard<'_, T>>> {
        self.lock_timeout(remaining(deadline))
    }
}

impl<T: Element<Stored = T> + Plain + Copy> Row<T> {
    /// As [`lock_timeout`](Self::lock_timeout), until `deadline`.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn lock_deadline(&self, deadline: Instant) -> Result<Option<RowGuard<'_, T>>, OwnerDied<RowGuard<'_, T>>> {
        self.lock_timeout(remaining(deadline))
    }
}
