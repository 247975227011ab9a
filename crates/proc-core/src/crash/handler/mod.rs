//! The handler of a child for the signals that a program's own faults raise. It tells the child's owner where the fault
//! was, and lets the signal take its course.
//!
//! * The fork server installs it once. Its children inherit it, and the alternate stack that it runs on, so that a start
//!   pays for nothing but [`arm`]: where to send the report.
//! * It makes system calls and writes to memory that is there for it. It allocates nothing and takes no lock. The one part
//!   that a broken program can bring to a fault or a halt is the walk over its stack. So the first packet is sent before;
//!   a second fault, or an alarm after a second, ends the walk ([`give_up`]), and the process by the first signal.
//! * When it is done, the action that it replaced is in place again. It returns to the instruction at fault, which faults
//!   again, or sends the signal again if a process had sent it. So a handler that the program had runs as if it were
//!   alone, and a core dump shows the fault itself.
//! * In a process that is confined it opens nothing: what it reads has been opened before ([`confine`]).
//! * Of two threads that fault at once, one reports and the other waits for that.
//!
//! The words that it shares are in `state.rs`.
//!
//! # Safety
//! What the handler shares is in atomics, or in [`HandlerCell`] memory that only the thread which has claimed [`STATE`]'s place as reporter
//! uses. Its other operations are system calls on such memory.
#![allow(unsafe_code)]

mod state;

use std::{
    io::IoSlice,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    ptr::null_mut,
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
};

pub(super) use self::state::STACK_BYTES;
use self::state::{
    FIRST_SIGNAL, FORMER, FORMER_ALARM, FORMER_REFUSAL, FRAMES, HandlerCell, IS_CONFINED, IS_INSTALLED, MAPS,
    MAPS_FILE, MAPS_INODE, SIGNALS, STACK, STATE,
};

use super::{
    calls, context, last_panic,
    maps::Around,
    packet::{self, Happened, MAX_FRAMES, NAME_BYTES, NO_MEMORY, OVERFLOW, WHERE},
};
use kernel::sys::{pid, unwind};

/// A walk that takes longer hangs.
const WALK_SECONDS: u32 = 1;

/// Installs the handler in this process, and an alternate stack for its calling thread, which must be its only one.
pub(crate) fn install() {
    if IS_INSTALLED.load(Relaxed) {
        return;
    }
    // SAFETY: a stack_t is plain data.
    let mut stack: libc::stack_t = unsafe { std::mem::zeroed() };
    stack.ss_sp = STACK.0.get().cast();
    stack.ss_size = STACK_BYTES;
    // SAFETY: static memory that nothing else uses.
    unsafe { libc::sigaltstack(&raw const stack, null_mut()) };
    for (signal, former) in SIGNALS.into_iter().zip(&FORMER) {
        set_action(signal, on_signal, former.0.get().cast());
    }
    IS_INSTALLED.store(true, Relaxed);
}

/// Makes the handler report a fault of this process over `socket`, which is to stay open.
pub(crate) fn arm(socket: BorrowedFd<'_>) {
    disarm();
    // Where it cannot be known again later, nothing is sent to it.
    if let Some(inode) = socket_inode(socket.as_raw_fd()) {
        STATE.socket_inode.store(inode, Relaxed);
        STATE.socket.store(socket.as_raw_fd(), Relaxed);
        STATE.process.store(pid::own(), Release);
    }
}

/// Gets ready for a report by a process that may open nothing any more, and whose refused system calls raise a signal if
/// `ends_at_refusal`. In a process with one thread, which is to call it once.
#[cfg(feature = "confine")]
pub(crate) fn confine(ends_at_refusal: bool) {
    // For the life of the process. Without one the report is without names.
    if let Ok(maps) = std::fs::File::open("/proc/self/maps")
        && let Ok(maps) = kernel::fds::above_standard_streams(maps)
    {
        let maps = std::os::fd::IntoRawFd::into_raw_fd(maps);
        if let Some(inode) = calls::inode(maps, libc::S_IFREG) {
            MAPS_INODE.store(inode, Relaxed);
            MAPS_FILE.store(maps, Relaxed);
        }
    }
    IS_CONFINED.store(true, Relaxed);
    if ends_at_refusal {
        set_action(libc::SIGSYS, on_signal, FORMER_REFUSAL.0.get().cast());
    }
}

/// Makes the handler report nothing, until [`arm`].
pub(crate) fn disarm() {
    STATE.process.store(0, Relaxed);
    STATE.flags.store(0, Relaxed);
    STATE.n_frames.store(0, Relaxed);
    STATE.reporter.store(0, Relaxed);
    STATE.is_done.store(false, Relaxed);
}

/// Whether it is there, in this process or the one that this was forked from.
pub(super) fn is_installed() -> bool {
    IS_INSTALLED.load(Relaxed)
}

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

