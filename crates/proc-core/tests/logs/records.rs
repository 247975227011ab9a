//! What arrives, of whom, and in which order.

use log::{Level, LevelFilter};
use proc_core::{Process, ProcessError, StartMethod};

use crate::{
    alone,
    logger::{self, Seen},
};

const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Spawn];

fn messages(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.message.as_str()).collect()
}

#[test]
fn smoke() {
    let _alone = alone();
    for method in METHODS {
        let work = |name: String| {
            log::warn!(target: "a::b", colour = 7_i64, shape:? = Some(1), name = name.as_str(); "hello {name}");
            log::info!("second");
        };
        let process = Process::builder().name("smoke").start_method(method).spawn(work, ("wörld".into(),)).unwrap();
        let pid = process.pid();
        process.join().unwrap();
        let seen = logger::of(pid);
        assert_eq!(messages(&seen), ["hello wörld", "second"]);
        let first = &seen[0];
        assert_eq!((first.level, first.target.as_str(), first.name()), (Level::Warn, "a::b", "smoke"));
        assert_eq!((first.module.as_deref(), first.file.as_deref()), (Some(module_path!()), Some(file!())));
        assert!(first.line.is_some_and(|line| line > 20 && line < line!()));
        let field = |key: &str| first.fields[key].as_str();
        assert_eq!((field("colour"), field("shape"), field("name")), ("7", "Some(1)", "wörld"));
    }
}

#[test]
fn the_owners_level_is_the_childs() {
    let _alone = alone();
    let work = || {
        log::trace!("too much");
        log::debug!("just so");
        log::max_level() as u8
    };
    let process = Process::spawn(work, ()).unwrap();
    let pid = process.pid();
    assert_eq!(process.join().unwrap(), LevelFilter::Debug as u8);
    assert_eq!(messages(&logger::of(pid)), ["just so"]);
}

#[test]
fn the_last_record_before_a_fault_arrives() {
    let _alone = alone();
    for i in 0..3 {
        let work = |i: usize| {
            log::error!("last words");
            let deaths: [fn(); 3] = [
                || std::process::abort(),
                // SAFETY: it is to fail.
                || unsafe { std::ptr::null_mut::<u8>().write_volatile(1) },
                || panic!("on purpose"),
            ];
            deaths[i]();
        };
        let process = Process::builder().stderr(std::process::Stdio::null()).spawn(work, (i,)).unwrap();
        let pid = process.pid();
        assert!(matches!(process.join(), Err(ProcessError::Signaled { .. } | ProcessError::Panicked { .. })));
        assert_eq!(messages(&logger::of(pid)), ["last words"]);
    }
}

#[test]
fn each_thread_keeps_its_order() {
    let _alone = alone();
    const N: usize = 2000;
    let work = || {
        let log = |thread: usize| (0..N).for_each(|n| log::info!("{thread} {n}"));
        std::thread::scope(|scope| {
            (0..4).for_each(|thread| drop(scope.spawn(move || log(thread))));
        });
    };
    let process = Process::spawn(work, ()).unwrap();
    let pid = process.pid();
    process.join().unwrap();
    let seen = logger::of(pid);
    assert_eq!(seen.len(), 4 * N);
    let mut next = [0; 4];
    for message in messages(&seen) {
        let (thread, n) = message.split_once(' ').unwrap();
        let next = &mut next[thread.parse::<usize>().unwrap()];
        assert_eq!(n.parse::<usize>().unwrap(), *next);
        *next += 1;
    }
}

#[test]
fn a_grandchilds_records_come_through_its_parent() {
    let _alone = alone();
    let middle = || {
        let inner = || log::info!("from below");
        log::info!("before");
        let process = Process::builder().name("inner").log_prefix(true).spawn(inner, ()).unwrap();
        let pid = process.pid();
        process.join().unwrap();
        log::info!("after");
        // One that nobody joins: this process's exit waits for it.
        let _ = Process::builder().name("dropped").spawn(|| log::info!("from a dropped one"), ()).unwrap();
        pid
    };
    let process = Process::builder().name("middle").log_prefix(true).spawn(middle, ()).unwrap();
    let (outer, inner) = (process.pid(), process.join().unwrap());
    assert_eq!(messages(&logger::of(outer)), [format!("[middle {outer}] before"), format!("[middle {outer}] after")]);
    let seen = logger::of(inner);
    assert_eq!(messages(&seen), [format!("[inner {inner}] from below")]);
    assert_eq!(seen[0].name(), "inner");
    assert!(messages(&logger::named("dropped"))[0].ends_with("from a dropped one"));
}

#[test]
fn a_forked_child_of_a_child_forwards_to_it() {
    let _alone = alone();
    let middle = || {
        let process = Process::fork(|| log::info!("forked")).unwrap();
        let pid = process.pid();
        process.join().unwrap();
        pid
    };
    let inner = Process::spawn(middle, ()).unwrap().join().unwrap();
    assert_eq!(messages(&logger::of(inner)), ["forked"]);
}

#[test]
fn a_bare_fork_in_a_child_writes_to_nobodys_ring() {
    let _alone = alone();
    let work = || {
        log::info!("before");
        // SAFETY: the child logs, which takes memory: there is no other thread here that could hold its locks.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            log::info!("from the fork");
            // SAFETY: ends it.
            unsafe { libc::_exit(0) };
        }
        // SAFETY: waits for the child that was just made.
        assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) }, pid);
        log::info!("after");
    };
    let process = Process::spawn(work, ()).unwrap();
    let pid = process.pid();
    process.join().unwrap();
    assert_eq!(messages(&logger::of(pid)), ["before", "after"]);
}

