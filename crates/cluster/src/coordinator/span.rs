//! Which tasks one message holds.

use std::{fmt, ops::RangeInclusive, str::FromStr};

/// The numbers of a message's tasks: one, or several that follow each other. Written `7`, or `7-9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    first: u64,
    last: u64,
}

impl Span {
    pub(super) fn of(task: u64) -> Self {
        Self { first: task, last: task }
    }

    /// With the task that follows.
    pub(super) fn and_next(self) -> Self {
        Self { last: self.last + 1, ..self }
    }

    pub(super) fn is_one(self) -> bool {
        self.first == self.last
    }

    pub(super) fn last(self) -> u64 {
        self.last
    }

    pub(super) fn tasks(self) -> RangeInclusive<u64> {
        self.first..=self.last
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_one() {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl FromStr for Span {
    type Err = ();

    /// It comes from a network. Nobody counts to its end without looking whether the tasks are there.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn span_is_read_as_it_was_written() {
        let (one, three) = (Span::of(7), Span::of(7).and_next().and_next());
        assert_eq!((one.to_string(), three.to_string()), ("7".into(), "7-9".into()));
        assert_eq!(("7".parse(), "7-9".parse()), (Ok(one), Ok(three)));
        assert_eq!(three.tasks().collect::<Vec<_>>(), [7, 8, 9]);
        for garbage in ["", "-", "9-7", "7-", "x", "7-9-11", "-7"] {
            assert_eq!(garbage.parse::<Span>(), Err(()), "{garbage}");
        }
    }
}
