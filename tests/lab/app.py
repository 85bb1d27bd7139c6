"""A small web service for the lab, standard library only: it runs inside lab containers, which have nothing else.

Reads NAME, and CURRENCY if it is given: one without a rate is refused at the start, as programs do that check their
settings. Listens on port 8080. `GET /health` answers `ok <name>`; `GET /embed?mb=N` takes N megabytes and keeps them, as a
batch that is too large does.
"""

import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PORT = 8080
MOST = 512
"""Megabytes that one request may take: where a container has no memory limit, the host must not pay for the demo."""

RATES = {"EUR": 1.00, "GBP": 0.84, "USD": 1.09}
NAME = os.environ.get("NAME", "app")
kept: list[bytearray] = []


def say(level: str, text: str) -> None:
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {level} {NAME}: {text}", flush=True)


class Answer(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/embed":
            self.take(min(int(parse_qs(url.query)["mb"][0]), MOST))
        body = f"ok {NAME}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def take(self, megabytes: int) -> None:
        say("INFO", f"embedding one batch of {megabytes} MB")
        # Not zeros: the kernel gives memory only to pages that are written. One by one: the limit must be met on the way.
        kept.extend(bytearray(b"x") * 1_048_576 for _ in range(megabytes))

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        if self.path != "/health":
            say("INFO", f"{self.requestline} {code}")


def main() -> None:
    currency = os.environ.get("CURRENCY", "EUR")
    if currency not in RATES:
        say("ERROR", f"invalid configuration: CURRENCY must be one of {', '.join(RATES)}, not {currency!r}")
        sys.exit(1)
    say("INFO", f"one unit costs {RATES[currency]}")
    # PID 1 ignores SIGTERM unless it says otherwise; without this every `docker stop` waits for SIGKILL.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    say("INFO", f"listening on port {PORT}")
    ThreadingHTTPServer(("0.0.0.0", PORT), Answer).serve_forever()


if __name__ == "__main__":
    main()