/// Notes the former action at `former`, if that is not null.
fn set_action(signal: i32, handler: Handler, former: *mut libc::sigaction) {
    // SAFETY: a sigaction is plain data.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the mask is this function's own.
    unsafe { libc::sigfillset(&raw mut action.sa_mask) };
    // A second fault must come through, and so must the alarm.
    for through in SIGNALS.into_iter().chain([libc::SIGALRM, libc::SIGTRAP]).filter(|through| *through != signal) {
        // SAFETY: as above.
        unsafe { libc::sigdelset(&raw mut action.sa_mask, through) };
    }
    // SAFETY: a valid action, whose handler keeps to what a handler may do; and null, or a place of the caller's.
    unsafe { libc::sigaction(signal, &raw const action, former) };
}

extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: gives this thread's place for errors.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let former_errno = unsafe { *errno };
    // SAFETY: the kernel hands in a valid description.
    let info = unsafe { &*info };
    let me = calls::thread_id();
    match STATE.reporter.compare_exchange(0, me, Acquire, Acquire) {
        Ok(_) => {
            FIRST_SIGNAL.store(signal, Relaxed);
            if STATE.process.load(Acquire) == pid::own() && socket_is_ours() {
                report(signal, info, context, me);
            }
            STATE.is_done.store(true, Release);
        }
        // A fault of the report itself.
        Err(reporter) if reporter == me && !STATE.is_done.load(Relaxed) => give_up(signal, null_mut(), null_mut()),
        Err(_) => {
            for _ in 0..2 * WALK_SECONDS * 1000 {
                if STATE.is_done.load(Acquire) {
                    break;
                }
                calls::sleep_a_millisecond();
            }
        }
    }
    restore(signal);
    // One that is not the instruction's own: that of a refused call has been passed by.
    if info.si_code <= 0 || signal == libc::SIGSYS {
        send_again(signal, info, me);
    }
    // SAFETY: as above.
    unsafe { *errno = former_errno };
}

fn report(signal: i32, info: &libc::siginfo_t, context: *mut libc::c_void, me: i32) {
    let mut name = [0; NAME_BYTES];
    // SAFETY: the kernel writes 16 bytes at most.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    // SAFETY: reads a field that is there for faults, or another one of the same size.
    let address = unsafe { info.si_addr() } as u64;
    // SAFETY: reads a field that is there for signals that were sent, or another one of the same size.
    let sender = unsafe { info.si_pid() };
    let was_sent = info.si_code <= 0;
    let refused = if signal == libc::SIGSYS && !was_sent { calls::refused_call(info) } else { (0, 0) };
    let happened = Happened {
        signal,
        code: info.si_code,
        sender: if was_sent { sender } else { 0 },
        pid: pid::own(),
        tid: me,
        call: refused.0,
        architecture: refused.1,
        address: if was_sent { 0 } else { address },
        name,
    };
    last_panic::with(|text| {
        calls::send(STATE.socket.load(Relaxed), &[IoSlice::new(&happened.to_bytes()), IoSlice::new(text)])
    });

    start_alarm();
    let position = context::position(context);
    // SAFETY: this thread has claimed to be the reporter.
    let maps = unsafe { &mut *MAPS.0.get() };
    let around = match open_maps() {
        Some(file) => maps.read_from(file, address),
        None if IS_CONFINED.load(Relaxed) => Around::default(),
        None => maps.read(address),
    };
    if signal == libc::SIGSEGV && !was_sent && around.is_overflow(position.stack as u64) {
        STATE.flags.fetch_or(OVERFLOW, Relaxed);
        if is_default(signal) {
            calls::print_overflow(&happened);
        }
    }
    walk(context, position, address as usize);
    send_where();
    stop_alarm();
}

/// The mappings, if they have been opened before and that file has its number still.
fn open_maps() -> Option<RawFd> {
    let file = MAPS_FILE.load(Relaxed);
    (file >= 0 && calls::inode(file, libc::S_IFREG) == Some(MAPS_INODE.load(Relaxed))).then_some(file)
}

/// Notes the frames, from the one at fault outward.
fn walk(context: *mut libc::c_void, position: context::Position, fault: usize) {
    note(position.program as u64);
    // A call of a null or wild function pointer: nothing is known of where it went, but it came from somewhere.
    // The address of an illegal instruction is its own.
    let is_bad_access = matches!(FIRST_SIGNAL.load(Relaxed), libc::SIGSEGV | libc::SIGBUS);
    let is_astray = is_bad_access && (position.program == fault || position.program < 4096);
    let caller = is_astray.then(|| context::pretend_return(context)).flatten();
    let begin = caller.unwrap_or(position.program);
    if let Some(caller) = caller {
        note((caller - 1) as u64);
    }
    let no_memory = std::alloc::handle_alloc_error as fn(std::alloc::Layout) -> ! as usize;
    // The frames of this handler come first.
    let mut is_inside = false;
    unwind::walk(&mut |step| {
        if is_inside {
            note(step.address as u64);
        }
        is_inside |= step.address == begin;
        if step.function == no_memory {
            STATE.flags.fetch_or(NO_MEMORY, Relaxed);
        }
        STATE.n_frames.load(Relaxed) < MAX_FRAMES
    });
    if caller.is_some() {
        context::put_back(context, position);
    }
}

