//! Pairs of a load-exclusive and a store-exclusive: a stop between them has the store fail, so one who steps through
//! them never comes to their end. They are stepped over as if they were one instruction, which is what others see of them.
//!
//! No branch leads out of the pairs that are written here; those of the C library and of the compiler are not run by
//! processors with atomic instructions (from ARMv8.1 on).

use nix::unistd::Pid;

/// Where to go on behind the pair that a stopped tracee stands before.
#[cfg(target_arch = "aarch64")]
pub(crate) fn end_of_pair(pid: Pid) -> Option<u64> {
    use nix::sys::ptrace;

    /// No pair is longer, by the architecture.
    const MAX_INSTRUCTIONS: u64 = 16;
    const BYTES: u64 = 4;

    let first = ptrace::getregs(pid).ok()?.pc;
    let at = |address: u64| Some(ptrace::read(pid, address as *mut _).ok()? as u32);
    if access(at(first)?) != Some(Access::Load) {
        return None;
    }
    let rest = (1..MAX_INSTRUCTIONS).map(|n| first + n * BYTES);
    let store = rest.into_iter().find(|address| at(*address).and_then(access) == Some(Access::Store))?;
    Some(store + BYTES)
}

#[cfg(not(target_arch = "aarch64"))]
pub(crate) fn end_of_pair(_: Pid) -> Option<u64> {
    None
}

#[cfg(any(target_arch = "aarch64", test))]
#[derive(Debug, PartialEq, Eq)]
enum Access {
    Load,
    Store,
}

/// What an instruction of aarch64 does exclusively.
#[cfg(any(target_arch = "aarch64", test))]
fn access(instruction: u32) -> Option<Access> {
    let bit = |n: u32| instruction >> n & 1 == 1;
    // The same but for bit 31 is `casp`.
    let is_one = instruction & 0x3f80_0000 == 0x0800_0000 && (!bit(21) || bit(31));
    is_one.then(|| if bit(22) { Access::Load } else { Access::Store })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_told_from_other_accesses() {
        // As the assembler has it: ldaxp, ldxr, ldaxrb.
        for load in [0xc87f_8c02, 0xc85f_7c01, 0x085f_fc01] {
            assert_eq!(access(load), Some(Access::Load), "{load:#x}");
        }
        // stlxp, stxr.
        for store in [0xc825_8c02, 0xc802_7c01] {
            assert_eq!(access(store), Some(Access::Store), "{store:#x}");
        }
        // casp, caspal, cas, ldar, stlr, ldadd, ldr, nop.
        for other in
            [0x4820_7c82, 0x4860_fc82, 0xc8a0_7c01, 0xc8df_fc01, 0xc89f_fc01, 0xf820_0001, 0xf940_0001, 0xd503_201f]
        {
            assert_eq!(access(other), None, "{other:#x}");
        }
    }
}
