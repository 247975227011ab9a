//! A child that crashes says where.

use std::process::Stdio;

use proc_core::{CrashCause, CrashReport, Process, ProcessError, Resource, Signal, StartMethod, Target};

use crate::{METHODS, watchdog};

/// The report of a child that runs `target`, and the signal that ended it.
fn report_of(method: StartMethod, target: impl Target<(), Output = ()>) -> (CrashReport, i32) {
    let process = Process::builder().start_method(method).stderr(Stdio::null()).spawn(target, ()).unwrap();
    match process.join() {
        Err(ProcessError::Signaled { crash: Some(crash), signal, .. }) => (crash, signal),
        other => panic!("{other:?}"),
    }
}

/// Whether the function of this name in this file is in the report, with its line.
fn names(crash: &CrashReport, function: &str) -> bool {
    let is_it = |frame: &proc_core::Frame| {
        frame.function().is_some_and(|name| name.contains(function))
            && frame.file().is_some_and(|file| file.ends_with("crashes.rs"))
            && frame.line().is_some_and(|line| line > 1)
    };
    crash.frames().iter().any(is_it)
}

fn write_to_null() {
    // SAFETY: not at all.
    unsafe { std::ptr::null_mut::<u8>().write_volatile(1) }
}

fn call_abort() {
    std::process::abort()
}

fn free_twice() {
    // SAFETY: the first time.
    unsafe {
        let memory = std::hint::black_box(libc::malloc(40));
        libc::free(memory);
        libc::free(std::hint::black_box(memory));
    }
}

fn call_null() {
    let nowhere: usize = std::hint::black_box(0);
    // SAFETY: not at all.
    let function: Option<extern "C" fn()> = unsafe { std::mem::transmute(nowhere | 8) };
    if let Some(function) = function {
        function();
    }
    std::hint::black_box(nowhere);
}

fn recurse() {
    fn deeper(n: u64) -> u64 {
        let room = std::hint::black_box([n; 64]);
        if n == u64::MAX { 0 } else { deeper(n + 1) + room[7] }
    }
    std::hint::black_box(deeper(0));
}

fn allocate_too_much() {
    std::hint::black_box(vec![1_u8; 1 << 46]);
}

#[test]
fn each_fault_is_told_with_its_place() {
    let _dog = watchdog();
    fn check(
        method: StartMethod,
        target: impl Target<(), Output = ()>,
        function: &str,
        signal: i32,
        cause: CrashCause,
    ) {
        let (crash, ended_by) = report_of(method, target);
        assert_eq!((crash.signal(), ended_by, crash.cause()), (signal, signal, cause), "{function}: {crash}");
        assert_eq!(crash.thread(), "main");
        assert!(names(&crash, function), "{function}: {crash}");
        println!("{}", crash.to_string().lines().take(5).collect::<Vec<_>>().join("\n"));
    }
    for method in METHODS {
        check(method, write_to_null, "write_to_null", libc::SIGSEGV, CrashCause::Fault);
        check(method, call_abort, "call_abort", libc::SIGABRT, CrashCause::Abort);
        check(method, free_twice, "free_twice", libc::SIGABRT, CrashCause::Abort);
        check(method, call_null, "call_null", libc::SIGSEGV, CrashCause::Fault);
        check(method, recurse, "deeper", libc::SIGSEGV, CrashCause::StackOverflow);
        check(method, allocate_too_much, "allocate_too_much", libc::SIGABRT, CrashCause::AllocationFailed);
    }
    let (crash, _) = report_of(StartMethod::ForkServer, write_to_null);
    assert_eq!((crash.address(), crash.code(), crash.sender()), (Some(0), 1, None));
}

#[test]
fn a_forked_child_tells_too() {
    let _dog = watchdog();
    fn host() -> Vec<String> {
        let run = |target: fn()| match Process::fork(target).unwrap().join() {
            Err(ProcessError::Signaled { crash: Some(crash), .. }) => crash.to_string(),
            other => format!("{other:?}"),
        };
        vec![run(write_to_null), run(call_abort), run(recurse)]
    }
    let told = Process::builder().stderr(Stdio::null()).spawn(host, ()).unwrap().join().unwrap();
    for (told, wanted) in
        told.iter().zip([["(fault)", "write_to_null"], ["(abort)", "call_abort"], ["(stack overflow)", "deeper"]])
    {
        assert!(wanted.iter().all(|wanted| told.contains(wanted)), "{told}");
    }
}

