"""What benches/cluster.rs measures, with Dask distributed: `pip install distributed && python with_dask.py`."""

import statistics
import time

import distributed

N_TASKS, N_ROUND_TRIPS, N_RUNS = 2_000, 200, 5


def work(n):
    return n + 1


def many(client):
    begun = time.perf_counter()
    assert client.gather(client.map(work, range(N_TASKS), pure=False)) == [n + 1 for n in range(N_TASKS)]
    return N_TASKS / (time.perf_counter() - begun)


def round_trip(client):
    begun = time.perf_counter()
    for n in range(N_ROUND_TRIPS):
        assert client.submit(work, n, pure=False).result() == n + 1
    return (time.perf_counter() - begun) * 1e6 / N_ROUND_TRIPS


def show(name, runs):
    print(f"{name:36} {statistics.median(runs):10.0f} [{min(runs):.0f}, {max(runs):.0f}]")


if __name__ == "__main__":
    print(f"distributed {distributed.__version__}, {N_TASKS} tasks of one number, 2 workers, median of {N_RUNS}")
    with distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        many(client)
        show("Dask, map, tasks/s", [many(client) for _ in range(N_RUNS)])
        show("Dask, submit, us", [round_trip(client) for _ in range(N_RUNS)])
