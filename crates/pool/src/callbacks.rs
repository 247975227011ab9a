//! The thread on which callbacks run: beside the pool's own, so that a slow one holds up nothing but other callbacks.

use std::sync::mpsc;

use kernel::helper;
use parking_lot::Mutex;

type Callback = Box<dyn FnOnce() + Send>;

/// The thread, started with the first callback.
#[derive(Debug, Default)]
pub struct Callbacks(Mutex<Option<mpsc::Sender<Callback>>>);

impl Callbacks {
    /// Runs `callback`, after those given before; here and now if no thread can be started.
    pub fn run(&self, callback: Callback) {
        let mut thread = self.0.lock();
        if thread.is_none() {
            let (sender, callbacks) = mpsc::channel::<Callback>();
            let run = move || callbacks.into_iter().for_each(|callback| callback());
            *thread = helper::spawn_for_callbacks("pool-callbacks", run).is_ok().then_some(sender);
        }
        let callback = match &*thread {
            Some(sender) => sender.send(callback).map_err(|e| e.0),
            None => Err(callback),
        };
        drop(thread);
        if let Err(callback) = callback {
            callback();
        }
    }
}