#[test]
fn an_overflow_says_what_std_says() {
    let _dog = watchdog();
    for method in METHODS {
        let process = Process::builder().start_method(method).stderr(Stdio::piped()).spawn(recurse, ()).unwrap();
        let said = std::io::read_to_string(process.take_stderr().unwrap()).unwrap();
        assert!(said.contains("thread 'main' has overflowed its stack"), "{said}");
        let error = process.join().unwrap_err().to_string();
        assert!(error.contains("SIGSEGV") && error.contains("stack overflow"), "{error}");
    }
}

#[test]
fn who_sent_the_signal_is_told() {
    let _dog = watchdog();
    let (woken, wake) = std::io::pipe().unwrap();
    fn wait(ready: proc_core::handover::Fd) {
        drop(ready);
        std::thread::sleep(std::time::Duration::MAX);
    }
    let process = Process::builder().spawn(wait, (wake.into(),)).unwrap();
    std::io::read_to_string(woken).unwrap();
    process.signal(Signal::SIGABRT).unwrap();
    let error = process.join().unwrap_err();
    let ProcessError::Signaled { signal: libc::SIGABRT, crash: Some(crash), .. } = error else { panic!("{error:?}") };
    assert_eq!((crash.cause(), crash.sender(), crash.address()), (CrashCause::Sent, Some(std::process::id()), None));

    let killed = Process::builder().spawn(|| std::thread::sleep(std::time::Duration::MAX), ()).unwrap();
    killed.kill().unwrap();
    assert!(matches!(killed.join(), Err(ProcessError::Signaled { signal: libc::SIGKILL, crash: None, .. })));
}

#[test]
fn a_thread_is_named() {
    let _dog = watchdog();
    fn in_a_thread() {
        let thread = std::thread::Builder::new().name("parser".into());
        let _ = thread.spawn(write_to_null).unwrap().join();
    }
    let (crash, _) = report_of(StartMethod::ForkServer, in_a_thread);
    assert_eq!(crash.thread(), "parser");
    assert!(names(&crash, "write_to_null"), "{crash}");
}

#[test]
fn an_overflow_of_a_thread_is_told() {
    let _dog = watchdog();
    fn in_a_thread() {
        let small = proc_core::thread::Builder::new().name("small").stack_size(64 * 1024);
        let _ = small.spawn(recurse).unwrap().join();
    }
    for method in METHODS {
        let (crash, signal) = report_of(method, in_a_thread);
        assert_eq!((crash.cause(), signal), (CrashCause::StackOverflow, libc::SIGSEGV), "{crash}");
        assert_eq!(crash.thread(), "small");
        assert!(names(&crash, "deeper"), "{crash}");
    }
    // What is given to a thread is taken back.
    fn many_threads() -> (usize, usize) {
        let run = || {
            for _ in 0..50 {
                proc_core::thread::spawn(|| ()).join().unwrap();
            }
            std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
        };
        (run(), run())
    }
    let (before, after) = Process::spawn(many_threads, ()).unwrap().join().unwrap();
    assert!(after < before + 25, "{before} {after}");
}

#[test]
fn a_handler_of_the_program_runs() {
    let _dog = watchdog();
    extern "C" fn leave(_: i32) {
        // SAFETY: ends the process.
        unsafe { libc::_exit(77) }
    }
    fn with_handler() {
        // SAFETY: a handler that may run anywhere.
        unsafe { libc::signal(libc::SIGSEGV, leave as extern "C" fn(i32) as usize) };
        write_to_null();
    }
    assert!(matches!(Process::spawn(with_handler, ()).unwrap().join(), Err(ProcessError::Exited { code: 77, .. })));
    // One that was there before ours: the forked child's parent has it.
    fn host() -> String {
        // SAFETY: a handler that may run anywhere.
        unsafe { libc::signal(libc::SIGILL, leave as extern "C" fn(i32) as usize) };
        let ill = || {
            // SAFETY: sends this thread a signal.
            unsafe { libc::raise(libc::SIGILL) };
        };
        Process::fork(ill).unwrap().join().unwrap_err().to_string()
    }
    let told = Process::spawn(host, ()).unwrap().join().unwrap();
    assert!(told.contains("exited with code 77"), "{told}");
}

