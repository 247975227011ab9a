//! What children count for coverage is written.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use crate::watchdog;

/// Prints the pids of children that end in each way that is their own choice.
const PROGRAM: &str = r#"
    use proc_core::{Process, StartMethod};
    fn covered() -> u32 {
        std::process::id()
    }
    fn fails() {
        println!("{}", std::process::id());
        panic!("on purpose");
    }
    fn main() {
        for method in [StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork] {
            let builder = || Process::builder().start_method(method);
            println!("{}", builder().spawn(covered, ()).unwrap().join().unwrap());
            builder().spawn(fails, ()).unwrap().join().unwrap_err();
        }
    }
"#;

#[test]
fn children_write_their_counters() {
    let _dog = watchdog();
    let Some(library) = library() else { return println!("skipped: the library is not where cargo puts it") };
    let dir = env::temp_dir().join(format!("proc-core-coverage-{}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    let told = pids_and_files(&library, &dir);
    fs::remove_dir_all(&dir).unwrap();
    let Some((pids, files)) = told else { return };
    println!("children {pids:?}, files {files:?}");
    assert_eq!(pids.len(), 6, "{pids:?}");
    for pid in pids {
        assert!(files.iter().any(|(name, len)| *name == format!("{pid}.profraw") && *len > 0), "{pid}: {files:?}");
    }
}

/// An object with counters has symbols of the runtime's names itself, where the code that calls the runtime is compiled with
/// them, too.
#[test]
fn code_that_calls_the_runtime_compiles_with_counters() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernel/src/sys/profile.rs");
    let dir = env::temp_dir().join(format!("proc-core-counted-{}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    let mut rustc = Command::new("rustc");
    rustc
        .args(["--edition", "2024", "--crate-type", "lib", "-C", "instrument-coverage", source, "--out-dir"])
        .arg(&dir);
    let output = rustc.output();
    fs::remove_dir_all(&dir).unwrap();
    let Ok(output) = output else { return println!("skipped: rustc does not run: {output:?}") };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || said.contains("profiler_builtins"), "{said}");
}

/// This library, as it was built for this test.
fn library() -> Option<PathBuf> {
    let deps = env::current_exe().ok()?.parent()?.to_owned();
    let files = fs::read_dir(deps).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libproc_core-") && name.ends_with(".rlib")
    };
    let age = |path: &PathBuf| fs::metadata(path).and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    files.filter(is_it).max_by_key(age)
}

/// The children's pids, and the files' names and lengths.
type Told = (Vec<String>, Vec<(String, u64)>);

fn pids_and_files(library: &Path, dir: &Path) -> Option<Told> {
    fs::write(dir.join("program.rs"), PROGRAM).unwrap();
    let mut rustc = Command::new("rustc");
    rustc.current_dir(dir).args(["--edition", "2024", "-C", "instrument-coverage", "program.rs", "--extern"]);
    rustc.arg(format!("proc_core={}", library.display()));
    rustc.arg("-L").arg(format!("dependency={}", library.parent()?.display()));
    match rustc.output() {
        Err(e) => return skip(&format!("rustc does not run: {e}")),
        Ok(output) if !output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("profiler_builtins"), "{said}");
            return skip("this compiler has no runtime for profiles");
        }
        Ok(_) => {}
    }
    let run = Command::new("./program").current_dir(dir).env("LLVM_PROFILE_FILE", "%p.profraw").output().unwrap();
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success(), "{said} {}", String::from_utf8_lossy(&run.stderr));
    let files = fs::read_dir(dir).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())
    });
    Some((said.lines().map(str::to_owned).collect(), files.collect()))
}

fn skip<T>(why: &str) -> Option<T> {
    println!("skipped: {why}");
    None
}
