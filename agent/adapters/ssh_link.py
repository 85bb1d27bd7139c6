"""One kept SSH connection per host: bounded programs, and connections to what listens on that host. The only importer of
paramiko but `ssh_trust`.

Every wait is bounded here, since several of paramiko 5.1's are not: a request in a channel (`Channel._wait_for_event`) and
an exit status wait for ever, and `ServiceRequestingTransport.ensure_session` does so even once the connection is gone. What
hangs past its deadline takes the connection with it; the next call opens another. A program is bounded on the target as
well (`timeout -k`), so that a connection that is lost leaves nothing running there.
"""

import logging
import os
import shlex
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import paramiko
from paramiko.common import MSG_CHANNEL_OPEN_FAILURE, cMSG_CHANNEL_OPEN
from paramiko.message import Message

from agent.adapters import bounded_program, ssh_trust
from agent.adapters.bounded_program import LONGEST
from agent.errors import HostKeyRefused, JumpHostLost, OutsideError
from agent.model import HostName, SshAccess

logger = logging.getLogger(__name__)

CONNECT_WITHIN = timedelta(seconds=4)
"""For one try: name, TCP, handshake and authentication. A jump host has its own before that."""
AT_ONCE = 8
"""Programs under way at once on one host. sshd allows 10 per connection. Source: sshd_config(5), `MaxSessions`."""
KEEP_ALIVE = 5
"""Seconds without traffic after which something is sent, so that nobody in between forgets the connection."""
SILENT_PEER = timedelta(seconds=15)
"""What was sent and is not acknowledged for so long ends the connection: its host is gone. Source: tcp(7), TCP_USER_TIMEOUT."""
TRY_AGAIN = (2.0, 30.0)
"""Seconds after a failed try before the next: the first, and where doubling ends."""
REFUSED_KEY_AGAIN = 60.0
"""Seconds after a wrong host key before the next try."""
ARE_YOU_THERE = 1.0
"""Seconds for a silent host to show that it lives."""

CONNECT_FAILED = 2
"""Why a channel is not opened: what it should lead to could not be connected to. Source: RFC 4254, section 5.1."""

_NO_KIND = "are-you-there@medic"
_CHUNK = 65_536
_WINDOW = 2_097_152
_PACKET = 32_768
_POLL = 0.1


