//! The tests on aarch64, under qemu: a cross build, a Debian kernel, and no file system but what is in memory.
//!
//! What they came to is kept in `crates/score/aarch64.tsv` and printed by `cargo xtask score`.
//!
//! With pages of 4 KiB and of 16 KiB, for each the kernel that Debian builds so. The emulation is 10 to 60 times slower
//! than this machine, so storms are cut and watchdogs wait longer. It keeps the memory order of the machine that it runs on:
//! what a weaker one may do is for loom and the tables beside the protocols.

mod results;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Outcome, cargo, run as step};
use results::Stamp;

const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Debian's compiler, which has a standard library for the target beside it. Another one: `AARCH64_RUSTC`.
const RUSTC: &str = "/usr/bin/rustc";

const INSTALL: &str = "\
    dpkg --add-architecture arm64 && apt-get update && apt-get install --no-install-recommends \\
        rustc-web libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-system-arm cpio";

const KERNEL: &str = "6.12.117+deb12-arm64";

/// No guards of the guest's kernel against attacks: with a kernel that is unmapped at each return to a program, the
/// emulation forgets its translations of addresses at each system call.
const UNGUARDED: &str = "nokaslr kpti=off mitigations=off init_on_alloc=0 randomize_kstack_offset=off";

/// What else the tests and their first process need.
const PACKAGES: [&str; 3] = ["busybox-static:arm64", "libc6:arm64", "libgcc-s1:arm64"];

const TESTED: [&str; 9] = ["kernel", "wire", "tls", "sync", "lane", "proc-core", "ipc", "pool", "examples"];

/// Test programs beside those of the units; a package that has none of a name is passed over.
const PROGRAMS: [&str; 8] = ["it", "alone", "confine", "entry", "fork", "logs", "contract", "gallery"];

/// Whose tests are of programs, and ask for every feature of the other crates.
const EXAMPLES: &str = "examples";

/// Parts of names of tests that are left out, and why.
const SKIPPED: [(&str, &str); 7] = [
    ("storm", "thousands of kills, each under emulation"),
    ("stress", "thousands of kills, each under emulation"),
    ("random_kills", "thousands of kills, each under emulation"),
    ("ten_thousand_cycles", "as many starts, each under emulation"),
    ("claims::", "they read the sources, which are not there"),
    ("whatever_makes_a_descriptor", "they read the sources, which are not there"),
    ("functions_of_a_library_of_c", "it compiles that library, and no compiler is there"),
];

/// Programs with a `main` of their own, which knows no options.
const WITHOUT_HARNESS: [&str; 3] = ["proc-core-alone", "tls-fork", LAB];

/// A program that is asked for by its name only; it takes the names of tests for those of its operations.
const LAB: &str = "crash-lab";

/// How long one test program may take, in seconds.
const LIMIT: u32 = 2400;

