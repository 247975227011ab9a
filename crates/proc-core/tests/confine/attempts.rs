//! What an intruder would try: each returns the error number that it got, or nothing if it succeeded.

use std::{
    ffi::CString,
    fs, io,
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd, RawFd},
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram, UnixStream},
    },
    path::{Path, PathBuf},
    ptr::null,
};

use proc_core::handover::Fd;
use serde::{Deserialize, Serialize};

use crate::owner::*;

macro_rules! call {
    ($number:expr $(, $argument:expr)*) => {
        // SAFETY: pointers among the arguments point at what lives to the end of the statement.
        match unsafe { libc::syscall($number $(, $argument as libc::c_long)*) } {
            -1 => Err(io::Error::last_os_error()),
            value => Ok(value),
        }
    };
}

pub(crate) use call;

/// Where things are.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) owner: u32,
    pub(crate) inside: PathBuf,
    pub(crate) outside: PathBuf,
    pub(crate) tcp_port: u16,
    /// Of a listening stream, in the abstract namespace.
    pub(crate) abstract_name: String,
    /// Of a socket of datagrams, in the file system.
    pub(crate) datagrams: PathBuf,
    /// The address of a word in its owner's memory.
    pub(crate) word: usize,
}

/// A file that was handed over: a program that ends with success; and a directory.
#[derive(Serialize, Deserialize)]
pub(crate) struct Given {
    pub(crate) program: Fd,
    pub(crate) directory: Fd,
}

pub(crate) type Attempt = fn(&Place, &Given) -> io::Result<()>;

/// What is refused by whom, beside those that allow nothing but computing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum By {
    /// Every confinement.
    All,
    /// Every confinement, by Landlock where files can be opened.
    Domain,
    /// One to paths.
    Paths,
    /// `no_network`.
    NoNetwork,
    /// `no_new_processes`.
    NoProcesses,
    /// Those that allow nothing but computing.
    Compute,
}

macro_rules! attempts {
    ($($by:ident: $($name:ident)*;)*) => {
        pub(crate) const ATTEMPTS: &[(&str, By, Attempt)] = &[$($((stringify!($name), By::$by, $name)),*),*];
    };
}
attempts! {
    Paths: read_a_file write_a_file open_by_openat2 open_a_directory_below_a_descriptor truncate_a_file follow_a_link_out
        link_a_file_in rename_a_file_out make_a_directory remove_a_file change_a_mode change_a_times_stamp change_flags watch_a_file
        choose_the_owner_for_the_lack_of_memory;
    Compute: open_a_path_only filter_packets raise_a_limit;
    NoNetwork: make_a_socket connect_by_tcp send_by_udp listen_by_tcp connect_to_an_abstract_socket
        send_a_datagram_from_a_pair;
    NoProcesses: fork vfork clone clone3 execute_a_file execute_a_descriptor execute_memory
        signal_the_owner signal_a_thread_of_the_owner signal_its_group signal_by_a_descriptor signal_with_a_value
        have_the_owner_signalled limit_the_owner renice_the_owner renice_its_group renice_a_user choose_cpus_of_the_owner
        schedule_the_owner change_parameters_of_the_owner change_attributes_of_the_owner order_io_of_the_owner
        order_io_of_its_group order_io_of_a_user move_pages_of_the_owner migrate_pages_of_the_owner;
    Domain: read_memory_of_the_owner write_memory_of_the_owner list_descriptors_of_the_owner
        open_below_the_root_of_the_owner;
    All: trace_the_owner read_memory_by_a_call take_a_descriptor_of_the_owner set_up_io_uring make_a_user_namespace
        clone_a_user_namespace enter_a_namespace handle_page_faults make_a_bpf_map open_by_handle mount_something
        change_the_personality count_events compare_with_the_owner advise_on_memory_of_the_owner;
}
/// Those that end the process if they succeed.
pub(crate) const ENDS: [&str; 3] = ["execute_a_file", "execute_a_descriptor", "execute_memory"];

fn c(path: impl AsRef<Path>) -> CString {
    CString::new(path.as_ref().to_str().unwrap()).unwrap()
}

fn read_a_file(place: &Place, _: &Given) -> io::Result<()> {
    fs::read(place.outside.join("secret")).map(drop)
}

fn write_a_file(place: &Place, _: &Given) -> io::Result<()> {
    fs::write(place.outside.join("written"), "by a child")
}

