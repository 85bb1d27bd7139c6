"""The daemon as people run it, `medic watch`, on real containers: what it heals, leaves alone, and leaves behind."""

import signal
import statistics
import time

import psutil
import pytest

from agent.model import Closing, IncidentState, Outcome, Request, RequestKind, RunEnd, ServiceName
from agent.wiring import clock
from tests.lab import images
from tests.live.daemon import CONTAINER, HTTP, HTTPD, LIMITS, Daemon, Site, seconds, until

pytestmark = pytest.mark.live

DEATHS = 4


@pytest.fixture
def hung(site: Site) -> str:
    """A container that does not answer, and that Docker takes 4 s to restart: its frozen process hears no SIGTERM."""
    container = site.container("web")
    spec = {"image": images.TINY, "command": list(HTTPD), "labels": {"medic.test": "watch"}, "stop_timeout": "4s"}
    site.write({"web": site.declared(container, checks=[CONTAINER, HTTP], run=spec)})
    site.send(container, signal.SIGSTOP)
    return container


def test_a_death_is_seen_by_its_event_and_healed_with_its_whole_story(site: Site) -> None:
    names = [f"web{number}" for number in range(DEATHS)]
    services = {name: site.http_service(name) for name in names}
    # All of them die within a second, which would rightly open the fleet breaker.
    site.write(services, interval="30s", breaker={"least": DEATHS + 1})
    with Daemon(site) as daemon:
        delays = []
        for name in names:
            died = time.time()
            site.send(services[name]["container"], signal.SIGKILL)
            delays.append(seconds(daemon.wait(name, "seen")) - died)
        for name in names:
            daemon.wait(name, "healed")
    print(f"death -> incident: median {statistics.median(delays):.3f} s, worst {max(delays):.3f} s of {DEATHS}")
    assert max(delays) < 15, "an interval is 30 s: it was the beat and not the event"

    for name in names:
        (incident,) = site.incidents(name)
        kinds = [event["kind"] for event in daemon.events if event["service"] == name]
        assert [kind for kind in kinds if kind != "task"] == ["seen", "explained", "trying", "tried", "seen-again", "healed"]
        assert (incident.state, incident.closing, incident.closed_by) == (IncidentState.CLOSED, Closing.HEALED, "medic")
        (attempt,) = incident.attempts
        assert (attempt.plan.runbook, attempt.outcome, attempt.runs) == ("start-container", Outcome.HEALED, 1)
        assert attempt.run is not None
        assert attempt.run.end is RunEnd.COMPLETED
        assert attempt.verdict is not None
        assert {judgement.check for judgement in attempt.verdict.judgements} == {"container", "http-direct"}
        assert attempt.ran_until is not None
        assert attempt.ended_at is not None
        assert incident.opened_at <= attempt.intent_at < attempt.ran_until < attempt.ended_at
        assert (site.state / "incidents" / incident.id / "evidence-1.json").is_file()
        assert site.look(services[name]["container"])["Running"]


def test_what_a_person_stopped_is_left_alone_until_it_is_started_again(site: Site) -> None:
    services = {"web": site.http_service("web")}
    container = services["web"]["container"]
    site.write(services)
    with Daemon(site) as daemon:
        site.engine.stop(container, timeout=0)
        assert "stopped-on-purpose" in daemon.wait("web", "held")["text"]
        beat = site.beat()
        until(lambda: site.beat() >= beat + 2, 10)
        assert not site.look(container)["Running"]
        assert not site.incidents("web")[0].attempts

        site.engine.start(container)
        daemon.wait("web", "recovered")
        site.send(container, signal.SIGKILL)
        daemon.wait("web", "healed")
        assert site.look(container)["Running"]


@pytest.mark.abuse("2")
def test_stopping_in_a_playbook_sweeps_it_and_the_next_start_looks_before_it_does_anything(hung: str, site: Site) -> None:
    before = site.look(hung)["StartedAt"]
    with Daemon(site) as daemon:
        daemon.wait("web", "task")
        time.sleep(1)  # by now it has asked Docker for the restart
        took = daemon.stop()
        print(f"SIGTERM in a playbook -> gone: {took:.2f} s")
        assert daemon.process.returncode == 0, daemon.said()
        assert took < 10
        assert not site.playbooks()
    (incident,) = site.incidents("web")
    (attempt,) = incident.attempts
    assert incident.state is IncidentState.OPEN
    assert attempt.run is not None
    assert attempt.run.end is RunEnd.INTERRUPTED
    assert attempt.outcome is None, "nobody has looked yet"

    # Docker was told to restart it and goes on with that, whoever asked.
    until(lambda: site.look(hung)["StartedAt"] != before, 15)
    restarted = site.look(hung)["StartedAt"]
    with Daemon(site) as daemon:
        daemon.wait("web", "healed")
    (incident,) = site.incidents("web")
    assert [(attempt.outcome, attempt.runs) for attempt in incident.attempts] == [(Outcome.HEALED, 1)]
    assert site.look(hung)["StartedAt"] == restarted, "it was done again"


@pytest.mark.abuse("3")
def test_a_second_signal_ends_it_at_once_and_the_orphan_sweeps_itself(hung: str, site: Site) -> None:
    with Daemon(site) as daemon:
        until(site.playbook_is_at_work, 20, daemon.said)
        daemon.process.terminate()
        time.sleep(0.05)
        took = daemon.stop()
        assert took < 8, "the grace of the first one is 10 s"
        assert daemon.process.returncode == 130
    until(lambda: not site.playbooks(), 12)


