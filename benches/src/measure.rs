//! Samples, and what to make of them.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Some values of one quantity, sorted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Sorts them.
    pub fn new(mut values: Vec<f64>) -> Self {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// The value that a share `p` (0 to 1) of all is not above; NaN of nothing.
    pub fn quantile(&self, p: f64) -> f64 {
        let Some(last) = self.0.len().checked_sub(1) else { return f64::NAN };
        let at = p * last as f64;
        let (low, high) = (self.0[at.floor() as usize], self.0[at.ceil() as usize]);
        low + (high - low) * at.fract()
    }

    /// The value in the middle.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Whether they lie in two heaps with a gap between: the median is then that of whichever was hit more often, and
    /// ratios to it are worth little.
    pub fn is_bimodal(&self) -> bool {
        let splits = (2..self.0.len().saturating_sub(1)).map(|at| self.0.split_at(at));
        splits.into_iter().any(|(low, high)| {
            let spread = |heap: &[f64]| heap[heap.len() - 1] / heap[0];
            let gap = high[0] / low[low.len() - 1];
            low[0] > 0.0 && gap > 1.25 && gap > spread(low) && gap > spread(high)
        })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How long each of up to `n` calls takes, in microseconds; stops at `budget`. Some calls before that do not count:
/// they pay for what went on before.
pub fn time_each(n: usize, budget: Duration, mut call: impl FnMut()) -> Vec<f64> {
    for _ in 0..(n / 20).clamp(1, 5) {
        call();
    }
    let begun = Instant::now();
    let mut times = Vec::with_capacity(n);
    while times.len() < n && begun.elapsed() < budget {
        let before = Instant::now();
        call();
        times.push(before.elapsed().as_secs_f64() * 1e6);
    }
    times
}

/// A quantity that has a unit's prefix: `27.1 M`, `3.20 k`, `0.291`.
pub fn human(value: f64) -> String {
    let (scaled, prefix) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, " G"),
        v if v >= 1e6 => (value / 1e6, " M"),
        v if v >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let n_decimals = match scaled.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{scaled:.n_decimals$}{prefix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_samples() {
        let samples = Samples::new(vec![4.0, 1.0, f64::NAN, 2.0, 3.0]);
        assert_eq!((samples.len(), samples.median()), (4, 2.5));
        assert_eq!((samples.quantile(0.0), samples.quantile(1.0)), (1.0, 4.0));
        assert!(Samples::default().median().is_nan());
    }

    #[test]
    fn two_heaps_are_told_from_a_wide_one() {
        assert!(Samples::new(vec![1.0, 1.05, 1.1, 2.0, 2.1]).is_bimodal());
        assert!(!Samples::new(vec![1.0, 1.3, 1.6, 1.9, 2.2]).is_bimodal());
        // One outlier is no heap.
        assert!(!Samples::new(vec![1.0, 1.01, 1.02, 5.0]).is_bimodal());
    }

    #[test]
    fn figures_have_three_digits() {
        assert_eq!(human(27_123_456.0), "27.1 M");
        assert_eq!(human(9_999.0), "9999");
        assert_eq!(human(0.2914), "0.291");
    }
}
