//! What compilers' runtimes write at a program's exit: counters of coverage and for profile-guided optimisation.
//!
//! They do so in functions that `exit(3)` calls. A child of ours does not call what the program registered for its exit, but
//! it writes these counters.
//!
//! # Safety
//! Calls functions by the addresses that the linker gives them, if the program has them.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};

/// Begins to count anew, in a process that was forked: what came before is for the process that it was forked from.
#[inline]
pub fn begin() {
    call(llvm_profile_reset_counters());
}

/// Writes the counters of this process, if the program counts.
pub fn write() {
    // Compiled with `-C instrument-coverage` or `-C profile-generate`, or by clang with the like.
    if let Some(write) = llvm_profile_write_file() {
        name_file();
        call(Some(write));
    }
    // Compiled by gcc with `--coverage`.
    call(gcov_exit());
}

/// Makes LLVM's runtime name its file anew: it did so before the fork, with another pid for `%p`, and does it again only
/// for another pattern.
fn name_file() {
    let Some(set) = llvm_profile_set_filename() else { return };
    // SAFETY: the runtime's own function of that name takes a pattern.
    let set = unsafe { std::mem::transmute::<Function, unsafe extern "C" fn(*const c_char)>(set) };
    let asked = std::env::var_os("LLVM_PROFILE_FILE").filter(|pattern| !pattern.is_empty());
    let asked = asked.and_then(|pattern| CString::new(pattern.into_encoded_bytes()).ok());
    // SAFETY: the compiler puts a text there that ends with NUL.
    let built_in = || llvm_profile_filename().map(|text| unsafe { CStr::from_ptr(text as *const c_char) }.to_owned());
    let Some(pattern) = asked.or_else(built_in) else { return };
    for pattern in [c"/dev/null", &pattern] {
        // SAFETY: the runtime copies the pattern.
        unsafe { set(pattern.as_ptr()) };
    }
}

type Function = unsafe extern "C" fn();

#[inline]
fn call(function: Option<Function>) {
    if let Some(function) = function {
        // SAFETY: a runtime's function for this very purpose. It takes nothing; what it returns is not looked at.
        unsafe { function() };
    }
}

/// A function of the program, or a text, that need not exist: its address, by a reference that the linker may leave open. The
/// reference is weak and not the symbol: an object that is compiled with counters has symbols of these names of its own. Not
/// inlined, as an object can name a reference but once.
macro_rules! weak {
    ($function:ident = $symbol:literal) => {
        #[inline(never)]
        fn $function() -> Option<Function> {
            let address: usize;
            #[cfg(target_arch = "x86_64")]
            // SAFETY: loads an entry of the table of addresses; touches neither stack nor flags.
            unsafe {
                std::arch::asm!(
                    concat!(".weakref weak.", $symbol, ", ", $symbol),
                    concat!("mov {address}, qword ptr [rip + weak.", $symbol, "@GOTPCREL]"),
                    address = out(reg) address,
                    options(pure, readonly, nostack, preserves_flags),
                );
            }
            #[cfg(target_arch = "aarch64")]
            // SAFETY: loads an entry of the table of addresses; touches neither stack nor flags.
            unsafe {
                std::arch::asm!(
                    concat!(".weakref weak.", $symbol, ", ", $symbol),
                    concat!("adrp {address}, :got:weak.", $symbol),
                    concat!("ldr {address}, [{address}, :got_lo12:weak.", $symbol, "]"),
                    address = out(reg) address,
                    options(pure, readonly, nostack, preserves_flags),
                );
            }
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            {
                address = 0;
            }
            // SAFETY: null, which is none, or the address of the function.
            unsafe { std::mem::transmute::<usize, Option<Function>>(address) }
        }
    };
}
weak!(llvm_profile_write_file = "__llvm_profile_write_file");
weak!(llvm_profile_reset_counters = "__llvm_profile_reset_counters");
weak!(llvm_profile_set_filename = "__llvm_profile_set_filename");
// A text, which is not called.
weak!(llvm_profile_filename = "__llvm_profile_filename");
weak!(gcov_exit = "__gcov_exit");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_lacks_is_none() {
        weak!(nothing = "proc_core_no_such_function");
        assert!(nothing().is_none());
        weak!(getpid = "getpid");
        assert_eq!(getpid().map(|function| function as usize), Some(libc::getpid as *const () as usize));
        begin();
        write();
    }
}
