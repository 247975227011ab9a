//! What happens when a thread's function panics.

use std::{
    any::Any,
    cell::RefCell,
    panic::PanicHookInfo,
    sync::{Arc, Mutex, Once, PoisonError},
};

use super::{
    handle::{Thread, ThreadError},
    registry,
};

/// A panic that a thread's function did not catch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Uncaught {
    /// The thread.
    pub thread: Thread,
    /// The panic's message; for a payload that is no text, a note that says so.
    pub message: String,
    /// `file:line:column`; empty if unknown.
    pub location: String,
}

type Hook = Arc<dyn Fn(&Uncaught) + Send + Sync>;

static HOOK: Mutex<Option<Hook>> = Mutex::new(None);

thread_local! {
    // Where the panic that is under way on this thread began.
    static LOCATION: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Calls `hook`, on the thread concerned, when the function of a thread of this module panics, instead of the
/// message that is printed otherwise.
///
/// Panics that the function catches itself print nothing then. `hook` must not panic. What replaced the panic hook of `std` after the first thread was started is not overruled:
/// its message comes too.
#[doc(alias = "excepthook")]
pub fn set_excepthook(hook: impl Fn(&Uncaught) + Send + Sync + 'static) {
    install();
    *HOOK.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(hook));
}

/// Goes back to the printed message.
pub fn reset_excepthook() {
    *HOOK.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Puts a hook in front of std's that notes where panics of our threads come from.
pub(super) fn install() {
    static INSTALL: Once = Once::new();
    // Not allowed while this thread unwinds; the next start does it.
    if std::thread::panicking() {
        return;
    }
    INSTALL.call_once(|| {
        let former = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let noted = registry::is_ours() && LOCATION.try_with(|l| l.replace(location(info))).is_ok();
            if noted && hook().is_some() {
                return;
            }
            former(info);
        }));
    });
}

/// Tells the hook of a panic that was just caught on the calling thread.
pub(super) fn uncaught(thread: &Thread, payload: Box<dyn Any + Send>) -> ThreadError {
    let (message, location) = (message(&*payload), LOCATION.try_with(|location| location.take()).unwrap_or_default());
    // A payload's own drop may panic in its turn.
    std::mem::forget(payload);
    if let Some(hook) = hook() {
        hook(&Uncaught { thread: thread.clone(), message: message.clone(), location: location.clone() });
    }
    ThreadError::Panicked { message, location }
}

fn hook() -> Option<Hook> {
    HOOK.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn location(info: &PanicHookInfo<'_>) -> String {
    info.location().map(ToString::to_string).unwrap_or_default()
}

fn message(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "(a payload that is not text)".to_owned(),
    }
}
