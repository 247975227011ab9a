//! What the benches of criterion found: it leaves its estimates in `target/criterion`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde_json::Value;

use crate::{
    figure::Side,
    measure::Samples,
    outcome::{Measured, Outcome},
};

/// A figure for each group of benches that was measured after `since`; a case for each function and parameter in it.
///
/// # Errors
/// If the folder cannot be read.
pub fn estimates(folder: &Path, since: SystemTime) -> io::Result<Vec<Measured>> {
    let mut groups: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        if folder.join("new/estimates.json").exists() {
            if fs::metadata(folder.join("new/estimates.json"))?.modified()? >= since
                && let Some((group, outcome)) = estimate(&folder.join("new"))
            {
                groups.entry(group).or_default().push(outcome);
            }
            continue;
        }
        let entries: Vec<PathBuf> = fs::read_dir(&folder)?.flatten().map(|entry| entry.path()).collect();
        open.extend(entries.into_iter().filter(|path| path.is_dir()));
    }
    let figure = |(name, outcomes)| Measured {
        name: format!("criterion: {name}"),
        unit: "ns".into(),
        outcomes,
        ..Measured::default()
    };
    Ok(groups.into_iter().map(figure).collect())
}

fn estimate(folder: &Path) -> Option<(String, Outcome)> {
    let read = |name: &str| serde_json::from_str::<Value>(&fs::read_to_string(folder.join(name)).ok()?).ok();
    let (benchmark, estimates) = (read("benchmark.json")?, read("estimates.json")?);
    let text = |key: &str| benchmark[key].as_str().unwrap_or_default();
    let median = &estimates["median"];
    let interval = &median["confidence_interval"];
    let samples = [&interval["lower_bound"], &median["point_estimate"], &interval["upper_bound"]];
    let name = format!("{} {}", text("function_id"), text("value_str"));
    // Who does not say whose it is names a mechanism of another one.
    let is_ours = ["ours", "process::", "thread::", "ProcessPool", "ThreadPool"].iter().any(|word| name.contains(word));
    Some((
        text("group_id").to_owned(),
        Outcome {
            name: name.trim().to_owned(),
            side: if is_ours { Side::Ours } else { Side::Rust },
            samples: Samples::new(samples.iter().filter_map(|value| value.as_f64()).collect()),
            is_disturbed: false,
            foreign: 0.0,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_grouped_and_old_ones_left_out() {
        let folder = std::env::temp_dir().join(format!("criterion-{}", std::process::id()));
        let new = folder.join("g/f/8/new");
        fs::create_dir_all(&new).unwrap();
        fs::write(new.join("benchmark.json"), r#"{"group_id":"a/b","function_id":"ours","value_str":"8"}"#).unwrap();
        let median = r#"{"median":{"point_estimate":2.0,"confidence_interval":{"lower_bound":1.0,"upper_bound":4.0}}}"#;
        fs::write(new.join("estimates.json"), median).unwrap();
        let found = estimates(&folder, SystemTime::UNIX_EPOCH).unwrap();
        let later = estimates(&folder, SystemTime::now() + std::time::Duration::from_secs(60)).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((found.len(), found[0].name.as_str()), (1, "criterion: a/b"));
        let case = found[0].outcome("ours 8").unwrap();
        assert_eq!((case.side, case.samples.median()), (Side::Ours, 2.0));
        assert!(later.is_empty());
    }
}