fn open_a_path_only(place: &Place, _: &Given) -> io::Result<()> {
    call!(libc::SYS_openat, libc::AT_FDCWD, c(place.outside.join("secret")).as_ptr(), libc::O_PATH).map(drop)
}

fn open_by_openat2(place: &Place, _: &Given) -> io::Result<()> {
    let how = [0_u64; 3];
    call!(libc::SYS_openat2, libc::AT_FDCWD, c(place.outside.join("secret")).as_ptr(), how.as_ptr(), 24).map(drop)
}

fn open_a_directory_below_a_descriptor(_: &Place, given: &Given) -> io::Result<()> {
    call!(libc::SYS_openat, given.directory.as_fd().as_raw_fd(), c"secret".as_ptr(), libc::O_RDONLY).map(drop)
}

fn truncate_a_file(place: &Place, _: &Given) -> io::Result<()> {
    call!(libc::SYS_truncate, c(place.outside.join("truncated")).as_ptr(), 1).map(drop)
}

fn follow_a_link_out(place: &Place, _: &Given) -> io::Result<()> {
    fs::read(place.inside.join("link")).map(drop)
}

fn link_a_file_in(place: &Place, _: &Given) -> io::Result<()> {
    fs::hard_link(place.outside.join("secret"), place.inside.join("hard"))
}

fn rename_a_file_out(place: &Place, _: &Given) -> io::Result<()> {
    fs::rename(place.inside.join("moved"), place.outside.join("moved"))
}

fn make_a_directory(place: &Place, _: &Given) -> io::Result<()> {
    fs::create_dir(place.outside.join("made"))
}

fn remove_a_file(place: &Place, _: &Given) -> io::Result<()> {
    fs::remove_file(place.outside.join("removed"))
}

fn change_a_mode(place: &Place, _: &Given) -> io::Result<()> {
    call!(libc::SYS_fchmodat, libc::AT_FDCWD, c(place.outside.join("secret")).as_ptr(), 0o644).map(drop)
}

fn change_a_times_stamp(place: &Place, _: &Given) -> io::Result<()> {
    let path = c(place.outside.join("secret"));
    call!(libc::SYS_utimensat, libc::AT_FDCWD, path.as_ptr(), null::<u8>(), 0).map(drop)
}

/// Of a file that is open for reading alone.
fn change_flags(_: &Place, given: &Given) -> io::Result<()> {
    let (mut flags, fd) = (0_i64, given.directory.as_fd().as_raw_fd());
    call!(libc::SYS_ioctl, fd, 0x8008_6601_u32, &raw mut flags)?; // FS_IOC_GETFLAGS
    call!(libc::SYS_ioctl, fd, 0x4008_6602_u32, &raw const flags).map(drop) // FS_IOC_SETFLAGS
}

fn watch_a_file(place: &Place, _: &Given) -> io::Result<()> {
    let watcher = call!(libc::SYS_inotify_init1, 0)?;
    let path = c(place.outside.join("secret"));
    call!(libc::SYS_inotify_add_watch, watcher, path.as_ptr(), libc::IN_ACCESS).map(drop)
}

fn filter_packets(_: &Place, _: &Given) -> io::Result<()> {
    let (one, _other) = UnixStream::pair()?;
    let accept = libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: u32::MAX };
    let program = libc::sock_fprog { len: 1, filter: (&raw const accept).cast_mut() };
    let (level, option, len) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, size_of_val(&program));
    call!(libc::SYS_setsockopt, one.as_raw_fd(), level, option, &raw const program, len).map(drop)
}

fn raise_a_limit(_: &Place, _: &Given) -> io::Result<()> {
    let limit = [2048_u64; 2];
    call!(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, limit.as_ptr(), null::<u8>()).map(drop)
}

fn make_a_socket(_: &Place, _: &Given) -> io::Result<()> {
    call!(libc::SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0).map(drop)
}

fn connect_by_tcp(place: &Place, _: &Given) -> io::Result<()> {
    TcpStream::connect(("127.0.0.1", place.tcp_port)).map(drop)
}

fn send_by_udp(place: &Place, _: &Given) -> io::Result<()> {
    UdpSocket::bind("127.0.0.1:0")?.send_to(b"x", ("127.0.0.1", place.tcp_port)).map(drop)
}

