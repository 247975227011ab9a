//! Every future of the workspace under tokio, under the executor and the reactor that smol is made of, and under one
//! written by hand; and our descriptors in the reactors of both.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    future::IntoFuture,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use ipc::{JoinableQueue, Queue, RecvError, channel, pipe};
use pool::{ProcessPool, ThreadPool, Until, as_completed, wait_tasks_async};
use proc_core::{Process, ProcessHandle, Waitable, wait_any_async};
use sync::process::{Event, Lock, Semaphore};

fn watchdog() -> test_support::Watchdog {
    test_support::watchdog(Duration::from_secs(120))
}

/// As small a runtime as there can be.
fn by_hand<R>(future: impl Future<Output = R>) -> R {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::park(),
        }
    }
}

fn tokio<R>(future: impl Future<Output = R>) -> R {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn smol<R>(future: impl Future<Output = R>) -> R {
    async_io::block_on(async_executor::LocalExecutor::new().run(future))
}

/// The first of two results.
async fn race<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> Result<A, B> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    std::future::poll_fn(|context| match (a.as_mut().poll(context), b.as_mut().poll(context)) {
        (Poll::Ready(a), _) => Poll::Ready(Ok(a)),
        (_, Poll::Ready(b)) => Poll::Ready(Err(b)),
        _ => Poll::Pending,
    })
    .await
}

