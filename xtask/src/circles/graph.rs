//! A directed graph of names, and its strongly connected parts.

use std::collections::{BTreeMap, BTreeSet};

/// Who needs whom, and one item for which.
#[derive(Debug, Default)]
pub(super) struct Graph {
    edges: BTreeMap<String, BTreeMap<String, String>>,
}

impl Graph {
    pub(super) fn add(&mut self, from: &str, to: &str, item: &str) {
        let items = self.edges.entry(from.into()).or_default().entry(to.into()).or_default();
        if !items.split(", ").any(|known| known == item) {
            let comma = if items.is_empty() { "" } else { ", " };
            items.push_str(comma);
            items.push_str(item);
        }
        self.edges.entry(to.into()).or_default();
    }

    pub(super) fn needs_of(&self, name: &str) -> impl Iterator<Item = (&String, &String)> {
        self.edges.get(name).into_iter().flatten()
    }

    /// The sets of two or more names of which each is reached from each other, the largest first.
    pub(super) fn circles(&self) -> Vec<Vec<String>> {
        let reach: BTreeMap<&str, BTreeSet<&str>> =
            self.edges.keys().map(|name| (name.as_str(), self.reached_from(name))).collect();
        let mut seen = BTreeSet::new();
        let mut circles = Vec::new();
        for (name, reached) in &reach {
            if !reached.contains(name) || seen.contains(name) {
                continue;
            }
            let circle: Vec<String> =
                reached.iter().filter(|other| reach[**other].contains(name)).map(|s| (*s).to_owned()).collect();
            seen.extend(reached.iter().filter(|other| reach[**other].contains(name)).copied());
            circles.push(circle);
        }
        circles.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
        circles
    }

    /// Every name that a path of one or more edges leads to.
    fn reached_from(&self, name: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&str> = vec![name];
        while let Some(from) = next.pop() {
            for to in self.edges[from].keys() {
                if reached.insert(to.as_str()) {
                    next.push(to);
                }
            }
        }
        reached
    }
}