fn listen_by_tcp(_: &Place, _: &Given) -> io::Result<()> {
    TcpListener::bind("127.0.0.1:0").map(drop)
}

fn connect_to_an_abstract_socket(place: &Place, _: &Given) -> io::Result<()> {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(&place.abstract_name)?).map(drop)
}

fn send_a_datagram_from_a_pair(place: &Place, _: &Given) -> io::Result<()> {
    let (one, _other) = UnixDatagram::pair()?;
    one.send_to(b"x", &place.datagrams).map(drop)
}

/// In the child, if there is one.
fn end_child(pid: i64) -> io::Result<()> {
    if pid == 0 {
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) }
    }
    call!(libc::SYS_wait4, pid, null::<u8>(), 0, null::<u8>()).map(drop)
}

#[cfg(target_arch = "x86_64")]
fn fork(_: &Place, _: &Given) -> io::Result<()> {
    end_child(call!(libc::SYS_fork)?)
}

/// There is no call of that name.
#[cfg(not(target_arch = "x86_64"))]
fn fork(place: &Place, given: &Given) -> io::Result<()> {
    clone(place, given)
}

/// In one piece: the child has the stack of its parent, which must find it as it was.
#[cfg(target_arch = "x86_64")]
fn vfork(_: &Place, _: &Given) -> io::Result<()> {
    let pid: i64;
    // SAFETY: the child makes one call, and touches no memory.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov eax, 60", // exit
            "xor edi, edi",
            "syscall",
            "2:",
            inlateout("rax") libc::SYS_vfork => pid,
            out("rcx") _, out("r11") _, out("rdi") _,
        );
    }
    if pid < 0 { Err(io::Error::from_raw_os_error(-pid as i32)) } else { end_child(pid) }
}

#[cfg(not(target_arch = "x86_64"))]
fn vfork(place: &Place, given: &Given) -> io::Result<()> {
    clone(place, given)
}

fn clone(_: &Place, _: &Given) -> io::Result<()> {
    end_child(call!(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0)?)
}

fn clone3(_: &Place, _: &Given) -> io::Result<()> {
    let arguments = [0, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0_u64];
    end_child(call!(libc::SYS_clone3, arguments.as_ptr(), 64)?)
}

fn execute(fd: RawFd) -> io::Result<()> {
    let name = c"true";
    let (args, env) = ([name.as_ptr(), null()], [null::<u8>()]);
    call!(libc::SYS_execveat, fd, c"".as_ptr(), args.as_ptr(), env.as_ptr(), libc::AT_EMPTY_PATH).map(drop)
}

fn execute_a_file(_: &Place, _: &Given) -> io::Result<()> {
    let (args, env) = ([c"true".as_ptr(), null()], [null::<u8>()]);
    call!(libc::SYS_execve, c"/bin/true".as_ptr(), args.as_ptr(), env.as_ptr()).map(drop)
}

fn execute_a_descriptor(_: &Place, given: &Given) -> io::Result<()> {
    execute(given.program.as_fd().as_raw_fd())
}

fn execute_memory(_: &Place, given: &Given) -> io::Result<()> {
    let memory = call!(libc::SYS_memfd_create, c"program".as_ptr(), 0)?;
    call!(libc::SYS_sendfile, memory, given.program.as_fd().as_raw_fd(), null::<u8>(), 1 << 30)?;
    execute(memory as RawFd)
}

fn signal_the_owner(place: &Place, _: &Given) -> io::Result<()> {
    call!(libc::SYS_kill, place.owner, libc::SIGURG).map(drop)
}

fn signal_a_thread_of_the_owner(place: &Place, _: &Given) -> io::Result<()> {
    call!(libc::SYS_tgkill, place.owner, place.owner, libc::SIGURG).map(drop)
}

fn signal_its_group(_: &Place, _: &Given) -> io::Result<()> {
    call!(libc::SYS_kill, 0, libc::SIGURG).map(drop)
}

fn signal_by_a_descriptor(place: &Place, _: &Given) -> io::Result<()> {
    let owner = call!(libc::SYS_pidfd_open, place.owner, 0)?;
    call!(libc::SYS_pidfd_send_signal, owner, libc::SIGURG, null::<u8>(), 0).map(drop)
}

fn signal_with_a_value(place: &Place, _: &Given) -> io::Result<()> {
    let mut info = [0_i32; 32];
    (info[0], info[2]) = (libc::SIGURG, libc::SI_QUEUE);
    call!(libc::SYS_rt_sigqueueinfo, place.owner, libc::SIGURG, info.as_ptr()).map(drop)
}

