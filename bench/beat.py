"""One beat over 10 000 HTTP endpoints by a real `medic watch`, and the same endpoints by blackbox_exporter in the same run.

Only the daemon's own CPU counts: the endpoints are another process's. blackbox_exporter is asked one probe at a time for each
endpoint, as Prometheus does, and only its own CPU counts as well.
"""

import contextlib
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import psutil

from agent.adapters import http_probe, own_limits
from agent.model import HttpRequest, HttpSeen
from agent.wiring import keeping, reading
from bench import endpoints, ground
from bench.figure import Figure
from tests.lab import images

ENDPOINTS = 10_000
SERVICES = 100
"""With a container of its own each, which two services may not share, and a hundred endpoints."""
BEATS = 3
INTERVAL = 20
"""Seconds: long enough that a beat ends before the next, on a slow machine as well."""
BLACKBOX_PROBES = 2_000
PACKAGE = "prometheus-blackbox-exporter"


def figures(on: ground.Ground) -> Iterator[Figure]:
    """Measure the beat's seconds, its memory, and its probes per CPU second beside blackbox_exporter's."""
    own_limits.raise_open_files()
    names = on.containers(SERVICES)
    with endpoints.served(ENDPOINTS) as urls:
        seconds, cpu, megabytes = _beats(urls, names)
        alone = _prober_alone(urls)
        limit = "a fresh connection for each probe: of its CPU two fifths are the kernel's, two libcurl's and its callbacks', one is the judging"
        yield Figure(
            name="beat-seconds",
            what=f"beat over {ENDPOINTS} HTTP endpoints of {SERVICES} services",
            value=seconds,
            unit="s",
            bar=2.0,
            limit=limit,
            more={"cpu_seconds": round(cpu, 3), "prober_alone_cpu_seconds": round(alone, 3)},
        )
        yield Figure(
            name="beat-memory",
            what="memory of the daemon over those beats",
            value=megabytes,
            unit="MB RSS",
            bar=150,
            limit="the imported libraries, 130 MB before the first check; then what reading a file of 10 000 checks leaves",
        )
        theirs = _blackbox(urls[:BLACKBOX_PROBES])
        yield Figure(
            name="beat-blackbox",
            what="probes per CPU second, beside blackbox_exporter's",
            value=ENDPOINTS / cpu / theirs if theirs else None,
            unit="times",
            bar=10,
            at_least=True,
            limit=limit if theirs else f"{PACKAGE} could not be had",
            more={
                "medic": round(ENDPOINTS / cpu),
                "prober_alone": round(ENDPOINTS / alone),
                "blackbox_exporter": round(theirs or 0),
            },
        )


def _beats(urls: Sequence[str], names: Sequence[str]) -> tuple[float, float, float]:
    """Return the median seconds of a beat, the mean CPU seconds between two, and the daemon's megabytes at the end."""
    each = len(urls) // len(names)
    services = {
        name: {
            "checks": [{"kind": "http", "name": f"e{n}", "url": url} for n, url in enumerate(urls[number * each :][:each])],
        }
        for number, name in enumerate(names)
    }
    with ground.watching(services, interval=f"{INTERVAL}s") as daemon:
        # The first beats fill memories, write every first streak, and raise the interpreter's own heap.
        _wait_for_beats(daemon, 2)
        cpu = daemon.cpu_seconds()
        _wait_for_beats(daemon, BEATS)
        used = (daemon.cpu_seconds() - cpu) / BEATS
        megabytes = daemon.process.memory_info().rss / 1_000_000
        with keeping.open_store(reading.settings(daemon.config)) as store:
            took = [report.took.total_seconds() for report in store.sweeps.latest(BEATS)]
    return statistics.median(took), used, megabytes


def _wait_for_beats(daemon: ground.Daemon, count: int) -> None:
    for _ in range(count):
        before = daemon.beats()
        ground.wait_until(lambda before=before: daemon.beats() > before, 6 * INTERVAL, "the next beat did not come")


def _prober_alone(urls: Sequence[str]) -> float:
    """Return the CPU seconds of the prober without everything around it."""
    requests = [HttpRequest(url=url, timeout=timedelta(seconds=2)) for url in urls]
    http_probe.probe(requests, timedelta(seconds=10))
    began = time.process_time()
    http_probe.probe(requests, timedelta(seconds=10))
    return time.process_time() - began


def _blackbox(urls: Sequence[str]) -> float | None:
    """Return blackbox_exporter's probes per CPU second, None where it cannot be had. Asked by our own prober, uncounted."""
    with tempfile.TemporaryDirectory(prefix="medic-bench-blackbox-") as folder:
        program = _program(Path(folder))
        if program is None:
            return None
        config = Path(folder, "blackbox.yml")
        config.write_text(json.dumps({"modules": {"http_2xx": {"prober": "http", "timeout": "5s"}}}))
        port = ground.free_port()
        words = (program, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}")
        exporter = psutil.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return _ask_blackbox(exporter, port, urls)
        finally:
            exporter.terminate()
            exporter.wait(10)


def _ask_blackbox(exporter: psutil.Popen, port: int, urls: Sequence[str]) -> float:
    requests = [
        HttpRequest(
            url=f"http://127.0.0.1:{port}/probe?module=http_2xx&target={quote(url, safe='')}", timeout=timedelta(seconds=9)
        )
        for url in urls
    ]
    ready = HttpRequest(url=f"http://127.0.0.1:{port}/-/healthy", timeout=timedelta(seconds=1))
    ground.wait_until(
        lambda: _answered(http_probe.probe([ready], timedelta(seconds=1))[ready]), 30, "blackbox_exporter does not answer"
    )
    before = exporter.cpu_times()
    well = 0
    for start in range(0, len(requests), 100):  # a hundred at a time: its own connections are what it is slowest at
        seen = http_probe.probe(requests[start : start + 100], timedelta(seconds=10))
        well += sum(
            _answered(answer) and b"probe_success 1" in answer.body.encode()
            for answer in seen.values()
            if isinstance(answer, HttpSeen)
        )
    after = exporter.cpu_times()
    if well < len(urls) * 0.9:
        raise RuntimeError(f"blackbox_exporter answered {well} of {len(urls)} probes")
    return well / (after.user + after.system - before.user - before.system)


def _answered(answer: object) -> bool:
    return isinstance(answer, HttpSeen) and answer.status == 200


def _program(folder: Path) -> str | None:
    """Return blackbox_exporter: the installed one, or the Debian package's, unpacked and not installed."""
    installed = shutil.which(PACKAGE)
    if installed is None:
        with contextlib.suppress(images.LabError):
            images.fetch_package(PACKAGE, folder)
            return str(folder / "root/usr/bin" / PACKAGE)
    return installed
