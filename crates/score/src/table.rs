//! The table, for people and for programs.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::json;

use crate::{
    record::Run,
    row::{Found, Row, Verdict},
};

/// A row with what was found.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) row: &'static Row,
    pub(crate) found: Found,
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Met => "met",
        Verdict::SoFar => "so far",
        Verdict::Missed => "MISSED",
    }
}

/// "so far" is met as far as this run went, which was not as far as the target asks.
pub(crate) fn text(lines: &[Line], last: &BTreeMap<u32, Run>) -> String {
    let mut table = format!("{:>2}  {:<53} {:<7} {:<48} {:<42} peer\n", "", "figure", "", "ours", "target");
    for line in lines {
        let Row { number, figure, target, peer, .. } = line.row;
        let mut ours = line.found.ours.lines();
        let first = ours.next().unwrap_or_default();
        let _ = writeln!(
            table,
            "{number:>2}  {figure:<53} {:<7} {first:<48} {target:<42} {peer}",
            word(line.found.verdict)
        );
        for more in ours {
            let _ = writeln!(table, "{:>66}{more}", "");
        }
        for (name, found) in &line.found.peers {
            let _ = writeln!(table, "{:>66}{name}: {found}", "");
        }
        if let Some(run) = last.get(number) {
            let _ = writeln!(table, "{:>66}last run, {} at {}: {}", "", run.date, run.revision, run.ours);
        }
    }
    table
}

pub(crate) fn json(lines: &[Line], last: &BTreeMap<u32, Run>) -> String {
    let mut text = String::new();
    for line in lines {
        let Row { number, figure, target, peer, .. } = line.row;
        let peers: BTreeMap<_, _> = line.found.peers.iter().map(|(name, found)| (*name, found)).collect();
        let last = last.get(number);
        let last = last.map(|run| json!({"date": run.date, "revision": run.revision, "ours": run.ours}));
        let object = json!({
            "row": number, "figure": figure, "ours": line.found.ours, "verdict": word(line.found.verdict), "target": target,
            "peer": peer, "peers": peers, "last": last,
        });
        let _ = writeln!(text, "{object}");
    }
    text
}