fn note(address: u64) {
    let len = STATE.n_frames.load(Relaxed);
    if let Some(place) = FRAMES.get(len) {
        place.store(address, Relaxed);
        STATE.n_frames.store(len + 1, Release);
    }
}

/// Sends what the walk has found so far.
fn send_where() {
    let n_frames = STATE.n_frames.load(Acquire).min(MAX_FRAMES);
    let [low, high] = (n_frames as u16).to_ne_bytes();
    let head: [u8; packet::HEAD_BYTES] = [WHERE, STATE.flags.load(Relaxed), low, high];
    let mut addresses = [0_u8; 8 * MAX_FRAMES];
    for (place, address) in addresses.chunks_exact_mut(8).zip(&FRAMES[..n_frames]) {
        place.copy_from_slice(&address.load(Relaxed).to_ne_bytes());
    }
    // SAFETY: the reporter's, or that of the thread that gives up in its stead, when it no longer changes it.
    let maps = unsafe { &*MAPS.0.get() };
    calls::send(
        STATE.socket.load(Relaxed),
        &[IoSlice::new(&head), IoSlice::new(&addresses[..8 * n_frames]), IoSlice::new(&maps.code[..maps.len])],
    );
}

/// Ends the process by the signal that came first. Also the handler of the alarm, on any thread.
extern "C" fn give_up(_signal: i32, _info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    send_where();
    let signal = FIRST_SIGNAL.load(Relaxed);
    // SAFETY: a sigaction is plain data; all zeros is the default action.
    let action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: a valid action.
    unsafe { libc::sigaction(signal, &raw const action, null_mut()) };
    calls::change_mask(libc::SIG_UNBLOCK, signal);
    // SAFETY: sends a signal to this thread.
    unsafe { libc::syscall(libc::SYS_tgkill, pid::own(), calls::thread_id(), signal) };
    // Not reached: the signal's default is the end.
    // SAFETY: ends the process.
    unsafe { libc::_exit(128 + signal) };
}

/// Puts back the action that was there before the handler was installed.
fn restore(signal: i32) {
    if let Some(former) = former(signal) {
        // SAFETY: zeros, or written by the call that put the handler in place.
        unsafe { libc::sigaction(signal, former.0.get().cast_const().cast(), null_mut()) };
    }
}

fn former(signal: i32) -> Option<&'static HandlerCell<MaybeUninit<libc::sigaction>>> {
    if signal == libc::SIGSYS {
        return Some(&FORMER_REFUSAL);
    }
    SIGNALS.iter().position(|known| *known == signal).and_then(|index| FORMER.get(index))
}

/// Whether there was no other handler for it.
fn is_default(signal: i32) -> bool {
    former(signal).is_some_and(|former| {
        // SAFETY: zeros, or written by the call that put the handler in place.
        let former = unsafe { &*former.0.get() };
        // SAFETY: as above.
        let former = unsafe { former.assume_init_ref() };
        former.sa_sigaction == libc::SIG_DFL
    })
}

/// Sends this thread the same signal again: it comes when the handler returns.
fn send_again(signal: i32, info: &libc::siginfo_t, me: i32) {
    let info: *const libc::siginfo_t = info;
    // SAFETY: a valid description, of a signal to this thread itself.
    let sent = unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid::own(), me, signal, info) };
    if sent != 0 {
        // SAFETY: sends a signal to this thread.
        unsafe { libc::syscall(libc::SYS_tgkill, pid::own(), me, signal) };
    }
}

fn start_alarm() {
    // The place is the reporter's.
    set_action(libc::SIGALRM, give_up, FORMER_ALARM.0.get().cast());
    calls::change_mask(libc::SIG_UNBLOCK, libc::SIGALRM);
    // SAFETY: sets this process's alarm clock.
    unsafe { libc::alarm(WALK_SECONDS) };
}

fn stop_alarm() {
    // SAFETY: stops this process's alarm clock.
    unsafe { libc::alarm(0) };
    calls::change_mask(libc::SIG_BLOCK, libc::SIGALRM);
    // SAFETY: written by `start_alarm`.
    unsafe { libc::sigaction(libc::SIGALRM, FORMER_ALARM.0.get().cast_const().cast(), null_mut()) };
}

/// Its number may be another file's by now.
fn socket_is_ours() -> bool {
    socket_inode(STATE.socket.load(Relaxed)) == Some(STATE.socket_inode.load(Relaxed))
}

fn socket_inode(number: RawFd) -> Option<u64> {
    calls::inode(number, libc::S_IFSOCK)
}
