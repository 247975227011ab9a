//! The tests on aarch64, under qemu: a cross build, a Debian kernel, and no file system but what is in memory.
//!
//! With pages of 4 KiB and of 16 KiB, for each the kernel that Debian builds so. The emulation is 10 to 60 times slower
//! than this machine, so storms are cut and watchdogs wait longer. It keeps the memory order of the machine that it runs on:
//! what a weaker one may do is for loom and the tables beside the protocols.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Outcome, cargo, run as step};

const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Debian's compiler, which has a standard library for the target beside it. Another one: `AARCH64_RUSTC`.
const RUSTC: &str = "/usr/bin/rustc";

const INSTALL: &str = "\
    dpkg --add-architecture arm64 && apt-get update && apt-get install --no-install-recommends \\
        rustc-web libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-system-arm cpio";

const KERNEL: &str = "6.12.117+deb12-arm64";

/// What else the tests and their first process need.
const PACKAGES: [&str; 3] = ["busybox-static:arm64", "libc6:arm64", "libgcc-s1:arm64"];

const TESTED: [&str; 9] = ["kernel", "wire", "tls", "sync", "lane", "proc-core", "ipc", "pool", "examples"];

/// Parts of names of tests that are left out, and why.
const SKIPPED: [(&str, &str); 5] = [
    ("storm", "thousands of kills, each under emulation"),
    ("stress", "as above"),
    ("random_kills", "as above"),
    ("claims::", "they read the sources, which are not there"),
    ("whatever_makes_a_descriptor", "as above"),
];

/// How long one test program may take, in seconds.
const LIMIT: u32 = 900;

