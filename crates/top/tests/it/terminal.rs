//! The screens in a terminal, end to end.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::pty::{Winsize, openpty};
use proc_core::Process;
use test_support::watchdog;

use crate::{Program, TOP, programs};

/// `top` in a terminal of 80 columns and 24 lines.
struct Terminal {
    keyboard: File,
    child: Child,
    /// All that it has written, without the sequences that move the cursor and set styles.
    written: String,
    raw: Vec<u8>,
}

impl Terminal {
    fn start(args: &[&str], no_color: &str) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let stream = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut command = Command::new(TOP);
        command.args(args).env("TERM", "xterm-256color").env("NO_COLOR", no_color);
        let child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
        Self { keyboard: pty.master.into(), child, written: String::new(), raw: Vec::new() }
    }

    fn read(&mut self) {
        let mut bytes = [0; 4096];
        let n = self.keyboard.read(&mut bytes).unwrap();
        assert!(n > 0, "it has ended: {}", self.written);
        self.raw.extend(&bytes[..n]);
        self.written = without_sequences(&String::from_utf8_lossy(&self.raw));
    }

    fn until(&mut self, word: &str) {
        while !self.written.contains(word) {
            self.read();
        }
    }

    fn press(&mut self, keys: &str) {
        self.raw.clear();
        self.written.clear();
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A text with a space for each `ESC [ … letter`.
fn without_sequences(text: &str) -> String {
    let mut plain = String::new();
    let mut parts = text.split('\u{1b}');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic()).map_or(part.len(), |at| at + 1);
        plain.push(' ');
        plain.push_str(&part[end..]);
    }
    plain
}

#[test]
fn screens_help_and_quitting() {
    let _dog = watchdog(Duration::from_secs(120));
    let program = Program::start(|| Process::spawn(programs::deadlock, ()).unwrap());
    let mut terminal = Terminal::start(&[&program.pid().to_string(), "--interval", "50"], "");
    terminal.until("deadlock:");
    terminal.until("righty");
    assert!(terminal.raw.windows(8).any(|bytes| bytes == b"\x1b[?1049h"), "another screen than the shell's");
    terminal.press("4");
    terminal.until("HELD");
    terminal.press("5");
    terminal.until("WAITS");
    terminal.press("?");
    terminal.until("another");
    terminal.press("xq");
    assert!(terminal.child.wait().unwrap().success());
    while !terminal.raw.windows(8).any(|bytes| bytes == b"\x1b[?1049l") {
        terminal.read();
    }
}

#[test]
fn no_color_is_obeyed() {
    let _dog = watchdog(Duration::from_secs(120));
    let program = Program::start(|| Process::spawn(programs::idle, ()).unwrap());
    let pid = program.pid().to_string();
    // The sequences that choose a colour of the text.
    let coloured = |terminal: &Terminal| {
        let text = String::from_utf8_lossy(&terminal.raw).into_owned();
        text.contains("[94m") || text.contains("38;5;")
    };
    let mut terminal = Terminal::start(&[&pid], "");
    terminal.until("sleeps");
    assert!(coloured(&terminal));
    let mut terminal = Terminal::start(&[&pid], "1");
    terminal.until("sleeps");
    assert!(!coloured(&terminal));
}

#[test]
fn a_recording_is_shown_after_its_program_has_ended() {
    let _dog = watchdog(Duration::from_secs(120));
    let path = std::env::temp_dir().join(format!("top-looks-{}.jsonl", std::process::id()));
    let path_text = path.to_str().unwrap();
    {
        let program = Program::start(|| Process::spawn(programs::deadlock, ()).unwrap());
        program.look_until(|look| !crate::list(look, "findings").is_empty());
        let output = program.top(&["--json", "--interval", "20", "--record", path_text]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let output = Command::new(TOP).args(["--replay", path_text, "--text"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut terminal = Terminal::start(&["--replay", path_text], "");
    terminal.until("deadlock:");
    terminal.until("ended");
    terminal.press("q");
    assert!(terminal.child.wait().unwrap().success());
    std::fs::remove_file(&path).unwrap();
    assert!(text.contains("!!deadlock: ") && text.contains("LOCK       KIND"), "{text}");
}