@pytest.mark.abuse("69")
def test_a_halt_stops_the_running_playbook_and_a_resume_goes_on(hung: str, site: Site) -> None:
    with Daemon(site) as daemon:
        until(site.playbook_is_at_work, 20, daemon.said)
        assert site.medic("halt", "a person is at it").returncode == 0
        halted = time.monotonic()
        until(lambda: not site.playbooks(), 12)
        took = time.monotonic() - halted
        print(f"halt -> nothing left: {took:.2f} s")
        assert took < 10, "it would have hung for minutes"
        daemon.wait("web", "tried")
        (attempt,) = site.incidents("web")[0].attempts
        assert attempt.run is not None
        assert attempt.run.end is RunEnd.CANCELLED

        beat = site.beat()
        until(lambda: site.beat() >= beat + 2, 10)
        assert not site.playbooks()
        assert site.medic("resume").returncode == 0
        daemon.wait("web", "healed")


def test_stopping_while_it_verifies_does_not_wait_for_the_end_of_that(site: Site) -> None:
    idle = site.container("web", ("/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.2; done"))
    limits = {"start_grace": "0s", "verify_within": "2m"}
    site.write({"web": {"container": idle, "checks": [CONTAINER, HTTP], "limits": limits}})
    with Daemon(site) as daemon:
        daemon.wait("web", "tried")
        time.sleep(1.5)
        took = daemon.stop(within=20)
        print(f"SIGTERM in verify -> gone: {took:.2f} s")
        assert daemon.process.returncode == 0, daemon.said()
        assert took < 5
    (attempt,) = site.incidents("web")[0].attempts
    assert attempt.outcome is None, "nobody has seen how it ends"


@pytest.mark.abuse("4", "15")
def test_one_daemon_per_state_folder_answers_at_once_and_goes_cleanly(site: Site) -> None:
    site.write({"web": site.http_service("web")})
    with Daemon(site) as daemon:
        memory = psutil.Process(daemon.process.pid).memory_info().rss / 1e6
        print(f"memory at rest: {memory:.0f} MB")
        assert memory < 150
        second = site.medic("watch")
        assert second.returncode == 3
        assert str(daemon.process.pid) in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1

        request = Request(id="r1", kind=RequestKind.HEAL, service=ServiceName("web"), by="ada", at=clock.CLOCK.now())
        with site.store() as store:
            asked = time.monotonic()
            store.requests.ask(request)
            until(lambda: store.requests.answered("r1") is not None, 30)
            took = time.monotonic() - asked
            answer = store.requests.answered("r1")
        print(f"request -> answer: {took:.3f} s")
        assert took < 10, "half a second to be claimed, and a look; no beat"
        assert answer is not None
        assert (answer.accepted, answer.incident) == (True, None)

        took = daemon.stop()
        print(f"SIGTERM at rest -> gone: {took:.2f} s")
        assert daemon.process.returncode == 0, daemon.said()
        assert took < 5
    assert not site.playbooks()
    assert not daemon.events, "nothing was the matter"


def test_a_person_runs_a_runbook_through_the_daemon_and_without_one(site: Site) -> None:
    container = site.container("web")
    quick = {"image": images.TINY, "stop_timeout": "1s"}  # its process hears no SIGTERM
    site.write({"web": site.declared(container, checks=[CONTAINER, HTTP], run=quick)})
    first = site.look(container)["StartedAt"]
    with Daemon(site):
        tried = site.medic("runbook", "run", "restart-container", "web", "--dry-run")
        assert tried.returncode == 0, tried.stdout + tried.stderr
        assert site.look(container)["StartedAt"] == first
        assert not site.incidents()
        ran = site.medic("runbook", "run", "restart-container", "web")
        assert ran.returncode == 0, ran.stdout + ran.stderr
    second = site.look(container)["StartedAt"]
    assert second != first

    ran = site.medic("runbook", "run", "restart-container", "web")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert site.look(container)["StartedAt"] != second
    for incident in site.incidents("web"):
        assert (incident.origin.value, incident.state) == ("person", IncidentState.CLOSED)
        assert [attempt.outcome for attempt in incident.attempts] == [Outcome.HEALED]


@pytest.mark.abuse("28")
def test_labels_enrol_a_container_and_sweeps_tell_what_is_not_as_recorded(site: Site) -> None:
    labelled = site.container("labelled", enable="true", port="8000", tcp="8000", every="1s")
    nonsense = site.container("nonsense", enable="true", every="soon")
    site.write({"gone": {"container": f"medic-watch-{site.run}-gone", "limits": LIMITS}}, discover_labels=True)
    with Daemon(site) as daemon:
        sweeps = site.ask("sweeps")
        assert all(sweep["missing"] == ["gone"] for sweep in sweeps)
        assert any(nonsense in line and "'soon'" in line for line in sweeps[0]["unrecorded"])
        assert any(labelled in sweep["checked"] for sweep in sweeps)
        daemon.wait("gone", "escalated")

        site.send(labelled, signal.SIGKILL)
        daemon.wait(labelled, "healed")
        assert site.look(labelled)["Running"]
