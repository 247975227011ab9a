use std::{collections::HashMap, thread, time::Duration};

use ipc::{Counter, Dict, List, Manager, ManagerError, Namespace, Proxy, Queue, Sender, channel};
use proc_core::{Process, handover::Fd};
use serde::{Deserialize, Serialize};
use test_support::watchdog;

const LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Serialize, Deserialize, Debug, PartialEq)]
struct Account {
    owner: String,
    balance: i64,
}

impl Account {
    fn deposit(&mut self, amount: i64) -> i64 {
        self.balance += amount;
        self.balance
    }

    fn owner(&self) -> String {
        self.owner.clone()
    }

    fn rob(&mut self, how: String) {
        self.balance = -1;
        panic!("robbed with a {how}");
    }
}

fn account(manager: &Manager) -> Proxy<Account> {
    manager.create(Account { owner: "Ada".into(), balance: 1 }).unwrap()
}

fn work(account: Proxy<Account>, list: List<u32>, dict: Dict<String, u64>, hits: Counter, names: Namespace, me: u32) {
    for _ in 0..200 {
        account.call(Account::deposit, (1,)).unwrap();
        hits.increment().unwrap();
    }
    list.push(me).unwrap();
    dict.insert(format!("child {me}"), u64::from(me)).unwrap();
    names.set(&format!("from {me}"), &(me, "done")).unwrap();
}

#[test]
fn objects_are_shared_by_processes() {
    let _dog = watchdog(LIMIT);
    let manager = Manager::new().unwrap();
    let account = account(&manager);
    let (list, dict) = (manager.list().unwrap(), manager.dict().unwrap());
    let (hits, names) = (manager.counter(0).unwrap(), manager.namespace().unwrap());
    let children = [1, 2, 3].map(|n| {
        let args = (account.clone(), list.clone(), dict.clone(), hits.clone(), names.clone(), n);
        Process::spawn(work, args).unwrap()
    });
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(account.get().unwrap(), Account { owner: "Ada".into(), balance: 601 });
    assert_eq!(account.call(Account::owner, ()).unwrap(), "Ada");
    assert_eq!(hits.get().unwrap(), 600);
    list.sort().unwrap();
    assert_eq!(list.to_vec().unwrap(), [1, 2, 3]);
    assert_eq!(dict.to_map().unwrap(), (1..=3).map(|n| (format!("child {n}"), n)).collect::<HashMap<_, _>>());
    assert_eq!(names.names().unwrap(), ["from 1", "from 2", "from 3"]);
    assert_eq!(names.get::<(u32, String)>("from 2").unwrap(), Some((2, "done".into())));
}

#[test]
fn collections_do_what_their_namesakes_do() {
    let _dog = watchdog(LIMIT);
    let manager = Manager::new().unwrap();
    let dict: Dict<u8, String> = manager.dict().unwrap();
    assert!(dict.is_empty().unwrap());
    assert_eq!(dict.insert(1, "one".into()).unwrap(), None);
    assert_eq!(dict.insert(1, "eins".into()).unwrap().as_deref(), Some("one"));
    assert_eq!(dict.get_or_insert(2, "two".into()).unwrap(), "two");
    dict.extend([(3, "three".into()), (4, "four".into())]).unwrap();
    assert_eq!((dict.len().unwrap(), dict.contains_key(3).unwrap(), dict.contains_key(9).unwrap()), (4, true, false));
    assert_eq!((dict.get(9).unwrap(), dict.remove(4).unwrap().as_deref()), (None, Some("four")));
    let mut keys = dict.keys().unwrap();
    keys.sort();
    assert_eq!(keys, [1, 2, 3]);
    dict.clear().unwrap();
    assert_eq!(dict.values().unwrap(), [] as [String; 0]);

    let list: List<i32> = manager.list().unwrap();
    list.extend([3, 1, 2]).unwrap();
    assert_eq!((list.set(0, 9).unwrap(), list.set(7, 9).unwrap(), list.get(0).unwrap()), (Some(3), None, Some(9)));
    assert_eq!((list.remove(1).unwrap(), list.remove(5).unwrap(), list.pop().unwrap()), (Some(1), None, Some(2)));
    assert!(list.proxy().call(|list: &Vec<i32>, n: i32| list.contains(&n), (9,)).unwrap());
    list.clear().unwrap();
    assert_eq!((list.len().unwrap(), list.is_empty().unwrap(), list.get(0).unwrap()), (0, true, None));

    let counter = manager.counter(5).unwrap();
    assert_eq!((counter.add(-7).unwrap(), counter.set(1).unwrap(), counter.get().unwrap()), (-2, -2, 1));
    let names = manager.namespace().unwrap();
    names.set("n", &1_u64).unwrap();
    assert!(matches!(names.get::<String>("n"), Err(ManagerError::Decode(_))));
    assert_eq!(
        (names.get::<u64>("m").unwrap(), names.remove("n").unwrap(), names.remove("n").unwrap()),
        (None, true, false)
    );
}

