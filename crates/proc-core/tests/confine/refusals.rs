//! What becomes of a call that is refused, and of a confinement that cannot be.

use std::{fs::File, process::Stdio};

use proc_core::{Builder, Confinement, CrashCause, CrashReport, Fence, Process, ProcessError, StartMethod, Target};

use crate::{has, watchdog};

const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Spawn];

fn report_of(builder: Builder, target: impl Target<(), Output = ()>) -> (CrashReport, i32) {
    match builder.stderr(Stdio::null()).spawn(target, ()).unwrap().join() {
        Err(ProcessError::Signaled { crash: Some(crash), signal, .. }) => (crash, signal),
        other => panic!("{other:?}"),
    }
}

fn names(crash: &CrashReport, function: &str) -> bool {
    crash.frames().iter().any(|frame| {
        frame.function().is_some_and(|name| name.contains(function))
            && frame.file().is_some_and(|file| file.ends_with("refusals.rs"))
            && frame.line().is_some_and(|line| line > 1)
    })
}

fn open_a_file() {
    let _ = File::open("/etc/passwd");
}

fn connect() {
    let _ = std::net::TcpStream::connect(("127.0.0.1", 9));
}

fn write_to_null() {
    // SAFETY: not at all.
    unsafe { std::ptr::null_mut::<u8>().write_volatile(1) }
}

fn call_abort() {
    std::process::abort()
}

fn recurse() {
    fn deeper(n: u64) -> u64 {
        let room = std::hint::black_box([n; 64]);
        if n == u64::MAX { 0 } else { deeper(n + 1) + room[7] }
    }
    std::hint::black_box(deeper(0));
}

fn free_twice() {
    // SAFETY: the first time.
    unsafe {
        let memory = std::hint::black_box(libc::malloc(40));
        libc::free(memory);
        libc::free(std::hint::black_box(memory));
    }
}

#[test]
fn the_call_that_ended_it_is_named() {
    let _dog = watchdog();
    let compute = Confinement::compute().end_at_refusal();
    for method in METHODS {
        let builder = || Process::builder().start_method(method).confine(compute.clone());
        let (crash, signal) = report_of(builder(), open_a_file);
        assert_eq!((signal, crash.signal(), crash.cause()), (libc::SIGSYS, libc::SIGSYS, CrashCause::RefusedCall));
        let call = crash.refused_call().unwrap();
        assert!(names(&crash, "open_a_file"), "{crash}");
        assert_eq!((call.name(), i64::from(call.number())), (Some("openat"), libc::SYS_openat));
        let architecture = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };
        assert_eq!(call.architecture(), architecture);
        assert_eq!(crash.summary(), "a system call was refused: openat");
        assert!(crash.to_string().starts_with("SIGSYS (a system call was refused: openat)"), "{crash}");
        let (crash, _) = report_of(builder(), connect);
        assert_eq!(crash.refused_call().unwrap().name(), Some("socket"));
        // Others have no such call.
        let (crash, _) = report_of(builder(), call_abort);
        assert_eq!((crash.cause(), crash.refused_call()), (CrashCause::Abort, None));
    }
    let no_network = Confinement::new().best_effort().no_network();
    let (crash, _) = report_of(Process::builder().confine(no_network.end_at_refusal()), connect);
    assert_eq!(crash.refused_call().unwrap().name(), Some("socket"));
}

/// In a thread, and one that has blocked all signals: the end comes all the same.
#[test]
fn it_ends_wherever_the_call_is_made() {
    let _dog = watchdog();
    fn in_a_thread() {
        let _ = std::thread::Builder::new().name("parser".into()).spawn(open_a_file).unwrap().join();
    }
    fn without_signals() {
        let mask = nix::sys::signal::SigSet::all();
        mask.thread_block().unwrap();
        open_a_file();
    }
    let builder = || Process::builder().confine(Confinement::compute().end_at_refusal());
    let (crash, _) = report_of(builder(), in_a_thread);
    assert_eq!(crash.thread(), "parser");
    assert!(names(&crash, "open_a_file"), "{crash}");
    // The kernel does not call a handler then.
    let ended = builder().spawn(without_signals, ()).unwrap().join();
    assert!(matches!(ended, Err(ProcessError::Signaled { signal: libc::SIGSYS, crash: None, .. })), "{ended:?}");
    let unreported = builder().crash_report(false).spawn(open_a_file, ()).unwrap().join();
    assert!(
        matches!(unreported, Err(ProcessError::Signaled { signal: libc::SIGSYS, crash: None, .. })),
        "{unreported:?}"
    );
}

/// Of crashes, too, whose handler may open nothing.
#[test]
fn crashes_are_reported_with_their_places() {
    let _dog = watchdog();
    fn check(builder: Builder, target: impl Target<(), Output = ()>, function: &str, cause: CrashCause) {
        let (crash, _) = report_of(builder, target);
        assert_eq!(crash.cause(), cause, "{crash}");
        assert!(names(&crash, function), "{function}: {crash}");
    }
    for method in METHODS {
        let new = Confinement::new().best_effort();
        for confinement in [Confinement::compute(), Confinement::compute().end_at_refusal(), new] {
            let builder = || Process::builder().start_method(method).confine(confinement.clone());
            check(builder(), write_to_null, "write_to_null", CrashCause::Fault);
            check(builder(), call_abort, "call_abort", CrashCause::Abort);
            check(builder(), free_twice, "free_twice", CrashCause::Abort);
            check(builder(), recurse, "deeper", CrashCause::StackOverflow);
        }
    }
}

