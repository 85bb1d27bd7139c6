"""A small web service for the lab, standard library only: it runs inside lab containers, which have nothing else.

Environment, all of it optional:
    NAME      what it calls itself; `GET /health` answers `ok <name>`
    PRINTED_* each is printed at the start, as programs print their settings
    CURRENCY  one without a rate is refused at the start, as programs do that check their settings
    WARM      seconds it loads before it listens
    ENGINE    `1`: it has a child that does the work. `/health` speaks for the parent only, `/v1/completions` asks the child
    NEEDS     `host:port`: `/health` answers 503 while nothing takes connections there
    CONFIG    a JSON file it reads at start; it ends with exit 2 when it cannot

`POST /become` with `{"behaviour": ..., "text": ..., "lasting": bool}` makes it behave badly from now on; a lasting behaviour
is in a file beside the program and survives restarts. `GET /embed?mb=N` takes N megabytes and keeps them, as a batch that is
too large does.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PORT = 8080
MOST = 512
"""Megabytes that one request may take: where a container has no memory limit, the host must not pay for the demo."""
ENDLESS = 60.0
"""Seconds. What is called endless here ends all the same: nothing of the lab may outlive it."""

RATES = {"EUR": 1.00, "GBP": 0.84, "USD": 1.09}
NAME = os.environ.get("NAME", "app")
LASTING = Path("/srv/kept/behaviour.json")
kept: list[object] = []


def say(level: str, text: str) -> None:
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {level} {NAME}: {text}", flush=True)


class Engine:
    """The child that does the work: one line in, one line out."""

    def __init__(self) -> None:
        self._child = subprocess.Popen((sys.executable, __file__, "engine"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._turn = threading.Lock()

    def complete(self) -> bytes:
        """Return what the child generates. Raises OSError when it is gone; waits for as long as it says nothing."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with self._turn:
            self._child.stdin.write(b"hello\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        if not line:
            raise BrokenPipeError("EngineDeadError: the engine process is gone")
        return line


class Site:
    """What the requests share: how it behaves now, and its engine."""

    behaviour = ""
    text = ""
    engine: Engine | None = None

    @classmethod
    def become(cls, wish: dict[str, object]) -> None:
        cls.behaviour, cls.text = str(wish["behaviour"]), str(wish.get("text", ""))
        if wish.get("lasting"):
            LASTING.write_text(json.dumps(wish))


class Answer(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/embed":
            self.take(min(int(parse_qs(url.query)["mb"][0]), MOST))
        if url.path == "/v1/completions":
            self.complete()
        elif Site.behaviour:
            BEHAVIOURS[Site.behaviour](self)
        else:
            self.health()

    def do_POST(self) -> None:
        wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/completions":
            self.complete()
            return
        if "say" in wish:
            say(wish.get("level", "ERROR"), wish["say"])
        if "behaviour" in wish:
            Site.become(wish)
        self.send(200, "done\n")

    def health(self) -> None:
        needs = os.environ.get("NEEDS")
        if needs:
            host, _, port = needs.partition(":")
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
            except OSError as error:
                say("ERROR", f"cannot reach {needs}: {error}")
                self.send(503, f"cannot reach {needs}\n")
                return
        self.send(200, f"ok {NAME}\n")

    def complete(self) -> None:
        if Site.engine is None:
            self.send(404, "no engine\n")
            return
        if Site.behaviour == "mute":
            self.send(200, json.dumps({"choices": []}))
            return
        try:
            tokens = Site.engine.complete()
        except OSError as error:
            say("ERROR", str(error))
            self.send(500, "EngineDeadError\n")
        else:
            self.send(200, json.dumps({"choices": [{"text": tokens.decode()}]}))

    def send(self, status: int, text: str, **headers: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def overloaded(self) -> None:
        self.send(503, "busy, come back later\n", Retry_After="30")

    def limited(self) -> None:
        self.send(429, "too many requests\n", Retry_After="30")

    def failing(self) -> None:
        self.send(500, Site.text or "internal error\n")

    def speak(self) -> None:
        self.send(200, Site.text)

    def slow(self) -> None:
        time.sleep(float(Site.text or "1"))
        self.health()

    def silent(self) -> None:
        time.sleep(ENDLESS)

    def empty(self) -> None:
        self.close_connection = True

    def endless(self) -> None:
        """Answer well at first and then go on without an end, a byte at a time."""
        self.send_response(200)
        self.end_headers()
        end = time.monotonic() + ENDLESS
        while time.monotonic() < end:
            self.wfile.write(b".")
            self.wfile.flush()
            time.sleep(0.1)

    def leaking(self) -> None:
        """Open files until there are no more: from then on the server cannot take a connection either."""
        try:
            while True:
                kept.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as error:
            say("ERROR", str(error))
            raise

    def take(self, megabytes: int) -> None:
        say("INFO", f"embedding one batch of {megabytes} MB")
        # Not zeros: the kernel gives memory only to pages that are written. One by one: the limit must be met on the way.
        kept.extend(bytearray(b"x") * 1_048_576 for _ in range(megabytes))

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        if self.path not in ("/health", "/v1/completions"):
            say("INFO", f"{self.requestline} {code}")


BEHAVIOURS: dict[str, Callable[[Answer], None]] = {
    "mute": Answer.health,
    "overloaded": Answer.overloaded,
    "limited": Answer.limited,
    "failing": Answer.failing,
    "speak": Answer.speak,
    "slow": Answer.slow,
    "silent": Answer.silent,
    "empty": Answer.empty,
    "endless": Answer.endless,
    "leaking": Answer.leaking,
}


def generate() -> None:
    """Be the engine: answer each line with one of tokens."""
    for _ in sys.stdin:
        print("hello to you", flush=True)


def main() -> None:
    currency = os.environ.get("CURRENCY", "EUR")
    if currency not in RATES:
        say("ERROR", f"invalid configuration: CURRENCY must be one of {', '.join(RATES)}, not {currency!r}")
        sys.exit(1)
    for name in sorted(name for name in os.environ if name.startswith("PRINTED_")):
        say("INFO", os.environ[name])
    say("INFO", f"one unit costs {RATES[currency]}")
    # PID 1 ignores SIGTERM unless it says otherwise; without this every `docker stop` waits for SIGKILL.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    read_config()
    if "WARM" in os.environ:
        say("INFO", "loading the model")
        time.sleep(float(os.environ["WARM"]))
    if LASTING.is_file():
        Site.become(json.loads(LASTING.read_text()))
    if os.environ.get("ENGINE") == "1":
        Site.engine = Engine()
    say("INFO", f"listening on port {PORT}")
    ThreadingHTTPServer(("0.0.0.0", PORT), Answer).serve_forever()


def read_config() -> None:
    """Read the configuration file, if there is one to read; end with exit 2 where it is no good."""
    if "CONFIG" not in os.environ:
        return
    path = os.environ["CONFIG"]
    try:
        json.loads(Path(path).read_text())
    except ValueError as error:
        say("FATAL", f"invalid configuration file {path}: parse error: {error}")
        sys.exit(2)


if __name__ == "__main__":
    generate() if sys.argv[1:] == ["engine"] else main()
