//! What children write comes line by line.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use proc_core::{Process, ProcessError, StartMethod};

use crate::{METHODS, watchdog};

type Said = Arc<Mutex<Vec<(String, String)>>>;

fn collect() -> (Said, impl Fn(&str, &str) + Send + Sync + 'static) {
    let said = Said::default();
    let to = said.clone();
    (said, move |name: &str, line: &str| to.lock().unwrap().push((name.into(), line.into())))
}

fn lines(said: &Said) -> Vec<String> {
    said.lock().unwrap().iter().map(|(_, line)| line.clone()).collect()
}

#[test]
fn lines_come_before_join_returns() {
    let _dog = watchdog();
    for method in METHODS {
        let ((out, on_out), (err, on_err)) = (collect(), collect());
        let work = || {
            println!("one\ntwo");
            eprintln!("oops");
            print!("no end");
        };
        let builder = Process::builder().name("chatty").start_method(method).stdout_lines(on_out).stderr_lines(on_err);
        builder.spawn(work, ()).unwrap().join().unwrap();
        assert_eq!(lines(&out), ["one", "two", "no end"]);
        assert_eq!(*err.lock().unwrap(), [("chatty".to_owned(), "oops".to_owned())]);
    }
}

#[test]
fn more_than_a_pipe_holds_comes_whole() {
    let _dog = watchdog();
    const N: usize = 50_000;
    let (said, line) = collect();
    let work = || (0..N).for_each(|n| println!("{n} {}", "x".repeat(n % 50)));
    Process::builder().stdout_lines(line).spawn(work, ()).unwrap().join().unwrap();
    let lines = lines(&said);
    assert_eq!(lines.len(), N);
    assert!(lines.iter().zip(0..).all(|(line, n)| *line == format!("{n} {}", "x".repeat(n % 50))));
}

#[test]
fn the_last_words_on_standard_error_are_in_the_crash_report() {
    let _dog = watchdog();
    let (said, line) = collect();
    let process = Process::builder().stderr_lines(line).spawn(aborts, ()).unwrap();
    let Err(ProcessError::Signaled { crash: Some(crash), .. }) = process.join() else { panic!("it aborted") };
    assert_eq!(crash.stderr(), "assertion failed: n > 0\n");
    assert!(crash.to_string().ends_with("the end of its standard error:\nassertion failed: n > 0"));
    assert_eq!(lines(&said).len(), 2);
}

fn aborts() {
    eprintln!("{}", "much ".repeat(3000));
    eprintln!("assertion failed: n > 0");
    std::process::abort()
}

#[test]
fn what_a_killed_child_wrote_has_come() {
    let _dog = watchdog();
    let (said, line) = collect();
    let work = || {
        std::io::stdout().write_all(b"half a line").unwrap();
        std::io::stdout().flush().unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    };
    Process::builder().stdout_lines(line).spawn(work, ()).unwrap().join().unwrap_err();
    assert_eq!(lines(&said), ["half a line"]);
}

#[test]
fn a_grandchild_that_holds_the_pipe_holds_up_nobody() {
    let _dog = watchdog();
    let (said, line) = collect();
    let work = || {
        println!("before");
        let mut sleeper = std::process::Command::new("sleep");
        let pid = sleeper.arg("1000").spawn().unwrap().id();
        println!("after");
        pid
    };
    let pid = Process::builder().stdout_lines(line).spawn(work, ()).unwrap().join().unwrap();
    assert_eq!(lines(&said), ["before", "after"]);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn a_panic_in_the_callback_costs_one_line() {
    let _dog = watchdog();
    let (said, line) = collect();
    let panics = move |name: &str, text: &str| {
        assert_ne!(text, "one", "on purpose");
        line(name, text);
    };
    Process::builder().stdout_lines(panics).spawn(|| println!("one\ntwo"), ()).unwrap().join().unwrap();
    // `join` waits a second for a callback, and the panic may take longer to print its backtrace.
    while lines(&said).is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(lines(&said), ["two"]);
}

#[test]
fn the_last_of_two_wishes_counts() {
    let _dog = watchdog();
    let (said, line) = collect();
    let null = std::process::Stdio::null;
    let builder = Process::builder().start_method(StartMethod::ForkServer).stdout_lines(line).stdout(null());
    builder.spawn(|| println!("to nobody"), ()).unwrap().join().unwrap();
    assert_eq!(lines(&said), Vec::<String>::new());
}