class ChannelRefusedError(Exception):
    """The host did not open a channel. code: as in RFC 4254; said: the server's own words."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(said)
        self.code = code


class SshLink:
    """The connection to one host. Safe to share between threads; opened by the first that needs it, `close` it in the end."""

    def __init__(
        self, host: HostName, access: SshAccess, over: "SshLink | None" = None, *, connect_within: timedelta = CONNECT_WITHIN
    ) -> None:
        """over: the link of its jump host."""
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # it logs with traces what we raise as one sentence
        self.host = host
        self._access = access
        self._over = over
        self._connect_within = connect_within.total_seconds()
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._live: _Transport | None = None
        self._trying: threading.Event | None = None
        self._failure: OutsideError | None = None
        self._not_before = 0.0
        self._pause = TRY_AGAIN[0]
        self._closed = False

    def close(self) -> None:
        """End the connection and whatever goes over it. A link that is closed opens no more."""
        with self._lock:
            self._closed = True
            live, self._live = self._live, None
        if live is not None:
            live.close()

    def run(self, argv: tuple[str, ...], *, timeout: timedelta, limit: int) -> tuple[int, bytes]:
        """Return the exit code and the first `limit` bytes of stdout and stderr of one program on the host.

        It is ended there within `timeout`, whatever becomes of the connection. argv: fixed in the code that calls, and paths
        that people declared; every word is quoted for the host's shell. Raises OutsideError.
        """
        span = timeout.total_seconds()
        until = time.monotonic() + span
        doing = f"cannot run {shlex.join(argv)[:LONGEST]!r} on host {self.host!r}"
        with self._slot(doing, until), self._outside(doing, until):
            transport = self._connected(until)
            left = until - time.monotonic()
            code, output = self._exchange(transport, argv, bound=max(left - 1.0, left / 2), until=until, limit=limit)
        return bounded_program.checked(doing, code, output, span)

    def dial_tcp(self, address: str, port: int, until: float) -> paramiko.Channel:
        """Open a connection from that host to an address as it sees it; it works like a socket.

        until: monotonic seconds. Raises ChannelRefusedError where the host could not connect, TimeoutError where it is still
        trying, OutsideError where the host itself is out of reach.
        """
        target = Message()
        target.add_string(address)
        target.add_int(port)
        target.add_string("127.0.0.1")
        target.add_int(0)
        transport = self._connected(until)
        with self._outside(f"cannot connect to {address}:{port} from host {self.host!r}", until):
            try:
                return transport.reach("direct-tcpip", target.asbytes(), until)
            except TimeoutError:
                # Is it the host that is silent, or only what it connects to? A host that answers says "no" at once to this.
                with suppress(ChannelRefusedError):
                    transport.reach(_NO_KIND, b"", time.monotonic() + ARE_YOU_THERE)
        raise TimeoutError

    def dial_unix(self, path: str, until: float) -> paramiko.Channel:
        """Open a connection to a unix socket on that host; it works like a socket.

        until: monotonic seconds. Raises OutsideError. Source: OpenSSH, PROTOCOL, section 2.4, direct-streamlocal.
        """
        target = Message()
        target.add_string(path)
        target.add_string("")
        target.add_int(0)
        doing = f"cannot connect to {path} on host {self.host!r}"
        try:
            with self._outside(doing, until):
                return self._connected(until).reach("direct-streamlocal@openssh.com", target.asbytes(), until)
        except ChannelRefusedError as exc:  # OpenSSH 9 says "open failed" whatever the reason
            may = f"user {self._access.user!r} may not connect (group `docker`)"
            cause = f"nothing listens there, {may}, or its sshd forwards no sockets (AllowStreamLocalForwarding)"
            raise OutsideError(f"{doing}: {cause}", transient=True) from exc

    def greet(self, until: float) -> None:
        """Make sure that the host answers, and run nothing there: an account may be for jumps alone. until: monotonic seconds.

        Raises OutsideError.
        """
        # A server says "no" at once to a kind of channel that there is not.
        with self._outside(f"cannot reach host {self.host!r} over SSH", until), suppress(ChannelRefusedError):
            self._connected(until).reach(_NO_KIND, b"", until)

    # ------------------------------------------------------------------------------------------------------- programs

    def _exchange(
        self, transport: "_Transport", argv: tuple[str, ...], *, bound: float, until: float, limit: int
    ) -> tuple[int, bytes]:
        # A shell's start-up files may print before the program does: what counts begins after a word they cannot know.
        mark = os.urandom(8).hex().encode()
        within = f"echo {mark.decode()}; exec {bounded_program.words(argv, bound)}"
        began = time.monotonic()
        # No end of input is sent: paramiko may send it when a quick program is over, and OpenSSH ends the whole connection, with
        # everybody's programs, for a word to a channel that is gone. Source: OpenSSH 9.2, channels.c, channel_from_packet_id.
        command = f"exec {'sudo -n ' if self._access.sudo else ''}sh -c {shlex.quote(within)} </dev/null"
        channel = self._session(transport, until)
        # Ends what paramiko does not bound. The program has its own, earlier end: past this one the host does not answer.
        watchdog = threading.Timer(max(until - time.monotonic(), 0.0), self._drop, (transport,))
        watchdog.daemon = True
        watchdog.start()
        try:
            channel.set_combine_stderr(True)
            channel.exec_command(command)
            channel.settimeout(max(until - time.monotonic(), 0.001))
            output = self._after(mark, channel, limit, until)
            channel.status_event.wait(max(until - time.monotonic(), 0.0))
            if channel.exit_status >= 0:
                return channel.exit_status, output
            if not transport.is_active():
                raise EOFError("the connection ended before the program did")
            # The server tells of a signal, and paramiko does not. `timeout` ends by the SIGKILL that it sends its own group.
            if time.monotonic() - began >= bound:
                return bounded_program.TIMED_OUT[1], output
            raise EOFError("a signal ended the program")
        finally:
            watchdog.cancel()
            channel.close()

    def _session(self, transport: "_Transport", until: float) -> paramiko.Channel:
        """Open a channel for one program. A server may still be closing those of the last ones, which count as long."""
        while True:
            try:
                return transport.reach("session", b"", until)
            except ChannelRefusedError as exc:
                if time.monotonic() + _POLL >= until:
                    raise self._unreachable("its sshd opens no further sessions (MaxSessions)") from exc
                threading.Event().wait(_POLL)

    def _after(self, mark: bytes, channel: paramiko.Channel, limit: int, until: float) -> bytes:
        """Return the first `limit` bytes after the line of `mark`. Reads to the end, so that the program is not held up."""
        kept, begun = bytearray(), False
        while chunk := channel.recv(_CHUNK):
            if time.monotonic() >= until:
                raise TimeoutError
            kept += chunk[: max(limit, _CHUNK) - len(kept)]
            if not begun:
                _, found, rest = kept.partition(mark + b"\n")
                kept, begun = (rest, True) if found else (kept[-_CHUNK // 2 :], False)
            if begun:
                del kept[limit:]
        if not begun:
            raise self._unreachable(
                f"its shell runs no programs for user {self._access.user!r}: {bounded_program.text(kept)}", transient=False
            )
        return bytes(kept)

    @contextmanager
    def _slot(self, doing: str, until: float) -> Iterator[None]:
        if not self._slots.acquire(timeout=max(until - time.monotonic(), 0.0)):
            raise OutsideError(f"{doing}: {AT_ONCE} programs are under way there already", transient=True)
        try:
            yield
        finally:
            self._slots.release()

    @contextmanager
    def _outside(self, doing: str, until: float) -> Iterator[None]:
        """Turn what paramiko and sockets raise into one OutsideError. A host that did not answer in time loses its connection."""
        try:
            yield
        except (paramiko.SSHException, EOFError, OSError) as exc:
            live = self._live
            if live is not None and (isinstance(exc, TimeoutError) or not live.is_active()):
                self._drop(live)
            if isinstance(exc, TimeoutError) or time.monotonic() >= until:
                raise bounded_program.hung(f"{doing}: the host did not answer in time") from exc
            raise OutsideError(f"{doing}: the SSH connection broke: {_brief(exc)}", transient=True) from exc

    # ----------------------------------------------------------------------------------------------------- connection

    def _connected(self, until: float) -> "_Transport":
        """Return the open connection, waiting for the try that is under way. Raises OutsideError.

        After a failed try its reason is raised at once, while the next one runs: a host that is gone costs no sweep anything.
        """
        with self._lock:
            if self._live is not None and self._live.is_active():
                return self._live
            if self._trying is None and time.monotonic() >= self._not_before:
                self._trying = self._begin_try()
            trying, failure = self._trying, self._failure
        if failure is not None or trying is None:
            raise _again(failure) if failure is not None else self._unreachable("there is no connection yet")
        trying.wait(max(until - time.monotonic(), 0.0))
        with self._lock:
            if self._live is not None and self._live.is_active():
                return self._live
            failure = self._failure
        raise _again(failure) if failure is not None else self._unreachable("there is no connection yet")

    def _begin_try(self) -> threading.Event:
        if self._closed:
            raise self._unreachable("Medic is ending")
        trying = threading.Event()
        try:
            threading.Thread(target=self._try, args=(trying,), name=f"ssh {self.host}"[:60], daemon=True).start()
        except RuntimeError as exc:  # "can't start new thread": our own exhaustion
            raise self._unreachable(str(exc)) from exc
        return trying

    def _try(self, trying: threading.Event) -> None:
        """One try, on a thread of its own: those who wait for it have deadlines, some of what it does has none."""
        live, failure = None, self._unreachable("Medic itself failed")
        try:
            live = self._open(time.monotonic() + self._connect_within)
        except OutsideError as exc:
            failure = exc
        finally:
            with self._lock:
                self._trying = None
                if live is not None:
                    self._live, self._failure, self._pause, self._not_before = live, None, TRY_AGAIN[0], 0.0
                else:
                    wait = REFUSED_KEY_AGAIN if isinstance(failure, HostKeyRefused) else self._pause
                    self._failure, self._not_before = failure, time.monotonic() + wait
                    self._pause = min(self._pause * 2, TRY_AGAIN[1])
                closed = self._closed
            trying.set()
            if closed:
                self.close()

    def _open(self, until: float) -> "_Transport":
        pinned = ssh_trust.pins(self.host, self._access)
        with ssh_trust.own_keys(self.host, self._access) as keys:
            transport = self._greet(pinned, keys, until)
        transport.set_keepalive(KEEP_ALIVE)
        logger.debug("connected over SSH", extra={"host": self.host, "address": self._access.address})
        return transport

    def _greet(self, pinned: ssh_trust.Pins, keys: tuple[paramiko.PKey, ...], until: float) -> "_Transport":
        raw, until = self._raw(until)
        transport = _Transport(raw)
        watchdog = threading.Timer(max(until - time.monotonic(), 0.0), transport.close)
        watchdog.daemon = True
        watchdog.start()
        try:
            self._shake_hands(transport, pinned, until)
            self._authenticate(transport, keys, until)
        except BaseException:
            transport.close()
            raise
        finally:
            watchdog.cancel()
        return transport

    def _raw(self, until: float) -> tuple["socket.socket | paramiko.Channel", float]:
        """Return what the connection goes over, and until when it has to be made: a jump host takes its own time first."""
        address, port = self._access.address, self._access.port
        if self._over is not None:
            until += self._connect_within
            try:
                return self._over.dial_tcp(address, port, until), until
            except ChannelRefusedError as exc:
                raise self._unreachable(f"its jump host {self._over.host!r} cannot connect to {address}:{port}") from exc
            except OutsideError as exc:
                lost = exc.host if isinstance(exc, JumpHostLost) else self._over.host
                sentence = f"cannot reach host {self.host!r} over SSH, behind its jump host {self._over.host!r}: {exc}"
                raise JumpHostLost(sentence, lost, transient=exc.transient) from exc
            except TimeoutError as exc:
                raise self._unreachable(f"its jump host {self._over.host!r} gets no answer from {address}:{port}") from exc
        try:
            raw = _Prompt(fileno=socket.create_connection((address, port), max(until - time.monotonic(), 0.001)).detach())
        except (socket.gaierror, UnicodeError) as exc:
            raise self._unreachable(f"cannot look up {address!r}: {_brief(exc)}") from exc
        except ConnectionRefusedError as exc:
            raise self._unreachable(f"nothing listens at {address}:{port}") from exc
        except TimeoutError as exc:
            raise self._unreachable(f"{address}:{port} did not answer within {self._connect_within:g} s") from exc
        except OSError as exc:
            raise self._unreachable(f"{address}:{port}: {exc.strerror or exc}") from exc
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SILENT_PEER.total_seconds() * 1000))
        return raw, until

    def _shake_hands(self, transport: "_Transport", pinned: ssh_trust.Pins, until: float) -> None:
        place = f"{self._access.address}:{self._access.port}"
        options = transport.get_security_options()
        options.key_types = pinned.wanted(tuple(options.key_types))
        left = max(until - time.monotonic(), 0.001)
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = left
        try:
            transport.start_client(timeout=left)
            shown = transport.get_remote_server_key()  # raises where the time was over before the handshake was
        except paramiko.ssh_exception.IncompatiblePeer as exc:
            raise self._unreachable(f"{place} shares no algorithm with us: {_brief(exc)}", transient=False) from exc
        except (paramiko.SSHException, EOFError, OSError) as exc:
            if time.monotonic() >= until - _POLL:
                raise self._unreachable(f"{place} accepts and does not finish the handshake in time") from exc
            raise self._unreachable(f"{place} does not answer as an SSH server: {_brief(exc)}") from exc
        ssh_trust.confirm(self.host, self._access, pinned, shown)

    def _authenticate(self, transport: "_Transport", keys: tuple[paramiko.PKey, ...], until: float) -> None:
        user = self._access.user
        for key in keys:
            try:
                transport.auth_publickey(user, key)
            except (paramiko.AuthenticationException, paramiko.SSHException, EOFError, OSError) as exc:
                if time.monotonic() >= until - _POLL:
                    raise self._unreachable("it does not answer our key in time") from exc
                if not transport.is_active():
                    raise self._unreachable(f"it ended the connection when user {user!r} showed a key") from exc
            if transport.is_authenticated():
                return
        which = "the ssh-agent's keys" if self._access.key_file is None else f"the key {self._access.key_file}"
        raise self._unreachable(f"it refuses {which} for user {user!r}", transient=False)

    def _unreachable(self, why: str, *, transient: bool = True) -> OutsideError:
        return OutsideError(f"cannot reach host {self.host!r} over SSH: {why}", transient=transient)

    def _drop(self, transport: "_Transport") -> None:
        """Give a connection up: whoever waits on it is woken, and the next call opens another."""
        with self._lock:
            if self._live is transport:
                self._live = None
        transport.close()


class _Prompt(socket.socket):
    """A connection that acknowledges what it receives at once.

    OpenSSH holds the end of an answer back until what went before is acknowledged (Nagle's algorithm; it sets TCP_NODELAY only
    for a session), and Linux acknowledges up to 40 ms later where it expects to answer. It falls back to that by itself, so it
    is asked again after each look. Source: tcp(7), TCP_QUICKACK; measured with `DelayedACKs` of /proc/net/netstat.
    """

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        received = super().recv(size, flags)
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return received


class _Channel(paramiko.Channel):
    """A channel whose end is quiet, also where the connection that carries it is gone: there is nobody left to tell.

    It may itself carry the connection to a host behind a jump host, and the thread of that one closes it first of all it has to do
    at its end: an error there would leave everybody who waits for that connection waiting.
    """

    def close(self) -> None:
        with suppress(EOFError, OSError):
            super().close()


class _Transport(paramiko.Transport):
    """A transport that opens every kind of channel by a deadline, and tells why one was refused.

    paramiko 5.1 opens no `direct-streamlocal`, and keeps the reason of a refusal in one place for all channels. Built on its
    protected parts; the live contract tests hold it to an OpenSSH server.
    """

    def __init__(self, raw: "socket.socket | paramiko.Channel") -> None:
        super().__init__(raw)
        self._refusals: dict[int, tuple[int, str]] = {}
        self._abandoned: list[tuple[threading.Event, paramiko.Channel]] = []
        """Channels that were not opened in time: closed once they are, or they would stay open on the other side."""
        self._handler_table[MSG_CHANNEL_OPEN_FAILURE] = self._keep_refusal  # type: ignore[attr-defined]  # protected

    def reach(self, kind: str, target: bytes, until: float) -> paramiko.Channel:
        """Open a channel of any kind. target: what the kind's open message says besides. Raises ChannelRefusedError,
        TimeoutError, SSHException, EOFError."""
        self._close_late()
        with self.lock:
            number: int = self._next_channel()  # type: ignore[attr-defined]  # protected
            channel = _Channel(number)
            self._channels.put(number, channel)  # type: ignore[attr-defined]  # protected
            opened = self.channel_events[number] = threading.Event()
            self.channels_seen[number] = True
            channel._set_transport(self)  # type: ignore[attr-defined]  # noqa: SLF001  (protected; as Transport.open_channel does)
            channel._set_window(_WINDOW, _PACKET)  # type: ignore[attr-defined]  # noqa: SLF001  (as above)
        message = Message()
        message.add_byte(cMSG_CHANNEL_OPEN)
        message.add_string(kind)
        for number_ in (number, _WINDOW, _PACKET):
            message.add_int(number_)
        message.add_bytes(target)
        self._send_user_message(message)  # type: ignore[attr-defined]  # protected
        while not opened.wait(min(_POLL, max(until - time.monotonic(), 0.0))):
            if not self.is_active():
                raise self.get_exception() or EOFError("the connection ended")
            if time.monotonic() >= until:
                self._abandoned.append((opened, channel))
                raise TimeoutError
        refusal = self._refusals.pop(number, None)
        if refusal is not None:
            raise ChannelRefusedError(*refusal)
        if not self.is_active():
            raise self.get_exception() or EOFError("the connection ended")
        return channel

    def _close_late(self) -> None:
        abandoned, self._abandoned = self._abandoned, []
        for opened, channel in abandoned:
            if opened.is_set():
                channel.close()
            else:
                self._abandoned.append((opened, channel))

    def _keep_refusal(self, message: Message) -> None:
        number, code, said = message.get_int(), message.get_int(), message.get_text()
        self._refusals[number] = (code, said[:LONGEST])
        message.rewind()
        self._parse_channel_open_failure(message)  # type: ignore[attr-defined]  # protected


def _again(failure: OutsideError) -> OutsideError:
    """Return the same error afresh: one that is raised twice would carry the traces of both."""
    sentence = str(failure)
    match failure:
        case HostKeyRefused():
            return HostKeyRefused(sentence)
        case JumpHostLost(host=host):
            return JumpHostLost(sentence, host, transient=failure.transient)
        case _:
            return OutsideError(sentence, transient=failure.transient)


def _brief(exc: BaseException) -> str:
    return (" ".join(str(exc).split()) or type(exc).__name__)[:LONGEST]
