"""Python's side of the figures: `peers.py FIGURE [ARGUMENT]` prints one number, in the figure's unit."""

import multiprocessing as mp
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor


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


def rate(queue, n):
    producer = mp.Process(target=put, args=(queue, n))
    producer.start()
    queue.get()
    begun = time.perf_counter()
    for _ in range(n - 1):
        queue.get()
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
    producer = mp.Process(target=send, args=(theirs, n))
    producer.start()
    ours.recv()
    begun = time.perf_counter()
    for _ in range(n - 1):
        ours.recv()
    seconds = time.perf_counter() - begun
    producer.join()
    return (n - 1) / seconds


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
        pool.apply(nothing, (1,))
        begun = time.perf_counter()
        for task in [pool.apply_async(nothing, (n,)) for n in range(10_000)]:
            task.get()
        return 10_000 / (time.perf_counter() - begun)


def executor_tasks():
    with ProcessPoolExecutor(2) as pool:
        pool.submit(nothing, 1).result()
        begun = time.perf_counter()
        for task in [pool.submit(nothing, n) for n in range(5_000)]:
            task.result()
        return 5_000 / (time.perf_counter() - begun)


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


def private_kib(_):
    with open("/proc/self/smaps_rollup") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def worker_memory():
    with mp.Pool(2) as pool:
        return pool.apply(private_kib, (1,))


if __name__ == "__main__":
    print(globals()[sys.argv[1]](*sys.argv[2:]))
