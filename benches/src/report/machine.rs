//! Where, when and with what the figures were measured.

use std::{fs, process::Command};

use crate::load::{self, Load};

/// Where and when.
#[derive(Clone, Debug)]
pub struct Machine {
    lines: Vec<(String, String)>,
    load: Load,
}

impl Machine {
    /// This one, now.
    pub fn this() -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let cpu = cpu.map_or("unknown", |(_, name)| name);
        let n_cpus = std::thread::available_parallelism().map_or(0, usize::from);
        let output = |program: &str, args: &[&str]| {
            let output = Command::new(program).args(args).output().ok();
            output.map_or_else(|| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let lines = [
            ("processors", format!("{n_cpus} × {cpu}")),
            ("kernel", output("uname", &["-srm"])),
            ("C library", output("getconf", &["GNU_LIBC_VERSION"])),
            ("compiler", output("rustc", &["--version"])),
            ("Python", output("python3", &["--version"])),
            ("revision", output("git", &["describe", "--always", "--dirty"])),
            ("begun", output("date", &["--utc", "+%F %T UTC"])),
            ("load at the beginning", load::averages()),
        ];
        Self { lines: lines.map(|(key, value)| (key.to_owned(), value)).into(), load: Load::now() }
    }

    /// Notes what others did until now.
    pub fn finish(&mut self) {
        self.lines.push(("load at the end".into(), load::averages()));
        self.lines.push(("used by others meanwhile".into(), format!("{:.2} processors", self.load.foreign_since())));
    }

    /// All of it, as names and values.
    pub fn lines(&self) -> &[(String, String)] {
        &self.lines
    }
}
