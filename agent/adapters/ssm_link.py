"""One EC2 instance by AWS Systems Manager's RunCommand: bounded programs, no port open on it, root there.

What comes back is text, whole and late: a command is sent, its instance's agent fetches and runs it, and the end is asked for
until it is there. boto3's own waits are longer than ours, so each command is carried by a thread of its own, and whoever waits
stops in time. SSM passes on 24 000 characters of output and drops the rest without a word in it, so every answer travels
packed between two marks, and one that is too long is an error, never a short answer.
"""

import base64
import binascii
import contextlib
import gzip
import logging
import math
import os
import re
import shlex
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any  # boto3 ships no types
from zlib import error as ZlibError  # noqa: N812 (a class, which zlib writes small)

from botocore.exceptions import ClientError

from agent.adapters import bounded_program
from agent.adapters.aws_clients import AwsClients, code_of, outside
from agent.errors import HungError, OutsideError
from agent.model import HostName, SsmAccess

logger = logging.getLogger(__name__)

DOCUMENT = "AWS-RunShellScript"
PATIENCE = timedelta(seconds=3)
"""What an answer takes beside its program: to be fetched by the agent, and to be asked for. AWS promises no figure."""
AT_ONCE = 4
"""Commands under way at once on one instance."""
DELIVERED_WITHIN = 30
"""Seconds in which the agent must fetch a command, or it never runs: the least that can be asked for.
Source: SendCommand, `TimeoutSeconds`, API of 2014-11-06."""
PASSED_ON = 24_000
"""Characters of output that are passed on. Source: GetCommandInvocation, `StandardOutputContent`."""
ROOM = PASSED_ON - 500
"""Characters that an answer may take, with its marks and what a shell may have printed before it."""
ASK_AGAIN = (0.2, 1.0)
"""Seconds between two questions whether a command has ended: the first, and where growing by half ends."""
THROTTLED = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException", "RateExceeded"})

_GONE = "its agent does not answer: it is stopped, cut off, or no longer managed by SSM"
_ENDINGS: Mapping[str, tuple[str, bool]] = {
    "Undeliverable": (_GONE, True),
    "DeliveryTimedOut": (f"its agent did not fetch the command within {DELIVERED_WITHIN} s: {_GONE}", True),
    "Cancelled": ("somebody cancelled the command", True),
    "Canceled": ("somebody cancelled the command", True),
    "Terminated": ("AWS ended the command before it ran", True),
    "RateExceeded": ("AWS throttles commands of this account", True),
    "AccessDenied": ("AWS lets Medic run nothing there (ssm:SendCommand on this instance and on the document)", False),
    "InvalidPlatform": (f"it is no Linux: {DOCUMENT} cannot run there", False),
}
"""How a command ends that was not carried out, as `StatusDetails` says it: what that means, and whether it may pass.
Source: Systems Manager User Guide, "Understanding command statuses"."""
_REFUSED: Mapping[str, tuple[str, bool]] = {
    "InvalidInstanceId": (
        "SSM manages no such running instance in this region: is it started, does its agent run, has its role"
        " AmazonSSMManagedInstanceCore?",
        True,
    ),
    "InvalidDocument": (f"there is no document {DOCUMENT} in this region", False),
    "UnsupportedPlatformType": _ENDINGS["InvalidPlatform"],
    "AccessDeniedException": _ENDINGS["AccessDenied"],
}
"""Why a command is not taken at all: AWS's code, what it means, and whether it may pass."""
_STILL = frozenset({"Pending", "InProgress", "Delayed", "Cancelling"})

# The program's output goes past the shell into gzip, its exit code behind it on a line of its own; what the limit cuts is read
# all the same, so that the program is not held up.
_SCRIPT = """\
answer=$({{ {{ code=$({{ {{ {program} </dev/null 2>&1 3>&- 4>&-; echo $? >&4; }} | {{ head -c {limit}; cat >/dev/null; }} >&3; }} 4>&1); }} 3>&1; \
printf '\\n%s' "$code"; }} | gzip -c | base64 | tr -d '\\n')
if [ ${{#answer}} -le {room} ]; then echo "{mark} $answer {mark}"; else echo "{mark} long:${{#answer}} {mark}"; fi
"""


@dataclass(slots=True)
class _Errand:
    """One command on its way, and what came of it. given_up: nobody waits for it any more."""

    ended: threading.Event = field(default_factory=threading.Event)
    given_up: threading.Event = field(default_factory=threading.Event)
    said: str = ""
    error: OutsideError | None = None


