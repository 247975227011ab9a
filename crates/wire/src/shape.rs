//! What all values of a type look like, where they are the same few numbers each time.

use crate::{numbers, tag};

/// What a value consists of, in order: a byte for each number, tuple and struct, in one number, and how many they are. Where
/// the code that writes or reads a type is inlined, this is known when it is compiled: all checks of a value are one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    code: u128,
    n: usize,
}

/// Longer values are as well off with tags. So many steps are told from all others.
const MAX_STEPS: usize = size_of::<u128>();
/// The step that a tuple or a struct begins with: this and the number of its elements. Tags of numbers are below it.
const OPEN: u8 = 32;

impl Steps {
    /// Adds the number with this tag.
    #[inline(always)]
    pub(crate) fn leaf(&mut self, tag: u8) {
        self.code = self.code << 8 | u128::from(tag);
        self.n += 1;
    }

    /// Adds the begin of a tuple or a struct. One of too many elements makes it too long.
    #[inline(always)]
    pub(crate) fn open(&mut self, n_elements: usize) {
        self.leaf(OPEN.saturating_add(n_elements.min(MAX_STEPS) as u8));
    }

    fn n_bytes(self) -> usize {
        let width = |tag| match tag {
            tag::FALSE => 1,
            tag::CHAR => 4,
            tag => numbers::width(tag).unwrap_or(0),
        };
        self.code.to_le_bytes()[..self.n].iter().map(|tag| if *tag < OPEN { width(*tag) } else { 0 }).sum()
    }
}

/// What all values of a type look like.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) steps: Steps,
    pub(crate) n_bytes: usize,
    /// From one value to the next: whole words, unless they are few.
    pub(crate) stride: usize,
}

impl Shape {
    /// `None` if there is nothing in it, or too much.
    pub(crate) fn new(steps: Steps) -> Option<Self> {
        let n_bytes = if steps.n > MAX_STEPS { 0 } else { steps.n_bytes() };
        let stride = if n_bytes < 16 { n_bytes } else { n_bytes.next_multiple_of(8) };
        (n_bytes > 0).then_some(Self { steps, n_bytes, stride })
    }
}
