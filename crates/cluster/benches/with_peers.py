"""What benches/cluster measures, with Dask distributed, Celery (on Redis) and Ray: `python with_peers.py dask`.

Installed by `pip install distributed celery redis ray`, and for Celery `apt-get install redis-server`, or by
`cargo xtask cluster --peers`. Prints a name, and the median, the least and the most of tasks/s and of a round trip's
microseconds, for `cargo bench -p cluster -- --peers`.
"""

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

N_TASKS, N_ROUND_TRIPS, N_RUNS, N_WORKERS = 500, 100, 3, 2


def work(n):
    return n + 1


@contextlib.contextmanager
def dask():
    import distributed

    with distributed.Client(n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=None) as client:
        yield (
            f"Dask distributed {distributed.__version__}",
            lambda n: client.gather(client.map(work, range(n), pure=False)),
            lambda n: client.submit(work, n, pure=False).result(),
        )


def celery_app():
    import celery

    url = os.environ["PEER_REDIS"]
    app = celery.Celery("with_peers", broker=f"redis+socket://{url}", backend=f"redis+socket://{url}")
    app.conf.worker_hijack_root_logger = False
    return app, app.task(work, name="work")


@contextlib.contextmanager
def celery():
    import celery as package

    redis = shutil.which("redis-server") or sys.exit("no redis-server")
    with tempfile.TemporaryDirectory() as directory:
        socket = os.environ["PEER_REDIS"] = os.path.join(directory, "redis")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": directory}
        # Its files are appended to, as JetStream's are; as there, nothing waits for the disk.
        options = ["--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]
        processes = [subprocess.Popen([redis, *options], **quiet)]
        try:
            app, task = celery_app()
            worker = [sys.executable, os.path.abspath(__file__), "celery-worker"]
            processes.append(subprocess.Popen(worker, **quiet))
            task.delay(0).get(timeout=120)

            def many(n):
                results = [task.delay(i) for i in range(n)]
                return [result.get(timeout=600) for result in results]

            yield f"Celery {package.__version__}, Redis", many, lambda n: task.delay(n).get(timeout=120)
        finally:
            for process in reversed(processes):
                process.send_signal(signal.SIGTERM)
                process.wait()


@contextlib.contextmanager
def ray():
    import ray as package

    package.init(num_cpus=N_WORKERS, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    try:
        remote = package.remote(work)
        yield (
            f"Ray {package.__version__}",
            lambda n: package.get([remote.remote(i) for i in range(n)]),
            lambda n: package.get(remote.remote(n)),
        )
    finally:
        package.shutdown()


def measure(peer):
    with peer() as (name, many, one):

        def rate():
            begun = time.perf_counter()
            assert many(N_TASKS) == [n + 1 for n in range(N_TASKS)]
            return N_TASKS / (time.perf_counter() - begun)

        def round_trip():
            begun = time.perf_counter()
            for n in range(N_ROUND_TRIPS):
                assert one(n) == n + 1
            return (time.perf_counter() - begun) * 1e6 / N_ROUND_TRIPS

        rate()
        rates, trips = zip(*[(rate(), round_trip()) for _ in range(N_RUNS)])
    print(name)
    for runs in (rates, trips):
        print(statistics.median(runs), min(runs), max(runs))


if __name__ == "__main__":
    if sys.argv[1] == "celery-worker":
        # Without gossip and events, which cost tasks.
        options = ["worker", "-c", str(N_WORKERS), "--without-gossip", "--without-mingle", "--loglevel", "ERROR"]
        celery_app()[0].worker_main(options)
    else:
        measure({"dask": dask, "celery": celery, "ray": ray}[sys.argv[1]])