class SsmLink:
    """The way to one instance. Safe to share between threads; keeps no connection of its own."""

    def __init__(self, host: HostName, access: SsmAccess, clients: AwsClients) -> None:
        self.host = host
        self._access = access
        self._clients = clients
        self._slots = threading.BoundedSemaphore(AT_ONCE)

    def run(self, argv: tuple[str, ...], *, timeout: timedelta, limit: int) -> tuple[int, bytes]:
        """Return the exit code and the first `limit` bytes of stdout and stderr of one program on the instance.

        It is ended there within `timeout`. argv: fixed in the code that calls, and paths that people declared; AWS keeps it for
        30 days, so it holds no secret. Raises OutsideError; HungError where nothing came in time.
        """
        span = timeout.total_seconds()
        until = time.monotonic() + span
        doing = f"cannot run {shlex.join(argv)[: bounded_program.LONGEST]!r} on host {self.host!r}"
        mark = os.urandom(8).hex()
        bound = max(span - PATIENCE.total_seconds(), span / 2)
        program = bounded_program.words(argv, bound)
        script = _SCRIPT.format(program=program, limit=limit, room=ROOM, mark=mark)
        said = self._carried(doing, script, math.ceil(bound) + 1, until, span)
        code, output = self._unpacked(doing, mark, said)
        return bounded_program.checked(doing, code, output, span)

    def _carried(self, doing: str, script: str, seconds: int, until: float, span: float) -> str:
        """Return what a script printed, waiting no longer than `until`. Raises OutsideError, HungError."""
        if not self._slots.acquire(timeout=max(until - time.monotonic(), 0.0)):
            raise OutsideError(f"{doing}: {AT_ONCE} commands are under way there already", transient=True)
        errand = _Errand()
        try:
            body = threading.Thread(
                target=self._carry, args=(errand, script, seconds), name=f"ssm {self.host}"[:60], daemon=True
            )
            body.start()
        except RuntimeError as exc:  # "can't start new thread": our own exhaustion
            self._slots.release()
            raise OutsideError(f"{doing}: {exc}", transient=True) from exc
        if not errand.ended.wait(max(until - time.monotonic(), 0.0)):
            errand.given_up.set()
            raise bounded_program.hung(f"{doing}: nothing came back through SSM within {span:g} s")
        if isinstance(errand.error, HungError):
            raise bounded_program.hung(f"{doing}: {errand.error}")
        if errand.error is not None:
            raise OutsideError(f"{doing}: {errand.error}", transient=errand.error.transient)
        return errand.said

    def _carry(self, errand: _Errand, script: str, seconds: int) -> None:
        """Send one command and ask until it has ended, or until nobody waits: then it is cancelled. Ends in any case."""
        errand.error = OutsideError("Medic itself failed", transient=True)  # unless we come to the end
        try:
            client = self._clients.client("ssm")
            command = self._send(client, script, seconds)
            errand.said, errand.error = self._end_of(client, command, errand, seconds), None
        except OutsideError as exc:
            errand.error = exc
        finally:
            self._slots.release()
            errand.ended.set()

    def _send(self, client: Any, script: str, seconds: int) -> str:
        with outside("send it through SSM"):
            try:
                sent = client.send_command(
                    InstanceIds=[self._access.instance],
                    DocumentName=DOCUMENT,
                    TimeoutSeconds=DELIVERED_WITHIN,
                    Parameters={"commands": [script], "executionTimeout": [str(seconds)]},
                    Comment="Medic looks",
                )
                return str(sent["Command"]["CommandId"])
            except ClientError as exc:
                code = code_of(exc)
                if code in THROTTLED:
                    raise OutsideError("AWS throttles commands of this account", transient=True) from exc
                if code in _REFUSED:
                    why, transient = _REFUSED[code]
                    raise OutsideError(f"{code}: {why}", transient=transient) from exc
                raise

    def _end_of(self, client: Any, command: str, errand: _Errand, seconds: int) -> str:
        """Return what a command printed once it has ended. Raises OutsideError."""
        pause, end = ASK_AGAIN[0], time.monotonic() + DELIVERED_WITHIN + seconds
        while not errand.given_up.wait(pause) and time.monotonic() < end:
            pause = min(pause * 1.5, ASK_AGAIN[1])
            with outside("ask SSM what came of it"):
                try:
                    seen = client.get_command_invocation(CommandId=command, InstanceId=self._access.instance)
                except ClientError as exc:
                    # The one is not there yet, the other is asked more slowly: what was sent runs all the same.
                    if code_of(exc) == "InvocationDoesNotExist" or code_of(exc) in THROTTLED:
                        continue
                    raise
            if seen["Status"] not in _STILL:
                return self._said(seen)
        # At best it never begins; what runs is bounded there in any case.
        with contextlib.suppress(OutsideError), outside("cancel a command"):
            client.cancel_command(CommandId=command, InstanceIds=[self._access.instance])
        raise bounded_program.hung("it did not end in time, and was cancelled")

    def _said(self, seen: Mapping[str, Any]) -> str:
        details = str(seen.get("StatusDetails") or seen["Status"])
        said = str(seen.get("StandardOutputContent") or "")
        if seen["Status"] == "Success":
            return said
        if details in ("ExecutionTimedOut", "TimedOut"):
            raise bounded_program.hung("it did not end in time, and its agent ended it")
        if details in _ENDINGS:
            why, transient = _ENDINGS[details]
            raise OutsideError(f"{details}: {why}", transient=transient)
        complaint = str(seen.get("StandardErrorContent") or "") or said
        raise OutsideError(f"{details}: {bounded_program.text(complaint.encode())}", transient=True)

    def _unpacked(self, doing: str, mark: str, said: str) -> tuple[int, bytes]:
        """Return exit code and output from between the marks. Raises OutsideError where they did not come through whole."""
        found = re.search(rf"{mark} (?:long:(?P<long>\d+)|(?P<packed>[A-Za-z0-9+/=]+)) {mark}", said)
        if found is not None and found["packed"] is not None:
            with contextlib.suppress(binascii.Error, OSError, EOFError, ValueError, ZlibError):
                output, _, code = gzip.decompress(base64.b64decode(found["packed"], validate=True)).rpartition(b"\n")
                return int(code), output
        if found is not None or mark in said:
            length = "more" if found is None or found["long"] is None else f"{found['long']} of them, packed"
            cause = f"SSM passes on {PASSED_ON} characters, and the answer has {length}"
            raise OutsideError(f"{doing}: {cause}", transient=False)
        raise OutsideError(
            f"{doing}: its shell did not do as it was told: {bounded_program.text(said.encode())}", transient=False
        )
