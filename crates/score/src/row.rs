//! One promise, and what was found of it.

use crate::subject::Side;

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(crate) enum Effort {
    /// What fits in three minutes.
    Short,
    /// Everything, with an hour of soak.
    Full,
}

/// What the rows are measured with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) effort: Effort,
    pub(crate) with_peers: bool,
}

impl Plan {
    /// `short` or `full`, after the effort.
    pub(crate) fn amount(self, short: u64, full: u64) -> u64 {
        if self.effort == Effort::Full { full } else { short }
    }

    /// The peers that are measured beside this.
    pub(crate) fn peers(self, with_pools: bool) -> impl Iterator<Item = Side> {
        Side::PEERS.into_iter().filter(move |side| self.with_peers && (with_pools || !side.is_only_pool()))
    }
}

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) number: u32,
    pub(crate) figure: &'static str,
    pub(crate) target: &'static str,
    /// As published, or as measured before.
    pub(crate) peer: &'static str,
    pub(crate) measure: fn(Plan) -> Result<Found, String>,
}

/// How what was found compares with the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    /// As far as this run went, which was not as far as the target asks.
    SoFar,
    Missed,
}

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) ours: String,
    pub(crate) verdict: Verdict,
    /// What the same driver found of others.
    pub(crate) peers: Vec<(&'static str, String)>,
}

impl Found {
    /// `is_whole`: this was as much as the target asks for.
    pub(crate) fn new(ours: String, is_met: bool, is_whole: bool) -> Self {
        let verdict = match (is_met, is_whole) {
            (true, true) => Verdict::Met,
            (true, false) => Verdict::SoFar,
            (false, _) => Verdict::Missed,
        };
        Self { ours, verdict, peers: Vec::new() }
    }

    pub(crate) fn missed(why: String) -> Self {
        Self::new(why, false, false)
    }

    /// With those that could be measured; of the others, why not.
    pub(crate) fn beside(
        mut self,
        sides: impl Iterator<Item = Side>,
        measure: impl Fn(Side) -> std::io::Result<String>,
    ) -> Self {
        for side in sides {
            eprintln!("    beside it, {}", side.name());
            self.peers.push((side.name(), measure(side).unwrap_or_else(|e| format!("not measured: {e}"))));
        }
        self
    }
}
