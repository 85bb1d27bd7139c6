"""A real HTTP receiver on this machine that behaves as receivers do: it answers, fails, redirects, hangs, drips, goes away."""

import contextlib
import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Receiver:
    """What a receiver does next and what it got. `mood`: a status code, `hang`, `drip`, `cut`."""

    port: int = 0
    mood: int | str = 200
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def notices(self) -> list[dict[str, Any]]:
        """Every body that was taken, as JSON."""
        return [json.loads(body) for body in self.bodies]

    def url(self, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}/hook"


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False


@contextlib.contextmanager
def receiving(receiver: Receiver) -> Iterator[Receiver]:
    """Run a receiver on its port (a free one at first); leaving stops it, entering again brings it back on the same port."""
    receiver.released.clear()

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if receiver.mood == "hang":
                receiver.released.wait(20)
                return
            if receiver.mood == "cut":
                return
            if receiver.mood == "drip":
                with contextlib.suppress(OSError):
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                    while not receiver.released.wait(0.05):
                        self.wfile.write(b"X-Drip: drop\r\n")
                return
            status = int(receiver.mood)
            if status < 300:
                receiver.bodies.append(body)
                receiver.headers.append(dict(self.headers))
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", receiver.url())
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name it overrides
            pass

    with _Server(("127.0.0.1", receiver.port), Answer) as server:
        receiver.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.released.set()
            server.shutdown()
            thread.join(5)
