//! A builder for any number of processes that differ only in their names: the workers of a pool.

use std::{io, sync::Arc};

use kernel::fds::above_standard_streams;

use crate::{
    builder::Builder,
    error::ProcessError,
    start::{
        StartMethod,
        stdio::{Stream, Streams},
    },
};

/// The settings of a [`Builder`], kept to make others with them.
///
/// Standard streams are opened once, and each process gets a copy of the descriptor: they share the position in a file.
#[derive(Debug)]
pub struct Template(Builder);

/// Why a builder cannot be a template: it has a setting that only one process can have, or that takes from the owner what it
/// relies on.
#[derive(Debug)]
pub enum Unfit {
    /// An option does not go with it: its name, and why.
    Option(&'static str, &'static str),
    /// A standard stream cannot be opened.
    Streams(ProcessError),
}

impl Template {
    /// Makes one; opens the standard streams.
    ///
    /// # Errors
    /// If an option has no meaning for several processes that end with their owner, or a stream cannot be opened.
    pub fn new(builder: Builder) -> Result<Self, Unfit> {
        if builder.name.is_some() {
            return Err(Unfit::Option("name", "the pool names its workers after its own `name`"));
        }
        if builder.options.outlives_owner {
            return Err(Unfit::Option("death_link", "it would outlive its pool"));
        }
        let failed = |source: io::Error| {
            Unfit::Streams(ProcessError::Start { operation: "open the standard streams".into(), source })
        };
        let Streams { given, theirs, ours } = Streams::open(builder.streams).map_err(failed)?;
        if ours.iter().any(Option::is_some) {
            return Err(Unfit::Option("stdin, stdout, stderr", "nobody has the other end of a worker's pipe"));
        }
        let mut theirs = theirs.into_iter();
        let mut streams = [None, None, None];
        for (stream, _) in streams.iter_mut().zip(given).filter(|(_, given)| *given) {
            let fd = theirs.next().map(above_standard_streams).transpose().map_err(|e| failed(e.into()))?;
            *stream = fd.map(|fd| Stream::Opened(Arc::new(fd)));
        }
        Ok(Self(Builder { streams, ..builder }))
    }

    /// The start method that was asked for, by itself or as that of a fork server.
    pub fn start_method(&self) -> Option<StartMethod> {
        self.0.start_method
    }

    /// Another builder with the same settings.
    pub fn builder(&self) -> Builder {
        let Builder { name, daemon, start_method, fork_server, options, streams, lines, logs } = &self.0;
        let opened = |stream: &Option<Stream>| match stream {
            Some(Stream::Opened(fd)) => Some(Stream::Opened(fd.clone())),
            _ => None,
        };
        Builder {
            name: name.clone(),
            daemon: *daemon,
            start_method: *start_method,
            fork_server: fork_server.clone(),
            options: options.clone(),
            streams: streams.each_ref().map(opened),
            lines: lines.clone(),
            logs: *logs,
        }
    }
}
