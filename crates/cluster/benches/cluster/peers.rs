//! What Python's clusters do with the same tasks: `with_peers.py`, a process for each.

use std::{
    env,
    ffi::OsString,
    path::Path,
    process::{Command, Stdio},
};

use crate::{Row, Spread};

/// Those that are installed; of the others is said that they are not.
pub(crate) fn all() -> Vec<Row> {
    ["dask", "celery", "ray"].into_iter().filter_map(one).collect()
}

fn one(name: &str) -> Option<Row> {
    let python = env::var_os("BENCH_PYTHON").unwrap_or_else(|| OsString::from("python3"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/with_peers.py");
    let output = Command::new(python).arg(script).arg(name).stderr(Stdio::piped()).output();
    let output = match output {
        Ok(output) => output,
        Err(why) => {
            println!("SKIPPED: {name}: no python: {why}");
            return None;
        }
    };
    let row = read(&String::from_utf8_lossy(&output.stdout));
    if row.is_none() {
        let said = String::from_utf8_lossy(&output.stderr);
        println!("SKIPPED: {name}: {}", said.trim().lines().last().unwrap_or("it printed no figures"));
    }
    row
}

/// A line with the name, and one each with the median, the least and the most of tasks/s and of microseconds.
fn read(text: &str) -> Option<Row> {
    let [.., name, rate, trip] = text.lines().collect::<Vec<_>>()[..] else { return None };
    Some(Row { name: name.to_owned(), rate: spread(rate)?, trip: spread(trip)?, floor: None })
}

fn spread(line: &str) -> Option<Spread> {
    let numbers: Option<Vec<f64>> = line.split(' ').map(|number| number.parse().ok()).collect();
    numbers?.try_into().ok()
}