/// By the kernel, whenever something comes through a pipe of its own.
fn have_the_owner_signalled(place: &Place, _: &Given) -> io::Result<()> {
    let (reader, _writer) = io::pipe()?;
    call!(libc::SYS_fcntl, reader.as_raw_fd(), libc::F_SETOWN, place.owner).map(drop)
}

fn trace_the_owner(place: &Place, _: &Given) -> io::Result<()> {
    call!(libc::SYS_ptrace, libc::PTRACE_SEIZE, place.owner, 0, 0).map(drop)
}

fn read_memory_by_a_call(place: &Place, _: &Given) -> io::Result<()> {
    // The place is not another one there: it is a copy of this program, but where it is loaded may be. So an error about
    // the address is a success.
    let mut byte = 0_u8;
    let here = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let there = libc::iovec { iov_base: 16 as *mut _, iov_len: 1 };
    match call!(libc::SYS_process_vm_readv, place.owner, &raw const here, 1, &raw const there, 1, 0) {
        Err(e) if e.raw_os_error() == Some(libc::EFAULT) => Ok(()),
        other => other.map(drop),
    }
}

fn take_a_descriptor_of_the_owner(place: &Place, _: &Given) -> io::Result<()> {
    let owner = call!(libc::SYS_pidfd_open, place.owner, 0)?;
    call!(libc::SYS_pidfd_getfd, owner, 0, 0).map(drop)
}

fn set_up_io_uring(_: &Place, _: &Given) -> io::Result<()> {
    let mut parameters = [0_u8; 120];
    call!(libc::SYS_io_uring_setup, 4, parameters.as_mut_ptr()).map(drop)
}

fn make_a_user_namespace(_: &Place, _: &Given) -> io::Result<()> {
    call!(libc::SYS_unshare, libc::CLONE_NEWUSER).map(drop)
}

fn clone_a_user_namespace(_: &Place, _: &Given) -> io::Result<()> {
    end_child(call!(libc::SYS_clone, libc::CLONE_NEWUSER | libc::SIGCHLD, 0, 0, 0, 0)?)
}

fn enter_a_namespace(place: &Place, _: &Given) -> io::Result<()> {
    let owner = call!(libc::SYS_pidfd_open, place.owner, 0)?;
    call!(libc::SYS_setns, owner, libc::CLONE_NEWUTS).map(drop)
}

fn handle_page_faults(_: &Place, _: &Given) -> io::Result<()> {
    call!(libc::SYS_userfaultfd, 1).map(drop)
}

fn make_a_bpf_map(_: &Place, _: &Given) -> io::Result<()> {
    let mut attributes = [0_u32; 32];
    attributes[..4].copy_from_slice(&[2, 4, 4, 1]); // an array of one number
    call!(libc::SYS_bpf, 0, attributes.as_ptr(), 128).map(drop)
}

fn open_by_handle(_: &Place, given: &Given) -> io::Result<()> {
    let (mut handle, mut mount) = ([0_u32; 40], 0_i32);
    handle[0] = 128;
    let (fd, path) = (given.program.as_fd().as_raw_fd(), c"".as_ptr());
    call!(libc::SYS_name_to_handle_at, fd, path, handle.as_mut_ptr(), &raw mut mount, libc::AT_EMPTY_PATH)?;
    call!(libc::SYS_open_by_handle_at, fd, handle.as_ptr(), libc::O_RDONLY).map(drop)
}

fn mount_something(place: &Place, _: &Given) -> io::Result<()> {
    let target = c(place.inside.join("mount"));
    call!(libc::SYS_mount, c"none".as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, null::<u8>())?;
    call!(libc::SYS_umount2, target.as_ptr(), 0).map(drop)
}

fn change_the_personality(_: &Place, _: &Given) -> io::Result<()> {
    call!(libc::SYS_personality, 0x0040_0000).map(drop) // READ_IMPLIES_EXEC
}

fn count_events(_: &Place, _: &Given) -> io::Result<()> {
    let mut attributes = [0_u32; 32];
    (attributes[0], attributes[1]) = (1, 128); // of software: the clock
    call!(libc::SYS_perf_event_open, attributes.as_ptr(), 0, -1, -1, 0).map(drop)
}
