//! What is reported of a panic to another process.

use std::{
    any::Any,
    cell::RefCell,
    fmt,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind},
    sync::{
        Once, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use serde::{Deserialize, Serialize};

use crate::{backtrace::Backtrace, crash::last_panic};
use kernel::sys::soft_limits::MemoryRelief;

/// A panic, as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panic {
    /// The panic's message; for a payload that is no text, a note that says so.
    pub message: String,
    /// `file:line:column`; empty if unknown.
    pub location: String,
    /// The backtrace, if `RUST_BACKTRACE` asks for it.
    pub backtrace: Backtrace,
    /// The name of the thread that panicked.
    pub thread: String,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked at {}: {}", self.location, self.message)
    }
}

thread_local! {
    static LAST: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

impl Panic {
    /// Notes the panics of this process from now on, with their locations, for [`of`](Self::of). In those that this
    /// crate starts they are anyway. A hook that the program sets later has to call the one that was there.
    pub fn note_locations() {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            let former = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                former(info);
                let _ = LAST.try_with(|last| last.replace(Some(note(info))));
            }));
        });
    }

    /// What `f` returns, or its panic. `f` may leave behind what it was about to change: what it has a hold on is its own, or not
    /// looked at again.
    ///
    /// # Errors
    /// The panic.
    #[inline]
    pub fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Self> {
        catch_unwind(AssertUnwindSafe(f)).map_err(Self::of)
    }

    /// The panic whose payload was just caught on this thread.
    pub fn of(payload: Box<dyn Any + Send>) -> Self {
        let message = message_of(&*payload);
        // Another one may have been noted, and caught by the program itself, if this one was only resumed.
        let noted = LAST.try_with(|last| last.take()).ok().flatten().filter(|noted| noted.message == message);
        // A payload's own drop may panic in its turn; that must not take this process along.
        std::mem::forget(payload);
        noted.unwrap_or_else(|| Self {
            message,
            location: String::new(),
            backtrace: Backtrace::default(),
            thread: current_thread(),
        })
    }
}

/// The panic that the calling thread is unwinding from, if its hook has noted it.
pub(crate) fn under_way() -> Option<Panic> {
    if !std::thread::panicking() {
        return None;
    }
    LAST.try_with(|last| last.borrow().clone()).ok().flatten()
}

type OnAbort = Box<dyn Fn(&Panic) + Send + Sync>;

static ON_ABORT: OnceLock<OnAbort> = OnceLock::new();

/// Notes where each panic comes from, before the hook that was there prints it. For processes that this crate started.
pub(crate) fn install_hook() {
    static IS_INSTALLED: AtomicBool = AtomicBool::new(false);
    // Relaxed: it orders nothing; std has a lock for the hook.
    if IS_INSTALLED.swap(true, Relaxed) {
        return;
    }
    let former = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // The hook below may print a backtrace, which takes much memory, under a lock of std's: if it is refused
        // some, the report of that asks for the same lock, and the process hangs for good.
        let relief = MemoryRelief::begin();
        let panic = note(info);
        last_panic::note(&panic.message, &panic);
        former(info);
        drop(relief);
        if let Some(tell) = ON_ABORT.get().filter(|_| cfg!(panic = "abort")) {
            tell(&panic);
        }
        // While the thread ends there may be no place for it: its text is in its payload, too.
        let _ = LAST.try_with(|last| last.replace(Some(panic)));
    }));
}

/// Reports a panic that will abort the process, because the program is built so, before it does.
pub(crate) fn on_abort(tell: impl Fn(&Panic) + Send + Sync + 'static) {
    if cfg!(panic = "abort") {
        let _ = ON_ABORT.set(Box::new(tell));
    }
}

fn note(info: &PanicHookInfo<'_>) -> Panic {
    Panic {
        message: message_of(info.payload()),
        location: info.location().map(ToString::to_string).unwrap_or_default(),
        backtrace: Backtrace::capture(),
        thread: current_thread(),
    }
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "(a payload that is not text)".to_owned()
    }
}

fn current_thread() -> String {
    std::thread::current().name().unwrap_or("main").to_owned()
}
