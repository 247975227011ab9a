//! Paths, TCP ports and other processes: what Landlock watches over.
//!
//! A process that Landlock confines is in a *domain*, whatever it is confined to, and the kernel refuses it what a debugger
//! may do with processes outside: so also `/proc/PID/mem`, `fd`, `root` and `cwd`. Where no paths are confined, the
//! domain is made by a right that all files have.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
};
use nix::errno::Errno;

use super::{Confined, Confinement, Failed, Fence, Use};

/// The first version that can refuse to truncate a file: with less, every file can be changed.
const PATHS: ABI = ABI::V3;
const PORTS: ABI = ABI::V4;
/// The last version whose rights are known here. What it can refuse beyond [`PATHS`] is refused where it can be.
const LATEST: ABI = ABI::V9;

/// Whether this kernel has what the fence takes.
pub(super) fn can(fence: Fence) -> bool {
    let ruleset = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    match fence {
        Fence::Calls => kernel::sys::seccomp::is_available(),
        Fence::Paths => ruleset().handle_access(AccessFs::from_all(PATHS)).is_ok(),
        Fence::Ports => ruleset().handle_access(AccessNet::from_all(PORTS)).is_ok(),
        Fence::Processes => ruleset().handle_access(domain()).is_ok(),
    }
}

/// Confines the calling thread, and those that it makes later.
pub(super) fn apply(confinement: &Confinement, held: Confined) -> Result<(), Failed> {
    let ruleset = ruleset(confinement, held).map_err(failed("make a Landlock ruleset"))?;
    let Some(mut ruleset) = ruleset else { return Ok(()) };
    if is_domain_alone(held) {
        let root = PathFd::new("/").map_err(|e| ("open /".to_owned(), Errno::from_raw(*landlock::Errno::from(e))))?;
        ruleset = ruleset.add_rule(PathBeneath::new(root, domain())).map_err(failed("allow /"))?;
    }
    for (path, usage) in confinement.paths.iter().flatten().filter(|_| held.holds(Fence::Paths)) {
        let opened = PathFd::new(path).map_err(|e| (format!("open {}", path.display()), *landlock::Errno::from(e)));
        let rights = rights(*usage, path);
        let rule = PathBeneath::new(opened.map_err(|(what, errno)| (what, Errno::from_raw(errno)))?, rights);
        ruleset = ruleset.add_rule(rule).map_err(failed(format!("allow {}", path.display())))?;
    }
    for (port, to_bind) in confinement.ports.iter().flatten().filter(|_| held.holds(Fence::Ports)) {
        let right = if *to_bind { AccessNet::BindTcp } else { AccessNet::ConnectTcp };
        ruleset = ruleset.add_rule(NetPort::new(*port, right)).map_err(failed(format!("allow port {port}")))?;
    }
    ruleset.restrict_self().map(drop).map_err(failed("confine it by Landlock"))
}

fn ruleset(confinement: &Confinement, held: Confined) -> Result<Option<landlock::RulesetCreated>, RulesetError> {
    let (paths, ports) = (held.holds(Fence::Paths), held.holds(Fence::Ports));
    if !held.has_landlock() {
        return Ok(None);
    }
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    if paths {
        ruleset = ruleset.handle_access(AccessFs::from_all(PATHS))?;
    }
    if is_domain_alone(held) {
        ruleset = ruleset.handle_access(domain())?;
    }
    if ports {
        ruleset = ruleset.handle_access(AccessNet::from_all(PORTS))?;
    }
    ruleset = ruleset.set_compatibility(CompatLevel::BestEffort);
    if paths {
        ruleset = ruleset.handle_access(AccessFs::from_all(LATEST))?;
    }
    // A second fence behind that of the calls, for sockets and descriptors that it was handed.
    if confinement.ports.is_some() {
        ruleset = ruleset.scope(Scope::AbstractUnixSocket)?;
    }
    if confinement.no_processes {
        ruleset = ruleset.scope(Scope::Signal)?;
    }
    ruleset.create().map(Some)
}

/// No paths are confined, but other processes are out of reach.
fn is_domain_alone(held: Confined) -> bool {
    held.holds(Fence::Processes) && !held.holds(Fence::Paths)
}

/// What a ruleset handles, and gives back to all files, so that there is a domain: links and renames between directories, since
/// Landlock refuses them to a process whose ruleset handles any right of files, unless a rule allows them. ABI 2.
fn domain() -> BitFlags<AccessFs> {
    AccessFs::Refer.into()
}

/// What may be done at a path, and below it if it is a directory.
fn rights(usage: Use, path: &Path) -> BitFlags<AccessFs> {
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let rights = match usage {
        Use::Read => reading,
        Use::Execute => reading | AccessFs::Execute,
        // Devices are not made.
        Use::Write => (reading | AccessFs::from_write(LATEST)) & !(AccessFs::MakeChar | AccessFs::MakeBlock),
    };
    if path.is_dir() { rights } else { rights & AccessFs::from_file(LATEST) }
}

fn failed(what: impl Into<String>) -> impl FnOnce(RulesetError) -> Failed {
    move |e| (what.into(), Errno::from_raw(*landlock::Errno::from(e)))
}

/// As they come from the builder.
pub(super) type Paths = Vec<(PathBuf, Use)>;
