//! What all values of a type look like, where they are the same few numbers each time.

use crate::{numbers, tag};

/// What a value consists of, in order: a byte for each number, tuple and struct.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step(u8);

/// Longer values are as well off with tags.
const MAX_STEPS: usize = 16;
/// The step that a tuple or a struct begins with: this and the number of its elements. Tags of numbers are below it.
const OPEN: u8 = 32;

impl Step {
    /// The number with this tag.
    #[inline(always)]
    pub(crate) fn leaf(tag: u8) -> Self {
        Self(tag)
    }

    /// The begin of a tuple or a struct. None has as many elements as the last of them says.
    #[inline(always)]
    pub(crate) fn open(n_elements: usize) -> Self {
        Self(OPEN + n_elements.min(MAX_STEPS) as u8)
    }

    fn n_bytes(self) -> usize {
        match self.0 {
            tag::FALSE => 1,
            tag::CHAR => 4,
            tag if tag < OPEN => numbers::width(tag).unwrap_or(0),
            _ => 0,
        }
    }
}

/// What all values of a type look like.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) steps: Box<[Step]>,
    pub(crate) n_bytes: usize,
    /// From one value to the next: whole words, unless they are few.
    pub(crate) stride: usize,
}

impl Shape {
    /// `None` if there is nothing in it, or too much.
    pub(crate) fn new(steps: Vec<Step>) -> Option<Self> {
        let n_bytes = if steps.len() > MAX_STEPS { 0 } else { steps.iter().map(|step| step.n_bytes()).sum() };
        let stride = if n_bytes < 16 { n_bytes } else { n_bytes.next_multiple_of(8) };
        (n_bytes > 0).then(|| Self { steps: steps.into(), n_bytes, stride })
    }
}

/// The steps that are still to come of a value.
///
/// Each is compared at once. To put those together that came, and to compare them at the end, is faster only where all
/// that writes or reads the value is inlined in one place, and takes twice as long elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Expected<'a>(std::slice::Iter<'a, Step>);

impl<'a> Expected<'a> {
    #[inline(always)]
    pub(crate) fn new(shape: &'a Shape) -> Self {
        Self(shape.steps.iter())
    }

    /// Whether this is the next one.
    #[inline(always)]
    pub(crate) fn is_next(&mut self, step: Step) -> bool {
        self.0.next() == Some(&step)
    }

    /// Whether none is left.
    #[inline(always)]
    pub(crate) fn is_over(&self) -> bool {
        self.0.as_slice().is_empty()
    }
}
