"""Python's subjects: `peers.py SCENARIO LIBRARY MEMORY`. The words are those of `src/words.rs`."""

import mmap
import multiprocessing as mp
import os
import resource
import struct
import sys
import time

ORDERS, ARGUMENT, DONE, RESULT, INSIDE, PIDS, COUNTS = 0, 1, 2, 4, 8, 16, 32
NEVER = 3.0
SOON = 0.002
WORDS = None


class Words:
    def __init__(self, path):
        self.memory = mmap.mmap(os.open(path, os.O_RDWR), 4096)

    def get(self, place):
        return struct.unpack_from("<Q", self.memory, 8 * place)[0]

    def set(self, place, value):
        struct.pack_into("<Q", self.memory, 8 * place, value)

    def add(self, place):
        self.set(place, self.get(place) + 1)

    def done(self):
        self.add(DONE)

    def next_order(self):
        while self.get(ORDERS) < self.get(DONE):
            time.sleep(0.0001)
        return self.get(ARGUMENT)


def start(target, *args):
    process = mp.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def crew(n, new):
    workers = []
    for number in range(n):
        workers.append(new(number))
        WORDS.set(PIDS + number, workers[number].pid)
    while True:
        WORDS.done()
        number = WORDS.next_order()
        workers[number].join()
        workers[number] = new(number)
        WORDS.set(PIDS + number, workers[number].pid)


def lock_for_ever(lock, number):
    while True:
        with lock:
            WORDS.set(INSIDE, number + 1)
            WORDS.add(COUNTS + number)
            WORDS.set(INSIDE, 0)


def lock(_):
    held = mp.Lock()
    crew(2, lambda number: start(lock_for_ever, held, number))


def put_for_ever(queue, number):
    while True:
        queue.put(b"1" * 100)
        WORDS.add(COUNTS + number)


def get_for_ever(queue, number):
    while True:
        queue.get()
        WORDS.add(COUNTS + number)


def producers(_):
    queue = mp.Queue(64)
    crew(3, lambda number: start(put_for_ever if number < 2 else get_for_ever, queue, number))


def consumers(_):
    queue = mp.Queue(64)
    crew(3, lambda number: start(get_for_ever if number < 2 else put_for_ever, queue, number))


def finish_for_ever(queue):
    while True:
        may_take = WORDS.get(INSIDE) == 1
        WORDS.set(COUNTS, int(not may_take))
        if not may_take:
            time.sleep(0.0001)
            continue
        try:
            queue.get(timeout=0.001)
            queue.task_done()
        except Exception:
            pass


def take_and_keep(queue):
    queue.put(7)
    queue.get()
    WORDS.set(INSIDE, 1)
    time.sleep(1000)


def join(_):
    queue = mp.JoinableQueue(8)
    start(finish_for_ever, queue)
    while True:
        WORDS.set(INSIDE, 0)
        while WORDS.get(COUNTS) == 0:
            time.sleep(0.0001)
        victim = start(take_and_keep, queue)
        WORDS.set(PIDS, victim.pid)
        WORDS.done()
        WORDS.next_order()
        victim.join()
        begun = time.monotonic()
        queue.join()
        WORDS.set(RESULT, int((time.monotonic() - begun) * 1e6))


def task(n):
    WORDS.set(INSIDE, os.getpid())
    end = time.perf_counter() + 0.0003
    while time.perf_counter() < end:
        pass
    return n


class Stock:
    """multiprocessing.Pool"""

    def __init__(self, n):
        self.pool = mp.Pool(n)

    def submit(self, n):
        return self.pool.apply_async(task, (n,))

    def result(self, future, timeout):
        return future.get(timeout)

    def pids(self):
        return [worker.pid for worker in self.pool._pool if worker.is_alive()]


class Futures:
    """What has concurrent.futures' surface."""

    def __init__(self, pool):
        self.pool = pool

    def submit(self, n):
        return self.pool.submit(task, n)

    def result(self, future, timeout):
        return future.result(timeout)

    def pids(self):
        return list(self.pool._processes)


class Pebble(Futures):
    def submit(self, n):
        return self.pool.schedule(task, args=(n,))

    def pids(self):
        return list(self.pool._pool_manager.worker_manager.workers)


