//! The life of a process that runs a function, from its first instruction of ours to its exit.

#[cfg(feature = "confine")]
use std::sync::Mutex;
use std::{
    io::Write,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

#[cfg(feature = "confine")]
use crate::{confine, lock::lock};
use crate::{
    crash,
    current::ProcessIdentity,
    death_link,
    function::{self, CallError},
    image::Image,
    logs,
    options::{self, Options, Refusal},
    panic_report,
    report::{Failure, Report},
    start::{conditions::Inherited, plain::Plain, request::Request},
};
use kernel::{
    handover::{self, Packed},
    sys::{at_exit, open_file, profile, seqpacket, signals},
};

/// The exit code of a process whose function panicked: that of a Rust program whose `main` did.
const PANICKED: i32 = 101;
/// The exit code of a process that could not be set up, or was not addressed properly.
pub(crate) const REFUSED: i32 = 126;

/// Runs what `body` asks for. `fds` came with it, over `socket`.
pub(crate) fn run_request(socket: OwnedFd, body: &[u8], mut fds: Vec<OwnedFd>) -> ! {
    let mut args = body;
    let Some((inherited, request)) = take_request(&mut args) else { refuse("a request that does not decode") };
    if request.fingerprint != Image::get().fingerprint {
        refuse("a request from another build of this program");
    }
    let n_of_options = request.options.n_fds();
    let n_of_owner = inherited.as_ref().map_or(0, Inherited::n_fds);
    if fds.len() < n_of_owner + n_of_options {
        refuse("a request without its descriptors");
    }
    let mut of_options = fds.split_off(n_of_owner);
    let of_owner = fds;
    let handed_over = of_options.split_off(n_of_options);
    let report = Box::new(Report::from(socket));
    if let Some(inherited) = inherited
        && let Err((what, errno)) = inherited.apply(of_owner)
    {
        let _ = report.failure(&Failure::Setup(what, errno as i32));
        exit(REFUSED);
    }
    run(report, request.identity, request.options, of_options, |value| request.function.call(args, handed_over, value))
}

/// The request at the front of `from`. One piece of code, which each child rehearses.
#[inline(never)]
fn take_request(from: &mut &[u8]) -> Option<(Option<Inherited>, Request)> {
    <(Option<Inherited>, Request)>::take(from)
}

/// Runs `target` as a child that was forked from the owner itself.
pub(crate) fn run_closure(
    report: Box<Report>,
    identity: ProcessIdentity,
    options: Options,
    fds: Vec<OwnedFd>,
    target: &mut dyn FnMut(&mut Packed) -> Result<(), CallError>,
) -> ! {
    profile::begin();
    run(report, identity, options, fds, target)
}

fn run(
    report: Box<Report>,
    identity: ProcessIdentity,
    options: Options,
    fds: Vec<OwnedFd>,
    target: impl FnOnce(&mut Packed) -> Result<(), CallError>,
) -> ! {
    if let Err((what, errno)) = set_up(identity, &options, fds) {
        let _ = report.failure(&Failure::Setup(what, errno as i32));
        exit(REFUSED);
    }
    options::print_no_backtraces_without_memory();
    // Leaked, so that it is open to the end, for a panic that aborts.
    let report: &'static Report = Box::leak(report);
    if !options.no_crash_report {
        crash::handler::install();
        crash::handler::arm(report.as_fd());
    }
    panic_report::install_hook();
    panic_report::on_abort(|panic| drop(report.failure(&Failure::Call(CallError::Panicked(panic.clone())))));
    #[cfg(feature = "confine")]
    confine_as(options.confinement, !options.no_crash_report, report);
    signals::unblock_all();
    let mut value = room_for_value();
    match target(&mut value) {
        Ok(()) => match report.value(&value) {
            Ok(()) => exit(0),
            Err(e) => fail(report, CallError::Value(format!("{} bytes cannot be stored: {e}", value.bytes.len()))),
        },
        Err(e) => fail(report, e),
    }
}

/// Room for a small value: what makes it longer is code on a page of its own.
#[inline]
fn room_for_value() -> Packed {
    Packed { bytes: Vec::with_capacity(64), fds: Vec::new() }
}

/// Confines this process, whose handles are in place, if it is to be.
#[cfg(feature = "confine")]
#[inline]
fn confine_as(asked: Option<confine::Asked>, is_reported: bool, report: &'static Report) {
    let Some(asked) = asked else { return };
    confine::prepare(&asked, is_reported);
    if asked.opens_nothing() {
        // To name functions std opens the program.
        options::print_no_backtraces();
    }
    if asked.is_deferred {
        *lock(&DEFERS) = Some(report);
    }
    confined_or_end(confine::enter(asked), report);
}

/// Whether [`enter_confinement`] will confine the calling process.
pub fn is_to_be_confined() -> bool {
    #[cfg(feature = "confine")]
    return lock(&DEFERS).is_some();
    #[cfg(not(feature = "confine"))]
    false
}

/// Confines the calling process, if that was put off until now. If it cannot be done, the process ends with the error.
pub fn enter_confinement() {
    #[cfg(feature = "confine")]
    if let Some(report) = lock(&DEFERS).take() {
        confined_or_end(confine::enter_deferred(), report);
    }
}

/// Where a process that is to be confined later is to leave an error of that.
#[cfg(feature = "confine")]
static DEFERS: Mutex<Option<&'static Report>> = Mutex::new(None);

#[cfg(feature = "confine")]
fn confined_or_end(confined: Result<(), Refusal>, report: &Report) {
    if let Err((what, errno)) = confined {
        fail_by(report, &Failure::Setup(what, errno as i32));
    }
}

/// Does once, in a fork server, what each of its children would do for itself, with page faults.
pub(crate) fn warm_up() {
    Image::get();
    ProcessIdentity::warm_up();
    panic_report::install_hook();
    crash::handler::install();
    // What is found out once a process, and memory: what the allocator has split here is not split again in each child.
    rehearse();
    stock_small_blocks();
}

/// Leaves some blocks of each small size with the allocator. Each child finds them on one or two pages, and does not touch
/// the allocator's own state for them.
pub(crate) fn stock_small_blocks() {
    let sizes = (1..=8).flat_map(|n| [16 * n + 8; 4]);
    drop(std::hint::black_box(sizes.map(Vec::<u8>::with_capacity).collect::<Vec<_>>()));
}

/// Takes page faults that a child would take later, while no owner waits for it: does what its run will do, as far as
/// that has no effect.
#[inline]
pub(crate) fn rehearse() {
    profile::begin();
    // The stream buffers of C: code and data of the C library.
    at_exit::flush_streams();
    // A request without anything in it.
    let zeros = [0; 128];
    let _ = std::hint::black_box(take_request(&mut &zeros[..]));
    drop(std::hint::black_box(std::hint::black_box(&zeros[..]).to_vec()));
    crash::handler::disarm();
    let mut value = room_for_value();
    let called = function::run(&mut value, || {
        // Registers the thread-locals of a hand-over, too, which has the loader look a function up.
        let args = handover::pack_behind(room_for_value().bytes, &(7_u64,))
            .and_then(|args| handover::unpack::<(u64,)>(args.bytes(), Vec::new()));
        let (value,) = args.map_err(|e| CallError::Arguments(e.to_string()))?;
        Ok(value)
    });
    debug_assert!(called.is_ok());
    let _ = std::io::stdout().flush();
}

fn set_up(identity: ProcessIdentity, options: &Options, mut fds: Vec<OwnedFd>) -> Result<(), Refusal> {
    if options.outlives_owner {
        death_link::untie();
    }
    identity.assume();
    if let Some(terms) = options.logs {
        // Before its memory is limited.
        let of_logs = fds.split_off(options.n_streams());
        logs::attach(terms, of_logs).map_err(|e| ("map what its log goes into".into(), e))?;
    }
    options.apply(fds)
}

/// Ends this process after its call ended without a value.
pub(crate) fn fail(report: &Report, error: CallError) -> ! {
    fail_by(report, &Failure::Call(error))
}

/// Ends this process, which cannot do what it was to do.
pub(crate) fn fail_by(report: &Report, failure: &Failure) -> ! {
    let code = if matches!(failure, Failure::Call(CallError::Panicked(_))) { PANICKED } else { REFUSED };
    let _ = report.failure(failure);
    exit(code)
}

/// Ends a process whose starter is not its owner, or garbled what it was to do.
#[allow(clippy::print_stderr, reason = "it has nobody else to tell")]
pub(crate) fn refuse(why: &str) -> ! {
    eprintln!("proc-core: this process was started with {why}; it ends without having run anything");
    exit(REFUSED)
}

/// How many milliseconds an owner may take to end. Of one with threads, the thread that made this process may be gone, and
/// this process have another parent, long before the last thread closes the socket on a busy machine.
const OWNERS_END: u16 = 1_000;

/// As [`refuse`], and silently if the owner at the other end of the socket ends meanwhile: that explains everything, and is
/// no error.
pub(crate) fn refuse_owner(socket: BorrowedFd<'_>, why: &str) -> ! {
    if seqpacket::hangs_up_within(socket, OWNERS_END) {
        exit(REFUSED)
    }
    refuse(why)
}

/// Ends a process that has not been asked for anything.
pub(crate) fn end_silently() -> ! {
    at_exit::end_now(0)
}

/// Ends this process: its own children are seen to and its streams are flushed, but what the *program* registered to
/// run at its exit does not run, since `main` never did; but counters of coverage are written. As in Python, and measured to save 25 µs.
fn exit(code: i32) -> ! {
    at_exit::run();
    let _ = std::io::stdout().flush();
    // Into a file.
    if !open_file::is_given_up() {
        profile::write();
    }
    at_exit::end_now(code)
}