/// Builds, boots and reports. `--pages 4` or `--pages 16` boots one kernel only, `--package NAME` takes the tests of this crate
/// only, and may be given again; other arguments choose tests by name, or are the crash lab's.
pub(crate) fn run(args: &[String]) -> Outcome {
    let (mut pages, mut packages, mut filters) = (vec!["4", "16"], Vec::new(), Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--pages" => match args.next().map(String::as_str) {
                Some(size @ ("4" | "16")) => pages = vec![size],
                other => return Err(format!("pages of {other:?} KiB: there are kernels with 4 and with 16")),
            },
            "--package" => packages.push(args.next().ok_or("which package?")?.as_str()),
            name => filters.push(name),
        }
    }
    if packages.is_empty() {
        packages = TESTED.to_vec();
    }
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/aarch64");
    fs::create_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    let home = home.canonicalize().map_err(|e| e.to_string())?;
    // What is built now, whatever is committed while it runs.
    let stamp = Stamp::now()?;
    let programs = build(&home, &packages)?;
    let root = unpack(&home)?;
    let image = pack(&home, &root, &programs, &filters)?;
    let (tests, mut failed) = (tests(&programs), Vec::new());
    for size in pages {
        let said = boot(&home, size, &image, tests.len())?;
        let mut runs = results::read(&said, size, &tests, &stamp);
        for run in runs.iter_mut().filter(|run| run.program == LAB) {
            run.program = [&[LAB], &*filters].concat().join(" ");
        }
        for run in &runs {
            eprintln!("    {:18} {}", run.program, run.outcome);
        }
        for line in said.lines().filter(|line| line.ends_with("... FAILED")) {
            eprintln!("    {line}");
        }
        failed.extend(runs.iter().filter(|run| !run.is_success()).map(|run| format!("{} ({size} KiB)", run.program)));
        // Some tests of a program are not what the program comes to; some operations of the lab have a line of their own.
        if filters.is_empty() || packages == [LAB] {
            results::keep(&runs).map_err(|e| format!("the results cannot be kept: {e}"))?;
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

/// The programs, in the order of the packages; each test with a name of its own.
fn build(home: &Path, packages: &[&str]) -> Result<Vec<Program>, String> {
    let rustc = std::env::var("AARCH64_RUSTC").unwrap_or_else(|_| RUSTC.into());
    let missing = |what: &str| format!("{what}: not found. On Debian:\n{INSTALL}");
    for tool in [&rustc, "aarch64-linux-gnu-gcc", "qemu-system-aarch64", "cpio"] {
        quietly(Command::new(tool).arg("--version")).map_err(|_| missing(tool))?;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // With these two, whichever are asked for, all have the same features, and nothing is built twice.
    let always = ["kernel", EXAMPLES];
    let (lab, tested): (Vec<&str>, Vec<&str>) = packages.iter().copied().partition(|package| *package == LAB);
    let packages_of = |mut command: Command, more: &[&str]| {
        for package in more.iter().filter(|package| !always.contains(package)).chain(&always) {
            command.args(["--package", package]);
        }
        command.args(["--target", TARGET]).env("RUSTC", &rustc).env("CARGO_TARGET_DIR", home);
        command.env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
        command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
        command
    };
    let mut tests = packages_of(cargo(["test", "--no-run", "--lib"]), &tested);
    for program in PROGRAMS.iter().filter(|program| tested.iter().any(|package| has(&root, package, program))) {
        tests.args(["--test", program]);
    }
    let mut builds = vec![("aarch64: build tests", tests)];
    if !lab.is_empty() {
        builds.push(("aarch64: build the crash lab", packages_of(cargo(["build", "--bins"]), &lab)));
    }
    if packages.contains(&EXAMPLES) {
        builds.push(("aarch64: build examples", packages_of(cargo(["build", "--examples"]), &tested)));
    }
    let mut programs = Vec::new();
    for (what, mut build) in builds {
        step(what, &mut build)?;
        // Now that all is built, cargo only says where.
        let told =
            build.args(["--message-format", "json"]).stderr(Stdio::null()).output().map_err(|e| e.to_string())?;
        programs.extend(String::from_utf8_lossy(&told.stdout).lines().filter_map(program));
    }
    let package_idx = |program: &Program| packages.iter().position(|package| program.package == *package);
    programs.retain(|program| package_idx(program).is_some());
    programs.sort_by_key(|program| (package_idx(program), program.name.clone()));
    if programs.iter().any(|program| program.is_test) {
        Ok(programs)
    } else {
        Err("no test programs were built".into())
    }
}

fn has(root: &Path, package: &str, program: &str) -> bool {
    let home = if package == EXAMPLES { root.join(package) } else { root.join("crates").join(package) };
    let source = home.join("tests").join(program);
    source.is_dir() || source.with_extension("rs").is_file()
}

/// What was built.
struct Program {
    package: String,
    /// Of a test, with the package's before it.
    name: String,
    is_test: bool,
    path: PathBuf,
}

/// The program that a line of cargo's JSON is about.
fn program(line: &str) -> Option<Program> {
    let after = |text: &str, mark: &str| Some(text.split_once(mark)?.1.to_owned());
    let word = |text: String| text.split('"').next().map(str::to_owned);
    let path = word(after(line, r#""executable":""#)?)?.into();
    let manifest = PathBuf::from(word(after(line, r#""manifest_path":""#)?)?);
    let package = manifest.parent()?.file_name()?.to_str()?.to_owned();
    let target = after(line, r#""target":"#)?;
    let kind = word(after(&target, r#""kind":[""#)?)?;
    let name = word(after(&target, r#""name":""#)?)?;
    let (name, is_test) = match kind.as_str() {
        "test" => (format!("{package}-{name}"), true),
        "lib" => (format!("{package}-lib"), true),
        "example" => (name, false),
        "bin" if name == LAB => (name, true),
        _ => return None,
    };
    Some(Program { package, name, is_test, path })
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
fn pack(home: &Path, root: &Path, programs: &[Program], filters: &[&str]) -> Result<PathBuf, String> {
    for folder in ["tests", EXAMPLES] {
        let _ = fs::remove_dir_all(root.join(folder));
    }
    for folder in ["tests", EXAMPLES, "proc", "sys", "dev", "tmp", "etc"] {
        fs::create_dir_all(root.join(folder)).map_err(|e| e.to_string())?;
    }
    for Program { name, is_test, path, .. } in programs {
        // The gallery's tests look for the examples beside their own folder.
        let folder = root.join(if *is_test { "tests" } else { EXAMPLES });
        fs::copy(path, folder.join(name)).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    // Files that tests take for there.
    let users = "root:x:0:0::/tmp:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n";
    for (name, text) in [("hostname", "guest\n"), ("passwd", users), ("group", "root:x:0:\nnogroup:x:65534:\n")] {
        fs::write(root.join("etc").join(name), text).map_err(|e| e.to_string())?;
    }
    let init = root.join("init");
    fs::write(&init, first_process(&tests(programs), filters)).map_err(|e| e.to_string())?;
    quietly(Command::new("chmod").arg("755").arg(&init))?;
    let image = home.join("image.gz");
    let mut archive = Command::new("sh");
    archive.arg("-c").arg("find . | cpio --quiet -o -H newc | gzip -1 > \"$0\"").arg(&image).current_dir(root);
    quietly(&mut archive)?;
    Ok(image)
}

fn tests(programs: &[Program]) -> Vec<&str> {
    programs.iter().filter(|program| program.is_test).map(|program| program.name.as_str()).collect()
}

/// The script that runs as the guest's first process.
fn first_process(tests: &[&str], filters: &[&str]) -> String {
    let skips: String = SKIPPED.iter().map(|(name, _)| format!(" --skip {name}")).collect();
    let filters = filters.join(" ");
    let mut script = String::from(
        "#!/bin/busybox sh\n\
         /bin/busybox mkdir -p /bin /dev/shm; /bin/busybox --install -s /bin; export PATH=/bin\n\
         mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev\n\
         mkdir -p /dev/shm; mount -t tmpfs shm /dev/shm; mount -t tmpfs tmp /tmp; ip link set lo up 2>/dev/null\n\
         export WATCHDOG_TIMES=40 SYNC_KILLS=5 IPC_KILLS=5 LOG_KILLS=5 TICKET_RUNS=2 HOSTS_KILLS=2 TMPDIR=/tmp HOME=/tmp\n\
         ulimit -n 20000; cd /tests\n",
    );
    for name in tests {
        let options =
            if WITHOUT_HARNESS.contains(name) { filters.clone() } else { format!("--test-threads 2{skips} {filters}") };
        script += &format!("timeout -s KILL {LIMIT} ./{name} {options}; echo \"==> {name}: $?\"\n");
    }
    script + "poweroff -f\n"
}

/// Runs all in the guest, and returns what it said.
fn boot(home: &Path, pages: &str, image: &Path, n_tests: usize) -> Result<String, String> {
    let log = home.join(format!("log-{pages}k"));
    let mut guest = Command::new("timeout");
    // Whatever hangs in there is ended from outside, too.
    let limit = LIMIT * n_tests as u32 + 120;
    guest.arg(limit.to_string()).arg("qemu-system-aarch64");
    guest.args("-M virt -cpu cortex-a76 -smp 2 -m 3G -nic none -nographic -no-reboot".split(' '));
    guest.arg("-kernel").arg(kernel(home, pages)).arg("-initrd").arg(image);
    guest.arg("-append").arg(format!("console=ttyAMA0 panic=-1 quiet {UNGUARDED}")).stdin(Stdio::null());
    guest.stdout(fs::File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?);
    eprintln!("==> aarch64: pages of {pages} KiB; what is said there: {}", log.display());
    guest.status().map_err(|e| format!("qemu: {e}"))?;
    let said = fs::read(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    Ok(String::from_utf8_lossy(&said).replace('\r', ""))
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
