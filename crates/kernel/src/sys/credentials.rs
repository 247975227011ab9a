//! On whose behalf a process acts, and what it may do.
//!
//! # Safety
//! System calls with integers, and with structures of ours that outlive the call.
#![allow(unsafe_code)]

use std::{fs::File, io, os::unix::fs::FileExt};

use nix::{
    errno::Errno,
    unistd::{Gid, Uid, setgroups, setresgid, setresuid},
};

/// Users, groups and capabilities of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Users: real, effective, saved.
    pub uids: [u32; 3],
    /// Groups: real, effective, saved.
    pub gids: [u32; 3],
    /// The supplementary groups, in ascending order.
    pub groups: Vec<u32>,
    /// What it may do.
    pub capabilities: Capabilities,
    /// Whether no program that it executes gets more rights than it has.
    pub no_new_privs: bool,
}

/// A bit for each capability; see capabilities(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Kept by programs that are executed, if their file has them too.
    pub inheritable: u64,
    /// What may be put into effect.
    pub permitted: u64,
    /// In effect.
    pub effective: u64,
    /// What a program's file may give at most.
    pub bounding: u64,
    /// Given to programs whose file gives none.
    pub ambient: u64,
}

impl Credentials {
    /// Those of the calling process. `status` is its `/proc/self/status`, which can be opened before there is no `/proc` any
    /// more.
    pub fn own(status: &File) -> io::Result<Self> {
        let mut text = Vec::new();
        loop {
            let at = text.len();
            text.resize(at + 4096, 0);
            let len = status.read_at(&mut text[at..], at as u64)?;
            text.truncate(at + len);
            if len == 0 {
                return Self::parse(&String::from_utf8_lossy(&text));
            }
        }
    }

    /// From what `/proc/PID/status` says, or those lines of it that are about credentials.
    pub fn parse(status: &str) -> io::Result<Self> {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim).ok_or_else(|| io::Error::other(format!("/proc/PID/status without {name}")))
        };
        let numbers =
            |name| Ok::<Vec<u32>, io::Error>(field(name)?.split_ascii_whitespace().flat_map(str::parse).collect());
        let three = |name| match numbers(name)?[..] {
            [real, effective, saved, ..] => Ok([real, effective, saved]),
            _ => Err(io::Error::other(format!("/proc/PID/status with {name} cut off"))),
        };
        let bits = |name| u64::from_str_radix(field(name)?, 16).map_err(io::Error::other);
        Ok(Self {
            uids: three("Uid")?,
            gids: three("Gid")?,
            groups: numbers("Groups")?,
            capabilities: Capabilities {
                inheritable: bits("CapInh")?,
                permitted: bits("CapPrm")?,
                effective: bits("CapEff")?,
                bounding: bits("CapBnd")?,
                ambient: bits("CapAmb")?,
            },
            no_new_privs: field("NoNewPrivs")? != "0",
        })
    }

    /// Makes them those of the calling process, which has one thread, and whose status `status` is; or as many of them as
    /// it may have.
    ///
    /// # Errors
    /// `EPERM` if it cannot get rid of what is not among them.
    pub fn assume(&self, status: &File) -> io::Result<()> {
        let before = Self::own(status)?;
        if before == *self {
            return Ok(());
        }
        let assumed = self.assume_all(&before);
        match Self::own(status)? {
            after if after == *self || after.is_within(self) => Ok(()),
            _ => Err(assumed.err().unwrap_or(Errno::EPERM).into()),
        }
    }

    /// Whether these allow nothing that `other` does not allow.
    fn is_within(&self, other: &Self) -> bool {
        let (own, others) = (&self.capabilities, &other.capabilities);
        self.uids.iter().all(|uid| other.uids.contains(uid))
            && self.gids.iter().all(|gid| other.gids.contains(gid))
            && self.groups.iter().all(|group| other.groups.contains(group))
            && own.permitted & !others.permitted == 0
            && own.effective & !others.effective == 0
            && own.inheritable & !others.inheritable == 0
            && own.ambient & !others.ambient == 0
            && self.no_new_privs >= other.no_new_privs
    }

    fn assume_all(&self, before: &Self) -> nix::Result<()> {
        // Capabilities that are permitted but not in effect may be needed here.
        let mut all = before.capabilities;
        all.effective = all.permitted;
        all.set()?;
        if before.groups != self.groups {
            setgroups(&self.groups.iter().copied().map(Gid::from_raw).collect::<Vec<_>>())?;
        }
        if before.gids != self.gids {
            let [real, effective, saved] = self.gids.map(Gid::from_raw);
            setresgid(real, effective, saved)?;
        }
        let dropped = before.capabilities.bounding & !self.capabilities.bounding;
        for capability in (0..64).filter(|bit| dropped & (1 << bit) != 0) {
            prctl(libc::PR_CAPBSET_DROP, capability, 0)?;
        }
        if before.uids != self.uids {
            // Capabilities that this process is to keep would be lost with user 0.
            prctl(libc::PR_SET_KEEPCAPS, 1, 0)?;
            let [real, effective, saved] = self.uids.map(Uid::from_raw);
            setresuid(real, effective, saved)?;
            prctl(libc::PR_SET_KEEPCAPS, 0, 0)?;
        }
        prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0)?;
        self.capabilities.set()?;
        for capability in (0..64).filter(|bit| self.capabilities.ambient & (1 << bit) != 0) {
            prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, capability)?;
        }
        if self.no_new_privs {
            prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)?;
        }
        Ok(())
    }
}