/// Both results.
async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut of_a, mut of_b) = (None, None);
    std::future::poll_fn(|context| {
        if of_a.is_none() {
            of_a = ready(a.as_mut().poll(context));
        }
        if of_b.is_none() {
            of_b = ready(b.as_mut().poll(context));
        }
        if of_a.is_some() && of_b.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (of_a.unwrap(), of_b.unwrap())
}

fn ready<R>(poll: Poll<R>) -> Option<R> {
    match poll {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

fn echo(there: Queue<u64>, back: Queue<u64>) {
    there.iter().for_each(|n| back.put(n).unwrap());
}

fn finish_all(items: JoinableQueue<u64>) -> u64 {
    items.iter().map(|item| item.into_inner()).sum()
}

fn add_one(there: ipc::Connection<u64>) -> u64 {
    let mut n_seen = 0;
    while let Ok(n) = there.recv() {
        there.send(&(n + 1)).unwrap();
        n_seen += 1;
    }
    n_seen
}

fn count(lock: Lock<u64>, permits: Semaphore, go: Event) {
    go.wait().unwrap();
    for _ in 0..100 {
        *lock.lock().unwrap() += 1;
    }
    permits.release(3).unwrap();
}

fn wait_for(go: Event) -> u64 {
    u64::from(go.wait().unwrap())
}

async fn processes() {
    let go = Event::new().unwrap();
    let process = Process::spawn(wait_for, (go.clone(),)).unwrap();
    let handle = process.handle();
    let mut joined = process.into_future();
    // One that loses takes nothing along.
    let queue = Queue::<u8>::new(1).unwrap();
    queue.put(1).unwrap();
    assert_eq!(race(&mut joined, queue.get_async()).await.unwrap_err(), Ok(1));
    go.set();
    let (value, status) = both(joined, handle.wait_async()).await;
    assert_eq!(value.unwrap(), 1);
    assert!(status.unwrap().success());
    assert!(Process::spawn(|| -> u8 { panic!("expected") }, ()).unwrap().await.is_err());
}

async fn queues() {
    let (there, back) = (Queue::new(2).unwrap(), Queue::new(2).unwrap());
    let echo = Process::spawn(echo, (there.clone(), back.clone())).unwrap();
    let put = async {
        for n in 0..200 {
            there.put_async(n).await.unwrap();
        }
    };
    let get = async {
        for n in 0..200 {
            assert_eq!(back.get_async().await, Ok(n));
        }
    };
    both(put, get).await;
    there.close();
    echo.await.unwrap();

    let items = JoinableQueue::new(2).unwrap();
    let consumer = Process::spawn(finish_all, (items.clone(),)).unwrap();
    for n in 0..100 {
        items.put_async(n).await.unwrap();
    }
    items.join_async().await.unwrap();
    items.put_async(100).await.unwrap();
    items.close();
    assert_eq!(consumer.await.unwrap(), (0..=100).sum());
    assert!(items.get_async().await.is_err());
}

async fn pipes() {
    let (here, there) = pipe().unwrap();
    let peer = Process::spawn(add_one, (there,)).unwrap();
    for n in 0..200 {
        here.send_async(&n).await.unwrap();
        assert_eq!(here.recv_async().await.unwrap(), n + 1);
    }
    drop(here);
    assert_eq!(peer.await.unwrap(), 200);

    // Far larger than the pipe, both in one task.
    let (tx, rx) = channel().unwrap();
    let message = vec![7_u8; 1 << 20];
    let (sent, received) = both(tx.send_async(&message), rx.recv_async()).await;
    sent.unwrap();
    assert!(received.unwrap() == message);
    drop(tx);
    assert!(matches!(rx.recv_async().await, Err(RecvError::Closed)));
}

async fn locks() {
    let (lock, permits, go) = (Lock::new(0).unwrap(), Semaphore::new(0).unwrap(), Event::new().unwrap());
    let child = Process::spawn(count, (lock.clone(), permits.clone(), go.clone())).unwrap();
    let wait = async {
        go.wait_async().await;
        for _ in 0..100 {
            *lock.lock_async().await.unwrap() += 1;
        }
    };
    both(wait, async { go.set() }).await;
    for _ in 0..3 {
        permits.acquire_async().await.forget();
    }
    child.await.unwrap();
    assert_eq!((*lock.lock_async().await.unwrap(), permits.permits()), (200, 0));
}

async fn pools() {
    let (threads, processes) = (ThreadPool::new(2).unwrap(), ProcessPool::new(2).unwrap());
    let tasks = [threads.apply_async(|| 1, ()), processes.apply_async(|n| n, (2,))];
    assert_eq!(wait_tasks_async(&tasks, Until::All).await.done.len(), 2);
    let mut sum = 0;
    let mut tasks = pin!(as_completed(tasks).into_stream());
    while let Some(task) = next(&mut tasks).await {
        sum += task.await.unwrap();
    }
    let mut results = pin!(processes.imap(|n: u64| n * 2, 0..500).into_stream());
    while let Some(result) = next(&mut results).await {
        sum += result.unwrap();
    }
    assert_eq!(sum, 3 + 2 * (0..500).sum::<u64>());
    threads.close();
    processes.close();
    let (of_threads, of_processes) = both(threads.join_async(), processes.join_async()).await;
    assert_eq!((of_threads, of_processes), (Ok(()), Ok(())));
}

async fn next<S: futures_core::Stream>(stream: &mut std::pin::Pin<&mut S>) -> Option<S::Item> {
    std::future::poll_fn(|context| stream.as_mut().poll_next(context)).await
}

async fn all_together() {
    let pool = ProcessPool::new(1).unwrap();
    let go = Event::new().unwrap();
    let process = Process::spawn(wait_for, (go.clone(),)).unwrap();
    let task = pool.apply_async(wait_for, (go.clone(),));
    let (full, empty) = (Queue::new(1).unwrap(), Queue::<u8>::new(1).unwrap());
    full.put(1).unwrap();
    let (_tx, rx) = channel::<u8>().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let room = full.writable();
    let sources: [&dyn Waitable; 6] = [&process, &task, &empty, &room, &rx, &reader];
    let then_room = async { full.try_get().unwrap() };
    assert_eq!(both(wait_any_async(&sources), then_room).await.0.unwrap(), [3]);
    full.put(1).unwrap();
    drop(writer);
    assert_eq!(wait_any_async(&sources).await.unwrap(), [5]);
    go.set();
    wait_any_async(&sources[..1]).await.unwrap();
    wait_any_async(&sources[1..2]).await.unwrap();
    assert_eq!(wait_any_async(&sources).await.unwrap(), [0, 1, 5]);
}

macro_rules! under_each_runtime {
    ($($future:ident)*) => {
        $(mod $future {
            #[test]
            fn by_hand() {
                let _dog = super::watchdog();
                super::by_hand(super::$future());
            }

            #[test]
            fn tokio() {
                let _dog = super::watchdog();
                super::tokio(super::$future());
            }

            #[test]
            fn smol() {
                let _dog = super::watchdog();
                super::smol(super::$future());
            }
        })*
    };
}

under_each_runtime! { processes queues pipes locks pools all_together }

/// The runtimes' own timers go on while our futures wait: nothing blocks their thread.
#[test]
fn timers_go_on() {
    let _dog = watchdog();
    let (queue, lock) = (Queue::<u8>::new(1).unwrap(), Lock::new(0).unwrap());
    let (_tx, rx) = channel::<u8>().unwrap();
    let is_held = Event::new().unwrap();
    let hold = |lock: Lock<u8>, is_held: Event| {
        let _guard = lock.lock().unwrap();
        is_held.set();
        thread::park_timeout(Duration::from_secs(120));
    };
    let holder = Process::spawn(hold, (lock.clone(), is_held.clone())).unwrap();
    tokio(async {
        is_held.wait_async().await;
        let tick = || tokio::time::sleep(Duration::from_millis(5));
        assert!(race(queue.get_async(), tick()).await.is_err());
        assert!(race(rx.recv_async(), tick()).await.is_err());
        assert!(race(lock.lock_async(), tick()).await.is_err());
        assert!(race(holder.wait_async(), tick()).await.is_err());
        tokio::select! {
            _ = lock.lock_async() => panic!("it is held"),
            () = tick() => {}
        }
    });
    holder.kill().unwrap();
    smol(async {
        assert!(race(lock.lock_async(), async_io::Timer::after(Duration::from_secs(100))).await.is_ok());
    });
}

/// Futures that are `Send` run on other threads than those that made them.
#[test]
fn futures_are_send() {
    fn is_send<F: IntoFuture>(future: F)
    where
        F::IntoFuture: Send,
    {
        drop(future.into_future());
    }
    let _dog = watchdog();
    let process = Process::spawn(|| 1, ()).unwrap();
    is_send(process.wait_async());
    is_send(wait_any_async(&[&process]));
    is_send(process);
    let (queue, items) = (Queue::<u8>::new(1).unwrap(), JoinableQueue::<u8>::new(1).unwrap());
    is_send(wait_any_async(&[&queue]));
    is_send((queue.get_async(), queue.put_async(1)).0);
    is_send(queue.put_async(1));
    is_send(items.put_async(1));
    is_send(items.join_async());
    let (tx, rx) = channel::<u8>().unwrap();
    is_send(tx.send_async(&1));
    is_send(rx.recv_async());
    let (lock, permits, event) = (Lock::new(0).unwrap(), Semaphore::new(1).unwrap(), Event::new().unwrap());
    is_send(lock.lock_async());
    is_send(permits.acquire_async());
    is_send(event.wait_async());
}

#[test]
#[allow(deprecated, reason = "what replaces it is unsafe, for descriptors that change; ours stay the same")]
fn descriptors_are_for_the_reactors_of_others() {
    use tokio::io::{Interest, unix::AsyncFd};
    let _dog = watchdog();
    let go = Event::new().unwrap();
    let start = || Process::spawn(wait_for, (go.clone(),)).unwrap();
    let (first, second) = (start(), start());
    let (tx, rx) = channel::<u8>().unwrap();
    tokio(async {
        let first: AsyncFd<Process<u64>> = AsyncFd::with_interest(first, Interest::READABLE).unwrap();
        let rx = AsyncFd::with_interest(rx, Interest::READABLE).unwrap();
        tx.send(&1).unwrap();
        rx.readable().await.unwrap().retain_ready();
        assert_eq!(rx.get_ref().try_recv().unwrap(), 1);
        go.set();
        first.readable().await.unwrap().retain_ready();
        assert_eq!(first.into_inner().join().unwrap(), 1);
    });
    smol(async {
        let second: async_io::Async<ProcessHandle> = async_io::Async::new_nonblocking(second.handle()).unwrap();
        second.readable().await.unwrap();
        assert!(second.get_ref().try_wait().unwrap().unwrap().success());
    });
}
