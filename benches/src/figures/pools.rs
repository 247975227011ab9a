//! Two workers, their tasks, and a map.

use std::{
    hint::black_box,
    io,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use pool::{ProcessPool, ThreadPool};
use proc_core::Process;
use rayon::prelude::*;

use crate::{
    crew::{self, Lane},
    figure::{Figure, Plan, Side},
    limits::{FutexWord, Slots},
    python,
    run::rate,
};

const N_WORKERS: usize = 2;
const N_ITEMS: u64 = 1_000_000;
const BY_LENGTH: &str = "efficiency of two workers by task length, µs";
const BY_WORKERS: &str = "tasks of 5 µs by workers";

fn nothing(n: u64) -> u64 {
    n
}

/// About 100 ns of arithmetic; never inlined, for it is up to twice as fast in some loops as in others.
#[inline(never)]
fn item(n: u64) -> u64 {
    (0..105).fold(n | 1, |x, _| black_box(x.wrapping_mul(6_364_136_223_846_793_005).rotate_left(17)))
}

fn work(n_units: u64) -> u64 {
    (0..n_units).fold(0, |sum, n| sum ^ item(n))
}

fn rayon_pool() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(N_WORKERS).build().expect("threads can be started")
}

fn processes() -> io::Result<Arc<ProcessPool>> {
    Ok(Arc::new(ProcessPool::new(N_WORKERS).map_err(io::Error::other)?))
}

fn threads() -> io::Result<Arc<ThreadPool>> {
    Ok(Arc::new(ThreadPool::new(N_WORKERS).map_err(io::Error::other)?))
}

/// Passes numbers from one ring to the other; whoever owns them ends it.
fn serve(there: Slots, back: Slots) {
    loop {
        back.put(nothing(there.get()));
    }
}

/// A pool's least: two processes that pass numbers on from one bare ring to another.
struct BareRings {
    there: Slots,
    back: Slots,
    workers: Vec<Process<()>>,
}

impl BareRings {
    /// As many as these wait for a worker or for their owner, at most: none waits for room in a ring.
    const N_UNDER_WAY: u64 = 1000;

    fn new() -> io::Result<Self> {
        let (there, back) = (Slots::new()?, Slots::new()?);
        let start = |_| Process::spawn(serve, (there.copy(), back.copy())).map_err(io::Error::other);
        let workers = (0..N_WORKERS).map(start).collect::<io::Result<_>>()?;
        Ok(Self { there, back, workers })
    }

    /// How many seconds it takes to give `n` numbers and have them back.
    fn seconds(n: u64) -> io::Result<f64> {
        // Made anew each time: its processes, who wait in turns for the processors, are to disturb nobody else.
        let rings = Self::new()?;
        rings.pass(N_WORKERS as u64);
        Ok(seconds(|| rings.pass(n)))
    }

    fn pass(&self, n: u64) -> u64 {
        let n_ahead = n.min(Self::N_UNDER_WAY);
        (0..n_ahead).for_each(|n| self.there.put(n));
        let sum = (n_ahead..n).fold(0, |sum, n| {
            self.there.put(n);
            self.back.get() + sum
        });
        (0..n_ahead).fold(sum, |sum, _| self.back.get() + sum)
    }
}

impl Drop for BareRings {
    fn drop(&mut self) {
        for worker in self.workers.drain(..) {
            let _ = worker.kill();
            let _ = worker.join();
        }
    }
}

/// How long `call` takes, in seconds.
fn seconds<R>(call: impl FnOnce() -> R) -> f64 {
    let begun = Instant::now();
    black_box(call());
    begun.elapsed().as_secs_f64()
}

