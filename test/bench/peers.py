"""Python's own ways to do the work of a row: usage peers.py <peer> <work> <count>.

Prints "ready" once the pool is warm, then for every line on stdin does the work once and prints
milliseconds a task. Peers that are not installed end with code 69 before that.
"""

import atexit
import concurrent.futures
import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time

slots = 2


def noop(*_):
    return None


def same(value):
    return value


def works(call, many):
    """`call(function, argument)` waits for one result; `many(count)` is a fan-out and its join."""

    def chain(count):
        for _ in range(count):
            call(noop, None)

    def handover(count):
        value = "x" * 2**20
        for _ in range(count):
            value = call(same, value)
        if len(value) != 2**20:
            raise RuntimeError("the value was not handed on")

    return {"chain": chain, "fan-out": many, "handover": handover}


def pool():
    made = multiprocessing.Pool(slots)
    return works(
        lambda function, argument: made.apply(function, (argument,)),
        lambda count: made.map(noop, range(count), chunksize=1),
    )


def executor():
    made = concurrent.futures.ProcessPoolExecutor(slots)
    return works(
        lambda function, argument: made.submit(function, argument).result(),
        lambda count: [f.result() for f in [made.submit(noop, i) for i in range(count)]],
    )


def ray_parts():
    ray = importlib.import_module("ray")
    ray.init(num_cpus=slots, include_dashboard=False, log_to_driver=False, logging_level="error")
    return ray


def linked(step, get, count_many):
    """Chains are handed to the peer as a whole: each step takes the one before as a reference."""

    def chain(count):
        value = step(noop, None)
        for _ in range(count - 1):
            value = step(noop, value)
        get(value)

    def handover(count):
        value = step(same, "x" * 2**20)
        for _ in range(count - 1):
            value = step(same, value)
        if len(get(value)) != 2**20:
            raise RuntimeError("the value was not handed on")

    return {"chain": chain, "fan-out": count_many, "handover": handover}


def ray_tasks():
    ray = ray_parts()
    remote = {noop: ray.remote(noop), same: ray.remote(same)}
    return linked(
        lambda function, value: remote[function].remote(value),
        ray.get,
        lambda count: ray.get([remote[noop].remote(i) for i in range(count)]),
    )


def ray_actors():
    ray = ray_parts()

    class Actor:
        def noop(self, *_):
            return None

        def same(self, value):
            return value

    made = [ray.remote(Actor).remote() for _ in range(slots)]
    return linked(
        lambda function, value: getattr(made[0], function.__name__).remote(value),
        ray.get,
        lambda count: ray.get([made[i % slots].noop.remote(i) for i in range(count)]),
    )


def dask():
    distributed = importlib.import_module("distributed")
    client = distributed.Client(
        n_workers=slots, threads_per_worker=1, dashboard_address=None, silence_logs=50
    )
    return linked(
        lambda function, value: client.submit(function, value, pure=False),
        lambda future: future.result(),
        lambda count: client.gather(client.map(noop, range(count), pure=False)),
    )


def ray_graph():
    """A graph that is compiled once: all steps of a chain on one actor, one execution a round."""
    ray = ray_parts()
    nodes = importlib.import_module("ray.dag")

    class Actor:
        def noop(self, _):
            return None

        def same(self, value):
            return value

    actor = ray.remote(Actor).remote()
    graphs = {}

    def graph(name, count):
        if (name, count) not in graphs:
            with nodes.InputNode() as value:
                step = value
                for _ in range(count):
                    step = getattr(actor, name).bind(step)
            for other in graphs.values():
                other.teardown()
            graphs.clear()
            graphs[(name, count)] = step.experimental_compile(_buffer_size_bytes=1 << 22)
        return graphs[(name, count)]

    def chain(count):
        ray.get(graph("noop", count).execute(None))

    def handover(count):
        if len(ray.get(graph("same", count).execute("x" * 2**20))) != 2**20:
            raise RuntimeError("the value was not handed on")

    return {"chain": chain, "handover": handover}


def hyperqueue():
    hq = importlib.import_module("hyperqueue")
    cluster_of = importlib.import_module("hyperqueue.cluster")
    cluster = cluster_of.LocalCluster()
    cluster.start_worker(cluster_of.WorkerConfig(cores=slots))
    client = cluster.client()
    folder = tempfile.mkdtemp(prefix="bench-hq-")

    def true(count):
        job = hq.Job()
        for i in range(count):
            out = os.path.join(folder, str(i))
            job.program(["/bin/true"], stdout=out + ".out", stderr=out + ".err")
        client.wait_for_jobs([client.submit(job)], raise_on_error=True)

    def end():
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return {"true": true}


def main():
    peers = {
        "pool": pool,
        "executor": executor,
        "ray-tasks": ray_tasks,
        "ray-actors": ray_actors,
        "dask": dask,
        "ray-graph": ray_graph,
        "hyperqueue": hyperqueue,
    }
    peer, work, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    try:
        run = peers[peer]()[work]
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        sys.exit(69)
    run(min(count, 50))
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        run(count)
        print((time.perf_counter() - start) * 1000 / count, flush=True)


if __name__ == "__main__":
    main()
