//! The start of a process, by the settings of its builder.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    sync::Arc,
};

use kernel::handover::{self, Packed};
use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "confine")]
use crate::confine::{Asked, Confined, may_start_processes};
use crate::{
    builder::Builder,
    children,
    crash::out_of_memory,
    current::ProcessIdentity,
    error::ProcessError,
    function::{self, Function, Target},
    image::Image,
    lock::lock,
    logs::Conduit,
    options::Options,
    output::Capture,
    process::{Process, ProcessHandle, Runnable},
    report::Report,
    start::{
        self, StartMethod, Started,
        forkserver::{self, Registering, server::ForkServer},
        plain::Plain,
        request::Request,
        spawn,
        stdio::{Stream, Streams},
    },
};

/// Starts a process, once, with these descriptors of its options.
type Start<'a, 'r> = dyn FnMut(
        &ProcessIdentity,
        &Options,
        &[BorrowedFd<'_>],
    ) -> Result<(Started, Report, Option<Registering<'r>>), ProcessError>
    + 'a;

impl Builder {
    /// Starts it: [`Process::spawn`].
    ///
    /// # Errors
    /// As there.
    pub fn spawn<F, A>(self, target: F, args: A) -> Result<Process<F::Output>, ProcessError>
    where
        F: Target<A>,
        A: Serialize + DeserializeOwned,
        F::Output: Serialize + DeserializeOwned,
    {
        let function = Function::of(target).map_err(ProcessError::ForeignCode)?;
        let method = self.start_method.unwrap_or_else(start::start_method);
        if method == StartMethod::Fork {
            return self.fork(move || target.call(args));
        }
        let parcel = handover::pack(&args).map_err(ProcessError::Arguments)?;
        self.spawn_packed(method, function, parcel.bytes(), &parcel.fds()).map(Process::new)
    }

    /// What is the same whatever the function is, and whatever its arguments are: compiled once.
    fn spawn_packed(
        self,
        method: StartMethod,
        function: Function,
        args: &[u8],
        handed_over: &[BorrowedFd<'_>],
    ) -> Result<ProcessHandle, ProcessError> {
        let own = self.fork_server.as_ref().map(ForkServer::slot);
        let slot = own.as_deref().unwrap_or_else(|| forkserver::default_slot());
        self.launch(method, &mut |identity, options, of_options| {
            let fingerprint = Image::get().fingerprint;
            let request = Request { fingerprint, function, identity: identity.clone(), options: options.clone() };
            let mut packed = Vec::new();
            request.put(&mut packed);
            let fds: Vec<RawFd> = of_options.iter().chain(handed_over).map(AsRawFd::as_raw_fd).collect();
            let body = [&packed[..], args];
            if method != StartMethod::Spawn
                && let Some((started, report, registering)) = forkserver::start(slot, &body, &fds)?
            {
                return Ok((started, report, Some(registering)));
            }
            if own.is_some() {
                return Err(forkserver::no_siblings());
            }
            spawn::start(&body, &fds).map(|(started, report)| (started, report, None))
        })
    }

    /// Starts it: [`Process::start`].
    ///
    /// # Errors
    /// As there.
    pub fn start<T>(self, object: T) -> Result<Process<T::Output>, ProcessError>
    where
        T: Runnable + Serialize + DeserializeOwned + 'static,
        T::Output: Serialize + DeserializeOwned,
    {
        self.spawn(T::run, (object,))
    }

    /// Starts it: [`Process::fork`].
    ///
    /// # Errors
    /// As there.
    pub fn fork<F, R>(self, target: F) -> Result<Process<R>, ProcessError>
    where
        F: FnOnce() -> R,
        R: Serialize + DeserializeOwned,
    {
        let mut target = Some(target);
        let mut run = |value: &mut Packed| {
            let target = target.take().expect("there is one child, which runs it once");
            function::run(value, || Ok(target()))
        };
        let starting = &mut |identity: &ProcessIdentity, options: &Options, of_options: &[BorrowedFd<'_>]| {
            handover::get_ready::<R>();
            let (started, report) = start::fork::start(identity, options, of_options, &mut run)?;
            Ok((started, report, None))
        };
        self.launch(StartMethod::Fork, starting).map(Process::new)
    }

    /// Checks that this process may start another; returns what of the confinement will hold for that.
    #[cfg(feature = "confine")]
    fn check_confinement(&mut self) -> Result<Option<Confined>, ProcessError> {
        if !may_start_processes() {
            return Err(ProcessError::Confined);
        }
        let held = self.options.confinement.as_mut().map(Asked::check).transpose();
        held.map_err(|missing| ProcessError::CannotConfine { missing })
    }

    /// Makes what every process has, starts it by `start`, and takes note of it.
    fn launch(mut self, method: StartMethod, start: &mut Start<'_, '_>) -> Result<ProcessHandle, ProcessError> {
        #[cfg(feature = "confine")]
        let confined = self.check_confinement()?;
        if let Some(key) = self.options.impossible_variable() {
            let operation = format!("set the environment variable {key:?}");
            return Err(ProcessError::Start { operation, source: std::io::ErrorKind::InvalidInput.into() });
        }
        let _starting = crate::reaper::starting();
        out_of_memory::begin();
        let identity = ProcessIdentity::of_child(self.name, self.daemon);
        let mut captures = [None, None];
        for (i, line) in self.lines.into_iter().enumerate() {
            let Some(line) = line else { continue };
            let (capture, end) = Capture::open(line)
                .map_err(|source| ProcessError::Start { operation: "make a pipe for its output".into(), source })?;
            captures[i] = Some(capture);
            self.streams[i + 1] = Some(Stream::Opened(Arc::new(end)));
        }
        let mut streams = Streams::open(self.streams)
            .map_err(|source| ProcessError::Start { operation: "open the standard streams".into(), source })?;
        self.options.streams = streams.given;
        let conduit = self
            .logs
            .open(method == StartMethod::Fork)
            .map_err(|source| ProcessError::Start { operation: "make what its log goes into".into(), source })?;
        let (terms, conduit) = conduit.unzip();
        self.options.logs = terms;
        let of_logs = conduit.iter().flat_map(Conduit::fds);
        let of_options: Vec<_> = streams.theirs.iter().map(AsFd::as_fd).chain(of_logs).collect();
        let (started, report, _registering) = start(&identity, &self.options, &of_options)?;
        let tap = conduit.map(|conduit| conduit.connect(&identity.name, started.pid, self.logs.is_prefixed()));
        let captures = captures.map(|capture| capture.map(|capture| capture.connect(&identity.name)));
        let child = children::register(started, &identity, Some(report), self.options.own_group, (tap, captures));
        *lock(&child.pipes) = std::mem::take(&mut streams.ours);
        #[cfg(feature = "confine")]
        if let Some(confined) = confined {
            let _ = child.confined.set(confined);
        }
        Ok(ProcessHandle(child))
    }
}
