"""What reaches the terminal: tables in 80 columns, and nothing of what a container would like to do to it."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agent.cli import screen
from agent.model import (
    Health,
    HostName,
    IncidentId,
    Judgement,
    Plane,
    Recorded,
    Service,
    ServiceName,
    ServiceRecord,
    StoryEvent,
    StoryKind,
    SweepReport,
    Verdict,
)

NOW = datetime(2026, 3, 1, 12, 0, 3, tzinfo=UTC)
HOSTILE = "[bold red]x[/] \x1b[2J\x1b]0;title\x07\r\n\u202egnp.exe\u200b\x9b31m [link=http://evil]y[/link] :warning:"


def shown(thing: object, *, colours: bool = False) -> str:
    """Return what a console of 80 columns prints."""
    out = io.StringIO()
    to = Console(file=out, width=80, force_terminal=colours, no_color=not colours, markup=False, highlight=False, emoji=False)
    to.print(thing)
    return out.getvalue()


def event(text: str, kind: StoryKind = StoryKind.SEEN) -> StoryEvent:
    return StoryEvent(incident=IncidentId("I1"), service=ServiceName("web"), at=NOW, kind=kind, text=text)


def verdict(name: str, health: Health, detail: str = "fine", plane: Plane = Plane.CONTAINER) -> Verdict:
    judgement = Judgement(check="c", plane=plane, health=health, detail=detail)
    return Verdict(service=ServiceName(name), health=health, at=NOW, judgements=(judgement,))


def service(name: str, host: str = "local") -> Service:
    return Service(name=ServiceName(name), host=HostName(host), container=name, checks=())


def record(name: str, status: Recorded, diagnostic: str = "") -> ServiceRecord:
    since = NOW - timedelta(hours=5)
    return ServiceRecord(
        service=ServiceName(name), host=HostName("local"), container=name, status=status, since=since, by="medic", diagnostic=diagnostic
    )  # fmt: skip


def test_text_from_outside_is_one_line_without_control_characters() -> None:
    assert screen.plain(HOSTILE) == "[bold red]x[/] [2J]0;title  gnp.exe31m [link=http://evil]y[/link] :warning:"


@pytest.mark.abuse("88")
@given(st.text(max_size=2000))
def test_nothing_that_moves_a_cursor_survives(text: str) -> None:
    out = screen.plain(text, 300)
    assert len(out) <= 300
    assert not [character for character in out if ord(character) < 32 or 127 <= ord(character) < 160]


def test_markup_of_a_container_is_shown_and_not_obeyed() -> None:
    for colours in (False, True):
        line = shown(screen.story_line(event(HOSTILE)), colours=colours)
        assert "[bold red]x[/]" in line
        assert "\x1b[2J" not in line
        assert "\x1b]" not in line
        assert ":warning:" in line.replace("\n", " ")


@pytest.mark.parametrize("kind", list(StoryKind))
def test_every_kind_of_event_has_its_line(kind: StoryKind) -> None:
    line = shown(screen.story_line(event("container exited (137), oom-killed", kind)))
    assert kind.value in line
    assert "container exited (137), oom-killed" in line
    assert line.startswith(NOW.astimezone().strftime("%H:%M:%S") + "  web ")


def test_no_colour_where_none_is_wanted() -> None:
    assert "\x1b" not in shown(screen.story_line(event("x")))
    assert "\x1b[31m" in shown(screen.story_line(event("x")), colours=True)


def test_the_services_say_status_health_planes_since_and_what() -> None:
    verdicts = [
        verdict("web", Health.WELL),
        verdict("db", Health.SICK, "container db is exited", Plane.HOST_PORT),
        verdict("q", Health.UNKNOWN),
    ]
    records = [record("web", Recorded.RUNNING), record("db", Recorded.ERROR)]
    lines = shown(screen.services_table(verdicts, [service("web"), service("db"), service("q")], records, NOW)).splitlines()
    assert "host" not in lines[0].split()
    assert [word in lines[2] for word in ("web", "running", "✓ well", "✓ container", "5h")] == [True] * 5
    assert [word in lines[3] for word in ("db", "error", "✗ sick", "✗ host-port", "container db")] == [True] * 5
    assert [word in lines[-1] for word in ("q", "new", "? unknown", "? container")] == [True] * 4
    assert max(map(len, lines)) <= 80


def test_without_the_store_nothing_is_said_of_what_is_recorded() -> None:
    first = shown(screen.services_table([verdict("web", Health.WELL)], [service("web")], None, NOW)).splitlines()[0]
    assert first.split() == ["service", "health", "planes", "what"]


def test_the_host_is_named_where_there_are_several() -> None:
    services = [service("web"), service("db", "gpu-2")]
    table = shown(screen.services_table([verdict("web", Health.WELL), verdict("db", Health.WELL)], services, [], NOW))
    assert "gpu-2" in table


def test_hostile_names_and_details_stay_inside_their_cells() -> None:
    table = shown(screen.services_table([verdict("web", Health.SICK, HOSTILE)], [service("web")], [], NOW), colours=True)
    assert "\x1b[2J" not in table
    assert "\x1b]" not in table
    assert "[bold red]x[/]" in table


def test_a_sweep_report_names_issues_and_what_is_not_as_recorded() -> None:
    report = SweepReport(
        slot=1, at=NOW, took=timedelta(milliseconds=12), checked=(ServiceName("a"), ServiceName("b")), sick=(ServiceName("a"),),
        unknown=(), opened=(IncidentId("I1"),), healed=(), missing=("a",), unrecorded=("stray",),
    )  # fmt: skip
    text = " ".join(shown(screen.sweeps_table([report])).split())
    for words in ("12 ms", "a sick", "I1", "a missing", "stray"):
        assert words in text


@pytest.mark.parametrize(("span", "words"), [(0, "0s"), (59, "59s"), (60, "1m"), (7199, "1h"), (86_400 * 3, "3d"), (-5, "0s")])
def test_ago_is_said_in_the_largest_unit(span: int, words: str) -> None:
    assert screen.ago(NOW - timedelta(seconds=span), NOW) == words
