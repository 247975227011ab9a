//! The results of rows that take long, kept in the repository: `crates/score/last.tsv`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{row::Verdict, table::Line};

/// What a row came to, when, and of which revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) date: String,
    pub(crate) revision: String,
    pub(crate) ours: String,
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("last.tsv")
}

/// By the numbers of the rows; a row that was never kept is not there.
pub(crate) fn last() -> BTreeMap<u32, Run> {
    parse(&fs::read_to_string(path()).unwrap_or_default())
}

fn parse(text: &str) -> BTreeMap<u32, Run> {
    let run = |line: &str| {
        let mut fields = line.split('\t').map(str::to_owned);
        let number = fields.next()?.parse().ok()?;
        Some((number, Run { date: fields.next()?, revision: fields.next()?, ours: fields.next()? }))
    };
    text.lines().filter_map(run).collect()
}

/// Puts what these lines came to in the place of what was there.
pub(crate) fn keep(lines: &[Line]) -> io::Result<()> {
    let mut runs = last();
    let (date, revision) = (say("date", &["+%Y-%m-%d"])?, say("git", &["describe", "--always", "--dirty"])?);
    for line in lines {
        let verdict = match line.found.verdict {
            Verdict::Met | Verdict::SoFar => "",
            Verdict::Missed => " (missed)",
        };
        let ours = format!("{}{verdict}", line.found.ours.replace(['\t', '\n'], " "));
        runs.insert(line.row.number, Run { date: date.clone(), revision: revision.clone(), ours });
    }
    let text: String =
        runs.iter().map(|(n, run)| format!("{n}\t{}\t{}\t{}\n", run.date, run.revision, run.ours)).collect();
    fs::write(path(), text)
}

fn say(program: &str, args: &[&str]) -> io::Result<String> {
    let output = Command::new(program).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read() {
        let run = Run { date: "2026-11-30".into(), revision: "abc".into(), ours: "0 of 10000".into() };
        assert_eq!(parse("3\t2026-11-30\tabc\t0 of 10000\nnonsense\n"), BTreeMap::from([(3, run)]));
        assert!(last().keys().all(|number| (1..=16).contains(number)));
    }
}
