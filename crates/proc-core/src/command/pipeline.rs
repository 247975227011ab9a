//! Programs whose standard output is the next one's standard input.

use std::{
    ops::BitOr,
    process::{ExitStatus, Output, Stdio},
    time::Duration,
};

use super::{CommandError, Input, Popen, PopenBuilder, communicate::Exchange, error::Partial};
use kernel::futex::Deadline;

/// Programs joined by pipes, as `a | b | c` in a shell; made with `|`.
///
/// # Examples
/// ```
/// use proc_core::command::Popen;
///
/// let pipeline = Popen::builder(["sort"]) | Popen::builder(["uniq"]) | Popen::builder(["wc", "-l"]);
/// let output = pipeline.communicate("b\na\nb\n", None)?;
/// assert_eq!(output.stdout, b"2\n");
/// # Ok::<(), proc_core::command::CommandError>(())
/// ```
#[derive(Debug)]
#[must_use = "a pipeline starts nothing until `spawn` or `communicate`"]
pub struct Pipeline {
    programs: Vec<PopenBuilder>,
}

impl BitOr for PopenBuilder {
    type Output = Pipeline;

    fn bitor(self, next: Self) -> Pipeline {
        Pipeline { programs: vec![self, next] }
    }
}

impl BitOr<PopenBuilder> for Pipeline {
    type Output = Self;

    fn bitor(mut self, next: PopenBuilder) -> Self {
        self.programs.push(next);
        self
    }
}

impl Pipeline {
    /// Starts all, the first one first. Where they are not joined, their streams are what their builders say.
    ///
    /// # Errors
    /// If one cannot be started; those before it are killed then.
    pub fn spawn(self) -> Result<Vec<Popen>, CommandError> {
        let mut started: Vec<Popen> = Vec::new();
        let last = self.programs.len() - 1;
        for (i, mut program) in self.programs.into_iter().enumerate() {
            if let Some(upstream) = started.last().and_then(|before| before.take_stdout()) {
                program = program.stdin(upstream);
            }
            if i < last {
                program = program.stdout(Stdio::piped());
            }
            match program.spawn() {
                Ok(program) => started.push(program),
                Err(e) => {
                    for program in &started {
                        let _ = program.kill();
                    }
                    return Err(e);
                }
            }
        }
        Ok(started)
    }

    /// Starts all, writes `input` to the first, and waits for all, no longer than `timeout`. Returns what the last one
    /// wrote and how it ended; what the others write to standard error goes where their builders say.
    ///
    /// # Errors
    /// As [`Popen::communicate`]; on a time-out all are killed.
    pub fn communicate(
        mut self,
        input: impl Into<Input>,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Output, CommandError> {
        let deadline = timeout.into().and_then(Deadline::after);
        if let Some(first) = self.programs.first_mut() {
            first.command.stdin(Stdio::piped());
        }
        if let Some(last) = self.programs.last_mut() {
            last.command.stdout(Stdio::piped());
        }
        let programs = self.spawn()?;
        let outcome = finish(&programs, input.into(), deadline);
        if outcome.is_err() {
            for program in &programs {
                let _ = program.kill();
            }
        }
        outcome
    }

    /// As [`communicate`](Self::communicate), without input and output; how each of them ended.
    ///
    /// # Errors
    /// If one cannot be started.
    pub fn call(self) -> Result<Vec<ExitStatus>, CommandError> {
        self.spawn()?.iter().map(|program| Ok(program.wait()?)).collect()
    }
}

fn finish(programs: &[Popen], input: Input, deadline: Option<Deadline>) -> Result<Output, CommandError> {
    let (first, last) = (&programs[0], &programs[programs.len() - 1]);
    let mut exchange = Exchange::between(first, last)?;
    let output = exchange.run(last, input, deadline, usize::MAX)?;
    drop(exchange);
    for program in programs {
        if program.0.wait(deadline)?.is_none() {
            return Err(CommandError::timed_out(
                program.name(),
                Partial { stdout: output.stdout, stderr: output.stderr },
            ));
        }
    }
    Ok(output)
}
