//! Too little of everything: how a process comes to that, and what is tried only there.

use std::{
    error::Error,
    fs::{self, File},
    io::Write as _,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    time::Duration,
};

use ipc::JoinableQueue;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare},
    sys::resource::{Resource, setrlimit},
    unistd::{Gid, Pid, Uid, setgroups, setresgid, setresuid},
};
use pool::ProcessPool;
use proc_core::{Process, shm::Shared};
use sync::process::Lock;
use test_support::{hosts, sandbox};

use crate::{
    groups::Group,
    operations::{Figures, check},
};

/// Nobody else's, so that only ours count.
const LONELY: u32 = 54_321;

pub(crate) fn limit(resource: Resource, most: u64) {
    setrlimit(resource, most, most).unwrap();
}

/// At most so many processes and threads, of a user that has no others.
pub(crate) fn few_processes(most: u64) {
    let (uid, gid) = (Uid::from_raw(LONELY), Gid::from_raw(LONELY));
    limit(Resource::RLIMIT_NPROC, most);
    setgroups(&[]).unwrap();
    setresgid(gid, gid, gid).unwrap();
    setresuid(uid, uid, uid).unwrap();
}

fn own_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
}

/// No byte is free where files in memory and temporary files lie.
pub(crate) fn full_files() {
    own_mounts();
    for place in ["/dev/shm", "/tmp"] {
        mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
        let mut file = File::create(format!("{place}/full")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }
}

pub(crate) fn read_only_files() {
    own_mounts();
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(None::<&str>, "/", None::<&str>, read_only, None::<&str>).unwrap();
    for place in ["/dev/shm", "/tmp"] {
        mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::MS_RDONLY, None::<&str>).unwrap();
        assert!(File::create(format!("{place}/any")).is_err());
    }
}

/// The clocks have jumped by eleven days.
pub(crate) fn other_time() {
    /// Not in every version of `nix`.
    const CLONE_NEWTIME: i32 = 0x80;
    unshare(CloneFlags::from_bits_retain(CLONE_NEWTIME)).unwrap();
    fs::write("/proc/self/timens_offsets", "monotonic 1000000 0\nboottime 1000000 0\n").unwrap();
    hosts::go_on_in_a_child();
}

pub(crate) fn one_processor() {
    let all = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let mut one = CpuSet::new();
    one.set((0..CpuSet::count()).find(|cpu| all.is_set(*cpu).unwrap()).unwrap()).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
}

/// What Docker's default profile refuses to a container without privileges, as far as it is a matter of the call alone.
pub(crate) fn docker() {
    use nix::libc::*;
    sandbox::refuse(&[SYS_clone3], ENOSYS);
    sandbox::deny(&[
        SYS_acct,
        SYS_add_key,
        SYS_bpf,
        SYS_clock_adjtime,
        SYS_clock_settime,
        SYS_delete_module,
        SYS_fanotify_init,
        SYS_finit_module,
        SYS_fsconfig,
        SYS_fsmount,
        SYS_fsopen,
        SYS_fspick,
        SYS_get_mempolicy,
        SYS_init_module,
        SYS_io_uring_enter,
        SYS_io_uring_register,
        SYS_io_uring_setup,
        SYS_ioperm,
        SYS_iopl,
        SYS_kcmp,
        SYS_kexec_file_load,
        SYS_kexec_load,
        SYS_keyctl,
        SYS_lookup_dcookie,
        SYS_mbind,
        SYS_mount,
        SYS_mount_setattr,
        SYS_move_mount,
        SYS_move_pages,
        SYS_open_by_handle_at,
        SYS_open_tree,
        SYS_perf_event_open,
        SYS_personality,
        SYS_pivot_root,
        SYS_quotactl,
        SYS_quotactl_fd,
        SYS_reboot,
        SYS_request_key,
        SYS_set_mempolicy,
        SYS_setdomainname,
        SYS_sethostname,
        SYS_setns,
        SYS_settimeofday,
        SYS_swapoff,
        SYS_swapon,
        SYS_syslog,
        SYS_umount2,
        SYS_unshare,
        SYS_userfaultfd,
        SYS_vhangup,
    ]);
}

