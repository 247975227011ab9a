//! The crate `ipc-channel`. Its ends travel through its own channels only, and those are found by name.

use std::{io, time::Duration};

use ipc_channel::ipc::{IpcOneShotServer, IpcReceiver, IpcSender, channel};
use proc_core::Process;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    crew::{Gate, Span, arrive, elapsed, gate, now},
    figures::queue::number_in,
};

type Sender = IpcSender<Vec<u8>>;
type Receiver = IpcReceiver<Vec<u8>>;

fn message(n: u64, len: usize) -> Vec<u8> {
    let mut message = vec![1; len];
    message[..8].copy_from_slice(&n.to_le_bytes());
    message
}

/// In the other process: gives the owner a channel's sender.
fn introduce<T: Serialize + DeserializeOwned>(name: String) -> IpcReceiver<T> {
    let (sender, receiver) = channel().expect("there are descriptors left");
    IpcSender::connect(name).and_then(|owner| owner.send(sender).map_err(io::Error::other)).expect("the owner waits");
    receiver
}

fn consumer(name: String, gate: Gate, n: u64) -> Span {
    let receiver: Receiver = introduce(name);
    arrive(&gate, 2);
    let begin = now();
    (0..n).for_each(|_| {
        number_in(&receiver.recv().expect("the producer lives"));
    });
    (begin, now())
}

fn producer(name: String, gate: Gate, n: u64, len: usize) -> Span {
    let sender: Sender = introduce::<Sender>(name).recv().expect("the owner sends one");
    let message = message(0, len);
    arrive(&gate, 2);
    let begin = now();
    (0..n).for_each(|_| sender.send(message.clone()).expect("the consumer lives"));
    (begin, now())
}

fn met<T: Serialize + DeserializeOwned + 'static, R: 'static>(
    start: impl FnOnce(String) -> io::Result<Process<R>>,
) -> io::Result<(Process<R>, IpcSender<T>)> {
    let (server, name) = IpcOneShotServer::<IpcSender<T>>::new()?;
    let process = start(name)?;
    let (_, sender) = server.accept().map_err(io::Error::other)?;
    Ok((process, sender))
}

/// How many seconds `n` messages of `len` bytes take from one process to another.
///
/// # Errors
/// If a process cannot be started, or dies.
pub fn messages(len: usize, n: u64) -> io::Result<f64> {
    let gate = gate()?;
    let consume = |name| Process::spawn(consumer, (name, gate.clone(), n)).map_err(io::Error::other);
    let (consumer, to_consumer) = met::<Vec<u8>, _>(consume)?;
    let produce = |name| Process::spawn(producer, (name, gate.clone(), n, len)).map_err(io::Error::other);
    let (producer, to_producer) = met::<Sender, _>(produce)?;
    to_producer.send(to_consumer).map_err(io::Error::other)?;
    let spans = [consumer.join().map_err(io::Error::other)?, producer.join().map_err(io::Error::other)?];
    Ok(elapsed(&spans))
}

fn echo(name: String) {
    let there: IpcReceiver<(u64, Option<IpcSender<u64>>)> = introduce(name);
    let mut back = None;
    while let Ok((n, sender)) = there.recv() {
        back = sender.or(back);
        back.as_ref().expect("the first message brings it").send(n).expect("the owner lives");
    }
}

/// A number's way to another process and back, in microseconds; with `pause` before each.
///
/// # Errors
/// If the process cannot be started, or dies.
pub fn round_trip(n: u64, pause: Duration) -> io::Result<f64> {
    let (process, there) = met(|name| Process::spawn(echo, (name,)).map_err(io::Error::other))?;
    let (back, receiver) = channel::<u64>()?;
    let mut back = Some(back);
    let mut total = 0;
    for n in 0..n {
        std::thread::sleep(pause);
        let begin = now();
        there.send((n, back.take())).map_err(io::Error::other)?;
        assert_eq!(receiver.recv().map_err(io::Error::other)?, n);
        total += now() - begin;
    }
    drop(there);
    process.join().map_err(io::Error::other)?;
    Ok(total as f64 / n as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_there_and_back() {
        assert!(messages(256, 100).unwrap() > 0.0);
        assert!(round_trip(10, Duration::ZERO).unwrap() > 0.0);
    }
}
