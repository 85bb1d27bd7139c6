"""A channel that is a webhook: one JSON object by POST, signed, with a deadline that holds against a receiver that drips.

The receiver gets every field of the notice; `dedup_key` (also the `Idempotency-Key` header) is the same for every delivery
of one edge, so that "at least once" can be counted once. With a secret, `X-Medic-Signature: sha256=<hex>` is the HMAC-SHA256
of the body as sent: a receiver recomputes it over the raw bytes.
"""

import hashlib
import hmac
import http.client
import json
import socket
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

from agent import codec, notices
from agent.adapters.deadline import Deadline
from agent.errors import ConfigError, OutsideError
from agent.model import Notice

DEADLINE = timedelta(seconds=10)
"""From the first look at the name to the status line."""


class WebhookNotifier:
    """Posts notices to one URL. Raises ConfigError for a URL that is not plain http or https.

    secret: the key of the signature; None sends none. redact: applied to every text before it is sent.
    Proxies of the environment are not used: where the notices go is what the URL says.
    """

    def __init__(
        self, channel: str, url: str, *, secret: str | None, redact: Callable[[str], str], deadline: timedelta = DEADLINE
    ) -> None:
        self._channel = channel
        self._secure, self._host, self._port, self._path = _parts(channel, url)
        self._secret = secret
        self._redact = redact
        self._limit = deadline
        self._deadline = Deadline(f"send to channel {channel!r}", deadline)

    def send(self, notice: Notice) -> None:
        """Deliver one notice. Raises OutsideError unless the receiver answered 2xx in time."""
        body = json.dumps(codec.as_dict(notices.redacted(notice, self._redact)), ensure_ascii=False).encode()
        make = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = make(self._host, self._port, timeout=self._limit.total_seconds())
        self._deadline.run(lambda: self._post(connection, body, notice.dedup_key), abort=lambda: _cut(connection))

    def _post(self, connection: http.client.HTTPConnection, body: bytes, dedup_key: str) -> None:
        try:
            connection.request("POST", self._path, body, self._headers(body, dedup_key))
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as exc:
            raise OutsideError(
                f"cannot send to channel {self._channel!r}: {str(exc) or type(exc).__name__}", transient=True
            ) from exc
        finally:
            connection.close()
        if not 200 <= status < 300:
            # A redirect counts as refused: a notice goes where the configuration says, not where a receiver says.
            raise OutsideError(
                f"cannot send to channel {self._channel!r}: it answered {status}", transient=status >= 500 or status == 429
            )

    def _headers(self, body: bytes, dedup_key: str) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "medic-agent", "Idempotency-Key": dedup_key}
        if self._secret is not None:
            headers["X-Medic-Signature"] = "sha256=" + hmac.new(self._secret.encode(), body, hashlib.sha256).hexdigest()
        return headers


def _cut(connection: http.client.HTTPConnection) -> None:
    """End a call that reads or writes: its next byte is an error."""
    sock: socket.socket | None = connection.sock
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the other side was faster


def _parts(channel: str, url: str) -> tuple[bool, str, int | None, str]:
    """Return (TLS?, host, port, path with query) of a webhook's URL."""
    wrong = f"cannot use channel {channel!r}: the webhook URL"  # never the URL itself: its path may be a secret
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ConfigError(f"{wrong} has no valid host and port") from exc
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(f"{wrong} must look like https://host/path")
    if parts.username is not None:
        raise ConfigError(f"{wrong} must not hold a user name or password; use `secret` for a signature")
    if not url.isprintable() or " " in url:
        raise ConfigError(f"{wrong} must not hold blanks or control characters")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii():
        raise ConfigError(f"{wrong} must be percent-encoded")
    return parts.scheme == "https", host, port, path