def pool_of(library, n):
    if library == "multiprocessing":
        return Stock(n)
    if library == "pebble":
        import pebble

        return Pebble(pebble.ProcessPool(max_workers=n, context=mp.get_context("fork")))
    if library == "loky":
        import loky

        return Futures(loky.ProcessPoolExecutor(max_workers=n, initializer=begin, initargs=(sys.argv[3],)))
    from concurrent.futures import ProcessPoolExecutor

    return Futures(ProcessPoolExecutor(n))


def results(pool, n_tasks):
    futures = []
    counts = [0, 0, 0]
    for n in range(n_tasks):
        try:
            futures.append(pool.submit(n))
        except Exception:
            counts[1] += 1
    end = time.monotonic() + NEVER
    for future in futures:
        try:
            pool.result(future, max(0, end - time.monotonic()))
            counts[0] += 1
        except Exception as e:
            is_late = isinstance(e, (mp.TimeoutError, TimeoutError)) or type(e).__name__ == "TimeoutError"
            counts[2 if is_late else 1] += 1
    return counts


def pool(library):
    used = pool_of(library, 2)
    results(used, 4)
    while True:
        WORDS.done()
        WORDS.next_order()
        for place, count in enumerate(results(used, 40)):
            WORDS.set(RESULT + place, count)


def idle_pool(library):
    used = pool_of(library, 2)
    results(used, 40)
    dead = None
    while True:
        WORDS.done()
        if WORDS.next_order() == 0:
            end = time.monotonic() + NEVER
            while time.monotonic() < end:
                pids = [pid for pid in used.pids() if pid != dead]
                if len(pids) == 2:
                    break
                time.sleep(0.001)
            for number, pid in enumerate(pids[:2]):
                WORDS.set(PIDS + number, pid)
            dead = pids[0] if pids else None
        else:
            WORDS.set(RESULT, int(results(used, 4)[0] == 4))


def owner(_):
    from multiprocessing.shared_memory import SharedMemory

    _shared = SharedMemory(create=True, size=4096)
    context = mp.get_context("forkserver")
    queue = mp.Queue(64)
    start(put_for_ever, queue, 0)
    start(get_for_ever, queue, 1)
    manager = context.Manager()
    manager.dict()
    used = mp.Pool(4)
    WORDS.done()
    while True:
        used.map(task, range(100))


def use_for_ever(lock, queue, number):
    while True:
        if lock.acquire(timeout=SOON):
            lock.release()
        for call in (lambda: queue.put(1, timeout=SOON), lambda: queue.get(timeout=SOON)):
            try:
                call()
            except Exception:
                pass
        WORDS.add(COUNTS + number)


def stopped(_):
    held, queue = mp.Lock(), mp.Queue(4)
    workers = [start(use_for_ever, held, queue, number) for number in range(3)]
    for number, worker in enumerate(workers):
        WORDS.set(PIDS + number, worker.pid)

    def locked():
        if held.acquire(timeout=SOON):
            held.release()

    calls = [locked, lambda: queue.put(0, timeout=SOON), lambda: queue.get(timeout=SOON)]
    while True:
        WORDS.done()
        WORDS.next_order()
        n_late = 0
        for call in calls:
            begun = time.monotonic()
            try:
                call()
            except Exception:
                pass
            n_late += time.monotonic() - begun > 0.05 + 2 * SOON
        WORDS.set(RESULT, len(calls))
        WORDS.set(RESULT + 1, n_late)


def queues(_):
    def n_open():
        return len(os.listdir("/proc/self/fd"))

    before = n_open()
    some = [mp.Queue(16) for _ in range(100)]
    WORDS.set(RESULT, n_open() - before)
    del some
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    made = []
    try:
        while True:
            made.append(mp.Queue(16))
    except OSError:
        pass
    WORDS.set(RESULT + 1, len(made))
    WORDS.done()
    while True:
        WORDS.next_order()
        WORDS.done()


def begin(path):
    global WORDS
    WORDS = Words(path)


if __name__ == "__main__":
    mp.set_start_method("fork")
    begin(sys.argv[3])
    globals()[sys.argv[1]](sys.argv[2])