/// One that has closed all descriptors leaves a signal, and no call is refused on the way.
#[test]
fn a_crash_without_descriptors_is_a_crash() {
    let _dog = watchdog();
    fn close_all_but_the_report() {
        for fd in 3..64 {
            // SAFETY: asks what it is, if it is open.
            let stat = nix::sys::stat::fstat(unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) });
            if stat.is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFREG) {
                // The mappings; the report goes through a socket.
                nix::unistd::close(fd).unwrap();
            }
        }
        write_to_null();
    }
    let builder = Process::builder().confine(Confinement::compute().end_at_refusal());
    let (crash, signal) = report_of(builder, close_all_but_the_report);
    assert_eq!((signal, crash.cause()), (libc::SIGSEGV, CrashCause::Fault));
    assert!(crash.frames().is_empty(), "it was the mappings: {crash}");
}

#[test]
fn panics_come_with_backtraces() {
    let _dog = watchdog();
    fn panic_inside() {
        panic!("told");
    }
    for confinement in [Confinement::compute(), Confinement::compute().end_at_refusal()] {
        let builder = Process::builder().env("RUST_BACKTRACE", "1").confine(confinement).stderr(Stdio::null());
        match builder.spawn(panic_inside, ()).unwrap().join() {
            Err(ProcessError::Panicked { message, backtrace, .. }) => {
                assert_eq!(message, "told");
                let is_it =
                    |frame: &proc_core::Frame| frame.function().is_some_and(|name| name.contains("panic_inside"));
                assert!(backtrace.frames().iter().any(is_it), "{backtrace}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_confined_process_starts_no_others() {
    let _dog = watchdog();
    fn start() -> Vec<String> {
        let told =
            |e: &dyn std::error::Error| format!("{e}, {}", e.source().map_or(String::new(), ToString::to_string));
        let methods = [StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork];
        let mut errors: Vec<String> = methods
            .into_iter()
            .map(|method| Process::builder().start_method(method).spawn(|| 1, ()).unwrap_err())
            .map(|e| if matches!(e, ProcessError::Confined) { told(&e) } else { panic!("{e:?}") })
            .collect();
        errors.push(told(&proc_core::command::run(["true"]).unwrap_err()));
        errors
    }
    for confinement in [Confinement::compute().end_at_refusal(), Confinement::new().best_effort().no_new_processes()] {
        let errors = Process::builder().confine(confinement).spawn(start, ()).unwrap().join().unwrap();
        assert!(errors.iter().all(|e| e.contains("this process is confined")), "{errors:?}");
    }
    // Others start processes as ever, which are confined as they are.
    fn open_in_a_grandchild() -> Option<i32> {
        let tried = || std::net::TcpStream::connect(("127.0.0.1", 9)).err().and_then(|e| e.raw_os_error());
        Process::spawn(tried, ()).unwrap().join().unwrap()
    }
    let confinement = Confinement::new().best_effort().no_network();
    let errno = Process::builder().confine(confinement).spawn(open_in_a_grandchild, ()).unwrap().join().unwrap();
    assert_eq!(errno, Some(libc::EPERM));
}

#[test]
fn a_path_that_is_not_there_is_an_error_of_the_join() {
    let _dog = watchdog();
    let confinement = Confinement::new().read("/no/such/directory");
    if !has(&Confinement::new().read("/"), "a_path_that_is_not_there_is_an_error_of_the_join") {
        return;
    }
    let process = Process::builder().confine(confinement).spawn(|| (), ()).unwrap();
    let error = process.join().unwrap_err();
    let ProcessError::Setup { operation, source, .. } = &error else { panic!("{error:?}") };
    assert_eq!((operation.as_str(), source.raw_os_error()), ("open /no/such/directory", Some(libc::ENOENT)));
}

#[test]
fn what_holds_is_said() {
    let _dog = watchdog();
    let process = Process::builder().confine(Confinement::compute()).spawn(|| (), ()).unwrap();
    let confined = process.confinement().unwrap();
    assert!(confined.holds(Fence::Calls) && !confined.holds(Fence::Paths) && confined.missing().count() == 0);
    process.join().unwrap();
    let paths = Confinement::new().read("/").best_effort();
    let process = Process::builder()
        .confine(paths)
        .spawn(|| std::fs::OpenOptions::new().write(true).open("/dev/null").is_ok(), ())
        .unwrap();
    let holds = process.confinement().unwrap().holds(Fence::Paths);
    assert_eq!(process.join().unwrap(), !holds);
    assert_eq!(Process::spawn(|| (), ()).unwrap().confinement(), None);
}
