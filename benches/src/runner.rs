//! Has a figure measured by a process of its own, and gathers what that says.

use std::{
    error::Error,
    ffi::OsString,
    io::{self, BufRead, BufReader, IsTerminal, Write},
    process::Stdio,
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use proc_core::command::Popen;

use crate::{
    figure::Plan,
    outcome::{Event, Gathered, Measured},
    run::{self, Settings},
};

/// How long a sample, or the making of a figure, takes at most: whoever takes longer waits for somebody dead.
const PATIENCE: Duration = Duration::from_secs(120);

/// In the process of its own: measures the figure of `plan` and tells the one that started it, on standard output.
///
/// # Errors
/// If the figure cannot be made, or nobody listens.
pub fn measure_here(plan: Plan, settings: &Settings) -> Result<(), Box<dyn Error>> {
    let tell = |event: &Event| {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        io::stdout().write_all(&line)
    };
    Ok(run::measure((plan.make)()?, settings, tell)?)
}

/// Has this program, called with `args`, measure the figure of `plan` by [`measure_here`]. Whatever befalls it is a
/// failure of that figure.
pub fn measure_elsewhere(plan: &Plan, args: &[OsString], progress: &str) -> Measured {
    let mut gathered = Gathered::new(plan);
    if let Err(e) = gather(&mut gathered, args, progress) {
        gathered.fail(&e.to_string());
    }
    show("");
    gathered.finish()
}

fn gather(gathered: &mut Gathered, args: &[OsString], progress: &str) -> Result<(), Box<dyn Error>> {
    let program = std::env::current_exe()?.into_os_string();
    // A group of its own: what its processes use is told from what others use, and all of them can be killed.
    let process = Popen::builder([program].iter().chain(args)).stdout(Stdio::piped()).process_group().spawn()?;
    let output = BufReader::new(process.take_stdout().ok_or("its output is a pipe")?);
    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || output.lines().try_for_each(|line| sender.send(line)));
    let told = loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => gathered.add(serde_json::from_str(&line?)?),
            Err(RecvTimeoutError::Disconnected) => break Ok(()),
            Err(RecvTimeoutError::Timeout) => break Err(format!("nothing for {} s", PATIENCE.as_secs())),
        }
        show(&format!("{progress} {}", gathered.current().unwrap_or_default()));
    };
    if told.is_err() {
        killpg(Pid::from_raw(process.pid().cast_signed()), Signal::SIGKILL)?;
    }
    let status = process.wait()?;
    drop(reader.join());
    told?;
    if status.success() { Ok(()) } else { Err(status.to_string().into()) }
}

/// A line on the terminal that the next one replaces.
fn show(line: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{line}");
        let _ = io::stderr().flush();
    }
}
