//! Below the table: what the tests came to on an emulated aarch64. `cargo xtask aarch64` keeps it in
//! `crates/score/aarch64.tsv`, a line for each test program and page size.

use std::{fmt::Write as _, fs};

use serde_json::json;

/// The fields of a line: pages in KiB, program, date, revision, what it came to.
type Run = [String; 5];

/// The last run of each program.
pub(crate) fn last() -> Vec<Run> {
    parse(&fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/aarch64.tsv")).unwrap_or_default())
}

fn parse(text: &str) -> Vec<Run> {
    let run = |line: &str| {
        let fields: Vec<_> = line.split('\t').map(str::to_owned).collect();
        fields.try_into().ok()
    };
    text.lines().filter_map(run).collect()
}

pub(crate) fn text(runs: &[Run]) -> String {
    let mut table = String::new();
    for [pages, program, date, revision, outcome] in runs {
        if table.is_empty() {
            table += "\nThe last runs of the tests on aarch64, emulated, by the size of pages\n";
        }
        let _ = writeln!(table, "{pages:>2} KiB  {program:<18} {date} at {revision}: {outcome}");
    }
    table
}

pub(crate) fn json(runs: &[Run]) -> String {
    let object = |[pages, program, date, revision, outcome]: &Run| {
        let run =
            json!({"program": program, "pages_kib": pages, "date": date, "revision": revision, "outcome": outcome});
        json!({ "aarch64": run }).to_string() + "\n"
    };
    runs.iter().map(object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "16\ttls-it\t2026-12-01\tabc\tok, 13 passed\n";

    #[test]
    fn what_was_kept_is_printed() {
        let runs = parse(&format!("{LINE}nonsense\n{LINE}"));
        assert_eq!(runs.len(), 2);
        let text = text(&runs);
        assert_eq!(text.matches("\n16 KiB  tls-it             2026-12-01 at abc: ok, 13 passed").count(), 2, "{text}");
        let json: serde_json::Value = serde_json::from_str(json(&runs).lines().next().unwrap()).unwrap();
        assert_eq!(
            (&json["aarch64"]["pages_kib"], &json["aarch64"]["outcome"]),
            (&"16".into(), &"ok, 13 passed".into())
        );
    }

    #[test]
    fn nothing_kept_is_nothing_printed() {
        assert_eq!((text(&[]), json(&[])), (String::new(), String::new()));
    }

    #[test]
    fn every_line_of_the_file_is_a_run() {
        let kept = include_str!("../aarch64.tsv");
        assert_eq!(parse(kept).len(), kept.lines().count());
    }
}
