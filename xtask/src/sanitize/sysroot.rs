//! The standard library of this compiler, with its atomics told to ThreadSanitizer.
//!
//! As it comes, it was compiled without the tool, which then takes what a mutex, a channel, a `Once` or a parked thread orders
//! for races of whoever uses them. To compile it anew takes its sources, which not every toolchain has; but its libraries hold
//! LLVM's bitcode beside the machine code, for link-time optimisation. The toolchain's linker makes an object of it again, with
//! the tool's pass over it. Functions without the attribute of instrumented ones get their atomics instrumented, and nothing
//! else: what the library orders is seen, what it does with its own memory is not judged.

use std::{
    fs,
    os::unix,
    path::{Path, PathBuf},
    process::Command,
};

use super::TRIPLE;

/// The libraries that have code of their own which orders threads. What is generic is compiled with whoever uses it.
const LIBRARIES: [&str; 3] = ["std", "alloc", "test"];

/// A folder that the compiler takes for its own, below `home`: links to the toolchain's files, but for those libraries.
pub(super) fn build(home: &Path) -> Result<PathBuf, String> {
    let toolchain = said(Command::new(super::rustc()).args(["--print", "sysroot"]))?;
    let toolchain = PathBuf::from(String::from_utf8_lossy(&toolchain).trim()).join("lib/rustlib").join(TRIPLE);
    let sysroot = home.join("sysroot");
    let ours = sysroot.join("lib/rustlib").join(TRIPLE);
    let _ = fs::remove_dir_all(&sysroot);
    let failed = |e| format!("{}: {e}", sysroot.display());
    fs::create_dir_all(ours.join("lib")).map_err(failed)?;
    unix::fs::symlink(toolchain.join("bin"), ours.join("bin")).map_err(failed)?;
    for entry in fs::read_dir(toolchain.join("lib")).map_err(failed)?.flatten() {
        let (from, to) = (entry.path(), ours.join("lib").join(entry.file_name()));
        if is_instrumented(&entry.file_name().to_string_lossy()) {
            fs::copy(&from, &to).map_err(failed)?;
            instrument(&to, &toolchain.join("bin/rust-lld"), &sysroot)?;
        } else {
            unix::fs::symlink(from, to).map_err(failed)?;
        }
    }
    Ok(sysroot)
}

/// `libstd-0123.rlib`
fn is_instrumented(file: &str) -> bool {
    let name = file.strip_prefix("lib").and_then(|name| name.strip_suffix(".rlib")?.split('-').next());
    name.is_some_and(|name| LIBRARIES.contains(&name))
}

/// Puts what the linker makes of an object's bitcode in the place of that object.
fn instrument(library: &Path, linker: &Path, work: &Path) -> Result<(), String> {
    let members = said(Command::new("ar").arg("t").arg(library))?;
    let members = String::from_utf8_lossy(&members).into_owned();
    let bitcode = work.join("bitcode");
    for member in members.lines().filter(|name| name.ends_with(".o")) {
        let object = work.join(member);
        let bytes = said(Command::new("ar").arg("p").arg(library).arg(member))?;
        fs::write(&object, bytes).map_err(|e| format!("{}: {e}", object.display()))?;
        let mut extract = Command::new("objcopy");
        extract.args(["-O", "binary", "--only-section=.llvmbc", "--set-section-flags", ".llvmbc=alloc"]);
        said(extract.arg(&object).arg(&bitcode))?;
        let mut link = Command::new(linker);
        link.args(["-flavor", "gnu", "-r", "-O0", "--lto-O0", "--lto-newpm-passes=function(tsan)"]);
        said(link.arg(&bitcode).arg("-o").arg(&object))?;
        said(Command::new("ar").arg("r").arg(library).arg(&object))?;
        let _ = fs::remove_file(object);
    }
    let _ = fs::remove_file(bitcode);
    Ok(())
}

/// What a command has printed, if it has succeeded.
fn said(command: &mut Command) -> Result<Vec<u8>, String> {
    let output = command.output().map_err(|e| format!("{:?}: {e}", command.get_program()))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(output.stdout) } else { Err(format!("{command:?}: {errors}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_that_order_threads_are_known_by_their_names() {
        let names =
            ["libstd-d123.rlib", "libtest-0a.rlib", "libstd-d123.so", "libstd_detect-d1.rlib", "libcore-1.rlib"];
        assert_eq!(names.map(is_instrumented), [true, true, false, false, false]);
    }
}
