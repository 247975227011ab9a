//! What a process of a storm is for.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use ipc::{Client, Listener, Manager};
use pool::ProcessPool;
use proc_core::{
    Process,
    daemon::Daemonize,
    supervisor::{ChildSpec, Restart, Supervisor},
};
use serde::{Deserialize, Serialize};

use super::{
    books::{ACKNOWLEDGED, BEGUN, ERRAND, Word},
    random::Random,
    world::{SOON, World},
};
use crate::operation::Verdict;

/// Those of one process each, and those that have others of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Role {
    Producer,
    Consumer,
    Holder,
    Waiter,
    Anything,
    /// Of processes by a fork server, which has spares.
    Starter,
    PoolOwner,
    ManagerOwner,
    Supervisor,
    Listener,
    Client,
    Daemon,
}

impl Role {
    pub(super) const ALL: [Self; 12] = [
        Self::Producer,
        Self::Consumer,
        Self::Holder,
        Self::Waiter,
        Self::Anything,
        Self::Starter,
        Self::PoolOwner,
        Self::ManagerOwner,
        Self::Supervisor,
        Self::Listener,
        Self::Client,
        Self::Daemon,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Holder => "holder",
            Self::Waiter => "waiter",
            Self::Anything => "anything",
            Self::Starter => "starter",
            Self::PoolOwner => "pool owner",
            Self::ManagerOwner => "manager owner",
            Self::Supervisor => "supervisor",
            Self::Listener => "listener",
            Self::Client => "client",
            Self::Daemon => "daemon",
        }
    }

    /// Does what the role does until the round is over.
    pub(super) fn play(self, world: World, name: &str, seed: u64) -> Verdict {
        match self {
            Self::Starter => start(&world),
            Self::PoolOwner => own_pool(world, seed),
            Self::ManagerOwner => own_manager(&world),
            Self::Supervisor => supervise(&world, seed),
            Self::Listener => listen(&world, name),
            Self::Client => connect(&world, name),
            Self::Daemon => daemonize(world, name, seed),
            _ => self.use_world(&world, seed),
        }
    }

    fn use_world(self, world: &World, seed: u64) -> Verdict {
        let mut random = Random::new(seed);
        while !world.books.is_over() {
            match self {
                Self::Producer => world.put(64),
                Self::Consumer => world.get(64, true),
                Self::Holder if random.below(2) == 0 => world.change_pair(),
                Self::Holder => world.change_rows(true),
                Self::Waiter => world.wait(random.below(6)),
                _ => world.do_something(&mut random),
            }?;
        }
        Ok(())
    }
}

/// In a supervisor's child.
fn use_world(role: Role, world: World, seed: u64) {
    if role.use_world(&world, seed).is_err() {
        world.books.count(Word::Wrong);
    }
}

/// Who was sent with this value has done what it was sent for.
fn run_errand(world: &World, value: u64) -> u64 {
    world.books.take(value);
    value
}

fn run_one_errand(world: World, value: u64) -> u64 {
    run_errand(&world, value)
}

fn start(world: &World) -> Verdict {
    while !world.books.is_over() {
        let Some(value) = world.books.new_value(BEGUN | ERRAND) else { break };
        if let Ok(process) = Process::spawn(run_one_errand, (world.clone(), value))
            && process.join().is_ok_and(|back| back == value)
        {
            world.books.note(value, ACKNOWLEDGED);
        }
    }
    Ok(())
}

static WORLD: OnceLock<World> = OnceLock::new();

fn run_errand_in_pool(value: u64) -> u64 {
    WORLD.get().map_or(u64::MAX, |world| run_errand(world, value))
}