#[test]
fn a_dropped_handle_loses_nothing() {
    let _alone = alone();
    drop(Process::builder().name("let go").spawn(|| log::info!("still there"), ()).unwrap());
    assert_eq!(messages(&logger::wait_for("let go", 1)), ["still there"]);
}

#[test]
fn a_huge_record_is_cut_and_says_so() {
    let _alone = alone();
    let process = Process::spawn(|| log::info!("{}", "ä".repeat(100_000)), ()).unwrap();
    let pid = process.pid();
    process.join().unwrap();
    let seen = logger::of(pid);
    let (text, rest) = seen[0].message.split_once(" [").unwrap();
    assert!(text.len() > 30_000 && text.chars().all(|c| c == 'ä'));
    assert_eq!(rest, format!("{} bytes more, cut off]", 200_000 - text.len()));
}

#[test]
fn a_display_that_logs_or_panics_harms_nobody() {
    let _alone = alone();
    struct Logs;
    impl std::fmt::Display for Logs {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            log::info!("inner");
            f.write_str("outer")
        }
    }
    struct Panics;
    impl std::fmt::Display for Panics {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("on purpose")
        }
    }
    let work = || {
        log::info!("{Logs}");
        let _ = std::panic::catch_unwind(|| log::info!("{Panics}"));
        log::info!("last");
    };
    let process = Process::builder().stderr(std::process::Stdio::null()).spawn(work, ()).unwrap();
    let pid = process.pid();
    process.join().unwrap();
    assert_eq!(messages(&logger::of(pid)), ["inner", "outer", "last"]);
}

#[test]
fn a_panic_of_the_owners_logger_costs_one_record() {
    let _alone = alone();
    let work = || {
        log::info!(target: "panics", "nobody sees this");
        log::info!("the next");
    };
    let process = Process::spawn(work, ()).unwrap();
    let pid = process.pid();
    process.join().unwrap();
    assert_eq!(messages(&logger::of(pid)), ["the next"]);
}

#[test]
fn a_child_that_is_not_to_forward_may_set_its_own_logger() {
    let _alone = alone();
    struct Own;
    impl log::Log for Own {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, _: &log::Record<'_>) {}
        fn flush(&self) {}
    }
    let work = || {
        let had_none = log::max_level() == LevelFilter::Off;
        // Without a logger, nobody forwards to this process.
        let of_child = Process::spawn(|| log::max_level() as u8, ()).unwrap().join().unwrap();
        (had_none, of_child, log::set_logger(&Own).is_ok())
    };
    let is_set = Process::builder().forward_logs(false).spawn(work, ()).unwrap().join().unwrap();
    assert_eq!(is_set, (true, LevelFilter::Off as u8, true));
    assert!(!Process::spawn(|| log::set_logger(&Own).is_ok(), ()).unwrap().join().unwrap());
}

#[test]
fn a_child_that_closes_all_descriptors_loses_nothing() {
    let _alone = alone();
    let work = || {
        // SAFETY: what is open in this process is used by system calls alone.
        unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
        let file = std::fs::File::from(std::os::fd::OwnedFd::from(std::io::pipe().unwrap().0));
        (0..3).for_each(|n| log::info!("{n}"));
        drop(file);
    };
    let process = Process::builder().name("closed").spawn(work, ()).unwrap();
    let pid = process.pid();
    let _ = process.join();
    assert_eq!(messages(&logger::of(pid)), ["0", "1", "2"]);
}

#[test]
fn a_child_that_scribbles_on_its_ring_is_reported_once() {
    let _alone = alone();
    let work = || {
        log::info!("before");
        for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
            let Ok(file) = std::fs::File::options().read(true).write(true).open(entry.unwrap().path()) else {
                continue;
            };
            let Ok(memory) = proc_core::shm::SharedMemory::from_fd(file.into()) else { continue };
            if memory.len() > 100_000 {
                for at in (8..4096).step_by(8) {
                    // SAFETY: inside the block, and aligned.
                    unsafe { memory.as_ptr().add(at).cast::<u64>().write_volatile(0xdead_beef_dead_beef) };
                }
            }
        }
    };
    let process = Process::spawn(work, ()).unwrap();
    let pid = process.pid();
    process.join().unwrap();
    let seen = logger::of(pid);
    let messages = messages(&seen);
    let notices: Vec<_> = messages.iter().filter(|message| message.contains("garbled")).collect();
    assert_eq!(notices, [&"what it logs is garbled; no more of it is forwarded"], "{messages:?}");
    assert!(messages.len() <= 2 && messages.iter().all(|message| *message == "before" || message.contains("garbled")));
}

#[cfg(feature = "confine")]
#[test]
fn a_child_behind_a_fence_logs_and_prints_to_its_owner() {
    let _alone = alone();
    static PRINTED: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
    let work = || {
        (0..1000).for_each(|n| log::info!("{n}"));
        println!("printed");
        std::fs::File::open("/etc/passwd").is_err()
    };
    let builder = Process::builder().confine(proc_core::Confinement::compute().best_effort());
    let process = builder.stdout_lines(|_, line| PRINTED.lock().unwrap().push(line.into())).spawn(work, ()).unwrap();
    let pid = process.pid();
    assert!(process.join().unwrap(), "the fence holds");
    assert_eq!(messages(&logger::of(pid)), (0..1000).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(*PRINTED.lock().unwrap(), ["printed"]);
}
