//! Descriptors travel with the values that hold them, and nothing else does.

use std::{
    fs::File,
    io::{Read, Write},
};

use proc_core::{Process, ProcessError, handover::Fd, shm::Shared};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{METHODS, watchdog};

#[derive(Serialize, Deserialize)]
struct Job {
    label: String,
    log: Option<Fd>,
    counter: Shared<AtomicU64>,
}

fn run(job: Job) {
    job.counter.fetch_add(1, Relaxed);
    writeln!(File::from(job.log.unwrap().0), "{}", job.label).unwrap();
}

#[test]
fn handles_inside_structs() -> Result<(), Box<dyn std::error::Error>> {
    let _dog = watchdog();
    for method in METHODS {
        let (mut reader, writer) = std::io::pipe()?;
        let counter = Shared::new(AtomicU64::new(0))?;
        let job = Job { label: "hello".into(), log: Some(writer.into()), counter: counter.clone() };
        Process::builder().start_method(method).spawn(run, (job,))?.join()?;
        let mut read = String::new();
        // Ends, because the argument was dropped here.
        reader.read_to_string(&mut read)?;
        assert_eq!((read.as_str(), counter.load(Relaxed)), ("hello\n", 1));
    }
    Ok(())
}

/// ipc-channel #395: more descriptors than one message holds.
#[test]
fn more_descriptors_than_one_message_holds() -> Result<(), Box<dyn std::error::Error>> {
    let _dog = watchdog();
    fn write_all(fds: Vec<Fd>) {
        for (i, fd) in fds.into_iter().enumerate() {
            File::from(fd.0).write_all(&[i as u8]).unwrap();
        }
    }
    for method in METHODS {
        let (mut reader, writer) = std::io::pipe()?;
        let fds: Vec<Fd> = (0..600).map(|_| writer.try_clone().map(Fd::from)).collect::<Result<_, _>>()?;
        drop(writer);
        Process::builder().start_method(method).spawn(write_all, (fds,))?.join()?;
        let mut read = Vec::new();
        reader.read_to_end(&mut read)?;
        assert_eq!(read, (0..600).map(|i| i as u8).collect::<Vec<_>>());
    }
    Ok(())
}

fn open_files() -> Vec<String> {
    let links =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
    let mut names: Vec<_> =
        links.map(|link| link.display().to_string()).filter(|name| !name.ends_with("/fd")).collect();
    names.drain(..3);
    names
}

#[test]
fn only_what_was_handed_over_is_open() -> Result<(), Box<dyn std::error::Error>> {
    let _dog = watchdog();
    let leaky = File::open("/etc/passwd")?;
    nix::fcntl::fcntl(&leaky, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))?;
    for method in METHODS {
        let process = Process::builder().start_method(method).spawn(
            |given: Fd| {
                let files = open_files();
                drop(given);
                files
            },
            (File::open("/etc/hostname")?.into(),),
        )?;
        let files = process.join()?;
        // The given file, the socket that its value goes to, and the pipe that its life hangs on.
        assert!(files.contains(&"/etc/hostname".to_owned()), "{files:?}");
        assert_eq!(files.iter().filter(|name| name.starts_with("socket:")).count(), 1, "{files:?}");
        assert_eq!(files.iter().filter(|name| name.starts_with("pipe:")).count(), 1, "{files:?}");
        assert_eq!(files.len(), 3, "{files:?}");
    }
    Ok(())
}

/// A full descriptor table is an error of that start; nothing runs, and nothing is lost.
#[test]
fn a_full_descriptor_table() -> Result<(), ProcessError> {
    let _dog = watchdog();
    fn exhaust() -> (Vec<String>, u64) {
        let ran = Shared::new(AtomicU64::new(0)).unwrap();
        let bump = |ran: Shared<AtomicU64>| {
            ran.fetch_add(1, Relaxed);
        };
        Process::spawn(bump, (ran.clone(),)).unwrap().join().unwrap();
        let mut hoard = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            hoard.push(file);
        }
        let mut errors = Vec::new();
        // However many are free, a start works or says why not.
        for _ in 0..8 {
            match Process::spawn(bump, (ran.clone(),)) {
                Ok(process) => process.join().unwrap(),
                Err(e) => errors.push(e.to_string()),
            }
            hoard.pop();
        }
        (errors, ran.load(Relaxed))
    }
    let limited = Process::builder().limit(proc_core::Resource::OpenFiles, 64).spawn(exhaust, ())?;
    let (errors, ran) = limited.join()?;
    assert!(
        !errors.is_empty() && errors.iter().all(|e| e.contains("EMFILE") || e.contains("open files")),
        "{errors:?}"
    );
    assert_eq!(ran, 1 + 8 - errors.len() as u64);
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Nested(Option<Box<Nested>>);

impl Nested {
    fn new(depth: usize) -> Self {
        (0..depth).fold(Self(None), |inner, _| Self(Some(Box::new(inner))))
    }

    fn depth(&self) -> usize {
        let mut depth = 0;
        let mut inner = self;
        while let Some(next) = &inner.0 {
            (inner, depth) = (next, depth + 1);
        }
        depth
    }
}

/// A child's stack carries more than that of the thread that joins it: the owner must not be the one that overflows.
#[test]
fn a_value_nested_too_deeply_for_its_owner_is_an_error() {
    let _dog = watchdog();
    let join = |depth: usize| Process::spawn(Nested::new, (depth,)).unwrap().join();
    let run = move || {
        assert_eq!(join(50).unwrap().depth(), 50);
        join(3_000).err().expect("too deep").to_string()
    };
    let error = std::thread::Builder::new().stack_size(256 * 1024).spawn(run).unwrap().join().unwrap();
    assert!(error.contains("nested too deeply"), "{error}");
    // And where there is room, there is no limit.
    let thread = std::thread::Builder::new().stack_size(64 << 20);
    assert_eq!(thread.spawn(move || join(3_000).unwrap().depth()).unwrap().join().unwrap(), 3_000);
}

/// A child that leaves a report of 32 TiB, all of it holes, instead of its value.
#[test]
fn a_report_of_holes_is_an_error() {
    let _dog = watchdog();
    fn liar() {
        // SAFETY: a new memory file.
        let file = unsafe { libc::memfd_create(c"report".as_ptr(), 0) };
        // SAFETY: the file made above.
        assert_eq!(unsafe { libc::ftruncate(file, 32 << 40) }, 0);
        for socket in 3..64 {
            let rights = [nix::sys::socket::ControlMessage::ScmRights(&[file])];
            let value_in_file = [std::io::IoSlice::new(&[0x81])];
            let flags = nix::sys::socket::MsgFlags::MSG_DONTWAIT;
            let _ = nix::sys::socket::sendmsg::<()>(socket, &value_in_file, &rights, flags, None);
        }
    }
    for method in METHODS {
        let error = Process::builder().start_method(method).spawn(liar, ()).unwrap().join().unwrap_err();
        assert!(
            matches!(&error, ProcessError::Decode { message, .. } if message.contains("EFBIG") || message.contains("large")),
            "{error}"
        );
    }
}