/// What capget(2) and capset(2) take.
#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

impl CapHeader {
    /// Of a process; 0 is the calling thread.
    const fn of(pid: i32) -> Self {
        Self { version: 0x2008_0522, pid }
    }
}

impl Capabilities {
    /// Takes the first three over from another process. That needs no `/proc`, which may hide it.
    ///
    /// # Errors
    /// `ESRCH` if it has ended.
    pub fn take_over(&mut self, pid: u32) -> nix::Result<()> {
        let [low, high] = get(pid.cast_signed())?;
        let joined = |half: fn(&Half) -> u32| u64::from(half(&low)) | u64::from(half(&high)) << 32;
        self.effective = joined(|half| half.effective);
        self.permitted = joined(|half| half.permitted);
        self.inheritable = joined(|half| half.inheritable);
        Ok(())
    }

    /// Makes the first three those of the calling thread.
    fn set(&self) -> nix::Result<()> {
        let half = |shift: u32| Half {
            effective: (self.effective >> shift) as u32,
            permitted: (self.permitted >> shift) as u32,
            inheritable: (self.inheritable >> shift) as u32,
        };
        set(&[half(0), half(32)])
    }
}

fn set(halves: &[Half; 2]) -> nix::Result<()> {
    let header = CapHeader::of(0);
    // SAFETY: a header and two halves, as this version has them.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, halves.as_ptr()) };
    Errno::result(set).map(drop)
}

/// The capabilities of the calling thread, but for the bounding and ambient ones; for comparisons.
pub fn capabilities() -> Option<[u32; 6]> {
    let [low, high] = get(0).ok()?;
    Some([low.effective, low.permitted, low.inheritable, high.effective, high.permitted, high.inheritable])
}

fn get(pid: i32) -> nix::Result<[Half; 2]> {
    let (mut header, mut halves) = (CapHeader::of(pid), [Half::default(); 2]);
    // SAFETY: a header, and room for two halves.
    let got = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) };
    Errno::result(got).map(|_| halves)
}

/// Keeps the calling thread's capabilities when it executes a program that has none itself, where a user other than root
/// would lose them. As far as that is allowed. System calls only.
pub fn keep_over_exec() {
    let Ok(mut halves) = get(0) else { return };
    if halves.iter().all(|half| half.permitted == 0) {
        return;
    }
    for half in &mut halves {
        half.inheritable |= half.permitted;
    }
    let _ = set(&halves);
    for (half, first) in halves.iter().zip([0, 32]) {
        for bit in (0..32).filter(|bit| half.permitted & (1 << bit) != 0) {
            let _ = prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, first + bit);
        }
    }
}

fn prctl(option: i32, first: u64, second: u64) -> nix::Result<()> {
    // SAFETY: options that take integers.
    Errno::result(unsafe { libc::prctl(option, first, second, 0, 0) }).map(drop)
}

/// Whether this program was started with more rights than the process that started it has.
pub fn is_privileged_start() -> bool {
    // SAFETY: asks what the kernel told the loader.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn own_credentials_are_those_that_the_kernel_tells() {
        let status = File::open("/proc/self/status").unwrap();
        let own = Credentials::own(&status).unwrap();
        assert_eq!(own.uids[1], nix::unistd::geteuid().as_raw());
        assert_eq!(own.gids[0], nix::unistd::getgid().as_raw());
        let mut same = own.clone();
        same.capabilities.take_over(std::process::id()).unwrap();
        assert_eq!(same, own);
        own.assume(&status).unwrap();
    }

    #[test]
    fn a_status_that_is_cut_off_is_an_error() {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let at = status.find("CapBnd").unwrap();
        assert!(Credentials::parse(&status[..at]).is_err());
    }
}