pub(crate) fn few_in_group() {
    let group = Group::new("pids");
    group.set([("pids.max", "40"); 2]);
    group.add(std::process::id());
}

const MOST_BYTES: usize = 96 << 20;

pub(crate) fn little_memory() {
    let group = Group::new("memory");
    let most = MOST_BYTES.to_string();
    group.set([("memory.limit_in_bytes", &most), ("memory.max", &most)]);
    group.add(std::process::id());
}

/// Touches more memory than there is: the kernel kills whoever has most.
fn gorge() -> u64 {
    let mut bytes = vec![0_u8; 4 * MOST_BYTES];
    bytes.chunks_mut(4096).for_each(|page| page[0] = 1);
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

fn answer(n: u32) -> u32 {
    n + 1
}

fn gorge_with_lock(lock: Lock<u32>) -> u64 {
    let _guard = lock.lock().unwrap();
    gorge()
}

fn gorge_with_item(queue: JoinableQueue<u32>) -> u64 {
    let _item = queue.get().unwrap();
    gorge()
}

const LIMIT: Duration = Duration::from_secs(20);

/// A worker at a task, a holder of a lock, and a consumer with an item are killed for the lack of memory.
pub(crate) fn out_of_memory() -> Figures {
    let pool = ProcessPool::builder().workers(1).build()?;
    check(pool.apply(gorge, ()).is_err(), "a worker had more memory than there is")?;
    check(pool.apply(answer, (1,))? == 2, "another result")?;

    let lock = Lock::new(0)?;
    let holder = Process::spawn(gorge_with_lock, (lock.clone(),))?;
    check(holder.join().is_err(), "a holder had more memory than there is")?;
    check(lock.lock_timeout(LIMIT).is_err(), "its holder's death was not told")?;

    let queue = JoinableQueue::builder().maxsize(2).max_deliveries(5).build_joinable()?;
    queue.put(7)?;
    let consumer = Process::spawn(gorge_with_item, (queue.clone(),))?;
    check(consumer.join().is_err(), "a consumer had more memory than there is")?;
    let item = queue.get_timeout(LIMIT)?;
    check(*item == 7, "another item")?;
    item.task_done();
    check(queue.join_timeout(LIMIT)?, "the item is not done")?;
    Ok(": worker, holder, consumer".into())
}

fn hold(lock: Lock<u32>, holds: Shared<AtomicU32>) -> Result<(), String> {
    let guard = lock.lock().map_err(|e| e.to_string())?;
    holds.store(1, SeqCst);
    while holds.load(SeqCst) == 1 {
        std::thread::yield_now();
    }
    drop(guard);
    Ok(())
}

/// Who holds a lock is frozen: timed calls come back, and it goes on afterwards.
pub(crate) fn frozen() -> Result<String, Box<dyn Error>> {
    let group = Group::new("freezer");
    let (lock, holds) = (Lock::new(0)?, Shared::new(AtomicU32::new(0))?);
    let holder = Process::builder().spawn(hold, (lock.clone(), holds.clone()))?;
    while holds.load(SeqCst) == 0 {
        check(holder.is_alive(), "the holder has ended")?;
        std::thread::yield_now();
    }
    group.add(holder.pid());
    group.set([("freezer.state", "FROZEN"), ("cgroup.freeze", "1")]);
    holds.store(2, SeqCst);
    let outcome = check(matches!(lock.lock_timeout(Duration::from_millis(50)), Ok(None)), "locked beside its holder")
        .and_then(|()| check(holder.wait_timeout(Duration::from_millis(50))?.is_none(), "it is not frozen"));
    group.set([("freezer.state", "THAWED"), ("cgroup.freeze", "0")]);
    outcome?;
    holder.join()??;
    check(matches!(lock.lock_timeout(LIMIT), Ok(Some(_))), "it is still locked")?;
    Ok(String::new())
}