/// The figures of this area.
pub fn plans() -> Vec<Plan> {
    let mut plans = vec![
        Plan::new("pool", "pool, tasks", tasks),
        Plan::new("pool", "pool, round trip, busy", round_trip),
        Plan::new("pool", "pool, round trip, asleep", round_trip_asleep),
        Plan::new("pool", "pool, map of 1e6", map),
    ];
    for n_units in [1, 5, 20, 50, 100, 500, 2000] {
        let plan = Plan::new("pool", format!("pool, tasks of {} µs", n_units as f64 / 10.0), move |name| {
            efficiency(name, n_units)
        });
        plans.push(plan.on(BY_LENGTH, n_units as f64 / 10.0));
    }
    for n_workers in [1, 2, 4, 8, 16] {
        let name = format!("pool, {n_workers} workers");
        let plan = Plan::new("pool", name, move |name| by_workers(name, n_workers));
        plans.push(plan.on(BY_WORKERS, n_workers as f64).thorough_only(n_workers > 4));
    }
    plans
}

fn tasks(name: String) -> io::Result<Figure> {
    let (processes, threads, rayon) = (processes()?, threads()?, rayon_pool());
    let threadpool = threadpool::ThreadPool::new(N_WORKERS);
    let procspawn = procspawn::Pool::new(N_WORKERS).map_err(io::Error::other)?;
    let n_at_once = |n: u64| n.min(20_000);
    let by_rayon = move |n: u64| {
        let give = |n| {
            let (sender, receiver) = mpsc::sync_channel(1);
            rayon.spawn(move || sender.send(nothing(n)).expect("somebody listens"));
            receiver
        };
        let tasks: Vec<_> = (0..n).map(give).collect();
        tasks.iter().map(|task| task.recv().expect("nothing fails")).sum::<u64>()
    };
    let in_turns = move |n: u64, once: &dyn Fn(u64) -> u64| {
        Ok(seconds(|| (0..n.div_ceil(n_at_once(n))).map(|_| once(n_at_once(n))).sum::<u64>()))
    };
    let figure = Figure::rate(name, "tasks/s")
        .case(
            Side::Ours,
            "ProcessPool",
            rate(move |n| {
                in_turns(n, &|n| {
                    let tasks: Vec<_> = (0..n).map(|n| processes.apply_async(nothing, (n,))).collect();
                    tasks.iter().map(|task| task.get().expect("nothing fails")).sum()
                })
            }),
        )
        .case(
            Side::Ours,
            "ThreadPool",
            rate(move |n| {
                in_turns(n, &|n| {
                    let tasks: Vec<_> = (0..n).map(|n| threads.apply_async(nothing, (n,))).collect();
                    tasks.iter().map(|task| task.get().expect("nothing fails")).sum()
                })
            }),
        )
        .case(Side::Rust, "rayon, a handle each", rate(move |n| in_turns(n, &by_rayon)))
        .case(
            Side::Rust,
            "threadpool, one channel",
            rate(move |n| {
                in_turns(n, &|n| {
                    let (sender, receiver) = mpsc::channel();
                    for n in 0..n {
                        let sender = sender.clone();
                        threadpool.execute(move || sender.send(nothing(n)).expect("somebody listens"));
                    }
                    drop(sender);
                    receiver.iter().sum()
                })
            }),
        )
        .case(
            Side::Rust,
            "procspawn",
            rate(move |n| {
                in_turns(n, &|n| {
                    let tasks: Vec<_> = (0..n).map(|n| procspawn::spawn!(in procspawn, (n) || nothing(n))).collect();
                    tasks.into_iter().map(|task| task.join().expect("nothing fails")).sum()
                })
            }),
        );
    Ok(python::add(
        figure.case(Side::Limit, "bare rings, two processes", rate(BareRings::seconds)),
        &[
            ("pool_tasks", "Python Pool"),
            ("thread_pool_tasks", "Python ThreadPool"),
            ("executor_tasks", "Python ProcessPoolExecutor"),
            ("loky_tasks", "loky"),
            ("billiard_tasks", "billiard Pool"),
            ("pebble_tasks", "pebble ProcessPool"),
        ],
    ))
}

