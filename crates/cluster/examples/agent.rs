//! Both sides of a cluster in one program.
//!
//! `cargo run -p cluster --example agent` starts a server and two agents here, and has them work.
//! `… -- nats://HOST:4222 --slots 8` is an agent of that server, until it is terminated.
//! `… -- --run nats://HOST:4222` gives work to all agents of that server that are this program.

use std::{env, error::Error, time::Instant};

use cluster::{Agent, ClusterPool};

fn is_prime(n: u64) -> bool {
    n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => work(&ClusterPool::local(2)?),
        ["--run", url] => work(&ClusterPool::connect(url)?),
        [url] => Ok(Agent::builder(url).serve()?),
        [url, "--slots", n] => Ok(Agent::builder(url).slots(n.parse()?).serve()?),
        _ => Err("usage: agent [URL [--slots N] | --run URL]".into()),
    }
}

fn work(pool: &ClusterPool) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let n_primes = pool.map(is_prime, 0..100_000_u64)?.into_iter().filter(|is_prime| *is_prime).count();
    for host in pool.hosts() {
        println!("{} (pid {}) with {} slots", host.name, host.pid, host.n_slots);
    }
    println!("{n_primes} primes below 100,000, in {:.2?}", begun.elapsed());
    pool.close();
    Ok(pool.join()?)
}
