"""What systemd is told: ready, alive, stopping. One datagram each; without systemd nothing is said.

Source: sd_notify(3) and sd_watchdog_enabled(3) of systemd 252: NOTIFY_SOCKET names a unix datagram socket, `@` in front of an
abstract one; WATCHDOG_USEC is how long the silence may be before the service counts as hung.
"""

import contextlib
import socket


class ServiceManager:
    """The socket of whoever supervises this process. What cannot be said is not said: it must not cost a beat."""

    def __init__(self, address: str | None) -> None:
        """address: the value of NOTIFY_SOCKET; None where nobody listens."""
        self._address = address.replace("@", "\0", 1) if address and address.startswith("@") else address

    def ready(self) -> None:
        """The daemon has started whatever it runs."""
        self._say("READY=1")

    def alive(self) -> None:
        """Beats come."""
        self._say("WATCHDOG=1")

    def stopping(self) -> None:
        """It was told to stop and is on its way."""
        self._say("STOPPING=1")

    def _say(self, word: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as to:
            to.connect(self._address)
            to.send(word.encode())
