//! The last values of something, as a small chart.

use std::collections::VecDeque;

/// Values that are remembered.
const KEPT: usize = 60;

/// The last values of something, for a small chart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chart(VecDeque<u64>);

impl Chart {
    pub(crate) fn push(&mut self, value: f64) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(value.max(0.0) as u64);
    }

    /// The last `width` values as characters, the largest one full.
    pub(crate) fn bars(&self, width: usize) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let most = self.0.iter().copied().max().unwrap_or(0).max(1);
        let shown = self.0.iter().skip(self.0.len().saturating_sub(width));
        shown.map(|value| BARS[(value * 7 / most) as usize]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_is_as_high_as_its_largest_value() {
        let mut chart = Chart::default();
        (0..100).for_each(|n| chart.push(f64::from(n)));
        assert_eq!(chart.bars(3), "▇▇█");
        assert_eq!(Chart::default().bars(3), "");
    }
}
