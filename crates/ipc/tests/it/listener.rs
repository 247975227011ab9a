use std::{
    fs,
    io::ErrorKind,
    os::{
        fd::AsRawFd,
        unix::{fs::PermissionsExt, net::UnixListener},
    },
    path::PathBuf,
    thread,
    time::Duration,
};

use ipc::{Client, Connection, Listener, Peers, RecvError};
use proc_core::Process;
use test_support::watchdog;

const LIMIT: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

fn path(what: &str) -> PathBuf {
    std::env::temp_dir().join(format!("ipc-listener-{}-{what}", std::process::id()))
}

fn ask(path: String, question: u64) -> u64 {
    let connection: Connection<u64> = Client::connect(path).unwrap();
    connection.send(&question).unwrap();
    connection.recv().unwrap()
}

#[test]
fn strangers_connect_to_a_path() {
    let _dog = watchdog(LIMIT);
    let path = path("path");
    let listener = Listener::<u64>::bind(&path).unwrap();
    assert!(listener.try_accept().unwrap().is_none());
    assert!(listener.accept_timeout(SHORT).unwrap().is_none());
    let children = [1, 2, 3].map(|n| Process::spawn(ask, (path.to_str().unwrap().into(), n)).unwrap());
    for connection in listener.incoming().take(3) {
        let connection = connection.unwrap();
        connection.send(&(connection.recv().unwrap() * 10)).unwrap();
    }
    assert_eq!(children.map(|child| child.join().unwrap()), [10, 20, 30]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    drop(listener);
    assert!(!path.exists());
    assert_eq!(Client::connect::<u64>(&path).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn strangers_connect_to_an_abstract_name() {
    let _dog = watchdog(LIMIT);
    let name = format!("\0ipc-listener-{}", std::process::id());
    let listener = Listener::<u64>::bind(name.as_str()).unwrap();
    assert_eq!(Listener::<u64>::bind(name.as_str()).unwrap_err().kind(), ErrorKind::AddrInUse);
    let child = Process::spawn(ask, (name.clone(), 4)).unwrap();
    let connection = listener.accept_timeout(LIMIT).unwrap().unwrap();
    connection.send(&(connection.recv().unwrap() + 1)).unwrap();
    assert_eq!(child.join().unwrap(), 5);
    drop(listener);
    assert_eq!(Client::connect::<u64>(name).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

fn listen_and_hang(path: String, listens: ipc::Sender<()>) {
    let _listener = Listener::<u64>::bind(path).unwrap();
    listens.send(&()).unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn a_dead_listeners_path_is_taken_over_and_a_live_ones_is_not() {
    let _dog = watchdog(LIMIT);
    let path = path("stale");
    let (listens, is_listening) = ipc::channel().unwrap();
    let child = Process::spawn(listen_and_hang, (path.to_str().unwrap().into(), listens)).unwrap();
    is_listening.recv().unwrap();
    assert_eq!(Listener::<u64>::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
    // Waits to be accepted when the listener dies.
    let waiting = thread::spawn({
        let path = path.clone();
        move || Client::connect::<u64>(path).unwrap_err().kind()
    });
    assert_eq!(Client::connect_timeout::<u64>(&path, SHORT).unwrap_err().kind(), ErrorKind::TimedOut);
    child.kill().unwrap();
    assert!(child.join().is_err());
    assert!(matches!(waiting.join().unwrap(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset));
    assert!(path.exists());
    assert_eq!(Client::connect::<u64>(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    drop(Listener::<u64>::bind(&path).unwrap());
    assert!(!path.exists());
}

#[test]
fn what_is_no_abandoned_socket_is_left_alone() {
    let path = path("foreign");
    fs::write(&path, "a file").unwrap();
    assert_eq!(Listener::<u64>::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(fs::read(&path).unwrap(), b"a file");
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    assert_eq!(Listener::<u64>::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
    fs::remove_file(&path).unwrap();
}

#[test]
fn what_is_bound_and_does_not_listen_yet_is_left_alone() {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
    let path = path("bound");
    let other = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(other.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
    assert_eq!(Listener::<u64>::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(other);
    drop(Listener::<u64>::bind(&path).unwrap());
    assert!(!path.exists());
}

/// A directory of its own, and the path to listen at in there.
fn directory(what: &str) -> (PathBuf, PathBuf) {
    let dir = path(what);
    fs::create_dir(&dir).unwrap();
    (dir.clone(), dir.join("socket"))
}

#[test]
fn a_lock_on_the_directory_delays_nobody() {
    let _dog = watchdog(LIMIT);
    let (dir, path) = directory("locked");
    let stranger = fs::File::open(&dir).unwrap();
    stranger.lock().unwrap();
    for _ in 0..3 {
        let listener = Listener::<u64>::bind(&path).unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        drop(listener);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    }
    drop(stranger);
    fs::remove_dir(&dir).unwrap();
}

#[test]
fn what_lies_at_the_path_instead_is_neither_followed_nor_changed() {
    let (dir, path) = directory("replaced");
    let listener = Listener::<u64>::bind(&path).unwrap();
    let precious = dir.join("precious");
    fs::write(&precious, "").unwrap();
    fs::set_permissions(&precious, fs::Permissions::from_mode(0o600)).unwrap();
    // Who may write the directory does this.
    fs::rename(&path, dir.join("moved")).unwrap();
    std::os::unix::fs::symlink(&precious, &path).unwrap();
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let listener = listener.allow(Peers::Anyone).unwrap();
    assert_eq!((mode(&precious), mode(&dir.join("moved"))), (0o600, 0o666));
    drop(listener);
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink() && precious.exists());
    // And the next listener does not listen somewhere else.
    assert_eq!(Listener::<u64>::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn the_path_goes_though_the_working_directory_has_changed() {
    fn listen(dir: String) {
        std::env::set_current_dir(&dir).unwrap();
        let listener = Listener::<u64>::bind("socket").unwrap();
        std::env::set_current_dir("/").unwrap();
        drop(listener);
    }
    let (dir, path) = directory("relative");
    Process::spawn(listen, (dir.to_str().unwrap().into(),)).unwrap().join().unwrap();
    assert!(!path.exists());
    fs::remove_dir(&dir).unwrap();
}

/// Connects, and says nothing.
fn knock(path: &str) -> std::os::fd::OwnedFd {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
    connect(socket.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
    socket
}

/// Connects that often without being let in; holds the sockets until it is ended.
fn knock_as_nobody(path: String, n: usize, knocked: ipc::Sender<()>) {
    nix::unistd::setuid(nix::unistd::Uid::from_raw(65534)).unwrap();
    let _sockets: Vec<_> = (0..n).map(|_| knock(&path)).collect();
    knocked.send(&()).unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn clients_that_are_turned_away_prolong_no_wait() {
    let _dog = watchdog(LIMIT);
    if !nix::unistd::geteuid().is_root() {
        println!("(not root: without clients of another user)");
        return;
    }
    let path = path("flood");
    let listener = Listener::<u64>::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let (knocked, heard) = ipc::channel().unwrap();
    let flood = Process::spawn(knock_as_nobody, (path.to_str().unwrap().into(), 200, knocked)).unwrap();
    heard.recv().unwrap();
    // The one after the 200 may connect.
    let _mine = knock(path.to_str().unwrap());
    let n_looks = 1 + std::iter::repeat_with(|| listener.try_accept().unwrap()).take_while(Option::is_none).count();
    println!("200 turned away in {n_looks} looks");
    assert_eq!(n_looks, 4);
    flood.kill().unwrap();
    assert!(flood.join().is_err());
}

#[test]
fn a_listener_that_lost_its_path_does_not_remove_anothers() {
    let path = path("lost");
    let first = Listener::<u64>::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let second = Listener::<u64>::bind(&path).unwrap();
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());
}

/// Connects as another user; whether that user trusts the listener's, and what came of it.
fn connect_as_nobody(path: String, trusts: bool) -> Result<u64, String> {
    nix::unistd::setuid(nix::unistd::Uid::from_raw(65534)).unwrap();
    let peers = if trusts { Peers::User(0) } else { Peers::SameUser };
    let connection: Connection<u64> = Client::to(path).allow(peers).open().map_err(|e| e.kind().to_string())?;
    connection.recv().map_err(|e| e.to_string())
}

#[test]
fn users_are_told_apart() {
    let _dog = watchdog(LIMIT);
    if !nix::unistd::geteuid().is_root() {
        println!("(not root: without another user)");
        return;
    }
    let path = path("users");
    let listener = Listener::<u64>::bind(&path).unwrap();
    // Open the path by hand, so that only the credentials stand in the way.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let knock = |trusts| Process::spawn(connect_as_nobody, (path.to_str().unwrap().into(), trusts)).unwrap();
    let (one, other) = (knock(false), knock(true));
    assert_eq!(one.join().unwrap(), Err(ErrorKind::PermissionDenied.to_string()), "the client looks too");
    thread::scope(|s| {
        let accepted = s.spawn(|| listener.accept().unwrap());
        assert_eq!(other.join().unwrap(), Err(ErrorKind::ConnectionRefused.to_string()));
        // The one that is accepted is of this user.
        let mine = Client::connect::<u64>(&path).unwrap();
        mine.send(&1).unwrap();
        assert_eq!(accepted.join().unwrap().recv().unwrap(), 1);
    });
    let listener = listener.allow(Peers::User(65534)).unwrap();
    let welcome = knock(true);
    listener.accept().unwrap().send(&5).unwrap();
    assert_eq!(welcome.join().unwrap(), Ok(5));
}

#[test]
fn clients_that_say_nothing_or_die_delay_nobody() {
    let _dog = watchdog(LIMIT);
    let path = path("mute");
    let listener = Listener::<u64>::bind(&path).unwrap();
    use nix::sys::socket::send;
    let raw = || knock(path.to_str().unwrap());
    let (gone, mute, garbled) = (raw(), raw(), raw());
    drop(gone);
    for len in [0, 1, 7, 8, 9, 300] {
        send(garbled.as_raw_fd(), &vec![0xa5; len], nix::sys::socket::MsgFlags::empty()).unwrap();
    }
    let child = Process::spawn(ask, (path.to_str().unwrap().into(), 9)).unwrap();
    thread::scope(|scope| {
        let answered = scope.spawn(|| child.join().unwrap());
        while !answered.is_finished() {
            let Some(connection) = listener.accept_timeout(SHORT).unwrap() else { continue };
            scope.spawn(move || match connection.recv() {
                Ok(n) => connection.send(&n).unwrap(),
                Err(e) => assert!(matches!(e, RecvError::Closed), "{e}"),
            });
        }
        assert_eq!(answered.join().unwrap(), 9);
        drop((mute, garbled));
    });
}
