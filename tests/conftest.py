"""What holds for every test: no network but this machine, no real model, and no live test that is quietly left out.

`CI=true` turns a missing Docker engine into an error; on a laptop the live tests are skipped and the summary says so.
"""

import functools
import ipaddress
import os
import socket
import subprocess
import sys
from collections import defaultdict
from typing import Any

import pytest

from tests import canaries

_walled = False
"""True while a test runs that may only reach this machine. An audit hook cannot be taken out again, so it asks this."""


def _refuse_the_network(event: str, arguments: tuple[Any, ...]) -> None:
    if not _walled:
        return
    if event in {"socket.connect", "socket.sendto"}:
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # anything else is a unix socket's path
    elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        host = arguments[0]
    else:
        return
    if not _is_here(host):
        raise AssertionError(f"this test may not reach {host!r}: only tests marked `live` leave the machine's loopback")


def _is_here(host: str | bytes | None) -> bool:
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if not host or host in {"localhost", socket.gethostname()}:
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


@functools.cache
def docker_answers() -> bool:
    """Say whether a Docker engine answers within ten seconds; asked once per run."""
    try:
        asked = subprocess.run(
            ("docker", "version", "--format", "{{.Server.Version}}"), capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def pytest_configure() -> None:
    sys.addaudithook(_refuse_the_network)
    # A key in the environment must never make a test pay for, or depend on, a real model.
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        del os.environ[name]
    os.environ.update(canaries.SUITE)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    global _walled
    live = item.get_closest_marker("live") is not None
    _walled = not live
    if live and not docker_answers():
        if os.environ.get("CI") == "true":
            pytest.fail(
                "no Docker engine answers, and CI=true: live tests must run here (scripts/docker.sh sets one up)", pytrace=False
            )
        pytest.skip("no Docker engine answers")


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    global _walled
    _walled = False


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left_out: dict[str, list[str]] = defaultdict(list)
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        left_out[reason].append(report.nodeid)
    deselected = len(terminalreporter.stats.get("deselected", []))
    if not left_out and not deselected:
        terminalreporter.write_line("did not run: nothing was left out")
        return
    terminalreporter.section("did not run")
    for reason, tests in left_out.items():
        terminalreporter.write_line(f"{len(tests)}: {reason}: {', '.join(tests[:5])}{' …' if len(tests) > 5 else ''}")
    if deselected:
        terminalreporter.write_line(f"{deselected}: deselected on the command line")
