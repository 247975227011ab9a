//! What an intruder would try with its owner: its memory and its files, its time, priority and limits. Each sets what is set
//! already.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    ptr::null,
};

use crate::attempts::{Given, Place, call};

/// A user without processes.
const NOBODY: u32 = 4_000_000_017;
const IOPRIO_WHO_PROCESS: i32 = 1;
const IOPRIO_WHO_PGRP: i32 = 2;
const IOPRIO_WHO_USER: i32 = 3;

pub(crate) fn write_memory_of_the_owner(place: &Place, _: &Given) -> io::Result<()> {
    let memory = OpenOptions::new().read(true).write(true).open(format!("/proc/{}/mem", place.owner))?;
    memory.write_all_at(&7_u64.to_ne_bytes(), place.word as u64)
}

pub(crate) fn open_below_the_root_of_the_owner(place: &Place, _: &Given) -> io::Result<()> {
    File::open(format!("/proc/{}/root/etc/passwd", place.owner)).map(drop)
}

pub(crate) fn choose_the_owner_for_the_lack_of_memory(place: &Place, _: &Given) -> io::Result<()> {
    let score = fs::read("/proc/self/oom_score_adj").unwrap_or_default();
    OpenOptions::new().write(true).open(format!("/proc/{}/oom_score_adj", place.owner))?.write_at(&score, 0).map(drop)
}

pub(crate) fn compare_with_the_owner(place: &Place, _: &Given) -> io::Result<()> {
    call!(libc::SYS_kcmp, place.owner, std::process::id(), 1, 0, 0).map(drop) // KCMP_VM
}

pub(crate) fn advise_on_memory_of_the_owner(place: &Place, _: &Given) -> io::Result<()> {
    let owner = call!(libc::SYS_pidfd_open, place.owner, 0)?;
    // SAFETY: asks for a number.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let page = libc::iovec { iov_base: (place.word & !(page_bytes - 1)) as *mut _, iov_len: page_bytes };
    call!(libc::SYS_process_madvise, owner, &raw const page, 1, libc::MADV_COLD, 0).map(drop)
}

pub(crate) fn read_memory_of_the_owner(place: &Place, _: &Given) -> io::Result<()> {
    File::open(format!("/proc/{}/mem", place.owner)).map(drop)
}

pub(crate) fn list_descriptors_of_the_owner(place: &Place, _: &Given) -> io::Result<()> {
    let mut list = fs::read_dir(format!("/proc/{}/fd", place.owner))?;
    fs::read_link(list.next().unwrap()?.path()).map(drop)
}

pub(crate) fn limit_the_owner(place: &Place, _: &Given) -> io::Result<()> {
    let mut limit = [0_u64; 2];
    call!(libc::SYS_prlimit64, 0, libc::RLIMIT_CPU, null::<u8>(), &raw mut limit)?;
    call!(libc::SYS_prlimit64, place.owner, libc::RLIMIT_CPU, &raw const limit, null::<u8>()).map(drop)
}

fn nice() -> i64 {
    // The call gives 1 to 40, for 19 to -20.
    20 - call!(libc::SYS_getpriority, libc::PRIO_PROCESS, 0).unwrap()
}

pub(crate) fn renice_the_owner(place: &Place, _: &Given) -> io::Result<()> {
    call!(libc::SYS_setpriority, libc::PRIO_PROCESS, place.owner, nice()).map(drop)
}

pub(crate) fn renice_its_group(_: &Place, _: &Given) -> io::Result<()> {
    call!(libc::SYS_setpriority, libc::PRIO_PGRP, 0, nice()).map(drop)
}

/// That there is none of that user is said by the call itself.
fn is_made(tried: io::Result<i64>) -> io::Result<()> {
    match tried {
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other.map(drop),
    }
}

pub(crate) fn renice_a_user(_: &Place, _: &Given) -> io::Result<()> {
    is_made(call!(libc::SYS_setpriority, libc::PRIO_USER, NOBODY, nice()))
}

