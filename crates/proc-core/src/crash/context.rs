//! The registers of what a signal has interrupted.
//!
//! # Safety
//! The pointers are the ones that the kernel hands to a handler.
#![allow(unsafe_code)]

use std::ffi::c_void;

/// Where it was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    /// The program counter.
    pub(super) program: usize,
    /// The stack pointer.
    pub(super) stack: usize,
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use super::{Position, c_void};

    const PROGRAM: usize = libc::REG_RIP as usize;
    const STACK: usize = libc::REG_RSP as usize;

    fn registers<'a>(context: *mut c_void) -> &'a mut [i64; 23] {
        // SAFETY: the context of the handler that this is called by, which nothing else uses.
        let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
        &mut context.uc_mcontext.gregs
    }

    pub(in super::super) fn position(context: *mut c_void) -> Position {
        let registers = registers(context);
        Position { program: registers[PROGRAM] as usize, stack: registers[STACK] as usize }
    }

    /// A call has put the address to return to on the stack. Changes nothing if there is none.
    pub(in super::super) fn pretend_return(context: *mut c_void) -> Option<usize> {
        let registers = registers(context);
        let stack = registers[STACK] as usize as *const usize;
        if !stack.is_aligned() || stack.is_null() {
            return None;
        }
        // SAFETY: if it is not mapped, this is a second fault, which ends the report.
        let caller = Some(unsafe { stack.read_volatile() }).filter(|caller| *caller != 0)?;
        registers[PROGRAM] = caller as i64;
        registers[STACK] += size_of::<usize>() as i64;
        Some(caller)
    }

    pub(in super::super) fn put_back(context: *mut c_void, position: Position) {
        let registers = registers(context);
        registers[PROGRAM] = position.program as i64;
        registers[STACK] = position.stack as i64;
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use super::{Position, c_void};

    const LINK: usize = 30;

    fn registers<'a>(context: *mut c_void) -> &'a mut libc::mcontext_t {
        // SAFETY: the context of the handler that this is called by, which nothing else uses.
        let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
        &mut context.uc_mcontext
    }

    pub(in super::super) fn position(context: *mut c_void) -> Position {
        let registers = registers(context);
        Position { program: registers.pc as usize, stack: registers.sp as usize }
    }

    /// A call has put the address to return to into the link register. Changes nothing if there is none.
    pub(in super::super) fn pretend_return(context: *mut c_void) -> Option<usize> {
        let registers = registers(context);
        let caller = Some(registers.regs[LINK]).filter(|caller| *caller != 0)?;
        registers.pc = caller;
        Some(caller as usize)
    }

    pub(in super::super) fn put_back(context: *mut c_void, position: Position) {
        registers(context).pc = position.program as u64;
    }
}

/// On other architectures only frames are reported.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod arch {
    use super::{Position, c_void};

    pub(in super::super) fn position(_context: *mut c_void) -> Position {
        Position::default()
    }

    pub(in super::super) fn pretend_return(_context: *mut c_void) -> Option<usize> {
        None
    }

    pub(in super::super) fn put_back(_context: *mut c_void, _position: Position) {}
}

pub(super) use arch::{position, pretend_return, put_back};
