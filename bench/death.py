"""From the death of a container to its incident, and to an answering service, beside a bare `docker restart`.

Every container dies once, of SIGKILL from below Docker, one after the other. The breaker is set so that it takes no part.
"""

import statistics
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any  # a medic.yaml

from agent.model import ServiceName
from agent.ports import Store
from agent.wiring import keeping, reading
from bench.figure import Figure, percentile
from bench.ground import HTTPD, Daemon, Ground, wait_until, watching
from bench.no_events import DeafSocket

DEATHS = 10
INTERVAL = 1.0
SLACK = 0.3
"""Seconds beyond the interval that a death may take to become an incident."""
ASK_EVERY = 0.005
TOP: dict[str, Any] = {
    "breaker": {"share": 1.0, "least": 1000},
    "budget": {"host_actions": 1000, "fleet_actions": 1000},
}


def figures(on: Ground) -> Iterator[Figure]:
    """Measure deaths with Docker's events, without them, and bare restarts."""
    opened, answered = _deaths(on, "ear", events=True)
    yield _opened("death-opened-events", "container death → incident opened, p95, by Docker events", opened, SLACK)
    late, _ = _deaths(on, "deaf", events=False)
    what = f"container death → incident opened, p95, without events, a beat each {INTERVAL:g} s"
    yield _opened("death-opened-beat", what, late, INTERVAL + SLACK)
    bare = _bare_restarts(on)
    yield Figure(
        name="death-answers",
        what="death → service answers by a runbook, p50 over a bare `docker restart`",
        value=statistics.median(answered) - statistics.median(bare),
        unit="s",
        bar=2.5,
        limit="starting Ansible, which takes most of it, and the look before the first change",
        more={"runbook_p50": round(statistics.median(answered), 2), "bare_p50": round(statistics.median(bare), 2)},
    )


def _opened(name: str, what: str, took: list[float], bar: float) -> Figure:
    limit = "dockerd tells of a death once it has cleaned up behind it, and then lists the container as running for a while"
    more = {"p50": round(statistics.median(took), 3), "deaths": len(took)}
    return Figure(name=name, what=what, value=percentile(took, 0.95), unit="s", bar=bar, limit=limit, more=more)


def _deaths(on: Ground, word: str, *, events: bool) -> tuple[list[float], list[float]]:
    """Return, for each death, the seconds until its incident was opened and until the service answered again."""
    made = [on.served(f"medic-bench-{on.run}-{word}-{number}", HTTPD) for number in range(DEATHS)]
    services = {name: {"checks": [{"kind": "container"}], "limits": {"start_grace": "0s"}} for name, _ in made}
    opened, answered = [], []
    with ExitStack() as held:
        top = dict(TOP) if events else {**TOP, "hosts": {"local": {"docker": held.enter_context(DeafSocket())}}}
        daemon = held.enter_context(watching(services, interval=f"{INTERVAL:g}s", **top))
        store = held.enter_context(keeping.open_store(reading.settings(daemon.config)))
        time.sleep(3 * INTERVAL)
        for name, url in made:
            killed_at = on.kill(name)
            opened.append(_until_opened(store, daemon, ServiceName(name)) - killed_at)
            answered.append(_until_answered(url) - killed_at)
            wait_until(lambda name=name: not store.incidents.unclosed(ServiceName(name)), 60, f"{name} was not healed")
    return opened, answered


def _until_opened(store: Store, daemon: Daemon, name: ServiceName) -> float:
    end = time.monotonic() + 30
    while not store.incidents.unclosed(name):
        if time.monotonic() > end:
            raise RuntimeError(f"no incident was opened: {Path(daemon.folder, 'watch.log').read_text()[-2000:]}")
        time.sleep(ASK_EVERY)
    return time.time()


def _until_answered(url: str) -> float:
    end = time.monotonic() + 60
    while not _answers(url):
        if time.monotonic() > end:
            raise RuntimeError(f"{url} did not answer again")
        time.sleep(ASK_EVERY)
    return time.time()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except urllib.error.HTTPError:
        return True  # busybox says 404 of an empty folder: it serves
    except OSError:
        return False
    return True


def _bare_restarts(on: Ground) -> list[float]:
    took = []
    for number in range(DEATHS):
        name, url = on.served(f"medic-bench-{on.run}-bare-{number}", HTTPD)
        _until_answered(url)
        killed_at = on.kill(name)
        subprocess.run(("docker", "restart", name), check=True, capture_output=True, timeout=60)
        took.append(_until_answered(url) - killed_at)
    return took
