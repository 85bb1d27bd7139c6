"""Serves the metrics on this machine's loopback: `GET /metrics`, nothing else, to nobody else.

In: a port and a function that makes the text. Out: a thread of its own until `stop`.
"""

import logging
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from agent.errors import OutsideError

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
PATIENCE = 5.0
"""Seconds that one connection may take to ask and to read."""


class _Server(ThreadingHTTPServer):
    """One short thread for each scrape: one that asks and does not read holds up nobody else."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, _request: object, _client: object) -> None:
        """Put what went wrong into the log, where it is redacted, and not on the screen."""
        logger.debug("a scrape was not answered", exc_info=sys.exc_info())


class MetricsServer:
    """One listening port."""

    def __init__(self, port: int, text: Callable[[], str], content_type: str) -> None:
        """Listen at once. Raises OutsideError where the port is taken or may not be used."""
        try:
            self._server = _Server((LOOPBACK, port), _answering(text, content_type))
        except OSError as exc:
            cause = exc.strerror or exc
            raise OutsideError(f"cannot serve metrics on {LOOPBACK}:{port}: {cause}", transient=False) from exc
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Stop listening and wait for the answer under way."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)


def _answering(text: Callable[[], str], content_type: str) -> type[BaseHTTPRequestHandler]:
    class Scrape(BaseHTTPRequestHandler):
        timeout = PATIENCE
        server_version = "medic"
        sys_version = ""

        def do_GET(self) -> None:
            """Answer one scrape."""
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404)
                return
            body = text().encode()
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *words: object) -> None:  # noqa: A002  the base class names it so
            """Keep scrapes at DEBUG: they come every few seconds."""
            logger.debug("metrics were asked for", extra={"line": format % words})

    return Scrape