fn own_pool(world: World, seed: u64) -> Verdict {
    let pool = || {
        let builder = ProcessPool::builder().workers(2);
        builder.initializer(|world: World| drop(WORLD.set(world)), (world.clone(),)).build()
    };
    let mut random = Random::new(seed);
    let mut at = pool().map_err(|e| format!("a pool: {e}"))?;
    while !world.books.is_over() {
        let values: Vec<u64> = (0..=random.below(100)).map_while(|_| world.books.new_value(BEGUN | ERRAND)).collect();
        if values.is_empty() {
            break;
        }
        let tasks: Vec<_> = values.iter().map(|value| at.apply_async(run_errand_in_pool, (*value,))).collect();
        for (task, value) in tasks.into_iter().zip(values) {
            match task.get_timeout(Duration::from_secs(20)) {
                Ok(back) if back == value => world.books.note(value, ACKNOWLEDGED),
                Ok(other) => return Err(format!("task {value} returned {other}")),
                Err(pool::TaskError::WorkerDied { .. }) => {}
                Err(pool::TaskError::TimedOut) => return Err(format!("WEDGED: task {value} has no end")),
                // A pool whose workers cannot be started for a long time gives up.
                Err(pool::TaskError::Broken(_)) => {
                    at = pool().map_err(|e| format!("a pool: {e}"))?;
                    break;
                }
                Err(e) => return Err(format!("task {value}: {e}")),
            }
        }
    }
    Ok(())
}

fn own_manager(world: &World) -> Verdict {
    while !world.books.is_over() {
        let Ok(manager) = Manager::new() else { continue };
        let Ok(counter) = manager.counter(0) else { continue };
        let mut done = 0;
        while !world.books.is_over() {
            match counter.increment() {
                Ok(n) if n == done + 1 => done = n,
                Ok(n) => return Err(format!("{n} after {done} increments")),
                // Its server was killed.
                Err(_) => break,
            }
        }
    }
    Ok(())
}

fn supervise(world: &World, seed: u64) -> Verdict {
    let child = |id: &'static str, role: Role| {
        ChildSpec::new(id, use_world, (role, world.clone(), seed)).restart(Restart::Permanent)
    };
    while !world.books.is_over() {
        let supervisor = Supervisor::builder()
            .intensity(1000, Duration::from_secs(1))
            .child(child("producer", Role::Producer))
            .child(child("consumer", Role::Consumer))
            .start();
        let Ok(supervisor) = supervisor else { continue };
        while !world.books.is_over() && supervisor.which_children().is_ok() {
            std::thread::sleep(10 * SOON);
        }
        let _ = supervisor.stop();
    }
    Ok(())
}

/// The listeners of a storm have one name; who comes second tries again.
fn listen(world: &World, name: &str) -> Verdict {
    let address = ipc::Address::Abstract(name.as_bytes().to_vec());
    while !world.books.is_over() {
        let Ok(listener) = Listener::<u64>::bind(address.clone()) else {
            std::thread::sleep(SOON);
            continue;
        };
        while !world.books.is_over() {
            let Ok(Some(client)) = listener.accept_timeout(10 * SOON) else { continue };
            while let Ok(value) = client.recv_timeout(100 * SOON) {
                if !world.books.take(value) {
                    return Err(format!("{value:#x} came from a client"));
                }
                if client.send_timeout(&value, 100 * SOON).is_err() {
                    break;
                }
            }
        }
    }
    Ok(())
}

fn connect(world: &World, name: &str) -> Verdict {
    let address = ipc::Address::Abstract(name.as_bytes().to_vec());
    while !world.books.is_over() {
        let Ok(server) = Client::connect_timeout::<u64>(address.clone(), 100 * SOON) else {
            std::thread::sleep(SOON);
            continue;
        };
        for _ in 0..100 {
            let Some(value) = world.books.new_value(BEGUN | ERRAND) else { return Ok(()) };
            if server.send_timeout(&value, 100 * SOON).is_err() {
                break;
            }
            match server.recv_timeout(100 * SOON) {
                Ok(back) if back == value => world.books.note(value, ACKNOWLEDGED),
                Ok(other) => return Err(format!("{other} answers {value}")),
                Err(_) => break,
            }
        }
    }
    Ok(())
}

/// Several of a storm want to be the daemon that has the pid file; one is.
fn daemonize(world: World, name: &str, seed: u64) -> Verdict {
    let pid_file = std::env::temp_dir().join(name);
    let world = Arc::new(world);
    while !world.books.is_over() {
        let at_work = Arc::clone(&world);
        let started = Daemonize::new().pid_file(&pid_file).run(move |ready| {
            ready.notify();
            Role::Anything.use_world(&at_work, seed).inspect_err(|_| at_work.books.count(Word::Wrong))
        });
        if started.is_err() {
            std::thread::sleep(SOON);
        }
    }
    Ok(())
}
