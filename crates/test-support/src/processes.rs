//! What `/proc` tells about processes and where they are.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::{Command, Stdio},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};

use crate::sys;

/// Lets an interrupt (SIGINT) end this process also where a shell ignores it for its background jobs, which all their
/// descendants inherit.
pub fn end_by_interrupt() {
    sys::default_action(libc::SIGINT);
}

/// The descendants of this process, and those among their like that lost their parent: orphans running the same
/// program that started after us.
pub(crate) fn family() -> Vec<i32> {
    let me = std::process::id().cast_signed();
    let program = fs::read_link("/proc/self/exe").ok();
    let all: HashMap<i32, Stat> = pids().into_iter().filter_map(|pid| Some((pid, Stat::of(pid)?))).collect();
    let began = all.get(&me).map_or(0, |stat| stat.start_time);
    let descends = |pid: i32| {
        let mut ancestor = pid;
        while let Some(stat) = all.get(&ancestor) {
            if stat.parent == me {
                return true;
            }
            ancestor = stat.parent;
        }
        false
    };
    let is_our_orphan = |pid: i32, stat: &Stat| {
        stat.parent == 1 && stat.start_time > began && fs::read_link(format!("/proc/{pid}/exe")).ok() == program
    };
    let mut family: Vec<i32> =
        all.iter().filter(|(pid, stat)| descends(**pid) || is_our_orphan(**pid, stat)).map(|(pid, _)| *pid).collect();
    family.sort_unstable();
    family
}

/// Where every thread of a process is: state, what it waits for, the system call it is in, its kernel stack.
pub fn whereabouts(pid: i32) -> String {
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default().trim_end().to_owned();
    let process = Path::new("/proc").join(pid.to_string());
    let command_line = read(&process.join("cmdline")).replace('\0', " ");
    let mut text = format!("process {pid}: {command_line}\n");
    for thread in pids_in(&process.join("task")) {
        let thread = process.join("task").join(thread.to_string());
        let status = read(&thread.join("status"));
        let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or("?").trim().to_owned();
        let (name, id, state) = (field("Name:"), field("Pid:"), field("State:"));
        let tracer = field("TracerPid:");
        let traced = if tracer == "0" { String::new() } else { format!(", traced by {tracer}") };
        let (channel, call) = (read(&thread.join("wchan")), read(&thread.join("syscall")));
        let _ = writeln!(text, "  thread {id} {name:?}: {state}{traced}; in {channel}; system call {}", named(&call));
        for frame in read(&thread.join("stack")).lines() {
            let _ = writeln!(text, "      {frame}");
        }
    }
    text
}

/// The children of a process that its first thread has started or adopted.
pub fn children(pid: i32) -> Vec<i32> {
    numbers(&fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default())
}

/// The children of a process, whichever of its threads has started or adopted them.
pub fn all_children(pid: i32) -> Vec<i32> {
    let threads = pids_in(&Path::new("/proc").join(pid.to_string()).join("task"));
    let of_thread = |tid| fs::read_to_string(format!("/proc/{pid}/task/{tid}/children")).unwrap_or_default();
    threads.into_iter().flat_map(|tid| numbers(&of_thread(tid))).collect()
}

fn numbers(text: &str) -> Vec<i32> {
    text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Whether a process sleeps in a system call.
pub fn is_asleep(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
}

/// A child of this process, by a descriptor: a signal never reaches another that has got its pid since.
#[derive(Debug)]
pub struct Child(OwnedFd);

impl Child {
    /// The child that has `pid` now. None if it has been reaped, also where a stranger has its pid: pids of a storm's dead
    /// are soon used again.
    pub fn of(pid: u32) -> Option<Self> {
        let handle = sys::pidfd_open(pid.cast_signed())?;
        // Looks only; whoever is no child cannot be waited for.
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT | WaitPidFlag::__WALL;
        waitid(Id::PIDFd(handle.as_fd()), look).ok()?;
        Some(Self(handle))
    }

    /// Whether the signal was sent: not to one that has been reaped.
    pub fn signal(&self, signal: Signal) -> bool {
        sys::pidfd_send_signal(self.0.as_fd(), signal as i32)
    }
}

/// The stacks of all threads of a process, where a debugger is at hand.
pub(crate) fn backtraces(pid: i32) -> String {
    // The shell keeps what the debugger writes, since the process itself may be the one that waits for it here, stopped
    // meanwhile; and it has the process go on if the debugger was killed before it could.
    let script = "all=$(timeout -s KILL 15 gdb -batch -nx -ex 'thread apply all backtrace 25' -p $0 2>/dev/null)
        kill -CONT $0; printf %s \"$all\"";
    let output = Command::new("sh").args(["-c", script]).arg(pid.to_string()).stdin(Stdio::null()).output();
    let text = output.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
    let mut stacks = String::new();
    for stack in text.split("\nThread ").skip(1).filter(|stack| !stack.contains("\"watchdog\")")) {
        // What lies below is the runtime's and the same everywhere.
        let is_runtime = |line: &&str| line.contains("__rust_begin_short_backtrace") || line.contains("call_once");
        let frames = stack.lines().skip(1).filter(|line| line.starts_with('#')).take_while(|line| !is_runtime(line));
        let head = stack.lines().next().unwrap_or_default();
        let _ = writeln!(stacks, "      Thread {head}");
        frames.for_each(|frame| stacks += &format!("      {frame}\n"));
    }
    stacks
}

/// Kills processes and returns once they have ended, whoever is to reap them.
pub(crate) fn kill_all(pids: &[i32]) {
    let handles: Vec<Option<OwnedFd>> = pids.iter().map(|pid| sys::pidfd_open(*pid)).collect();
    for pid in pids {
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
    for handle in handles.iter().flatten() {
        let _ = poll(&mut [PollFd::new(handle.as_fd(), PollFlags::POLLIN)], PollTimeout::from(2000u16));
    }
}

struct Stat {
    parent: i32,
    start_time: u64,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the name in parentheses and may itself hold spaces and parentheses.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        Some(Self { parent: fields.get(1)?.parse().ok()?, start_time: fields.get(19)?.parse().ok()? })
    }
}

fn pids() -> Vec<i32> {
    pids_in(Path::new("/proc"))
}

fn pids_in(folder: &Path) -> Vec<i32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut pids: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

/// `/proc/PID/syscall`, with the name in front of those calls that a process usually hangs in.
fn named(call: &str) -> String {
    let known = [
        (libc::SYS_futex, "futex"),
        (libc::SYS_read, "read"),
        (libc::SYS_write, "write"),
        (libc::SYS_ppoll, "ppoll"),
        (libc::SYS_wait4, "wait4"),
        (libc::SYS_waitid, "waitid"),
        (libc::SYS_recvmsg, "recvmsg"),
        (libc::SYS_sendmsg, "sendmsg"),
        (libc::SYS_recvfrom, "recvfrom"),
        (libc::SYS_accept4, "accept4"),
        (libc::SYS_epoll_pwait, "epoll_pwait"),
        (libc::SYS_clock_nanosleep, "clock_nanosleep"),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_poll, "poll"),
    ];
    let number = call.split(' ').next().and_then(|number| number.parse().ok());
    match known.iter().find(|(known, _)| Some(*known) == number) {
        Some((_, name)) => format!("{name}, {call}"),
        None => call.to_owned(),
    }
}
