"""What Medic costs while all is well: 100 services, each with a container and an HTTP check, every 5 s."""

import time

from bench import endpoints, ground
from bench.figure import Figure

SERVICES = 100
WARM_UP = 12.0
"""Seconds: two beats, after which every memory (inspect, records, good copies) is filled."""
SPAN = 60.0
"""Seconds that are measured: 12 beats."""


def figures(on: ground.Ground, span: float = SPAN) -> list[Figure]:
    """Measure a daemon's CPU and memory over `span` seconds in which nothing happens."""
    names = on.containers(SERVICES)
    with endpoints.served(SERVICES, ports=10) as urls:
        services = {
            name: {"checks": [{"kind": "container"}, {"kind": "http", "url": url}]}
            for name, url in zip(names, urls, strict=True)
        }
        with ground.watching(services, interval="5s") as daemon:
            time.sleep(WARM_UP)
            cpu, at, beat = daemon.cpu_seconds(), time.monotonic(), daemon.beats()
            time.sleep(span)
            used = (daemon.cpu_seconds() - cpu) / (time.monotonic() - at) * 100
            megabytes = daemon.process.memory_info().rss / 1_000_000
            beats = daemon.beats() - beat
    return [
        Figure(
            name="idle-cpu",
            what=f"idle, {SERVICES} services every 5 s",
            value=used,
            unit="% of a core",
            bar=1.0,
            limit="the beat: a fresh connection for each probe, one list of containers, eight short queries, one report",
            more={"rss_mb": round(megabytes), "beats": beats, "seconds": span},
        )
    ]
