"""A service that asks, on the real daemon: the request shows with its diff, and `medic approve` heals it."""

import signal
from pathlib import Path

import pytest

from agent.cli import options
from agent.model import Closing, HoldCode, IncidentState, Outcome
from tests.live.daemon import Daemon, Site, until

pytestmark = pytest.mark.live


def test_a_service_that_asks_waits_for_its_word_and_is_healed_by_it(site: Site) -> None:
    web = site.http_service("web", mode="ask")
    book = {"kind": "file", "path": str(site.folder / "notices.jsonl")}
    site.write({"web": web}, channels={"book": book})
    with Daemon(site) as daemon:
        site.send(web["container"], signal.SIGKILL)
        daemon.wait("web", "held")
        (request,) = site.ask("approvals")
        assert (request["plan"]["runbook"], request["number"], request["answer"]) == ("start-container", 1, None)
        assert request["impact"].startswith("safe: ")
        assert '+    "running": true' in request["diff"], "what check mode says"
        assert request["id"] in site.medic("approvals").stdout
        assert not site.look(web["container"])["Running"], "check mode changed nothing"
        (waiting,) = site.incidents("web")
        assert waiting.hold is not None
        assert (waiting.state, waiting.hold.code) == (IncidentState.HELD, HoldCode.AWAITING_APPROVAL)
        until(lambda: ":asked:" in Path(book["path"]).read_text(), 10)

        assert site.medic("approve", request["id"], "--why", "a test").returncode == options.WELL
        daemon.wait("web", "healed")
        again = site.medic("approve", request["id"])
    assert again.returncode == options.REFUSED
    assert "has approved it already" in again.stderr
    (incident,) = site.incidents("web")
    assert incident.closing is Closing.HEALED
    (attempt,) = incident.attempts
    assert attempt.outcome is Outcome.HEALED
    assert f"({request['id']})" in attempt.plan.why
    assert site.look(web["container"])["Running"]


def test_a_dry_run_says_what_it_would_have_done_and_leaves_the_container_dead(site: Site) -> None:
    web = site.http_service("web")
    site.write({"web": web}, dry_run=True)
    with Daemon(site) as daemon:
        site.send(web["container"], signal.SIGKILL)
        daemon.wait("web", "held")
        ran = site.medic("runbook", "run", "start-container", "web")
    assert ran.returncode == options.REFUSED
    assert "dry_run is set" in ran.stdout + ran.stderr
    (incident,) = site.incidents("web")
    assert incident.hold is not None
    assert incident.hold.code is HoldCode.DRY_RUN
    assert incident.attempts == ()
    assert incident.diagnosis is not None
    (preview,) = (site.state / "incidents" / incident.id).glob("proposal-1-*.txt")
    assert '+    "running": true' in preview.read_text()
    assert not site.look(web["container"])["Running"]
