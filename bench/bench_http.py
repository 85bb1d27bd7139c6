"""One beat over 10 000 HTTP endpoints: seconds, CPU seconds and memory of the prober, as one JSON line.

    python -m bench.bench_http [--endpoints 10000] [--ports 50] [--rounds 3]

The endpoints are 10 000 paths over many ports of one local server in a process of its own, so half the machine's work is
the server's. Bar: at most 2 s and 150 MB on two cores.
"""

import argparse
import json
import multiprocessing
import resource
import selectors
import socket
import time
from datetime import timedelta
from multiprocessing.connection import Connection

from agent.adapters import http_probe, own_limits
from agent.model import HttpRequest, HttpSeen

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"


def serve(ports: int, ready: Connection) -> None:
    """Answer every connection on `ports` ports with the same 200, until killed."""
    own_limits.raise_open_files()
    selector = selectors.DefaultSelector()
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(ports)]
    for listener in listeners:
        listener.settimeout(0)
        selector.register(listener, selectors.EVENT_READ, listener)
    ready.send([listener.getsockname()[1] for listener in listeners])
    while True:
        for key, _ in selector.select():
            if key.data is not None:
                _accept(key.data, selector)
                continue
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            selector.unregister(connection)
            try:
                if connection.recv(65_536):
                    connection.send(ANSWER)
            except OSError:
                pass  # the prober gave up on it
            connection.close()


def _accept(listener: socket.socket, selector: selectors.BaseSelector) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        connection.settimeout(0)
        selector.register(connection, selectors.EVENT_READ, None)


def main() -> None:
    """Measure the best of some rounds and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoints", type=int, default=10_000)
    parser.add_argument("--ports", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    own_limits.raise_open_files()
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    server = context.Process(target=serve, args=(options.ports, there), daemon=True)
    server.start()
    ports = here.recv()
    requests = [
        HttpRequest(url=f"http://127.0.0.1:{ports[n % len(ports)]}/health/{n}", timeout=timedelta(seconds=2))
        for n in range(options.endpoints)
    ]
    rounds = []
    for _ in range(options.rounds):
        began, cpu = time.perf_counter(), time.process_time()
        seen = http_probe.probe(requests, timedelta(seconds=10))
        well = sum(isinstance(answer, HttpSeen) and answer.status == 200 for answer in seen.values())
        rounds.append((time.perf_counter() - began, time.process_time() - cpu, well))
    server.terminate()
    server.join()
    seconds, cpu_seconds, well = min(rounds)
    print(
        json.dumps(
            {
                "bench": "http",
                "endpoints": options.endpoints,
                "answered": well,
                "seconds": round(seconds, 3),
                "cpu_seconds": round(cpu_seconds, 3),
                "probes_per_cpu_second": round(options.endpoints / cpu_seconds),
                "max_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                "bar": {"seconds": 2.0, "max_rss_mb": 150},
            }
        )
    )


if __name__ == "__main__":
    main()
