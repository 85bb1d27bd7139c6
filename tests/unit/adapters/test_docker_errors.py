"""What went wrong with an engine, as one sentence."""

import errno
import os

import pytest

from agent.adapters import docker_errors
from agent.adapters.docker_stream import UnfinishedError

URL = "unix:///var/run/docker.sock"


def wrapped(cause: OSError) -> Exception:
    """Bury a cause as the SDK does: an argument of an argument, and a `from` on top."""
    outer = RuntimeError("Error while fetching server API version")
    outer.__cause__ = ConnectionError(RuntimeError("Connection aborted.", cause))
    return outer


@pytest.mark.parametrize(
    ("number", "said", "transient"),
    [
        (errno.ENOENT, f"there is no socket at {URL}; is Docker installed and started?", True),
        (errno.EACCES, f"permission denied on {URL}; run as root or join the group `docker`", False),
        (errno.ECONNREFUSED, f"nothing listens at {URL}; is Docker started?", True),
        (errno.EMFILE, "Medic itself is out of resources", True),
        (errno.ECONNRESET, f"{URL}: ", True),
        (errno.ETIMEDOUT, "did not answer in time", True),
    ],
)
def test_the_buried_cause_is_named(number: int, said: str, transient: bool) -> None:
    cause = OSError(number, os.strerror(number))
    for exc in (cause, wrapped(cause)):
        error = docker_errors.unreachable("cannot list", URL, exc)
        assert str(error).startswith("cannot list: ")
        assert said in str(error)
        assert error.transient is transient


@pytest.mark.parametrize(
    ("exc", "said"),
    [
        (UnfinishedError("it did not end in time"), "cannot run: it did not end in time"),
        (TimeoutError(), f"cannot run: the engine at {URL} did not answer in time"),
        (TimeoutError("timed out"), f"cannot run: the engine at {URL} did not answer in time"),
        (ConnectionError("strange\nwords"), f"cannot run: the engine at {URL} did not answer as one: strange words"),
        (ConnectionError("x" * 5000), f"cannot run: the engine at {URL} did not answer as one: {'x' * 300}"),
    ],
)
def test_what_no_system_call_said_is_one_bounded_sentence(exc: Exception, said: str) -> None:
    assert str(docker_errors.unreachable("cannot run", URL, exc)) == said


@pytest.mark.parametrize(
    ("status", "message", "said", "transient"),
    [
        (404, "No such container: web", "cannot read: No such container: web", False),
        (409, "container web is not running", "cannot read: the engine answered 409: container web is not running", True),
        (500, "", "cannot read: the engine answered 500: no reason given", True),
        (500, "configured logging driver does not support reading", "cannot read: its log driver keeps nothing to read", False),
        (400, "bad parameter", "cannot read: the engine answered 400: bad parameter", False),
    ],
)
def test_a_refusal_keeps_the_engines_own_words(status: int, message: str, said: str, transient: bool) -> None:
    error = docker_errors.refused("cannot read", status, message)
    assert (str(error), error.transient) == (said, transient)
