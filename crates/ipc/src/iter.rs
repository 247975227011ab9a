//! Iterators over what comes in, which end with the first error and keep it.

/// The next item of such an iterator; `end` is what it has ended with.
pub(crate) fn next<T, E>(end: &mut Option<E>, get: impl FnOnce() -> Result<T, E>) -> Option<T> {
    if end.is_some() {
        return None;
    }
    get().map_err(|e| *end = Some(e)).ok()
}