pub(crate) fn choose_cpus_of_the_owner(place: &Place, _: &Given) -> io::Result<()> {
    let mut cpus = [0_u64; 128];
    let len = call!(libc::SYS_sched_getaffinity, place.owner, size_of_val(&cpus), cpus.as_mut_ptr())?;
    call!(libc::SYS_sched_setaffinity, place.owner, len, cpus.as_ptr()).map(drop)
}

pub(crate) fn schedule_the_owner(place: &Place, _: &Given) -> io::Result<()> {
    let priority = 0_i32;
    call!(libc::SYS_sched_setscheduler, place.owner, libc::SCHED_OTHER, &raw const priority).map(drop)
}

pub(crate) fn change_parameters_of_the_owner(place: &Place, _: &Given) -> io::Result<()> {
    let priority = 0_i32;
    call!(libc::SYS_sched_setparam, place.owner, &raw const priority).map(drop)
}

pub(crate) fn change_attributes_of_the_owner(place: &Place, _: &Given) -> io::Result<()> {
    let mut attributes = [0_u32; 12];
    call!(libc::SYS_sched_getattr, place.owner, attributes.as_mut_ptr(), size_of_val(&attributes), 0)?;
    call!(libc::SYS_sched_setattr, place.owner, attributes.as_ptr(), 0).map(drop)
}

pub(crate) fn order_io_of_the_owner(place: &Place, _: &Given) -> io::Result<()> {
    call!(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, place.owner, 0).map(drop)
}

pub(crate) fn order_io_of_its_group(_: &Place, _: &Given) -> io::Result<()> {
    call!(libc::SYS_ioprio_set, IOPRIO_WHO_PGRP, 0, 0).map(drop)
}

pub(crate) fn order_io_of_a_user(_: &Place, _: &Given) -> io::Result<()> {
    is_made(call!(libc::SYS_ioprio_set, IOPRIO_WHO_USER, NOBODY, 0))
}

pub(crate) fn move_pages_of_the_owner(place: &Place, _: &Given) -> io::Result<()> {
    let nothing = null::<u8>();
    call!(libc::SYS_move_pages, place.owner, 0, nothing, nothing, nothing, 0).map(drop)
}

/// From the first node to itself.
pub(crate) fn migrate_pages_of_the_owner(place: &Place, _: &Given) -> io::Result<()> {
    let first = 1_u64;
    call!(libc::SYS_migrate_pages, place.owner, 64, &raw const first, &raw const first).map(drop)
}

/// The same, of the process itself.
pub(crate) fn govern_oneself(pid: u32) -> io::Result<()> {
    let mut limit = [0_u64; 2];
    let (mut cpus, mut attributes, priority) = ([0_u64; 128], [0_u32; 12], 0_i32);
    for own in [0, pid] {
        call!(libc::SYS_prlimit64, own, libc::RLIMIT_CPU, null::<u8>(), &raw mut limit)?;
        call!(libc::SYS_prlimit64, own, libc::RLIMIT_CPU, &raw const limit, null::<u8>())?;
        call!(libc::SYS_setpriority, libc::PRIO_PROCESS, own, nice())?;
        let len = call!(libc::SYS_sched_getaffinity, own, size_of_val(&cpus), cpus.as_mut_ptr())?;
        call!(libc::SYS_sched_setaffinity, own, len, cpus.as_ptr())?;
        call!(libc::SYS_sched_setscheduler, own, libc::SCHED_OTHER, &raw const priority)?;
        call!(libc::SYS_sched_setparam, own, &raw const priority)?;
        call!(libc::SYS_sched_getattr, own, attributes.as_mut_ptr(), size_of_val(&attributes), 0)?;
        call!(libc::SYS_sched_setattr, own, attributes.as_ptr(), 0)?;
        call!(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, own, 0)?;
    }
    Ok(())
}