#[test]
fn a_crash_of_a_childs_own_child_is_not_the_childs() {
    let _dog = watchdog();
    fn fork_and_crash() -> i32 {
        // SAFETY: this process has one thread.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            write_to_null();
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        libc::WTERMSIG(status)
    }
    let process = Process::spawn(fork_and_crash, ()).unwrap();
    let handle = process.handle();
    assert_eq!(process.join().unwrap(), libc::SIGSEGV);
    assert!(handle.crash_report().is_none());
}

/// Whatever the state of its stack, or if all threads crash at once: the end is the signal's, and comes.
#[test]
fn stress_broken_stacks_and_many_threads() {
    let _dog = watchdog();
    #[cfg(target_arch = "x86_64")]
    fn lose_the_stack() {
        // SAFETY: not at all.
        unsafe { std::arch::asm!("mov rsp, 16", "mov rbp, 24", "push rax", options(noreturn)) }
    }
    #[cfg(target_arch = "x86_64")]
    fn smash_the_frame() {
        // SAFETY: not at all.
        unsafe {
            std::arch::asm!(
                "lea rsp, [rsp - 512]",
                "mov rcx, 64",
                "2: mov qword ptr [rsp + rcx * 8], 7",
                "loop 2b",
                "ret",
                options(noreturn)
            )
        }
    }
    fn all_at_once() {
        let start = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for n in 0..4 {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    if n % 2 == 0 { write_to_null() } else { call_abort() }
                });
            }
        });
    }
    for _ in 0..20 {
        #[cfg(target_arch = "x86_64")]
        {
            assert_eq!(report_of(StartMethod::ForkServer, lose_the_stack).1, libc::SIGSEGV);
            assert_eq!(report_of(StartMethod::ForkServer, smash_the_frame).1, libc::SIGSEGV);
        }
        let (crash, signal) = report_of(StartMethod::ForkServer, all_at_once);
        assert!([libc::SIGSEGV, libc::SIGABRT].contains(&signal) && !crash.frames().is_empty(), "{signal} {crash}");
    }
}

#[test]
fn memory_that_is_refused_is_told_from_memory_that_is_broken() {
    let _dog = watchdog();
    fn fill() {
        let mut all = Vec::new();
        loop {
            all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
        }
    }
    let builder = Process::builder().limit(Resource::Data, 64 << 20).stderr(Stdio::null());
    let error = builder.spawn(fill, ()).unwrap().join().unwrap_err();
    assert!(error.to_string().contains("an allocation failed"), "{error}");
    let builder = Process::builder().limit(Resource::Data, 64 << 20).stderr(Stdio::null());
    let error = builder.spawn(free_twice, ()).unwrap().join().unwrap_err();
    assert!(error.to_string().contains("abort"), "{error}");
}

#[test]
fn reports_can_be_turned_off() {
    let _dog = watchdog();
    for method in METHODS {
        let process = Process::builder().start_method(method).crash_report(false).spawn(write_to_null, ()).unwrap();
        assert!(matches!(process.join(), Err(ProcessError::Signaled { signal: libc::SIGSEGV, crash: None, .. })));
    }
}

/// The compiler has a panic in a destructor, during another one, abort.
#[test]
fn a_panic_that_aborts_is_told() {
    let _dog = watchdog();
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the second one");
        }
    }
    fn panic_twice() {
        let _bomb = Bomb;
        panic!("the first one");
    }
    let process = Process::builder().stderr(Stdio::null()).spawn(panic_twice, ()).unwrap();
    let error = process.join().unwrap_err();
    let ProcessError::Signaled { signal: libc::SIGABRT, crash: Some(crash), .. } = &error else { panic!("{error:?}") };
    assert_eq!(crash.cause(), CrashCause::Abort);
    assert!(crash.last_panic().is_some_and(|panic| panic.contains("the second one")), "{crash:?}");
    assert!(error.to_string().contains("the second one"), "{error}");
    assert!(names(crash, "panic_twice"), "{crash}");
}
