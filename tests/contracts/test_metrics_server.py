"""The metrics' port: loopback only, one path, and a port that is taken is one sentence."""

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from agent.adapters.metrics_server import MetricsServer
from agent.errors import OutsideError


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    made = MetricsServer(0, lambda: "medic_build 1\n", "text/plain; version=0.0.4")
    yield made
    made.stop()


def get(port: int, path: str) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, "", ""


def test_a_scrape_is_answered_and_any_other_path_is_not_found(server: MetricsServer) -> None:
    assert get(server.port, "/metrics?x=1") == (200, "text/plain; version=0.0.4", "medic_build 1\n")
    assert get(server.port, "/")[0] == 404


def test_it_listens_on_loopback_and_nowhere_else(server: MetricsServer) -> None:
    # All of 127.0.0.0/8 is this machine: a server that listens everywhere would answer here.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", server.port), timeout=5)


def test_a_scraper_that_says_nothing_keeps_no_other_from_its_answer(server: MetricsServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)):
        assert get(server.port, "/metrics")[0] == 200


def test_a_taken_port_is_one_sentence(server: MetricsServer) -> None:
    with pytest.raises(OutsideError, match=rf"^cannot serve metrics on 127\.0\.0\.1:{server.port}: Address already in use$"):
        MetricsServer(server.port, str, "")
