"""Checks that look inside the container and at the machine under it: tables of what was seen."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent import checks
from agent.model import (
    Blind,
    CertificateCheck,
    CertificateSeen,
    CommandCheck,
    ContainerFacts,
    ContainersRequest,
    ContainersSeen,
    ContainerState,
    DiskSeen,
    DnsCheck,
    ExecRequest,
    ExecSeen,
    Health,
    HostCheck,
    HostName,
    HttpSeen,
    LogCheck,
    LogRequest,
    LogSeen,
    MachineSeen,
    Observation,
    Plane,
    ProbeRequest,
    Thresholds,
)
from tests.unit.checks.test_checks import BLIND, SECOND, facts, judge, service, words

W, S, U = Health.WELL, Health.SICK, Health.UNKNOWN
DAY = timedelta(days=1)
PING = CommandCheck(
    name="ping", every=SECOND, thresholds=Thresholds(), command=("redis-cli", "ping; reboot"), timeout=3 * SECOND, output="PONG"
)
DNS = DnsCheck(name="dns", every=SECOND, thresholds=Thresholds(), lookup="db", timeout=2 * SECOND)


def ended(code: int, output: str = "") -> ExecSeen:
    return ExecSeen(exit_code=code, output=output)


@pytest.mark.parametrize(
    ("seen", "health", "symptoms"),
    [
        (ended(0, "PONG\n"), W, []),
        (ended(0, "LOADING"), S, ["command-failed"]),
        (ended(1, "PONG"), S, ["command-failed"]),
        (ended(124), S, ["command-timeout"]),
        (ended(137), S, ["command-timeout"]),
        (ended(125), U, []),
        (ended(126), U, []),
        (ended(127), U, []),
        (BLIND, U, []),
        (None, U, []),
    ],
)
def test_the_command_check(seen: Observation | None, health: Health, symptoms: list[str]) -> None:
    judgement = judge(PING, facts(), seen)
    assert (judgement.health, words(judgement)) == (health, symptoms)
    assert "LOADING" not in judgement.detail


def test_a_program_that_is_not_there_is_named() -> None:
    assert "redis-cli" in judge(PING, facts(), ended(127)).detail
    assert "the name db in web: exit code 127" in judge(DNS, facts(), ended(127)).detail


def test_an_exit_code_that_is_expected_is_right_whatever_it_is() -> None:
    for code in (3, 124, 127):
        assert judge(replace(PING, exit_code=code, output=None), facts(), ended(code)).health is W


@pytest.mark.parametrize(
    ("seen", "health", "symptoms"),
    [
        (ended(0, "172.20.0.3 db"), W, []),
        (ended(2), S, ["dns-failed"]),
        (ended(137), S, ["dns-failed"]),
        (ended(127), U, []),
        (ended(1), U, []),
        (BLIND, U, []),
    ],
)
def test_the_dns_check(seen: Observation, health: Health, symptoms: list[str]) -> None:
    judgement = judge(DNS, facts(), seen)
    assert (judgement.health, words(judgement)) == (health, symptoms)


def test_a_program_is_ended_inside_its_container_and_passes_no_shell() -> None:
    argv = {check: checks.requests(check, service(check), facts())[0] for check in (PING, DNS)}
    assert argv[PING] == ExecRequest(
        host=HostName("here"),
        container="web",
        argv=("timeout", "-s", "KILL", "3", "redis-cli", "ping; reboot"),
    )
    assert argv[DNS].argv[-3:] == ("getent", "hosts", "db")  # type: ignore[union-attr]


@pytest.mark.parametrize("check", [PING, DNS])
@pytest.mark.parametrize(
    ("of", "health"),
    [(facts(ContainerState.EXITED), S), (facts(ContainerState.PAUSED), S), (checks.missing("web"), S), (BLIND, U)],
)
def test_nothing_is_run_in_a_container_that_does_not_run(
    check: CommandCheck | DnsCheck, of: ContainerFacts | Blind, health: Health
) -> None:
    assert checks.requests(check, service(check), of) == ()
    judgement = judge(check, of)
    assert (judgement.health, judgement.symptoms) == (health, ())


LOG = LogCheck(name="log", every=SECOND, thresholds=Thresholds(), most_bytes=1_000, most_bytes_per_second=10)
LOGGED = facts(log_path="/var/lib/docker/containers/1/1-json.log")


@pytest.mark.parametrize(
    ("seen", "health", "symptoms"),
    [
        (LogSeen(size=1_000), W, []),
        (LogSeen(size=1_001), S, ["log-large"]),
        (LogSeen(size=9, written=100, over=10 * SECOND), W, []),
        (LogSeen(size=9, written=101, over=10 * SECOND), S, ["log-flood"]),
        (LogSeen(size=9_999, written=9_999, over=10 * SECOND), S, ["log-large", "log-flood"]),
        (BLIND, U, []),
    ],
)
def test_the_log_check(seen: Observation, health: Health, symptoms: list[str]) -> None:
    judgement = judge(LOG, LOGGED, seen)
    assert (judgement.health, words(judgement), judgement.plane) == (health, symptoms, Plane.HOST)


@pytest.mark.parametrize("of", [facts(), BLIND, checks.missing("web")])
def test_a_log_that_docker_does_not_keep_is_unknown(of: ContainerFacts | Blind) -> None:
    assert checks.requests(LOG, service(LOG), of) == ()
    assert judge(LOG, of).health is U


def test_the_log_of_a_stopped_container_is_measured_too() -> None:
    stopped = replace(LOGGED, state=ContainerState.EXITED)
    assert isinstance(checks.requests(LOG, service(LOG), stopped)[0], LogRequest)


HOST = HostCheck(
    name="host",
    every=SECOND,
    thresholds=Thresholds(),
    load_per_cpu=2.0,
    clock_url="http://time.example/",
    clock_within=5 * SECOND,
)
ROOMY = MachineSeen(disks=(DiskSeen(path="/", used=50, inodes_used=10),), memory_used=40, load_per_cpu=0.5)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def told(offset: float = 0, date: str = "Sat, 21 Nov 2026 12:00:00 GMT") -> HttpSeen:
    return HttpSeen(status=200, latency=SECOND, headers=(("date", date),), at=NOON + timedelta(seconds=offset))


def on_host(machine: Observation = ROOMY, clock: Observation | None = None, took: float = 0.01) -> tuple[Health, list[str]]:
    listed = ContainersSeen(containers=(), took=timedelta(seconds=took))
    machine_request, clock_request = checks.requests(HOST, service(HOST), facts())
    observed: dict[ProbeRequest, Observation] = {
        ContainersRequest(host=HostName("here")): listed,
        machine_request: machine,
        clock_request: clock or told(),
    }
    judgement = checks.judge(HOST, service(HOST), facts(), observed)
    return judgement.health, words(judgement)


@pytest.mark.parametrize(
    ("machine", "symptoms"),
    [
        (ROOMY, []),
        (replace(ROOMY, disks=(DiskSeen(path="/", used=90, inodes_used=90),)), []),
        (replace(ROOMY, disks=(DiskSeen(path="/", used=90.1, inodes_used=1),)), ["disk-full"]),
        (replace(ROOMY, disks=(DiskSeen(path="/", used=1, inodes_used=91),)), ["inodes-full"]),
        (replace(ROOMY, disks=(DiskSeen(path="/", used=1, inodes_used=None),)), []),
        (replace(ROOMY, disks=(*ROOMY.disks, DiskSeen(path="/var", used=99, inodes_used=99))), ["disk-full", "inodes-full"]),
        (replace(ROOMY, memory_used=96), ["memory-short"]),
        (replace(ROOMY, load_per_cpu=2.1), ["load-high"]),
    ],
)
def test_the_room_of_a_host(machine: MachineSeen, symptoms: list[str]) -> None:
    assert on_host(machine) == (S if symptoms else W, symptoms)


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        (told(), (W, [])),
        (told(6), (W, [])),
        (told(6.1), (S, ["clock-off"])),
        (told(-3_600), (S, ["clock-off"])),
        (told(date="yesterday"), (U, [])),
        (HttpSeen(status=None, latency=SECOND, error="timeout"), (U, [])),
        (BLIND, (U, [])),
    ],
)
def test_the_clock_of_a_host(clock: Observation, expected: tuple[Health, list[str]]) -> None:
    assert on_host(clock=clock) == expected


def test_a_docker_engine_that_answers_late_is_a_sign_of_its_own() -> None:
    assert on_host(took=2.1) == (S, ["docker-slow"])


def test_a_sign_weighs_more_than_what_could_not_be_seen() -> None:
    assert on_host(replace(ROOMY, memory_used=99.0), BLIND) == (S, ["memory-short"])
    assert on_host(BLIND) == (U, [])


def test_the_clock_that_counts_is_the_hosts_own_and_not_that_of_the_machine_that_asked() -> None:
    """The server is asked by Medic's clock. `ahead`: how far the host's is ahead of that."""
    fast = replace(ROOMY, ahead=timedelta(hours=1))
    assert on_host(fast, told(0)) == (S, ["clock-off"])
    assert on_host(fast, told(-3_600)) == (W, []), "it is Medic's own clock that is late"
    assert on_host(BLIND, told(3_600)) == (U, []), "nothing is claimed of a clock that could not be looked at"


CERTIFICATE = CertificateCheck(name="tls", every=SECOND, thresholds=Thresholds(), path="/etc/tls/shop.pem", left=14 * DAY)


@pytest.mark.parametrize(
    ("seen", "health", "symptoms"),
    [
        (CertificateSeen(left=90 * DAY, key_mode=None), W, []),
        (CertificateSeen(left=90 * DAY, key_mode=0o640), W, []),
        (CertificateSeen(left=90 * DAY, key_mode=0o644), S, ["certificate-open"]),
        (CertificateSeen(left=13 * DAY, key_mode=0o600), S, ["certificate-expiring"]),
        (CertificateSeen(left=-DAY, key_mode=0o604), S, ["certificate-expired", "certificate-open"]),
        (CertificateSeen(left=None, key_mode=None, error="there is no file"), S, ["certificate-unreadable"]),
        (BLIND, U, []),
    ],
)
def test_the_certificate_check(seen: Observation, health: Health, symptoms: list[str]) -> None:
    judgement = judge(CERTIFICATE, facts(), seen)
    assert (judgement.health, words(judgement)) == (health, symptoms)


def test_every_kind_of_check_has_its_module() -> None:
    from typing import get_args

    from agent.model import Check
    from agent.settings import KINDS

    assert set(checks.KINDS) == set(KINDS) == set(get_args(Check))