fn round_trip(name: String) -> io::Result<Figure> {
    let (processes, threads, rayon) = (processes()?, threads()?, rayon_pool());
    let microseconds = |call: Box<dyn Fn()>| {
        let mut rate = rate(move |n| Ok(seconds(|| (0..n).for_each(|_| call()))));
        move |length: Duration| Ok(1e6 / rate(length)?)
    };
    let figure = Figure::cost(name, "µs")
        .case(
            Side::Ours,
            "ProcessPool",
            microseconds(Box::new(move || {
                black_box(processes.apply(nothing, (1,)).expect("nothing fails"));
            })),
        )
        .case(
            Side::Ours,
            "ThreadPool",
            microseconds(Box::new(move || {
                black_box(threads.apply(nothing, (1,)).expect("nothing fails"));
            })),
        )
        .case(
            Side::Rust,
            "rayon install",
            microseconds(Box::new(move || {
                black_box(rayon.install(|| nothing(1)));
            })),
        );
    let (there, back) = (Slots::new()?, Slots::new()?);
    let figure = figure.case(Side::Limit, "bare MPMC ring", move |length| {
        let n = (length.as_micros() / 2).max(10) as u64;
        crew::round_trip_processes(&there, &back, n, Duration::ZERO)
    });
    Ok(python::add(figure, &[("pool_round_trip", "Python Pool"), ("loky_round_trip", "loky")]))
}

/// One task, when everybody has slept for a while.
fn round_trip_asleep(name: String) -> io::Result<Figure> {
    const PAUSE: Duration = Duration::from_millis(1);
    fn microseconds(length: Duration, call: impl Fn()) -> f64 {
        let n = (length.as_micros() / (PAUSE.as_micros() + 150)).max(10) as u32;
        let once = || {
            std::thread::sleep(PAUSE);
            seconds(&call)
        };
        (0..n).map(|_| once()).sum::<f64>() / f64::from(n) * 1e6
    }
    let (processes, threads, rayon) = (processes()?, threads()?, rayon_pool());
    let (there, back) = (FutexWord::new()?, FutexWord::new()?);
    let figure = Figure::cost(name, "µs")
        .case(Side::Ours, "ProcessPool", move |length| {
            Ok(microseconds(length, || assert_eq!(processes.apply(nothing, (1,)).expect("nothing fails"), 1)))
        })
        .case(Side::Ours, "ThreadPool", move |length| {
            Ok(microseconds(length, || assert_eq!(threads.apply(nothing, (1,)).expect("nothing fails"), 1)))
        })
        .case(Side::Rust, "rayon install", move |length| {
            Ok(microseconds(length, || assert_eq!(rayon.install(|| nothing(1)), 1)))
        })
        .case(Side::Limit, "raw futex", move |length| {
            let n = (length.as_micros() / (PAUSE.as_micros() + 150)).max(10) as u64;
            crew::round_trip_processes(&there, &back, n, PAUSE)
        });
    Ok(figure)
}

fn map(name: String) -> io::Result<Figure> {
    let (processes, threads, rayon) = (processes()?, threads()?, rayon_pool());
    let figure = Figure::cost(name, "ms")
        .case(Side::Ours, "ProcessPool", move |_| {
            Ok(1e3 * seconds(|| processes.map(item, 0..N_ITEMS).expect("nothing fails")))
        })
        .case(Side::Ours, "ThreadPool", move |_| {
            Ok(1e3 * seconds(|| threads.map(item, 0..N_ITEMS).expect("nothing fails")))
        })
        .case(Side::Rust, "rayon par_iter", move |_| {
            let collect = || (0..N_ITEMS).into_par_iter().map(item).collect::<Vec<_>>();
            Ok(1e3 * seconds(|| rayon.install(collect)))
        })
        .case(Side::Limit, "half of serial", move |_| {
            Ok(1e3 * seconds(|| (0..N_ITEMS).map(item).collect::<Vec<_>>()) / N_WORKERS as f64)
        });
    Ok(python::add(figure, &[("pool_map", "Python Pool"), ("executor_map", "Python ProcessPoolExecutor")]))
}

