//! What a panic in a child costs, and tells.

use std::time::{Duration, Instant};

use proc_core::{Backtrace, Builder, Process, ProcessError, StartMethod};

use crate::{METHODS, watchdog};

fn fail() {
    panic!("bad input");
}

fn backtrace_of(builder: Builder) -> Backtrace {
    let error = builder.spawn(fail, ()).unwrap().join().unwrap_err();
    let ProcessError::Panicked { backtrace, .. } = error else { panic!("{error}") };
    backtrace
}

/// No variable of this test's own environment.
fn builder() -> Builder {
    Process::builder().env_remove("RUST_BACKTRACE").env_remove("RUST_LIB_BACKTRACE")
}

#[test]
fn backtraces_follow_the_settings_of_std() {
    let _dog = watchdog();
    let settings: [(&[(&str, &str)], bool); 6] = [
        (&[], false),
        (&[("RUST_BACKTRACE", "0")], false),
        (&[("RUST_BACKTRACE", "1")], true),
        (&[("RUST_LIB_BACKTRACE", "1")], true),
        (&[("RUST_BACKTRACE", "0"), ("RUST_LIB_BACKTRACE", "1")], true),
        (&[("RUST_BACKTRACE", "1"), ("RUST_LIB_BACKTRACE", "0")], false),
    ];
    for method in METHODS {
        for (variables, wanted) in settings {
            let builder = variables.iter().fold(builder(), |builder, (name, value)| builder.env(name, value));
            let backtrace = backtrace_of(builder.start_method(method));
            assert_eq!(!backtrace.is_empty(), wanted, "{method:?} {variables:?}: {backtrace}");
        }
    }
}

#[test]
fn the_owner_names_function_file_and_line() {
    let _dog = watchdog();
    for method in METHODS {
        let backtrace = backtrace_of(builder().env("RUST_LIB_BACKTRACE", "1").start_method(method));
        let mut frames = backtrace.frames().iter();
        let frame = frames.find(|frame| frame.function().is_some_and(|function| function.ends_with("panics::fail")));
        let frame = frame.unwrap_or_else(|| panic!("{backtrace}"));
        assert!(frame.file().unwrap().ends_with("panics.rs"), "{frame:?}");
        assert_eq!(frame.line(), Some(10), "{frame:?}");
        // What deals with panics, ours or std's, is not shown.
        assert!(!backtrace.contains("install_hook") && !backtrace.contains("rust_begin_unwind"), "{backtrace}");
    }
}

#[test]
fn a_panic_ends_where_there_is_no_memory_for_a_backtrace() {
    let _dog = watchdog();
    fn starve() {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the structure is this function's own.
        unsafe { libc::getrlimit(libc::RLIMIT_DATA, &mut limit) };
        limit.rlim_cur = 1 << 20;
        // SAFETY: a valid structure.
        unsafe { libc::setrlimit(libc::RLIMIT_DATA, &limit) };
        panic!("no memory");
    }
    for setting in ["0", "1", "full"] {
        let process = builder().env("RUST_BACKTRACE", setting).spawn(starve, ()).unwrap();
        let error = process.join().unwrap_err();
        assert!(matches!(&error, ProcessError::Panicked { message, .. } if message == "no memory"), "{error}");
    }
}

#[test]
fn a_panic_ends_where_memory_is_limited_for_good() {
    let _dog = watchdog();
    for method in METHODS {
        for limit in [proc_core::Resource::Data, proc_core::Resource::AddressSpace] {
            let bytes = if limit == proc_core::Resource::Data { 4 << 20 } else { 256 << 20 };
            let builder = builder().start_method(method).env("RUST_BACKTRACE", "1").limit(limit, bytes);
            let backtrace = backtrace_of(builder);
            assert!(backtrace.contains("panics::fail"), "{method:?} {limit:?}: {backtrace}");
        }
    }
}

/// Prints what a panic costs beside a return; a time proves nothing on a machine that others use, too.
#[test]
fn a_panic_beside_a_return() {
    let _dog = watchdog();
    fn median(method: StartMethod, target: impl proc_core::Target<(), Output = ()>) -> Duration {
        let run = |_| {
            let builder = builder().start_method(method).stderr(std::process::Stdio::null());
            let begun = Instant::now();
            let _ = builder.spawn(target, ()).unwrap().join();
            begun.elapsed()
        };
        let mut times: Vec<Duration> = (0..60).map(run).collect();
        times.sort();
        times[30]
    }
    for method in METHODS {
        let (returns, panics) = (median(method, || ()), median(method, fail));
        let ratio = panics.as_secs_f64() / returns.as_secs_f64();
        println!("{method:?}: a return {returns:?}, a panic {panics:?}, {ratio:.2}x");
    }
}

/// What made a panic expensive were the names: whoever looks them up maps the program's whole file, and keeps it.
#[test]
fn a_child_looks_up_no_names() {
    let _dog = watchdog();
    fn maps_the_whole_file() -> bool {
        assert!(std::panic::catch_unwind(fail).is_err());
        let file = std::fs::read_link("/proc/self/exe").unwrap();
        let whole = std::fs::metadata(&file).unwrap().len();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.ends_with(file.to_str().unwrap())).any(|line| {
            let (from, rest) = line.split_once('-').unwrap();
            let (to, _) = rest.split_once(' ').unwrap();
            let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
            to - from >= whole
        })
    }
    let run = |builder: Builder| builder.spawn(maps_the_whole_file, ()).unwrap().join().unwrap();
    assert!(!run(builder()));
    assert!(!run(builder().env("RUST_LIB_BACKTRACE", "1")));
    // std's own hook does, if it is to print them: so this test can see it.
    assert!(run(builder().env("RUST_BACKTRACE", "1")));
}
