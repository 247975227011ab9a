//! Messages through iceoryx2's publish-subscribe, nothing dropped, with polling on both sides.
//!
//! `iceoryx2-peer messages BYTES N` prints the seconds that `N` messages take from one process to another, and
//! `iceoryx2-peer round-trip BYTES N` the microseconds of one there and back.

use std::{
    error::Error,
    process::{Command, Stdio},
    time::Instant,
};

use iceoryx2::{
    port::{publisher::Publisher, subscriber::Subscriber},
    prelude::*,
    service::port_factory::publish_subscribe,
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;
type Output = Publisher<ipc::Service, [u8], ()>;
type Input = Subscriber<ipc::Service, [u8], ()>;
type Lane = publish_subscribe::PortFactory<ipc::Service, [u8], ()>;

fn main() -> Outcome {
    set_log_level(LogLevel::Fatal);
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [what, len, n, rest @ ..] = &args[..] else { return Err("usage: messages|round-trip BYTES N".into()) };
    let (len, n) = (len.parse()?, n.parse()?);
    let name = rest.first().cloned().unwrap_or_else(|| format!("bench-{}", std::process::id()));
    let node = NodeBuilder::new().create::<ipc::Service>()?;
    let there = lane(&node, &format!("{name}-there"), len)?;
    match what.as_str() {
        "messages" => {
            let input = input(&there)?;
            let mut producer = another("produce", len, n, &name)?;
            // The first one says that the producer is there.
            take(&input)?;
            let begun = Instant::now();
            for _ in 0..n {
                take(&input)?;
            }
            println!("{:.9}", begun.elapsed().as_secs_f64());
            drop(input);
            producer.wait()?;
        }
        "produce" => {
            let output = output(&there, len)?;
            (0..=n).try_for_each(|n| put(&output, len, n))?;
            // What it has put goes with it.
            until(|| Ok(there.dynamic_config().number_of_subscribers() == 0))?;
        }
        "round-trip" => {
            let back = lane(&node, &format!("{name}-back"), len)?;
            let (output, input) = (output(&there, len)?, input(&back)?);
            let mut echo = another("echo", len, n, &name)?;
            until(|| Ok(there.dynamic_config().number_of_subscribers() == 1))?;
            let once = |n| {
                put(&output, len, n)?;
                take(&input)
            };
            (0..n / 10).try_for_each(|n| once(n).map(drop))?;
            let begun = Instant::now();
            (0..n).try_for_each(|n| once(n).map(drop))?;
            println!("{:.6}", begun.elapsed().as_secs_f64() / n as f64 * 1e6);
            drop(input);
            echo.wait()?;
        }
        "echo" => {
            let back = lane(&node, &format!("{name}-back"), len)?;
            let output = output(&back, len)?;
            let input = input(&there)?;
            (0..n + n / 10).try_for_each(|_| put(&output, len, take(&input)?))?;
            until(|| Ok(back.dynamic_config().number_of_subscribers() == 0))?;
        }
        _ => return Err(format!("there is nothing called {what:?}").into()),
    }
    Ok(())
}

fn another(what: &str, len: usize, n: u64, name: &str) -> Outcome<std::process::Child> {
    let args = [what.to_owned(), len.to_string(), n.to_string(), name.to_owned()];
    Ok(Command::new(std::env::current_exe()?).args(args).stdout(Stdio::null()).spawn()?)
}

/// Where up to 1024 messages wait, or 8 large ones.
fn lane(node: &Node<ipc::Service>, name: &str, len: usize) -> Outcome<Lane> {
    let capacity = if len > 64 * 1024 { 8 } else { 1024 };
    let lane = node.service_builder(&name.try_into()?).publish_subscribe::<[u8]>();
    let lane = lane.enable_safe_overflow(false).subscriber_max_buffer_size(capacity).history_size(0);
    Ok(lane.max_publishers(1).max_subscribers(1).max_nodes(2).open_or_create()?)
}

fn output(lane: &Lane, len: usize) -> Outcome<Output> {
    let output = lane.publisher_builder().initial_max_slice_len(len);
    Ok(output.backpressure_strategy(BackpressureStrategy::RetryUntilDelivered).create()?)
}

fn input(lane: &Lane) -> Outcome<Input> {
    Ok(lane.subscriber_builder().create()?)
}

/// Fills a message in place, which is all the copying there is.
fn put(output: &Output, len: usize, n: u64) -> Outcome {
    loop {
        let mut message = output.loan_slice_uninit(len)?;
        let bytes = message.payload_mut();
        bytes.fill(std::mem::MaybeUninit::new(n as u8));
        for (byte, new) in bytes.iter_mut().zip(n.to_le_bytes()) {
            byte.write(new);
        }
        // SAFETY: all of it has just been written.
        let n_receivers = unsafe { message.assume_init() }.send()?;
        // It is dropped after all if the buffer is full before the receiver has noticed its sender.
        if n_receivers == 1 {
            return Ok(());
        }
    }
}

/// Waits for a message and looks at both of its ends.
fn take(input: &Input) -> Outcome<u64> {
    for n_polls in 0_u64.. {
        if let Some(message) = input.receive()? {
            let bytes = message.payload();
            std::hint::black_box(bytes[bytes.len() - 1]);
            return Ok(u64::from_le_bytes(bytes[..8].try_into()?));
        }
        // As the bare rings do.
        if n_polls < 2000 { std::hint::spin_loop() } else { std::thread::yield_now() }
    }
    unreachable!("it polls for ever")
}

fn until(mut is_so: impl FnMut() -> Outcome<bool>) -> Outcome {
    while !is_so()? {
        std::thread::yield_now();
    }
    Ok(())
}
