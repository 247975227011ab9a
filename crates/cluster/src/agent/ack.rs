//! Acknowledgements of deliveries.

/// What the server is told of a task that it has given.
#[derive(Clone, Copy)]
pub(super) enum Ack {
    Done,
    /// Give it to an agent.
    Again,
    /// The same, a second later.
    Later,
    /// It is being worked on.
    Working,
    /// It is wanted no longer.
    Never,
}

/// How many times the server has given a task, by the subject of its acknowledgement: `$JS.ACK`, then stream, consumer and
/// number; later servers put domain and account before the stream.
pub(super) fn n_given(ack: &str) -> Option<u64> {
    let words: Vec<&str> = ack.split('.').collect();
    words.get(if words.len() > 9 { 6 } else { 4 })?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_counted_by_both_forms_of_acknowledgements() {
        assert_eq!(n_given("$JS.ACK.MP_p.b1.3.10.11.1700000000.5"), Some(3));
        assert_eq!(n_given("$JS.ACK._.hash.MP_p.b1.4.10.11.1700000000.5.x"), Some(4));
        assert_eq!(n_given("$JS.ACK.x"), None);
    }
}
