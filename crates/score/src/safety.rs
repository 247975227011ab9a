//! What is found by looks at the code itself: loom, sanitizers, and the lint that asks for a reason of each unsafe block.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    parts::{self, number_before},
    row::{Effort, Found, Plan},
};

pub(crate) fn measure(plan: Plan) -> Result<Found, String> {
    let (n_unsafe, n_reasons) = count(&parts::root().join("crates")).map_err(|e| e.to_string())?;
    let mut ours = format!("{n_reasons} of {n_unsafe} unsafe with reason");
    let mut is_met = n_unsafe > 0 && n_unsafe == n_reasons;
    if plan.effort == Effort::Full {
        let loom = parts::cargo(&["xtask", "loom"])?;
        let n_models = passed(&loom.text);
        ours += &format!("; loom: {n_models} models");
        let tools = parts::cargo(&["xtask", "sanitize"])?;
        let n_tests = number_before(&tools.text, " tests under sanitizers")?;
        let (n_failed, n_reports) = (number_before(&tools.text, " failed")?, number_before(&tools.text, " reports")?);
        ours += &format!("; {n_reports} reports in {n_tests} tests under TSan, ASan, memcheck");
        is_met &= loom.has_passed && n_models > 0 && tools.has_passed && n_tests > 0 && n_failed + n_reports == 0;
    }
    Ok(Found::new(ours, is_met, plan.effort == Effort::Full))
}

/// How many tests have passed, by the summaries of all programs.
fn passed(said: &str) -> u64 {
    said.lines()
        .filter(|line| line.starts_with("test result:"))
        .filter_map(|line| number_before(line, " passed").ok())
        .sum()
}

/// Unsafe blocks and implementations, and how many have a comment that begins with SAFETY right before them. The lint of the
/// workspace is the judge; this says how many there are.
fn count(folder: &Path) -> std::io::Result<(u64, u64)> {
    let (mut n_unsafe, mut n_reasons) = (0, 0);
    for file in sources(folder)? {
        let text = fs::read_to_string(file)?;
        let mut is_reasoned = false;
        for line in text.lines().map(str::trim_start) {
            if line.starts_with("// SAFETY:") {
                is_reasoned = true;
            }
            let is_code = !line.starts_with("//");
            if is_code && (line.contains("unsafe {") || line.starts_with("unsafe impl")) {
                n_unsafe += 1;
                n_reasons += u64::from(is_reasoned || line.contains("// SAFETY:"));
            }
            if is_code && (line.ends_with(';') || line.ends_with('}') || line.ends_with('{')) {
                is_reasoned = false;
            }
        }
    }
    Ok((n_unsafe, n_reasons))
}

/// What ships: no tests, no tools.
fn sources(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir()
                && !["tests", "crash-lab", "linear", "score", "models", "test-support", "test-types"].contains(&&*name)
            {
                folders.push(path);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                found.push(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_tests_are_summed() {
        assert_eq!(
            passed("test result: ok. 3 passed; 0 failed\nx 9 passed\ntest result: ok. 14 passed; 0 failed\n"),
            17
        );
    }
}
