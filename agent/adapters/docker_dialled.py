"""Lets the Docker SDK's client go over connections that somebody else opens: to the engine of another host, over SSH.

The SDK can speak SSH itself, but trusts the machine's known hosts, keeps a connection of its own beside ours, waits without
a bound, and starts a `docker` on the target for each connection (docker 7.2, `transport/sshconn.py`).
"""

from collections.abc import Callable
from typing import Any  # what the SDK leaves untyped

import docker
from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnection, UnixHTTPConnectionPool

from agent.adapters.docker_stream import Dial

KEPT = 4
"""Connections kept per host."""


def go_over(client: docker.APIClient, dial: Dial) -> None:
    """Make a client that was made for a unix socket connect by `dial` from now on."""
    client.mount("http+docker://", _Adapter(dial, float(client.timeout)))


class _Connection(UnixHTTPConnection):
    def __init__(self, dial: Dial, timeout: float) -> None:
        super().__init__("", "", timeout)  # type: ignore[arg-type]  # requests takes fractions
        self._dial = dial

    def connect(self) -> None:
        opened: Any = self._dial(float(self.timeout))
        opened.settimeout(self.timeout)
        self.sock = opened


class _Pool(UnixHTTPConnectionPool):
    def __init__(self, dial: Dial, timeout: float) -> None:
        super().__init__("", "", timeout, maxsize=KEPT)  # type: ignore[arg-type]  # as above
        self._made: Callable[[], _Connection] = lambda: _Connection(dial, timeout)

    def _new_conn(self) -> Any:  # urllib3 promises a type that its own connections are not known to have
        return self._made()


class _Adapter(UnixHTTPAdapter):
    """One pool for every address: the SDK's own keeps one for each that was ever asked for."""

    def __init__(self, dial: Dial, timeout: float) -> None:
        super().__init__("http+unix:///")
        self._pool = _Pool(dial, timeout)

    def get_connection(self, url: bytes | str, proxies: object = None) -> UnixHTTPConnectionPool:  # noqa: ARG002
        return self._pool

    def close(self) -> None:
        super().close()
        self._pool.close()
