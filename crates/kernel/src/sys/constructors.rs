//! The constructors of this program that the loader has not called yet.
//!
//! # Safety
//! Reads the loader's own description of the program in memory, and calls what the loader would call next, with the
//! arguments that it would hand over.
#![allow(unsafe_code)]

use std::{ffi::c_void, ptr};

/// What the C library hands to each constructor. Others than glibc hand over nothing; then these are whatever was there, and
/// are passed on as that.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    /// How many arguments the program has.
    pub argc: i32,
    /// The arguments.
    pub argv: *const *const libc::c_char,
    /// The environment.
    pub envp: *const *const libc::c_char,
}

/// One of `.init_array`.
pub type Constructor = extern "C" fn(i32, *const *const libc::c_char, *const *const libc::c_char);

/// A list of constructors in memory, called from the first to the last.
#[derive(Clone, Copy, Debug)]
struct List {
    first: *const usize,
    len: usize,
}

/// Calls what follows `own` in its list; and if that is a shared object's, then what the program itself has, which comes after
/// all of them. To be called by `own`, which is a place in an `.init_array`.
///
/// Shared objects have run theirs before, as far as the program or `own`'s object depends on them.
pub fn run_rest(own: *const Constructor, arguments: Arguments) {
    let mut search = Search { own: own.cast(), program: None, rest: None, n_seen: 0 };
    // SAFETY: `look` gets the pointer that it expects, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
    match search.rest {
        Some((rest, true)) => run(rest, arguments),
        Some((rest, false)) => {
            run(rest, arguments);
            if let Some(program) = search.program {
                run(program, arguments);
            }
        }
        None => {}
    }
}

fn run(list: List, arguments: Arguments) {
    for at in 0..list.len {
        // SAFETY: inside the list, which the loader has relocated.
        let place = unsafe { list.first.add(at) };
        // SAFETY: as above.
        let constructor = unsafe { place.read() };
        // The loader skips none but these, which older tool chains put at the ends.
        if constructor != 0 && constructor != usize::MAX {
            // SAFETY: what lies in the list is called so, once.
            let constructor = unsafe { std::mem::transmute::<usize, Constructor>(constructor) };
            constructor(arguments.argc, arguments.argv, arguments.envp);
        }
    }
}

struct Search {
    own: *const usize,
    /// The program's list.
    program: Option<List>,
    /// What follows `own`, and whether that is in the program itself.
    rest: Option<(List, bool)>,
    n_seen: usize,
}

/// Looks at one object; the program itself is the first.
unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _: libc::size_t, search: *mut c_void) -> i32 {
    // SAFETY: `run_rest` handed this over.
    let search = unsafe { &mut *search.cast::<Search>() };
    // SAFETY: the loader's, valid during this call.
    let info = unsafe { &*info };
    let is_program = search.n_seen == 0;
    search.n_seen += 1;
    let Some(list) = constructors_of(info) else { return 0 };
    if is_program {
        search.program = Some(list);
    }
    let offset = (search.own as usize).wrapping_sub(list.first as usize) / size_of::<usize>();
    if (search.own as usize) >= list.first as usize && offset < list.len {
        // SAFETY: at most one past the end of the list.
        let first = unsafe { list.first.add(offset + 1) };
        search.rest = Some((List { first, len: list.len - offset - 1 }, is_program));
        return 1;
    }
    0
}

/// The object's `DT_INIT_ARRAY`.
fn constructors_of(info: &libc::dl_phdr_info) -> Option<List> {
    let base = info.dlpi_addr as usize;
    let mut dynamic = ptr::null::<[usize; 2]>();
    for at in 0..usize::from(info.dlpi_phnum) {
        // SAFETY: the loader says that there are so many.
        let header = unsafe { info.dlpi_phdr.add(at) };
        // SAFETY: as above.
        let header = unsafe { &*header };
        if header.p_type == libc::PT_DYNAMIC {
            dynamic = ptr::with_exposed_provenance(base.wrapping_add(header.p_vaddr as usize));
        }
    }
    if dynamic.is_null() {
        return None;
    }
    const DT_NULL: usize = 0;
    const DT_INIT_ARRAY: usize = 25;
    const DT_INIT_ARRAYSZ: usize = 27;
    let (mut first, mut bytes) = (0, 0);
    loop {
        // SAFETY: the table is mapped, and ends with DT_NULL.
        match unsafe { dynamic.read() } {
            [DT_NULL, _] => break,
            [DT_INIT_ARRAY, value] => first = base.wrapping_add(value),
            [DT_INIT_ARRAYSZ, value] => bytes = value,
            _ => {}
        }
        // SAFETY: not the last one yet.
        dynamic = unsafe { dynamic.add(1) };
    }
    (first != 0).then(|| List { first: ptr::with_exposed_provenance(first), len: bytes / size_of::<usize>() })
}
