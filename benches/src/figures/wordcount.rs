//! The main job: the words of a directory tree, counted by two workers of the example `wordcount`.
//!
//! `cargo xtask bench` builds the example, and says in `BENCH_WORDCOUNT` where it is. The tree is cargo's registry, or
//! what `BENCH_WORDCOUNT_DIR` names.

use std::{env, ffi::OsString, io, path::PathBuf, process::Command, sync::Once};

use crate::{
    figure::{Figure, Plan, Side},
    python,
};

/// The figures of this area.
pub fn plans() -> Vec<Plan> {
    vec![Plan::new("pool", "wordcount", wordcount)]
}

fn wordcount(name: String) -> io::Result<Figure> {
    let dir = dir()
        .ok_or_else(|| io::Error::other("there is no registry of cargo's; name a folder in BENCH_WORDCOUNT_DIR"))?;
    let (by_processes, by_threads) = (dir.clone(), dir.clone());
    let figure = Figure::cost(name, "s").case(Side::Ours, "ProcessPool", move |_| seconds(&by_processes, &[])).case(
        Side::Ours,
        "ThreadPool",
        move |_| seconds(&by_threads, &["--threads"]),
    );
    Ok(python::add_one(figure, "Python Pool", vec!["wordcount".into(), dir]))
}

fn dir() -> Option<OsString> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"));
    let registry = || {
        let cargo = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)?;
        Some(cargo.join("registry/src").into_os_string())
    };
    env::var_os("BENCH_WORDCOUNT_DIR").or_else(registry)
}

fn seconds(dir: &OsString, options: &[&str]) -> io::Result<f64> {
    static HAS_READ: Once = Once::new();
    // Else the first to be measured waits for the disk, and those after it do not.
    HAS_READ.call_once(|| drop(count(dir, &["--threads"])));
    count(dir, options)
}

fn count(dir: &OsString, options: &[&str]) -> io::Result<f64> {
    let program = env::var_os("BENCH_WORDCOUNT").ok_or_else(|| io::Error::other("it has not been built"))?;
    let output =
        Command::new(program).arg(dir).args(["--workers", "2", "--top", "0", "--json"]).args(options).output()?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).map_err(|_| {
        let errors = String::from_utf8_lossy(&output.stderr);
        io::Error::other(format!("wordcount: {}", errors.lines().last().unwrap_or("nothing came out")))
    })?;
    report["seconds"].as_f64().ok_or_else(|| io::Error::other("wordcount does not say how long it took"))
}
