"""The first step of heal: everything is gathered, redacted and on disk before a rule reads it; gaps are said, not raised."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from agent import codec
from agent.diagnosis import log_cut
from agent.errors import OutsideError, StoreError
from agent.model import (
    Cause,
    ConfigFile,
    ContainerEvent,
    ContainerFacts,
    ContainerState,
    Findings,
    Health,
    HostName,
    IncidentId,
    Judgement,
    Plane,
    Recorded,
    Rule,
    Service,
    ServiceName,
    ServiceRecord,
    Symptom,
    Verdict,
)
from agent.steps import diagnose
from tests.fakes import FakeClock

HOST = HostName("local")
INCIDENT = IncidentId("I1")
SERVICE = Service(name=ServiceName("web"), host=HOST, container="web", checks=(), config_file=ConfigFile(path="/etc/web.yaml"))
DISK = Rule(id="disk", cause=Cause.DISK_FULL, order=1, summary="full", advice="free", log=("no space",))
CLOCK = FakeClock()
WELL = ServiceRecord(
    service=SERVICE.name,
    host=HOST,
    container="web",
    status=Recorded.RUNNING,
    since=CLOCK.now(),
    by="medic",
    image_id="sha256:old",
    config_hash="aa",
    well_at=CLOCK.now(),
)
VERDICT = Verdict(
    service=SERVICE.name,
    health=Health.SICK,
    at=CLOCK.now(),
    judgements=(
        Judgement(
            check="http",
            plane=Plane.DIRECT,
            health=Health.SICK,
            detail="500 with token s3cret",
            symptoms=(Symptom(word="http-status", plane=Plane.DIRECT, detail="s3cret\x1b[31m"),),
        ),
    ),
)


class Docker:
    """A `ports.Containers` that refuses what it is told to refuse."""

    def __init__(self, log: bytes = b"", facts: ContainerFacts | None = None, refuses: tuple[str, ...] = ()) -> None:
        self._log, self._refuses = log, refuses
        self._facts = facts or ContainerFacts(
            name="web", id="c1", state=ContainerState.EXITED, exit_code=1, image_id="sha256:old"
        )
        self.log_limit = 0

    def _ask(self, part: str) -> None:
        if part in self._refuses:
            raise OutsideError(f"cannot read {part}: s3cret time-out", transient=True)

    def inspect(self, host: HostName, container: str) -> ContainerFacts:
        self._ask("facts")
        return self._facts

    def logs(self, host: HostName, container: str, *, limit: int, since: datetime | None = None) -> bytes:
        self._ask("log")
        self.log_limit = limit
        return self._log

    def events(self, host: HostName, container: str, *, since: object) -> tuple[ContainerEvent, ...]:
        self._ask("events")
        assert since == CLOCK.now() - timedelta(hours=1)
        die = ContainerEvent(container="web", action="die", at=CLOCK.now(), exit_code=1)
        return (die, ContainerEvent(container="web", action="exec_create: curl -H s3cret", at=CLOCK.now()))


WRITTEN = CLOCK.now() - timedelta(seconds=70)


class Files:
    """`uptime`: what the host's kernel says. `installed`: when its packages last changed."""

    def __init__(
        self,
        digest: str | None = "aa",
        *,
        refuses: bool = False,
        uptime: bytes | None = b"86400.11 1.0\n",
        installed: datetime | None = None,
    ) -> None:
        self._digest, self._refuses, self._uptime, self._installed = digest, refuses, uptime, installed

    def digest(self, host: HostName, path: str) -> str | None:
        if self._refuses:
            raise OutsideError(f"cannot read {path}: no answer", transient=True)
        return self._digest

    def modified(self, host: HostName, path: str) -> datetime | None:
        return self._installed if path in diagnose.PACKAGES else WRITTEN

    def read(self, host: HostName, path: str, *, limit: int) -> bytes | None:
        assert path == diagnose.UPTIME
        return self._uptime

    def size(self, host: HostName, path: str) -> int | None:
        return None

    def usage(self, host: HostName, path: str) -> tuple[float, float] | None:
        return None


class Bundles:
    def __init__(self, *, full: bool = False) -> None:
        self._full = full
        self.kept: dict[str, bytes] = {}

    def keep(self, incident: IncidentId, name: str, content: bytes) -> str:
        if self._full:
            raise StoreError(f"cannot write {name}: no space left on device", transient=False)
        self.kept[name] = content
        return name

    def folder(self, incident: IncidentId) -> Path:
        return Path("/nowhere")