#[test]
fn a_panic_is_its_callers_error() {
    let _dog = watchdog(LIMIT);
    let manager = Manager::new().unwrap();
    let account = account(&manager);
    let Err(ManagerError::Panicked(panic)) = account.call(Account::rob, ("spoon".into(),)) else { panic!("no panic") };
    assert_eq!(panic.message, "robbed with a spoon");
    assert_eq!(account.call(Account::deposit, (2,)).unwrap(), 1, "as the panic left it");
    let made = manager.create_with(|n: u32| if n == 0 { panic!("nothing") } else { n }, (0,));
    assert!(matches!(made, Err(ManagerError::Panicked(_))));
}

#[test]
fn handles_travel_as_arguments() {
    let _dog = watchdog(LIMIT);
    let manager = Manager::new().unwrap();
    let log = manager.create_with(Vec::<Sender<u32>>::new, ()).unwrap();
    let (tx, rx) = channel::<u32>().unwrap();
    log.call(|log: &mut Vec<Sender<u32>>, tx: Sender<u32>| log.push(tx), (tx,)).unwrap();
    log.call(|log: &mut Vec<Sender<u32>>, n: u32| log.iter().for_each(|tx| tx.send(&n).unwrap()), (7,)).unwrap();
    assert_eq!(rx.recv().unwrap(), 7);
    let null = std::fs::File::open("/dev/null").unwrap();
    log.call(|_: &mut Vec<Sender<u32>>, fd: Fd| drop(fd), (null.into(),)).unwrap();
    // An object goes with its last proxy, and takes with it what it holds.
    let other = log.clone();
    drop(log);
    other.call(|log: &mut Vec<Sender<u32>>| log[0].send(&8).unwrap(), ()).unwrap();
    assert_eq!(rx.recv().unwrap(), 8);
    drop(other);
    assert!(rx.recv().is_err());
}

fn hold(proxy: Proxy<Vec<Sender<u32>>>, holds: Sender<()>) {
    assert_eq!(proxy.call(Vec::len, ()).unwrap(), 1);
    holds.send(&()).unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn a_killed_holders_objects_go() {
    let _dog = watchdog(LIMIT);
    let manager = Manager::new().unwrap();
    let (tx, rx) = channel::<u32>().unwrap();
    let (holds, is_held) = channel().unwrap();
    let object = manager.create_with(|tx: Sender<u32>| vec![tx], (tx,)).unwrap();
    let child = Process::spawn(hold, (object, holds)).unwrap();
    is_held.recv().unwrap();
    assert!(matches!(rx.recv_timeout(Duration::from_millis(20)), Err(ipc::RecvTimeoutError::TimedOut)));
    child.kill().unwrap();
    assert!(matches!(rx.recv(), Err(ipc::RecvError::Closed)));
}

#[test]
fn a_killed_server_is_an_error_at_once() {
    let _dog = watchdog(LIMIT);
    let manager = Manager::new().unwrap();
    let counter = manager.counter(1).unwrap();
    let pid = nix::unistd::Pid::from_raw(manager.pid().unwrap().cast_signed());
    // In the middle of a call.
    let sleeper = manager.create(0_u8).unwrap();
    let (begun, has_begun) = channel().unwrap();
    thread::scope(|s| {
        let call = s.spawn(|| {
            let method = |_: &mut u8, begun: Sender<()>| {
                begun.send(&()).unwrap();
                loop {
                    thread::park();
                }
            };
            sleeper.call::<_, _, ipc::manager::ByMut>(method, (begun,)).map(|(): ()| ())
        });
        has_begun.recv().unwrap();
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        assert!(matches!(call.join().unwrap(), Err(ManagerError::Closed)));
    });
    assert!(matches!(counter.get(), Err(ManagerError::Closed)));
    assert!(matches!(manager.counter(0), Err(ManagerError::Closed)));
}

#[test]
fn the_server_ends_with_its_last_handle() {
    let _dog = watchdog(LIMIT);
    let manager = Manager::new().unwrap();
    let counter = manager.counter(1).unwrap();
    let server = kernel::identity::ProcessId::of(manager.pid().unwrap()).unwrap();
    drop(manager);
    assert_eq!(counter.get().unwrap(), 1);
    drop(counter);
    while server.is_alive() {
        thread::yield_now();
    }
}

fn call_until_killed(account: Proxy<Account>, begun: Sender<()>) {
    for n in 0.. {
        account.call(Account::deposit, (1,)).unwrap();
        if n == 3 {
            begun.send(&()).unwrap();
        }
    }
}

#[test]
fn killed_callers_disturb_nobody() {
    let _dog = watchdog(LIMIT);
    let manager = Manager::new().unwrap();
    let account = account(&manager);
    for _ in 0..30 {
        let (begun, has_begun) = channel().unwrap();
        let child = Process::spawn(call_until_killed, (account.clone(), begun)).unwrap();
        has_begun.recv().unwrap();
        child.kill().unwrap();
        assert!(child.join().is_err());
        let before = account.get().unwrap().balance;
        assert!(account.call(Account::deposit, (1,)).unwrap() > before);
    }
    manager.shutdown().unwrap();
    assert!(matches!(account.get(), Err(ManagerError::Closed)));
}

#[test]
fn threads_call_at_once() {
    let _dog = watchdog(LIMIT);
    let manager = Manager::new().unwrap();
    let counter = manager.counter(0).unwrap();
    thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                for _ in 0..200 {
                    counter.increment().unwrap();
                }
            });
        }
    });
    assert_eq!(counter.get().unwrap(), 800);
}

