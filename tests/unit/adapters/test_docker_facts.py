"""What Docker's JSON means."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from agent.adapters import docker_facts
from agent.model import ContainerEvent, ContainerFacts, ContainerState, Network

Object = Mapping[str, object]

ROW = {
    "Id": "a" * 64,
    "Names": ["/proxy/web", "/web"],
    "Image": "shop:1",
    "ImageID": "sha256:1",
    "Created": 1772334000,
    "State": "exited",
    "Status": "Exited (137) 3 seconds ago",
    "Labels": {"b": "2", "a": "1"},
    "Ports": [
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"PrivatePort": 443, "Type": "tcp"},
    ],
    "NetworkSettings": {"Networks": {"shop": {"IPAddress": "10.1.0.2", "Aliases": None, "EndpointID": "e1"}}},
}

INSPECT = {
    "Id": "a" * 64,
    "Name": "/web",
    "Image": "sha256:1",
    "Created": "2026-03-01T03:00:00.123456789Z",
    "RestartCount": 4,
    "State": {
        "Status": "exited",
        "ExitCode": 137,
        "OOMKilled": True,
        "Error": "",
        "StartedAt": "2026-03-01T03:00:01Z",
        "FinishedAt": "2026-03-01T03:00:02Z",
        "Health": {"Status": "unhealthy"},
    },
    "Config": {"Image": "shop:1", "Labels": {"a": "1"}},
    "HostConfig": {"RestartPolicy": {"Name": "on-failure"}},
    "NetworkSettings": {
        "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}], "443/tcp": None},
        "Networks": {"shop": {"IPAddress": "10.1.0.2", "Aliases": ["web", "front"]}},
    },
}


def test_a_listed_row_gives_everything_the_list_tells() -> None:
    facts = docker_facts.from_list(ROW)
    assert (facts.name, facts.state, facts.exit_code) == ("web", ContainerState.EXITED, 137)
    assert facts.ports == ((80, 8080),)
    assert facts.labels == (("a", "1"), ("b", "2"))
    assert facts.networks == (Network(name="shop", address="10.1.0.2"),)
    assert (facts.oom_killed, facts.restart_count, facts.finished_at) == (None, None, None)


MOUNTS = [
    {"Type": "volume", "Name": "models", "Source": "/var/lib/docker/volumes/models/_data", "RW": True},
    {"Type": "bind", "Source": "/srv/shared", "RW": True},
    {"Type": "bind", "Source": "/srv/read-only", "RW": False},
    {"Type": "bind", "Source": "/var/run/docker.sock", "RW": True},
    {"Type": "tmpfs", "Destination": "/tmp", "RW": True},
    "nonsense",
]


@pytest.mark.parametrize(("read", "row"), [(docker_facts.from_list, ROW), (docker_facts.from_inspect, INSPECT)])
def test_what_a_container_shares_is_told_by_the_list_and_by_an_inspect(
    read: Callable[[Object], ContainerFacts], row: Object
) -> None:
    facts = read({**row, "HostConfig": {"NetworkMode": "container:abc"}, "Mounts": MOUNTS})
    assert (facts.network_of, facts.volumes) == ("abc", ("/srv/shared", "models"))
    assert read({**row, "HostConfig": {"NetworkMode": "bridge"}}).network_of is None


def test_an_inspect_gives_all_facts() -> None:
    facts = docker_facts.from_inspect(INSPECT)
    assert (facts.name, facts.state, facts.exit_code, facts.oom_killed) == ("web", ContainerState.EXITED, 137, True)
    assert (facts.restart_count, facts.restart_policy, facts.health, facts.error) == (4, "on-failure", "unhealthy", None)
    assert facts.ports == ((80, 8080),)
    assert facts.networks == (Network(name="shop", address="10.1.0.2", aliases=("web", "front")),)
    assert facts.finished_at == datetime(2026, 3, 1, 3, 0, 2, tzinfo=UTC)


def test_a_running_container_has_no_exit_code_although_docker_says_zero() -> None:
    running = {**INSPECT, "State": {"Status": "running", "ExitCode": 0}}
    assert docker_facts.from_inspect(running).exit_code is None


@pytest.mark.parametrize(
    "odd", [{}, {"State": 7, "Names": "web", "Ports": {}, "Labels": [], "NetworkSettings": "?", "Config": None}]
)
def test_an_odd_shape_is_not_known_instead_of_an_error(odd: dict[str, object]) -> None:
    assert docker_facts.from_list(odd).state is ContainerState.REMOVING
    assert docker_facts.from_inspect(odd).ports == ()


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("Up 2 minutes (healthy)", "healthy"),
        ("Up 2 minutes (unhealthy)", "unhealthy"),
        ("Up 3 seconds (health: starting)", "starting"),
        ("Up 3 seconds", None),
        ("Up 3 seconds (Paused)", None),
    ],
)
def test_the_healthcheck_word_is_in_the_status_sentence(status: str, word: str | None) -> None:
    assert docker_facts.from_list({"Status": status}).health == word


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("Exited (0) 2 days ago", 0),
        ("Restarting (255) 1 second ago", 255),
        ("Up 2 minutes", None),
        ("Created", None),
        ("Dead", None),
    ],
)
def test_the_exit_code_is_in_the_status_sentence(status: str, code: int | None) -> None:
    assert docker_facts.from_list({"Status": status}).exit_code == code


@pytest.mark.parametrize(
    ("status", "age"),
    [
        ("Up Less than a second", timedelta(0)),
        ("Up 1 second", timedelta(seconds=1)),
        ("Up 59 seconds (healthy)", timedelta(seconds=59)),
        ("Exited (1) About a minute ago", timedelta(minutes=1)),
        ("Up 12 minutes (Paused)", timedelta(minutes=12)),
        ("Up About an hour", timedelta(minutes=30)),
        ("Exited (137) 2 hours ago", timedelta(minutes=90)),
        ("Up 3 days", timedelta(days=3)),
        ("Up 2 weeks", timedelta(days=14)),
        ("Up 99999999999999 months", timedelta(days=30_000)),
        ("Created", timedelta(0)),
        ("Dead", timedelta(0)),
        ("", timedelta(0)),
    ],
)
def test_the_least_age_is_read_from_the_status_sentence(status: str, age: timedelta) -> None:
    assert docker_facts.least_age(status) == age


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("0001-01-01T00:00:00Z", None),
        ("2026-03-01T03:00:00Z", datetime(2026, 3, 1, 3, 0, tzinfo=UTC)),
        ("2026-03-01T03:00:00.5Z", datetime(2026, 3, 1, 3, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-03-01T03:00:00.123456789Z", datetime(2026, 3, 1, 3, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-03-01T04:00:00+01:00", datetime(2026, 3, 1, 3, 0, tzinfo=UTC)),
        ("2026-13-01T04:00:00Z", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_times_are_aware_and_never_is_none(text: str | None, moment: datetime | None) -> None:
    assert docker_facts.moment(text) == moment


def test_an_event_keeps_code_signal_and_time() -> None:
    said = {
        "Type": "container",
        "Action": "die",
        "timeNano": 1772334000123456789,
        "Actor": {"ID": "a" * 64, "Attributes": {"name": "web", "exitCode": "137", "signal": "9"}},
    }
    at = datetime(2026, 3, 1, 3, 0, 0, 123_456, tzinfo=UTC)
    assert docker_facts.event(said) == ContainerEvent(container="web", action="die", at=at, exit_code=137, signal="9")


@pytest.mark.parametrize(
    "said", [{}, {"Type": "network", "Action": "connect", "timeNano": 1}, {"Type": "container", "Action": "die"}]
)
def test_what_is_no_container_event_is_left_out(said: dict[str, object]) -> None:
    assert docker_facts.event(said) is None


def test_variables_leave_a_mark_that_tells_them_apart_and_tells_nothing_else() -> None:
    def mark(*variables: str) -> str | None:
        return docker_facts.from_inspect({**INSPECT, "Config": {"Env": list(variables)}}).environment

    assert mark("A=1", "TOKEN=s3cret") == mark("TOKEN=s3cret", "A=1")
    assert mark("A=1", "TOKEN=s3cret") != mark("A=1", "TOKEN=other")
    assert len(mark("A=1") or "") == 4
    assert docker_facts.from_inspect(INSPECT).environment is None