def redact(text: str) -> str:
    return text.replace("s3cret", "[REDACTED]")


def explain(docker: Docker, bundles: Bundles, files: Files | None = None, record: ServiceRecord | None = WELL) -> Findings:
    return diagnose.explain(
        SERVICE,
        INCIDENT,
        2,
        VERDICT,
        record,
        containers=docker,  # type: ignore[arg-type]
        files=files or Files(),  # type: ignore[arg-type]
        bundles=bundles,  # type: ignore[arg-type]
        rules=(DISK,),
        redact=redact,
        clock=CLOCK,
    )


def test_the_bundle_holds_all_of_it_and_the_findings_only_the_cited_lines() -> None:
    docker, bundles = Docker(log=b"starting\nwrite: No space left on device\n"), Bundles()

    found = explain(docker, bundles)

    assert found.saved
    assert found.evidence.files == ("log-2.txt", "evidence-2.json")
    assert found.evidence.log == ()
    assert [line.id for line in found.diagnosis.lines] == ["L2"]
    saved = codec.loads(bundles.kept["evidence-2.json"].decode())
    assert [line.text for line in saved.log] == ["starting", "write: No space left on device"]
    assert saved.container.exit_code == 1
    assert saved.events[0].action == "die"
    assert b"L2    write: No space" in bundles.kept["log-2.txt"]
    assert docker.log_limit == log_cut.RAW_BYTES


def test_no_secret_reaches_disk_or_findings() -> None:
    facts = ContainerFacts(
        name="web",
        id="c1",
        state=ContainerState.EXITED,
        error="exec s3cret",
        labels=(("k", "s3cret"),),
        image="registry/s3cret",
        status="s3cret",
    )
    bundles = Bundles()

    found = explain(Docker(log=b"key s3cret\nno space at s3cret", facts=facts, refuses=("events",)), bundles)
    explain(Docker(log=b"s3cret"), bundles_with_events := Bundles())

    for content in (*bundles.kept.values(), *bundles_with_events.kept.values(), codec.dumps(found).encode()):
        assert b"s3cret" not in content
        assert b"\x1b" not in content


def test_a_secret_that_a_cut_would_halve_is_taken_out_before_the_cut() -> None:
    line = b"x" * (log_cut.LINE_CHARACTERS - 43) + b"s3cret" + b"y" * 100
    bundles = Bundles()
    explain(Docker(log=line), bundles)
    assert b"s3c" not in bundles.kept["log-2.txt"]


@pytest.mark.parametrize("part", ["facts", "log", "events"])
def test_a_part_that_cannot_be_had_is_a_gap_and_the_rest_is_there(part: str) -> None:
    found = explain(Docker(log=b"no space", refuses=(part,)), Bundles())

    assert found.saved
    assert found.evidence.gaps == (f"cannot read {part}: [REDACTED] time-out",)
    assert (found.evidence.container is None) == (part == "facts")
    assert (found.evidence.log_note == "the log could not be read") == (part == "log")
    assert (found.evidence.events == ()) == (part == "events")
    assert (found.diagnosis.cause is Cause.DISK_FULL) == (part != "log")


def test_a_container_that_is_gone_has_no_log_and_that_is_no_gap() -> None:
    gone = ContainerFacts(name="web", id="", state=ContainerState.MISSING)
    found = explain(Docker(facts=gone, refuses=("log",)), Bundles())
    assert found.evidence.log_note == "there is no container, so there is no log"
    assert found.evidence.gaps == ()


@pytest.mark.parametrize(
    ("files", "record", "changed"),
    [
        (Files("aa"), WELL, []),
        (Files("bb"), WELL, [("config", "aa", "bb")]),
        (Files(None), WELL, [("config", "aa", "no file")]),
        (Files("aa"), replace(WELL, image_id="sha256:older"), [("image", "sha256:older", "sha256:old")]),
        (Files("aa"), replace(WELL, container_id="c1"), []),
        (Files("aa"), replace(WELL, container_id="c0"), [("container", "c0", "c1")]),
        (Files("bb"), replace(WELL, config_hash=None, image_id=None), []),
        (Files(refuses=True), WELL, []),
        (Files("bb"), replace(WELL, well_at=None), []),
        (Files("bb"), None, []),
    ],
)
def test_what_changed_is_told_against_the_last_time_it_was_well(
    files: Files, record: ServiceRecord | None, changed: list[tuple[str, str, str]]
) -> None:
    found = explain(Docker(), Bundles(), files, record)
    assert [(change.what, change.before, change.after) for change in found.evidence.changes] == changed