/// Builds, boots and reports. `--pages 4` or `--pages 16` boots one kernel only, `--package NAME` takes the tests of one crate
/// only; other arguments choose tests by name.
pub(crate) fn run(args: &[String]) -> Outcome {
    let (mut pages, mut packages, mut filters) = (vec!["4", "16"], TESTED.to_vec(), Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--pages" => match args.next().map(String::as_str) {
                Some(size @ ("4" | "16")) => pages = vec![size],
                other => return Err(format!("pages of {other:?} KiB: there are kernels with 4 and with 16")),
            },
            "--package" => packages = vec![args.next().ok_or("which package?")?],
            name => filters.push(name),
        }
    }
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/aarch64");
    fs::create_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    let home = home.canonicalize().map_err(|e| e.to_string())?;
    let programs = build(&home, &packages)?;
    let root = unpack(&home)?;
    let image = pack(&home, &root, &programs, &filters)?;
    let mut failed = Vec::new();
    for size in pages {
        failed.extend(boot(&home, size, &image, &programs)?);
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

/// The test programs, each with a name of its own.
fn build(home: &Path, packages: &[&str]) -> Result<Vec<(String, PathBuf)>, String> {
    let rustc = std::env::var("AARCH64_RUSTC").unwrap_or_else(|_| RUSTC.into());
    let missing = |what: &str| format!("{what}: not found. On Debian:\n{INSTALL}");
    for tool in [&rustc, "aarch64-linux-gnu-gcc", "qemu-system-aarch64", "cpio"] {
        quietly(Command::new(tool).arg("--version")).map_err(|_| missing(tool))?;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut programs = Vec::new();
    for package in packages {
        let targets: &[&str] = match *package {
            "examples" => &["--test", "contract"],
            _ if root.join(format!("crates/{package}/tests/it")).exists() => &["--lib", "--test", "it"],
            _ => &["--lib"],
        };
        let mut build = cargo(["test", "--no-run", "--target", TARGET, "--package", package]);
        build.args(targets).env("RUSTC", &rustc).env("CARGO_TARGET_DIR", home);
        build.env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
        build.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
        step(&format!("aarch64: build {package}"), &mut build)?;
        // Now that all is built, cargo only says where.
        let told = build.stderr(Stdio::piped()).output().map_err(|e| e.to_string())?;
        for line in String::from_utf8_lossy(&told.stderr).lines() {
            let Some((what, path)) =
                line.trim_start().strip_prefix("Executable ").and_then(|line| line.split_once(" ("))
            else {
                continue;
            };
            let kind = if what.starts_with("unittests") { "lib" } else { "it" };
            programs.push((format!("{package}-{kind}"), root.join(path.trim_end_matches(')'))));
        }
    }
    if programs.is_empty() { Err("no test programs were built".into()) } else { Ok(programs) }
}

/// Fetches and unpacks what the guest consists of; what is there already stays.
fn unpack(home: &Path) -> Result<PathBuf, String> {
    let (debs, root) = (home.join("debs"), home.join("root"));
    let kernels = [format!("linux-image-{KERNEL}"), format!("linux-image-{KERNEL}-16k")];
    if ["4", "16"].iter().all(|size| kernel(home, size).exists()) {
        return Ok(root);
    }
    fs::create_dir_all(&debs).map_err(|e| e.to_string())?;
    let mut fetch = Command::new("apt-get");
    fetch.arg("download").args(&kernels).args(PACKAGES).current_dir(&debs);
    step("aarch64: packages", &mut fetch)?;
    for deb in fs::read_dir(&debs).map_err(|e| e.to_string())?.flatten() {
        let into = if deb.file_name().to_string_lossy().starts_with("linux-image") {
            home.join("kernels")
        } else {
            root.clone()
        };
        quietly(Command::new("dpkg").arg("-x").arg(deb.path()).arg(into))?;
    }
    Ok(root)
}

fn kernel(home: &Path, pages: &str) -> PathBuf {
    let variant = if pages == "16" { "-16k" } else { "" };
    home.join(format!("kernels/boot/vmlinuz-{KERNEL}{variant}"))
}

/// The guest's files in one archive.
fn pack(home: &Path, root: &Path, programs: &[(String, PathBuf)], filters: &[&str]) -> Result<PathBuf, String> {
    let tests = root.join("tests");
    let _ = fs::remove_dir_all(&tests);
    for folder in ["tests", "proc", "sys", "dev", "tmp", "etc"] {
        fs::create_dir_all(root.join(folder)).map_err(|e| e.to_string())?;
    }
    for (name, path) in programs {
        fs::copy(path, tests.join(name)).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    // Files that tests take for there.
    for (name, text) in [("hostname", "guest\n"), ("passwd", "root:x:0:0::/tmp:/bin/sh\n")] {
        fs::write(root.join("etc").join(name), text).map_err(|e| e.to_string())?;
    }
    let init = root.join("init");
    fs::write(&init, first_process(programs, filters)).map_err(|e| e.to_string())?;
    quietly(Command::new("chmod").arg("755").arg(&init))?;
    let image = home.join("image.gz");
    let mut archive = Command::new("sh");
    archive.arg("-c").arg("find . | cpio --quiet -o -H newc | gzip -1 > \"$0\"").arg(&image).current_dir(root);
    quietly(&mut archive)?;
    Ok(image)
}

/// The script that runs as the guest's first process.
fn first_process(programs: &[(String, PathBuf)], filters: &[&str]) -> String {
    let skips: String = SKIPPED.iter().map(|(name, _)| format!(" --skip {name}")).collect();
    let filters = filters.join(" ");
    let mut script = String::from(
        "#!/bin/busybox sh\n\
         /bin/busybox mkdir -p /bin /dev/shm; /bin/busybox --install -s /bin; export PATH=/bin\n\
         mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev\n\
         mkdir -p /dev/shm; mount -t tmpfs shm /dev/shm; mount -t tmpfs tmp /tmp; ip link set lo up 2>/dev/null\n\
         export WATCHDOG_TIMES=40 SYNC_KILLS=5 IPC_KILLS=5 TICKET_RUNS=2 HOSTS_KILLS=2 TMPDIR=/tmp HOME=/tmp\n\
         ulimit -n 20000; cd /tests\n",
    );
    for (name, _) in programs {
        script +=
            &format!("timeout -s KILL {LIMIT} ./{name} --test-threads 2{skips} {filters}; echo \"==> {name}: $?\"\n");
    }
    script + "poweroff -f\n"
}

/// Runs all in the guest, and returns what failed.
fn boot(home: &Path, pages: &str, image: &Path, programs: &[(String, PathBuf)]) -> Result<Vec<String>, String> {
    let mut guest = Command::new("timeout");
    // Whatever hangs in there is ended from outside, too.
    let limit = LIMIT * programs.len() as u32 + 120;
    guest.arg(limit.to_string()).arg("qemu-system-aarch64");
    guest.args("-M virt -cpu cortex-a76 -smp 2 -m 3G -nic none -nographic -no-reboot".split(' '));
    guest.arg("-kernel").arg(kernel(home, pages)).arg("-initrd").arg(image);
    guest.args(["-append", "console=ttyAMA0 panic=-1 quiet"]).stdin(Stdio::null());
    eprintln!("==> aarch64: pages of {pages} KiB");
    let output = guest.output().map_err(|e| format!("qemu: {e}"))?;
    let log = home.join(format!("log-{pages}k"));
    fs::File::create(&log).and_then(|mut file| file.write_all(&output.stdout)).map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    let mut failed = Vec::new();
    for (name, _) in programs {
        let mark = format!("==> {name}: ");
        let (before, status) = match said.split_once(&mark) {
            Some((before, after)) => (before, after.lines().next().unwrap_or_default()),
            None => ("", "did not come to its end"),
        };
        let counts = before.lines().rev().find(|line| line.starts_with("test result")).unwrap_or_default();
        eprintln!("    {name:18} status {status:4} {counts}");
        if status != "0" {
            failed.push(format!("{name} ({pages} KiB)"));
        }
    }
    for line in said.lines().filter(|line| line.ends_with("... FAILED")) {
        eprintln!("    {line}");
    }
    eprintln!("    what it said: {}", log.display());
    Ok(failed)
}

fn quietly(command: &mut Command) -> Outcome {
    let done = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let what = command.get_program().to_string_lossy().into_owned();
    match done {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what}: {status}")),
        Err(e) => Err(format!("{what}: {e}")),
    }
}