/// The serial time over the time that two workers use, over two: 1 if nothing is lost.
fn efficiency(name: String, n_units: u64) -> io::Result<Figure> {
    let (processes, threads, rayon) = (processes()?, threads()?, rayon_pool());
    let efficiency = move |length: Duration, parallel: &dyn Fn(u64)| {
        let n = ((length.as_secs_f64() * 1e7 / 2.0) as u64 / n_units).clamp(8, 100_000);
        let serial = seconds(|| (0..n).map(|_| work(black_box(n_units))).fold(0, |sum, n| sum ^ n));
        Ok(serial / N_WORKERS as f64 / seconds(|| parallel(n)))
    };
    let figure = Figure::rate(name, "of serial time / 2")
        .case(Side::Ours, "ProcessPool", move |length| {
            efficiency(length, &|n| {
                let tasks: Vec<_> = (0..n).map(|_| processes.apply_async(work, (n_units,))).collect();
                tasks.iter().for_each(|task| {
                    black_box(task.get().expect("nothing fails"));
                });
            })
        })
        .case(Side::Ours, "ThreadPool", move |length| {
            efficiency(length, &|n| {
                let tasks: Vec<_> = (0..n).map(|_| threads.apply_async(work, (n_units,))).collect();
                tasks.iter().for_each(|task| {
                    black_box(task.get().expect("nothing fails"));
                });
            })
        })
        .case(Side::Rust, "rayon scope", move |length| {
            efficiency(length, &|n| {
                rayon.scope(|scope| {
                    (0..n).for_each(|_| {
                        scope.spawn(move |_| {
                            black_box(work(n_units));
                        })
                    })
                });
            })
        });
    Ok(figure.case(Side::Limit, "two threads, half each", move |length| {
        efficiency(length, &|n| {
            let half = || (0..n / 2).map(|_| work(black_box(n_units))).fold(0, |sum, n| sum ^ n);
            std::thread::scope(|scope| {
                let other = scope.spawn(half);
                black_box((half(), other.join().expect("it does not panic")));
            });
        })
    }))
}

/// Tasks of 5 µs: how many a second, beside what one thread manages of them alone.
fn by_workers(name: String, n_workers: usize) -> io::Result<Figure> {
    const N_UNITS: u64 = 50;
    let processes = ProcessPool::new(n_workers).map_err(io::Error::other)?;
    let threads = ThreadPool::new(n_workers).map_err(io::Error::other)?;
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(n_workers).build().map_err(io::Error::other)?;
    let figure = Figure::rate(name, "tasks/s")
        .case(
            Side::Ours,
            "ProcessPool",
            rate(move |n| {
                Ok(seconds(|| {
                    let tasks: Vec<_> = (0..n).map(|_| processes.apply_async(work, (N_UNITS,))).collect();
                    tasks.iter().map(|task| task.get().expect("nothing fails")).fold(0, |sum, n| sum ^ n)
                }))
            }),
        )
        .case(
            Side::Ours,
            "ThreadPool",
            rate(move |n| {
                Ok(seconds(|| {
                    let tasks: Vec<_> = (0..n).map(|_| threads.apply_async(work, (N_UNITS,))).collect();
                    tasks.iter().map(|task| task.get().expect("nothing fails")).fold(0, |sum, n| sum ^ n)
                }))
            }),
        )
        .case(
            Side::Rust,
            "rayon scope",
            rate(move |n| {
                Ok(seconds(|| {
                    rayon.scope(|scope| {
                        (0..n).for_each(|_| {
                            scope.spawn(move |_| {
                                black_box(work(black_box(N_UNITS)));
                            })
                        });
                    });
                }))
            }),
        );
    Ok(figure.case(
        Side::Limit,
        "one thread, serially",
        rate(move |n| Ok(seconds(|| (0..n).map(|_| work(black_box(N_UNITS))).fold(0, |sum, n| sum ^ n)))),
    ))
}