@pytest.mark.parametrize(("ago", "order"), [(0, ["config", "image"]), (86_400, ["image", "config"])])
def test_a_change_is_told_with_its_time_and_what_came_first_comes_first(ago: int, order: list[str]) -> None:
    started = WRITTEN + timedelta(seconds=50 - ago)
    facts = ContainerFacts(name="web", id="c1", state=ContainerState.EXITED, image_id="sha256:new", started_at=started)
    found = explain(Docker(facts=facts), Bundles(), Files("bb"), replace(WELL, image_id="sha256:older"))
    assert [change.what for change in found.evidence.changes] == order
    assert {change.what: change.at for change in found.evidence.changes} == {"image": started, "config": WRITTEN}


@pytest.mark.parametrize(
    ("before", "now", "changed"),
    [("1a2b", "1a2b", []), ("1a2b", "ffff", [("environment", "1a2b", "ffff")]), (None, "ffff", []), ("1a2b", None, [])],
)
def test_other_variables_are_a_change(before: str | None, now: str | None, changed: list[tuple[str, str, str]]) -> None:
    facts = ContainerFacts(name="web", id="c1", state=ContainerState.EXITED, image_id="sha256:old", environment=now)
    found = explain(Docker(facts=facts), Bundles(), Files(), replace(WELL, environment=before))
    assert [(change.what, change.before, change.after) for change in found.evidence.changes] == changed


@pytest.mark.parametrize(
    ("files", "changed"),
    [
        (Files(uptime=b"600.5 12.0\n"), [("reboot", timedelta(seconds=600.5))]),
        (Files(uptime=b"7200.5 12.0\n"), []),
        (Files(uptime=None), []),
        (Files(uptime=b"soon\n"), []),
        (Files(installed=CLOCK.now() - timedelta(minutes=5)), [("packages", timedelta(minutes=5))]),
        (Files(installed=CLOCK.now() - timedelta(days=5)), []),
        (Files(installed=CLOCK.now() + timedelta(days=5)), []),
    ],
)
def test_a_reboot_or_new_packages_of_the_host_are_a_change_while_they_are_fresh(
    files: Files, changed: list[tuple[str, timedelta]]
) -> None:
    found = explain(Docker(), Bundles(), files)
    assert [(change.what, CLOCK.now() - change.at) for change in found.evidence.changes if change.at] == changed


def test_what_cannot_be_compared_is_a_gap() -> None:
    assert explain(Docker(), Bundles(), Files(refuses=True)).evidence.gaps == ("cannot read /etc/web.yaml: no answer",)
    assert explain(Docker(), Bundles(), record=None).evidence.gaps == (
        "cannot say what changed: the service was never seen well",
    )


def test_evidence_that_cannot_be_saved_is_said_and_still_explained() -> None:
    found = explain(Docker(log=b"no space"), Bundles(full=True))
    assert not found.saved
    assert found.why_not_saved == "cannot write log-2.txt: no space left on device"
    assert found.diagnosis.cause is Cause.DISK_FULL


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (Files(digest=None), None),
        (Files(digest="aa"), "the deploy lock /run/lock/web stands"),
        (Files(refuses=True), "nobody can say whether the deploy lock stands: cannot read /run/lock/web: no answer"),
    ],
    ids=["no lock", "a lock", "a lock that cannot be looked at"],
)
def test_a_deploy_lock_stands_unless_it_is_known_to_be_gone(files: Files, said: str | None) -> None:
    declared = replace(SERVICE, deploy_lock="/run/lock/web", config_file=None)
    found = diagnose.explain(
        declared, INCIDENT, 1, VERDICT, WELL,
        containers=Docker(), files=files, bundles=Bundles(), rules=(), redact=redact, clock=CLOCK,
    )  # fmt: skip
    assert found.evidence.deploying == said
