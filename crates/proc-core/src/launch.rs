//! The start of a process, by the settings of its builder.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    sync::Arc,
};

use kernel::handover;
use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "confine")]
use crate::confine::{Asked, Confined, may_start_processes};
use crate::{
    builder::Builder,
    children,
    crash::out_of_memory,
    current::ProcessIdentity,
    error::ProcessError,
    function::{Function, Target},
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
        let own = self.fork_server.as_ref().map(ForkServer::slot);
        let slot = own.as_deref().unwrap_or_else(|| forkserver::default_slot());
        self.launch(method, |identity, options, of_options| {
            let fingerprint = Image::get().fingerprint;
            let request = Request { fingerprint, function, identity: identity.clone(), options: options.clone() };
            let mut packed = Vec::new();
            request.put(&mut packed);
            let of_options = of_options.iter().map(AsRawFd::as_raw_fd);
            let handed_over = parcel.fds();
            let fds: Vec<RawFd> = of_options.chain(handed_over.iter().map(AsRawFd::as_raw_fd)).collect();
            let body = [&packed[..], parcel.bytes()];
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
        self.launch(StartMethod::Fork, |identity, options, of_options| {
            let (started, report) = start::fork::start(identity, options, of_options, target)?;
            Ok((started, report, None))
        })
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
    fn launch<'a, R>(
        mut self,
        method: StartMethod,
        start: impl FnOnce(
            &ProcessIdentity,
            &Options,
            &[BorrowedFd<'_>],
        ) -> Result<(Started, Report, Option<Registering<'a>>), ProcessError>,
    ) -> Result<Process<R>, ProcessError> {
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
        Ok(Process::new(ProcessHandle(child)))
    }
}
