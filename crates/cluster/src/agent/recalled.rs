//! Tasks that were taken back before they came.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Whole maps are taken back, whose tasks have numbers that follow each other: what is kept is where such rows begin and end.
type Rows = HashMap<Arc<str>, BTreeMap<u64, u64>>;

/// Rows that are remembered for sure.
const N_ROWS: usize = 4096;

#[derive(Default)]
pub(super) struct Recalled {
    latest: Rows,
    n_latest: usize,
    /// As many that came before those.
    older: Rows,
}

impl Recalled {
    pub(super) fn contains(&self, coordinator: &str, task: u64) -> bool {
        [&self.latest, &self.older].into_iter().any(|rows| contains(rows, coordinator, task))
    }

    pub(super) fn insert(&mut self, coordinator: &Arc<str>, task: u64) {
        if contains(&self.latest, coordinator, task) {
            return;
        }
        if self.n_latest >= N_ROWS {
            self.older = std::mem::take(&mut self.latest);
            self.n_latest = 0;
        }
        let rows = self.latest.entry(coordinator.clone()).or_default();
        let before = rows.range(..task).next_back().filter(|(_, last)| **last + 1 == task).map(|(first, _)| *first);
        let after = task.checked_add(1).and_then(|next| rows.remove(&next));
        rows.insert(before.unwrap_or(task), after.unwrap_or(task));
        self.n_latest += 1;
        self.n_latest -= usize::from(before.is_some()) + usize::from(after.is_some());
    }
}

fn contains(rows: &Rows, coordinator: &str, task: u64) -> bool {
    let row = rows.get(coordinator).and_then(|rows| rows.range(..=task).next_back());
    row.is_some_and(|(_, last)| task <= *last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_grow_and_meet() {
        let (mut recalled, name) = (Recalled::default(), Arc::from("c"));
        for task in [5, 3, 4, 9, 8, 5, 0, u64::MAX] {
            recalled.insert(&name, task);
        }
        assert_eq!(
            recalled.latest["c"].iter().collect::<Vec<_>>(),
            [(&0, &0), (&3, &5), (&8, &9), (&u64::MAX, &u64::MAX)]
        );
        assert_eq!(recalled.n_latest, 4);
        for (task, is_there) in
            [(0, true), (1, false), (2, false), (3, true), (5, true), (6, false), (9, true), (10, false)]
        {
            assert_eq!(recalled.contains("c", task), is_there, "{task}");
        }
        assert!(!recalled.contains("d", 3));
    }

    #[test]
    fn takes_no_more_room_than_for_the_latest() {
        let (mut recalled, name) = (Recalled::default(), Arc::from("c"));
        (0..100_000).for_each(|task| recalled.insert(&name, task));
        assert_eq!(recalled.n_latest, 1);
        assert!((0..100_000).all(|task| recalled.contains("c", task)));
        let n = 4 * N_ROWS as u64;
        (0..n).for_each(|at| recalled.insert(&name, 200_000 + 2 * at));
        assert!(recalled.latest["c"].len() + recalled.older["c"].len() <= 2 * N_ROWS);
        assert!((n - N_ROWS as u64..n).all(|at| recalled.contains("c", 200_000 + 2 * at)));
        assert!(!recalled.contains("c", 0));
    }
}
