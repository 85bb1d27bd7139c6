"""The one place where boto3 makes clients: each with a deadline, few retries, and errors that the core knows.

boto3's own defaults wait 60 s for one answer and try five times (botocore 1.44, `Config`): longer than a spot host has.
Credentials are the host's own role, or whatever else boto3 finds; nothing here reads or keeps one.
"""

import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any  # boto3 makes its clients from data and ships no types

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from agent.errors import OutsideError

CONNECT = timedelta(seconds=2)
READ = timedelta(seconds=5)
TRIES = 2
"""Calls altogether. One client call ends within TRIES times (CONNECT + READ) and a second of backing off."""
WILL_PASS = frozenset(
    {
        "InternalError", "InternalFailure", "InternalServerError", "RequestLimitExceeded", "RequestTimeout", "ServiceUnavailable",
        "Throttling", "ThrottlingException", "TooManyRequestsException",
    }
)  # fmt: skip
"""Codes of errors that a later call may not meet."""


class AwsClients:
    """Clients of one region, made when they are first used. Safe to share between threads."""

    def __init__(self, region: str) -> None:
        self.region = region
        self._made: dict[str, Any] = {}
        # A client may be shared by threads; making one may not be.
        self._one_at_a_time = threading.Lock()
        self._session = boto3.session.Session(region_name=region)

    def client(self, service: str, *, read: timedelta = READ) -> Any:
        """Return the client of one service. read: how long one answer may take; a long poll needs more than its own wait."""
        with self._one_at_a_time:
            if service not in self._made:
                bounds = Config(
                    connect_timeout=CONNECT.total_seconds(),
                    read_timeout=read.total_seconds(),
                    retries={"total_max_attempts": TRIES, "mode": "standard"},
                )
                with outside(f"use AWS in {self.region}"):
                    self._made[service] = self._session.client(service, config=bounds)
            return self._made[service]


@contextlib.contextmanager
def outside(doing: str) -> Iterator[None]:
    """Turn whatever boto3 raises into one OutsideError that says what could not be done."""
    try:
        yield
    except ClientError as exc:
        code = code_of(exc)
        said = exc.response.get("Error", {}).get("Message") or code
        raise OutsideError(f"cannot {doing}: {code}: {said}", transient=code in WILL_PASS) from exc
    except (BotoCoreError, ResponseParserError, ValueError) as exc:
        # ResponseParserError: a page of HTML where AWS's answer should be. ValueError: an endpoint of the environment that is no URL.
        raise OutsideError(f"cannot {doing}: {' '.join(str(exc).split())}", transient=True) from exc


def code_of(exc: ClientError) -> str:
    """Return AWS's own word for an error."""
    return str(exc.response.get("Error", {}).get("Code", "unknown"))