fn pass_on(manager: Manager) -> Proxy<Account> {
    account(&manager)
}

#[test]
fn a_manager_can_be_handed_over() {
    let _dog = watchdog(LIMIT);
    let manager = Manager::new().unwrap();
    let shared = manager.dict::<String, i64>().unwrap();
    let child = Process::spawn(
        |manager: Manager, shared: Dict<String, i64>| {
            let account = pass_on(manager);
            shared.insert("balance".into(), account.call(Account::deposit, (4,)).unwrap()).unwrap();
        },
        (manager.clone(), shared.clone()),
    );
    child.unwrap().join().unwrap();
    assert_eq!(shared.get("balance".into()).unwrap(), Some(5));
}

#[test]
fn proxies_inside_objects_come_back() {
    fn push_inside(dict: Dict<String, List<u32>>) {
        dict.get("list".into()).unwrap().unwrap().push(2).unwrap();
    }
    let _dog = watchdog(LIMIT);
    let manager = Manager::new().unwrap();
    let dict = manager.dict::<String, List<u32>>().unwrap();
    let list = manager.list().unwrap();
    list.push(1).unwrap();
    dict.insert("list".into(), list).unwrap();
    Process::spawn(push_inside, (dict.clone(),)).unwrap().join().unwrap();
    assert_eq!(dict.get("list".into()).unwrap().unwrap().to_vec().unwrap(), [1, 2]);
    // Called where it is.
    let len = |dict: &std::collections::HashMap<String, List<u32>>| dict["list"].len().unwrap();
    assert_eq!(dict.proxy().call(len, ()).unwrap(), 2);
    let outer = manager.namespace().unwrap();
    outer.set("dict", &dict).unwrap();
    let inner = outer.get::<Dict<String, List<u32>>>("dict").unwrap().unwrap();
    assert_eq!(inner.to_map().unwrap()["list"].len().unwrap(), 2);
}

#[test]
fn proxies_inside_objects_keep_no_server() {
    let _dog = watchdog(LIMIT);
    let manager = Manager::new().unwrap();
    let server = format!("/proc/{}", manager.pid().unwrap());
    let namespace = manager.namespace().unwrap();
    let lists = manager.list::<ipc::Namespace>().unwrap();
    // Each in the other.
    lists.push(namespace.clone()).unwrap();
    namespace.set("lists", &lists).unwrap();
    drop((manager, namespace, lists));
    while std::path::Path::new(&server).exists() {
        std::thread::yield_now();
    }
}

/// An object that has a proxy, and a way past its manager.
#[derive(Clone, Serialize, Deserialize)]
struct Leak(List<u32>, Queue<List<u32>>);

impl Leak {
    fn send(&self) -> String {
        self.1.put(self.0.clone()).map_or_else(|e| e.to_string(), |()| "sent".into())
    }

    fn give(&self) -> List<u32> {
        self.0.clone()
    }
}

#[test]
fn a_proxy_leaves_its_server_by_what_a_method_returns_alone() {
    let _dog = watchdog(LIMIT);
    let manager = Manager::new().unwrap();
    let queue = Queue::new(1).unwrap();
    let leak = manager.create(Leak(manager.list().unwrap(), queue.clone())).unwrap();
    let said = leak.call(Leak::send, ()).unwrap();
    assert!(
        said.contains("cannot travel from within its own manager's server; it can as what a method returns"),
        "{said}"
    );
    assert!(queue.is_empty());
    let list = leak.call(Leak::give, ()).unwrap();
    list.push(1).unwrap();
    assert_eq!(list.len().unwrap(), 1);
}
