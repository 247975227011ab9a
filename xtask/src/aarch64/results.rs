//! What each test program came to, in `crates/score/aarch64.tsv`: a line for each program and page size, of its last run.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// One test program's last run with pages of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) pages: String,
    pub(super) program: String,
    pub(super) date: String,
    pub(super) revision: String,
    /// Counts of tests, and how the program ended if that was no success.
    pub(super) outcome: String,
}

impl Run {
    pub(super) fn is_success(&self) -> bool {
        self.outcome.starts_with("ok")
    }
}

/// Puts these runs in the place of those that were kept of the same programs with the same pages.
pub(super) fn keep(runs: &[Run]) -> io::Result<()> {
    let path = path();
    fs::write(&path, merge(&fs::read_to_string(&path).unwrap_or_default(), runs))
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/score/aarch64.tsv")
}

fn merge(kept: &str, runs: &[Run]) -> String {
    let all = parse(kept).into_iter().chain(runs.iter().cloned());
    let last: BTreeMap<_, _> =
        all.map(|run| ((run.pages.len(), run.pages.clone(), run.program.clone()), run)).collect();
    let line = |run: &Run| [&*run.pages, &run.program, &run.date, &run.revision, &run.outcome].join("\t") + "\n";
    last.values().map(line).collect()
}

fn parse(text: &str) -> Vec<Run> {
    let run = |line: &str| {
        let mut fields = line.split('\t').map(str::to_owned);
        let [pages, program, date, revision, outcome] = std::array::from_fn(|_| fields.next());
        Some(Run { pages: pages?, program: program?, date: date?, revision: revision?, outcome: outcome? })
    };
    text.lines().filter_map(run).collect()
}

/// What was built, and when.
pub(super) struct Stamp {
    date: String,
    revision: String,
}

impl Stamp {
    pub(super) fn now() -> Result<Self, String> {
        let mut revision = say("git", &["describe", "--always"])?;
        // What was kept of the last run makes no other revision.
        let but_results = [":/", ":(exclude,top)crates/score/aarch64.tsv"];
        let status = ["status", "--porcelain", "--untracked-files=no"];
        if !say("git", &[&status[..], &but_results].concat())?.is_empty() {
            revision += "-dirty";
        }
        Ok(Self { date: say("date", &["+%Y-%m-%d"])?, revision })
    }
}

/// The runs of `programs`, in this order, from what the guest said.
pub(super) fn read(said: &str, pages: &str, programs: &[&str], Stamp { date, revision }: &Stamp) -> Vec<Run> {
    let mut rest = said;
    let run = |program: &&str| {
        let outcome = match rest.split_once(&format!("==> {program}: ")) {
            Some((before, after)) => {
                rest = after;
                outcome(before, after.lines().next().unwrap_or_default())
            }
            None => "FAILED, did not come to its end".into(),
        };
        Run { pages: pages.into(), program: (*program).into(), date: date.clone(), revision: revision.clone(), outcome }
    };
    programs.iter().map(run).collect()
}

fn outcome(said: &str, status: &str) -> String {
    let n = |end: &str| said.lines().filter(|line| line.starts_with("test ") && line.ends_with(end)).count();
    // Counted, since a program that is killed sums nothing up.
    let mut counts = format!("{} passed", n("... ok"));
    for (end, word) in [("... FAILED", "failed"), ("... ignored", "ignored")] {
        if n(end) > 0 {
            counts += &format!(", {} {word}", n(end));
        }
    }
    let left_out = said
        .lines()
        .find_map(|line| line.strip_prefix("test result: ")?.split("; ").find(|part| part.ends_with(" filtered out")));
    if let Some(n) = left_out.and_then(|part| part.split(' ').next()).filter(|n| *n != "0") {
        counts += &format!(", {n} left out");
    }
    // The crash lab's last line, which is for quoting.
    if let Some(sum) = said.lines().rev().find(|line| line.contains(" not survived, ")) {
        counts = sum.into();
    }
    match status {
        "0" => format!("ok, {counts}"),
        "137" => format!("FAILED, killed after its time: {counts}"),
        status => format!("FAILED, status {status}: {counts}"),
    }
}

fn say(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.map_err(|e| format!("{program}: {e}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pages: &str, program: &str, outcome: &str) -> Run {
        let [pages, program, date, revision, outcome] =
            [pages, program, "2026-12-01", "abc", outcome].map(str::to_owned);
        Run { pages, program, date, revision, outcome }
    }

    #[test]
    fn a_run_takes_the_place_of_the_last_one() {
        let old = [run("4", "tls-it", "FAILED, status 101: 1 passed"), run("16", "tls-it", "ok, 2 passed")];
        let text = merge("nonsense\n", &old);
        assert_eq!(parse(&text), old);
        let new = [run("4", "tls-it", "ok, 2 passed")];
        assert_eq!(parse(&merge(&text, &new)), [new[0].clone(), old[1].clone()]);
    }

    #[test]
    fn the_crash_lab_sums_up_itself() {
        let sum = "5 single, 0 double-fault and 0 pair points, 5 different images judged, 0 not survived, 3 s";
        let stamp = Stamp { date: "2026-12-01".into(), revision: "abc".into() };
        let runs = read(&format!("lock/lock ...\n\n{sum}\n==> crash-lab: 0\n"), "4", &["crash-lab"], &stamp);
        assert_eq!(runs[0].outcome, format!("ok, {sum}"));
    }

    #[test]
    fn a_program_is_what_it_said_between_its_neighbours() {
        let said = "test a ... ok\ntest b ... ignored\ntest result: ok. 1 passed; 0 failed; 3 filtered out; finished in 1 s\n\
                    ==> tls-it: 0\ntest c ... FAILED\n==> tls-fork: 101\ntest d ... ok\n==> ipc-it: 137\ntest e ... ok\n";
        let stamp = Stamp { date: "2026-12-01".into(), revision: "abc".into() };
        let runs = read(said, "16", &["tls-it", "tls-fork", "ipc-it", "pool-it"], &stamp);
        let outcomes: Vec<&str> = runs.iter().map(|run| run.outcome.as_str()).collect();
        assert_eq!(
            outcomes,
            [
                "ok, 1 passed, 1 ignored, 3 left out",
                "FAILED, status 101: 0 passed, 1 failed",
                "FAILED, killed after its time: 1 passed",
                "FAILED, did not come to its end",
            ]
        );
        assert_eq!(runs.iter().filter(|run| run.is_success()).count(), 1);
    }
}
