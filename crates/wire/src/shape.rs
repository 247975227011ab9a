//! What all values of a type look like, where they are the same few numbers each time.

use crate::{name_hash::NameHash, numbers, tag};

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

/// What a `Deserialize` asked for, in order.
pub(crate) struct Outline {
    pub(crate) steps: Vec<Step>,
    /// Of structs and their fields.
    pub(crate) names: NameHash,
}

impl Outline {
    pub(crate) fn new() -> Self {
        Self { steps: Vec::new(), names: NameHash::new() }
    }
}

/// What all values of a type look like.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) trail: Trail,
    pub(crate) names: NameHash,
    pub(crate) n_bytes: usize,
    /// From one value to the next: whole words, unless they are few.
    pub(crate) stride: usize,
}

impl Shape {
    /// `None` if there is nothing in it, or too much.
    pub(crate) fn new(Outline { steps, names }: Outline) -> Option<Self> {
        let n_bytes = if steps.len() > MAX_STEPS { 0 } else { steps.iter().map(|step| step.n_bytes()).sum() };
        let stride = if n_bytes < 16 { n_bytes } else { n_bytes.next_multiple_of(8) };
        (n_bytes > 0).then(|| Self { trail: Trail::of(&steps), names, n_bytes, stride })
    }
}

/// The steps that a value has taken so far, or all those of a shape: a number that tells any two rows of them apart.
///
/// It is compared once, at the end. What is written of one value is inlined into few functions, in which what its steps add
/// to this is a constant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trail(u128);

impl Trail {
    /// So many bits has a step.
    const STEP_BITS: u32 = 6;

    /// Before the first step: a mark that no step is the same as. So a row that has more steps than another one is never the
    /// same number, not even where its first steps have left it at the upper end.
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self(1)
    }

    /// After something that no shape has, whatever is done about it: with no mark it is never the same as a shape's.
    #[inline(always)]
    pub(crate) fn lose(&mut self) {
        self.0 = 0;
    }

    /// Takes a step.
    #[inline(always)]
    pub(crate) fn push(&mut self, step: Step) {
        self.0 = self.0 << Self::STEP_BITS | u128::from(step.0);
    }

    fn of(steps: &[Step]) -> Self {
        let mut trail = Self::new();
        steps.iter().for_each(|step| trail.push(*step));
        trail
    }

    /// Whether these are the same steps.
    #[inline(always)]
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

/// All steps are shorter than this, and none is the mark. Of a longest shape the mark is in the number still.
const _: () = assert!(OPEN as usize + MAX_STEPS < 1 << Trail::STEP_BITS && tag::UNIT > 1);
const _: () = assert!((MAX_STEPS as u32 + 2) * Trail::STEP_BITS <= u128::BITS);

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> Vec<Step> {
        let opened = (0..=MAX_STEPS + 1).map(Step::open);
        [tag::UNIT, tag::FALSE, tag::CHAR].into_iter().chain(tag::U8..=tag::F64).map(Step::leaf).chain(opened).collect()
    }

    /// The other way round from a trail to its steps, if they are not too many: so no other row has the same trail.
    fn back(trail: &Trail) -> Vec<Step> {
        let (mut rest, mut steps) = (trail.0, Vec::new());
        while rest > 1 {
            steps.insert(0, Step((rest & 0x3f) as u8));
            rest >>= 6;
        }
        assert_eq!(rest, 1);
        steps
    }

    #[test]
    fn a_trail_tells_any_two_rows_of_steps_apart() {
        let all = steps();
        let mut random = 1_u64;
        let mut next = |n: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as usize % n
        };
        for _ in 0..2000 {
            let row: Vec<Step> = (0..next(MAX_STEPS + 1)).map(|_| all[next(all.len())]).collect();
            let trail = Trail::of(&row);
            assert_eq!(back(&trail), row);
            // What comes before it makes it another one, up to where its own first steps are lost.
            let mut longer = row.clone();
            for _ in 0..60 {
                longer.insert(0, all[next(all.len())]);
                assert!(!Trail::of(&longer).is(&trail), "{longer:?} {row:?}");
            }
            let mut lost = Trail::of(&row);
            lost.lose();
            row.iter().chain(&longer).for_each(|step| {
                lost.push(*step);
                assert!(!lost.is(&trail), "{row:?}");
            });
        }
    }
}
