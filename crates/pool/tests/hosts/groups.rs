//! Control groups of either version, made for one condition each.

use std::{
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

const ROOT: &str = "/sys/fs/cgroup";
/// The name of the group, which the process that runs the conditions chooses and removes.
const NAME: &str = "HOSTS_GROUP";

pub(crate) const CONTROLLERS: [&str; 3] = ["memory", "pids", "freezer"];

pub(crate) struct Group(PathBuf);

/// Where groups of a controller are made.
fn place(controller: &str) -> Option<PathBuf> {
    let (first, second) = (Path::new(ROOT).join(controller), Path::new(ROOT));
    let has = || fs::read_to_string(second.join("cgroup.subtree_control")).is_ok_and(|all| all.contains(controller));
    // In version 2, every group can be frozen.
    let is_second = second.join("cgroup.controllers").exists() && (controller == "freezer" || has());
    if first.join("tasks").exists() { Some(first) } else { is_second.then(|| second.to_owned()) }
}

/// Whether groups of that controller can be made here.
pub(crate) fn are_there(controller: &str) -> bool {
    let Some(place) = place(controller) else { return false };
    let probe = place.join(format!("{}-probe", name()));
    fs::create_dir(&probe).is_ok_and(|()| fs::remove_dir(&probe).is_ok())
}

fn name() -> String {
    std::env::var(NAME).unwrap_or_else(|_| format!("hosts-{}", std::process::id()))
}

/// For the command that enters a condition.
pub(crate) fn variable() -> (&'static str, String) {
    (NAME, name())
}

/// Removes what conditions have made, once those in there have ended.
pub(crate) fn remove() {
    for place in CONTROLLERS.iter().filter_map(|controller| place(controller)) {
        let group = place.join(name());
        for _ in 0..500 {
            match fs::remove_dir(&group) {
                Err(e) if e.raw_os_error() == Some(nix::libc::EBUSY) => sleep(Duration::from_millis(10)),
                _ => break,
            }
        }
    }
}

impl Group {
    pub(crate) fn new(controller: &str) -> Self {
        let group = place(controller).expect("looked for before").join(name());
        fs::create_dir_all(&group).expect("as the probe");
        Self(group)
    }

    pub(crate) fn add(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("root may");
    }

    /// Sets what one version or the other calls so.
    pub(crate) fn set(&self, [first, second]: [(&str, &str); 2]) {
        let (file, value) = if self.0.join(first.0).exists() { first } else { second };
        fs::write(self.0.join(file), value).expect("root may");
    }
}
