"""Python's side of the figures: `peers.py FIGURE [ARGUMENT]` prints one number, in the figure's unit."""

import multiprocessing as mp
import os
import re
import statistics
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.pool import ThreadPool


def seven():
    pass


def start(method):
    context = mp.get_context(method)
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        process = context.Process(target=seven)
        process.start()
        process.join()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e6


def put(queue, n):
    for i in range(n):
        queue.put(i)


def rate(queue, n, process=mp.Process):
    return rate_of(process(target=put, args=(queue, n)), queue.get, n)


def rate_of(producer, get, n):
    producer.start()
    get()
    begun = time.perf_counter()
    for _ in range(n - 1):
        get()
    seconds = time.perf_counter() - begun
    producer.join()
    return (n - 1) / seconds


def queue():
    return rate(mp.Queue(1024), 50_000)


def simple_queue():
    return rate(mp.SimpleQueue(), 50_000)


def send(connection, n):
    for i in range(n):
        connection.send(i)


def pipe():
    ours, theirs = mp.Pipe()
    n = 50_000
    return rate_of(mp.Process(target=send, args=(theirs, n)), ours.recv, n)


def echo(connection):
    while (n := connection.recv()) is not None:
        connection.send(n)


def round_trip():
    ours, theirs = mp.Pipe()
    process = mp.Process(target=echo, args=(theirs,))
    process.start()
    n = 3000
    begun = time.perf_counter()
    for i in range(n):
        ours.send(i)
        ours.recv()
    seconds = time.perf_counter() - begun
    ours.send(None)
    process.join()
    return seconds / n * 1e6


def nothing(n):
    return n


def pool_tasks():
    with mp.Pool(2) as pool:
        return tasks_a_second(lambda n: pool.apply_async(nothing, (n,)).get, 10_000)


def executor_tasks():
    with ProcessPoolExecutor(2) as pool:
        return tasks_a_second(lambda n: pool.submit(nothing, n).result, 5_000)


def pool_round_trip():
    with mp.Pool(2) as pool:
        pool.apply(nothing, (1,))
        begun = time.perf_counter()
        for _ in range(1000):
            pool.apply(nothing, (1,))
        return (time.perf_counter() - begun) / 1000 * 1e6


def pool_map():
    with mp.Pool(2) as pool:
        pool.apply(nothing, (1,))
        begun = time.perf_counter()
        pool.map(nothing, range(1_000_000))
        return (time.perf_counter() - begun) * 1e3


def executor_map():
    with ProcessPoolExecutor(2) as pool:
        pool.submit(nothing, 1).result()
        n = 100_000
        begun = time.perf_counter()
        list(pool.map(nothing, range(n), chunksize=1000))
        # Of a tenth: all of them take too long.
        return (time.perf_counter() - begun) * 1e3 * 10


def files_below(folder):
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from files_below(entry.path)
        elif entry.is_file(follow_symlinks=False):
            yield entry.path, entry.stat().st_size


def batches(files):
    batch, n_bytes = [], 0
    for path, size in files:
        batch.append(path)
        n_bytes += size
        if n_bytes >= 2 << 20:
            yield batch
            batch, n_bytes = [], 0
    yield batch


def count_batch(paths):
    words = Counter()
    for path in paths:
        with open(path, "rb") as file:
            text = file.read()
        if b"\0" not in text[:8192]:
            words.update(re.findall(rb"[a-z0-9\x80-\xff]+", text.lower()))
    return words


def count_words(folder):
    words = Counter()
    with mp.Pool(2) as pool:
        for counted in pool.imap_unordered(count_batch, batches(files_below(folder))):
            words.update(counted)
    return words


def wordcount(folder):
    """What the example `wordcount` does, in seconds."""
    begun = time.perf_counter()
    count_words(folder)
    return time.perf_counter() - begun


def private_kib(_):
    with open("/proc/self/smaps_rollup") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def worker_memory(method):
    with mp.get_context(method).Pool(2) as pool:
        return pool.apply(private_kib, (1,))


def thread_pool_tasks():
    with ThreadPool(2) as pool:
        return tasks_a_second(lambda n: pool.apply_async(nothing, (n,)).get, 20_000)


def tasks_a_second(submit, n):
    """`submit` gives a task and returns what waits for its result."""
    submit(1)()
    begun = time.perf_counter()
    for wait in [submit(i) for i in range(n)]:
        wait()
    return n / (time.perf_counter() - begun)


def loky_pool():
    # Its workers must be able to import this file by name.
    from loky import get_reusable_executor

    pool = get_reusable_executor(max_workers=2)
    pool.submit(abs, 1).result()
    return pool


def loky_tasks():
    pool = loky_pool()
    return tasks_a_second(lambda n: pool.submit(abs, n).result, 5_000)


def loky_round_trip():
    pool = loky_pool()
    begun = time.perf_counter()
    for n in range(500):
        pool.submit(abs, n).result()
    return (time.perf_counter() - begun) / 500 * 1e6


def loky_memory():
    return loky_pool().submit(private_kib, 1).result()


def start_loky():
    from loky.backend import get_context

    context = get_context("loky")
    times = []
    for _ in range(10):
        begun = time.perf_counter()
        process = context.Process(target=abs, args=(1,))
        process.start()
        process.join()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e6


def billiard_queue():
    import billiard

    return rate(billiard.Queue(1024), 20_000, billiard.Process)


def billiard_tasks():
    import billiard

    pool = billiard.Pool(2)
    rate = tasks_a_second(lambda n: pool.apply_async(nothing, (n,)).get, 5_000)
    pool.terminate()
    pool.join()
    return rate


def pebble_tasks():
    from pebble import ProcessPool

    with ProcessPool(max_workers=2) as pool:
        return tasks_a_second(lambda n: pool.submit(nothing, None, n).result, 2_000)


def pass_queue(there, back):
    while (n := there.get()) is not None:
        back.put(n)


def queue_round_trip():
    there, back = mp.Queue(), mp.Queue()
    process = mp.Process(target=pass_queue, args=(there, back))
    process.start()
    n = 2000
    begun = time.perf_counter()
    for i in range(n):
        there.put(i)
        back.get()
    seconds = time.perf_counter() - begun
    there.put(None)
    process.join()
    return seconds / n * 1e6


def nanoseconds_of_lock(lock):
    n = 100_000
    begun = time.perf_counter()
    for _ in range(n):
        lock.acquire()
        lock.release()
    return (time.perf_counter() - begun) / n * 1e9


def lock():
    return nanoseconds_of_lock(mp.Lock())


def rlock():
    return nanoseconds_of_lock(mp.RLock())


def wake_up():
    """A semaphore that another process waits for, and back, when both have slept for a while."""
    there, back = mp.Semaphore(0), mp.Semaphore(0)
    process = mp.Process(target=wake_back, args=(there, back), daemon=True)
    process.start()
    n, seconds = 100, 0
    for _ in range(n):
        time.sleep(0.001)
        begun = time.perf_counter()
        there.release()
        back.acquire()
        seconds += time.perf_counter() - begun
    return seconds / n * 1e6


def wake_back(there, back):
    while True:
        there.acquire()
        back.release()


def thread_local():
    local = threading.local()
    local.n = 0
    n = 1_000_000
    begun = time.perf_counter()
    for _ in range(n):
        local.n += 1
    return (time.perf_counter() - begun) / n * 1e9


if __name__ == "__main__":
    print(globals()[sys.argv[1]](*sys.argv[2:]))
