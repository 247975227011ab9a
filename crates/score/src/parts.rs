//! The other parts that rows rest on: commands of the workspace, run as anybody runs them, of which the summary is read.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What a command printed, and whether it succeeded.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) has_passed: bool,
}

/// Runs `cargo` with these arguments from the root of the workspace. What it prints stays in `target/score`, too.
pub(crate) fn cargo(args: &[&str]) -> Result<Said, String> {
    let root = root();
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(&root).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(|e| format!("cargo: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let kept = root.join("target/score");
    let name: String = args.iter().map(|arg| arg.trim_start_matches('-')).collect::<Vec<_>>().join("-");
    let _ = fs::create_dir_all(&kept).and_then(|()| fs::write(kept.join(name.replace('/', "_")), &text));
    Ok(Said { text, has_passed: output.status.success() })
}

/// The crash lab, built as this program is.
pub(crate) fn crash_lab(args: &[&str]) -> Result<Said, String> {
    let own = std::env::current_exe().map_err(|e| format!("where is this program: {e}"))?;
    let folder = own.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let profile = match folder {
        None | Some("debug") => "dev",
        Some(name) => name,
    };
    cargo(&[&["run", "--quiet", "--profile", profile, "--package", "crash-lab", "--"], args].concat())
}

/// What the lab's table says of one mode at its end: points, and how many were not survived.
pub(crate) fn sum_of_mode(said: &str, mode: &str) -> Result<(u64, u64), String> {
    let mut lines = said.lines().rev().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let found = lines.find_map(|words| match words[..] {
        [name, points, _judged, bad, _time, "s"] if name == mode => Some((points.parse().ok()?, bad.parse().ok()?)),
        _ => None,
    });
    found.ok_or_else(|| format!("the lab says nothing of {mode}"))
}

/// How often fuzzers have run in all, as `cargo xtask fuzz --keep` counts.
pub(crate) fn fuzzed() -> u64 {
    sum(&fs::read_to_string(root().join("fuzz/executions.tsv")).unwrap_or_default())
}

fn sum(counts: &str) -> u64 {
    counts.lines().filter_map(|line| line.split_once('\t')?.1.parse::<u64>().ok()).sum()
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The number before `what` in the last line that has both.
pub(crate) fn number_before(said: &str, what: &str) -> Result<u64, String> {
    let found = said.lines().rev().find_map(|line| {
        let before = line.split(what).next().filter(|before| before.len() < line.len())?;
        let digits = before.trim_end().rsplit(|c: char| !c.is_ascii_digit() && c != ',').next()?;
        digits.replace(',', "").parse().ok()
    });
    found.ok_or_else(|| {
        let end: Vec<_> = said.lines().rev().take(12).collect();
        format!("no number before {what:?} in what was said:\n{}", end.into_iter().rev().collect::<Vec<_>>().join("\n"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_are_summed() {
        assert_eq!((sum("pipe\t15\nqueue\t7\n"), sum("")), (22, 0));
    }

    #[test]
    fn the_labs_sums_are_found() {
        let said =
            "mode   points judged not survived time\nkill   5 5 0 1.0 s\nfault  1858 1858 2 70.1 s\n\n5 single\n";
        assert_eq!(sum_of_mode(said, "fault"), Ok((1858, 2)));
        assert!(sum_of_mode(said, "snap").is_err());
    }

    #[test]
    fn numbers_are_found_in_summaries() {
        let said = "kill 3\n507,325 single, 919100 double-fault and 12 pair points, 4 different images judged, 0 not survived, 7 s\n";
        assert_eq!(number_before(said, " single"), Ok(507_325));
        assert_eq!(number_before(said, " double-fault"), Ok(919_100));
        assert_eq!(number_before(said, " not survived"), Ok(0));
        assert!(number_before(said, " surprises").is_err());
    }
}
