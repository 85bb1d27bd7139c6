"""The walls around every test stand: `tests/conftest.py` keeps its word."""

import socket
import threading
from pathlib import Path

import pytest


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80)])
def test_a_test_cannot_connect_off_this_machine(address: tuple[str, int]) -> None:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as outside, pytest.raises(AssertionError, match="may not reach"):
        outside.connect(address)


def test_a_test_cannot_resolve_a_name_of_the_network() -> None:
    with pytest.raises(AssertionError, match="may not reach"):
        socket.getaddrinfo("models.example", 443)


def test_loopback_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=1) as client:
        assert client.getpeername() == server.getsockname()


def test_unix_sockets_stay_open(tmp_path: Path) -> None:
    path = str(tmp_path / "here.sock")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        client.connect(path)
        assert client.getpeername() == path


def test_the_wall_stands_in_threads_too() -> None:
    refused: list[str] = []

    def leave() -> None:
        try:
            socket.create_connection(("192.0.2.1", 80), timeout=1)
        except AssertionError as error:
            refused.append(str(error))

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join(timeout=5)
    assert len(refused) == 1
