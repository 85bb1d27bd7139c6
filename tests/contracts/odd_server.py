"""A local server with bad manners: each path misbehaves in its own way. One thread per connection; ends with the test."""

import contextlib
import datetime
import gzip
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nall fine"
BOMB = gzip.compress(bytes(50_000_000), 9)
"""50 MB of zeros in 50 kB."""
SAID = {
    "500": b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops",
    "busy": b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 42\r\nContent-Length: 0\r\n\r\n",
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.invalid/x\r\nContent-Length: 0\r\n\r\n",
    "circle": b"HTTP/1.1 302 Found\r\nLocation: /circle\r\nContent-Length: 0\r\n\r\n",
    "bomb": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(BOMB), BOMB),
    "empty": b"",
    "binary": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n\x00\xff\xfe\x80\x1b[",
    "short": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nall fine",
    "not-http": b"-ERR unknown command\r\n",
    "named": b"HTTP/1.1 200 OK\r\nX-Served-By: web\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\nVary: a\r\nvary: b\r\n"
    b"Content-Length: 0\r\n\r\n",
}
"""Manners that only need other bytes."""
ROLE = b'{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}'
TOKEN = b'{"choices":[{"delta":{"content":"yes"},"finish_reason":null}]}'
STREAMED = {
    "v1/chat/completions": (ROLE, TOKEN, b"[DONE]"),
    "stuck/chat/completions": (ROLE,),
    "cut/chat/completions": (ROLE, TOKEN),
}
"""Endpoints that generate; one whose last word is its role never says another."""


class OddServer:
    """Serves `http://127.0.0.1:<port>/<manner>`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._tls = tls
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def url(self, manner: str) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/{manner}"

    def close(self) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _start(self, call: Callable[[], None]) -> None:
        thread = threading.Thread(target=call, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._start(lambda connection=connection: self._serve(connection))  # type: ignore[misc]

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        with contextlib.suppress(OSError), connection:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                head = connection.recv(65_536).decode("latin-1")
                manner = head.split(" ", 2)[1].strip("/") if " " in head else ""
                if manner == "kept":
                    self._keep(connection)
                elif manner in STREAMED:
                    self._stream(connection, *STREAMED[manner])
                else:
                    self._behave(manner, connection, head)

    def _keep(self, connection: socket.socket) -> None:
        """Answer again and again on one connection, as servers do."""
        connection.sendall(OK)
        while connection.recv(65_536):
            connection.sendall(OK)

    def _stream(self, connection: socket.socket, *events: bytes) -> None:
        """Generate: events of an OpenAI-style completion, the first one at once, the others 0.2 s apart."""
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number, event in enumerate(events):
            self._stop.wait(0.2 if number else 0)
            connection.sendall(b"data: " + event + b"\n\n")
        if events[-1] == ROLE:
            self._stop.wait(30)

    def _behave(self, manner: str, connection: socket.socket, head: str) -> None:
        match manner:
            case "slow":
                self._stop.wait(0.4)
                connection.sendall(OK)
            case "hang":
                self._stop.wait(30)
            case "half-hang":
                connection.sendall(OK[:-5])
                self._stop.wait(30)
            case "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case "endless":
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while not self._stop.is_set():
                    connection.sendall(b"and so on\n" * 1_000)
            case "long-line":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
                for _ in range(100):
                    connection.sendall(b"x" * 1_000_000)
            case "echo":
                body = head.encode("latin-1")
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            case _:
                connection.sendall(SAID.get(manner, OK))


@contextlib.contextmanager
def odd_server(tls: ssl.SSLContext | None = None) -> Iterator[OddServer]:
    server = OddServer(tls)
    try:
        yield server
    finally:
        server.close()


def self_signed(folder: Path, *, days: int = 1, name: str = "localhost") -> ssl.SSLContext:
    """Return a server's side of TLS with a certificate that nobody vouches for, in `self-signed.pem` of a folder.

    days: how long it is good from now on; negative: it has expired. name: whom it names.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(today - datetime.timedelta(days=400)).not_valid_after(
        today + datetime.timedelta(days=days)
    )
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    pem += key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "self-signed.pem"
    path.write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def dead_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
