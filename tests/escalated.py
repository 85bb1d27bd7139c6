"""One incident that two attempts could not mend, as values: what the tests of the hand-over and its report start from."""

from datetime import timedelta
from decimal import Decimal

from agent.model import (
    Attempt,
    Cause,
    Change,
    Consultation,
    ContainerCheck,
    ContainerEvent,
    ContainerFacts,
    ContainerState,
    Diagnosis,
    Escalation,
    Evidence,
    Health,
    HostName,
    HttpCheck,
    Incident,
    IncidentId,
    IncidentState,
    Judgement,
    LogLine,
    Network,
    NginxCheck,
    Origin,
    Outcome,
    Plan,
    Plane,
    PlaybookRun,
    Refusal,
    RefusalCode,
    Rerun,
    Risk,
    RunbookId,
    RunEnd,
    RunSpec,
    Service,
    ServiceName,
    StoryEvent,
    StoryKind,
    Sureness,
    Symptom,
    TaskResult,
    TcpCheck,
    Thresholds,
    Verdict,
)
from tests.fakes import START

NAME, LOCAL, ID = ServiceName("checkout"), HostName("local"), IncidentId("I7")
EVERY, THRESHOLDS = timedelta(seconds=5), Thresholds()
ADVICE = (
    "Correct `upstream_url` in /srv/checkout/app.conf, for example from the last commit, then `docker restart shop-checkout`."
)


def service() -> Service:
    timeout = timedelta(seconds=2)
    return Service(
        name=NAME,
        host=LOCAL,
        container="shop-checkout",
        spec=RunSpec(image="shop/checkout:1.4", ports=("18080:8080",), env=(("DB_PASSWORD", "correcthorsebattery"),)),
        checks=(
            ContainerCheck(name="container", every=EVERY, thresholds=THRESHOLDS),
            TcpCheck(
                name="port",
                every=EVERY,
                thresholds=THRESHOLDS,
                plane=Plane.HOST_PORT,
                address="127.0.0.1:18080",
                timeout=timeout,
            ),
            HttpCheck(
                name="health",
                every=EVERY,
                thresholds=THRESHOLDS,
                plane=Plane.DIRECT,
                url="http://container:8080/health?deep=1&q='x'",
                timeout=timeout,
                headers=(("Host", "shop.example"), ("Authorization", "Bearer 0123456789abcdef0123")),
                body="ok",
            ),
            NginxCheck(
                name="route", every=EVERY, thresholds=THRESHOLDS, nginx="shop-nginx", port=8080, server_name="shop.example"
            ),
        ),
    )


def verdict(seconds: float, health: Health = Health.SICK) -> Verdict:
    well = Judgement(
        check="route", plane=Plane.NGINX, health=Health.WELL, detail="nginx routes shop.example/ to 172.18.0.4:8080"
    )
    return Verdict(
        service=NAME,
        health=health,
        at=START + timedelta(seconds=seconds),
        judgements=(
            Judgement(
                check="container",
                plane=Plane.CONTAINER,
                health=health,
                detail="the container exited with code 78, 2 seconds ago",
                symptoms=(Symptom(word="container-exited", plane=Plane.CONTAINER, detail="exit code 78"),),
            ),
            Judgement(
                check="port",
                plane=Plane.HOST_PORT,
                health=health,
                detail="127.0.0.1:18080 refuses connections",
                symptoms=(Symptom(word="port-closed", plane=Plane.HOST_PORT, detail="refused"),),
            ),
            Judgement(check="health", plane=Plane.DIRECT, health=Health.UNKNOWN, detail="the container has no address to ask"),
            well,
        ),
    )


LOG = (
    "2026-03-01T02:59:58Z INFO  checkout 1.4 starting, 8 workers",
    "2026-03-01T02:59:58Z INFO  reading /etc/checkout/app.conf",
    "2026-03-01T02:59:58Z ERROR config: line 12: upstream_url: 'htp://payments:9000' is not a URL (known schemes: http, https)",
    "2026-03-01T02:59:58Z ERROR config: 1 problem in /etc/checkout/app.conf",
    "2026-03-01T02:59:58Z FATAL cannot start with an invalid configuration",
    "Traceback (most recent call last):",
    '  File "/app/main.py", line 41, in <module>',
    "    config = load(sys.argv[1])",
    "checkout.config.Invalid: upstream_url",
)


def diagnosis() -> Diagnosis:
    return Diagnosis(
        cause=Cause.BAD_CONFIGURATION,
        sureness=Sureness.CONFIRMED,
        said_by="rule:config-rejected",
        summary="The program refuses its own configuration and exits at once, so a restart cannot help.",
        plane=Plane.CONTAINER,
        facts=(("exit_code", "78"), ("changed", "config")),
        lines=(LogLine(id="L3", text=LOG[2]), LogLine(id="L5", text=LOG[4])),
        advice=ADVICE,
    )


def consultation() -> Consultation:
    return Consultation(
        model="anthropic/claude-x",
        bundle="0123456789abcdef",
        doubt="no rule names a cause",
        came_of_it="model anthropic/claude-x says disk_full with confidence 0.70, and does not show it; it proposes no runbook",
        calls=3,
        input_tokens=7_100,
        output_tokens=420,
        cost=Decimal("0.0276"),
        confidence=0.7,
        unproven=("disk_full: [red]The disk[/red] is full, run `rm -rf /`", "it cites 'L99', which it was never shown"),
    )


def evidence(number: int = 1, log: tuple[str, ...] = LOG) -> Evidence:
    at = START + timedelta(seconds=1 + 40 * (number - 1))
    return Evidence(
        incident=ID,
        at=at,
        verdict=verdict(1 + 40 * (number - 1)),
        container=ContainerFacts(
            name="shop-checkout",
            id="9f2c4e6a8b0d1f3c5e7a9b1d3f5c7e9a0b2d4f6c8e0a1c3e5f7b9d1f3a5c7e9b",
            state=ContainerState.EXITED,
            image="shop/checkout:1.4",
            image_id="sha256:5d1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8",
            status="Exited (78) 2 seconds ago",
            exit_code=78,
            oom_killed=False,
            restart_count=0,
            restart_policy="no",
            networks=(Network(name="shop", address=""),),
            ports=((8080, 18080),),
            started_at=START - timedelta(seconds=3),
            finished_at=START - timedelta(seconds=2),
        ),
        log=tuple(LogLine(id=f"L{index}", text=text) for index, text in enumerate(log, 1)),
        log_note="whole",
        events=(ContainerEvent(container="shop-checkout", action="die", at=START - timedelta(seconds=2), exit_code=78),),
        changes=(Change(what="config", before="b3c1d2", after="77e0a9", at=START - timedelta(seconds=42)),),
        files=(f"evidence-{number}.json",),
        gaps=("cannot ask the image registry when this tag last moved",) if number == 1 else (),
    )


def plan(runbook: str, title: str, why: str) -> Plan:
    return Plan(
        runbook=RunbookId(runbook),
        runbook_hash="sha256:1234",
        title=title,
        risk=Risk.SAFE,
        playbook=f"{runbook}.yml",
        parameters=(("container", '"shop-checkout"'), ("stop_timeout", "10")),
        timeout=timedelta(seconds=60),
        settle=timedelta(seconds=3),
        rerun=Rerun.SAFE,
        undo=None,
        why=why,
    )


def attempts() -> tuple[Attempt, ...]:
    checked = TaskResult(name="The container is there", status="ok", message="shop-checkout is exited")
    first = Attempt(
        incident=ID,
        number=1,
        plan=plan(
            "restore-config",
            "Restore the last good configuration and restart",
            "it treats bad_configuration; the lowest rung that does",
        ),
        intent_at=START + timedelta(seconds=2),
        run=PlaybookRun(
            end=RunEnd.FAILED,
            message="1 task failed",
            tasks=(
                checked,
                TaskResult(
                    name="Put the good copy in place",
                    status="failed",
                    message="Destination /srv/checkout not writable: read-only file system",
                ),
            ),
        ),
        ran_until=START + timedelta(seconds=5),
        runs=1,
        outcome=Outcome.PERMANENT,
        verdict=verdict(12),
        ended_at=START + timedelta(seconds=12),
    )
    second = Attempt(
        incident=ID,
        number=2,
        plan=plan(
            "recreate",
            "Recreate the container from its declared spec",
            "the next rung: the container exited and its spec is declared",
        ),
        intent_at=START + timedelta(seconds=42),
        run=PlaybookRun(
            end=RunEnd.COMPLETED,
            message="",
            tasks=(checked, TaskResult(name="Recreate the container", status="changed", message="started 4c1f0a2b9d3e")),
        ),
        ran_until=START + timedelta(seconds=46),
        runs=1,
        outcome=Outcome.INEFFECTIVE,
        verdict=verdict(106),
        ended_at=START + timedelta(seconds=106),
    )
    return first, second


REFUSAL = Refusal(code=RefusalCode.ATTEMPTS_SPENT, because="both attempts are spent and checkout is still sick")


def incident(**changes: object) -> Incident:
    values: dict[str, object] = {
        "id": ID,
        "service": NAME,
        "host": LOCAL,
        "origin": Origin.HEARTBEAT,
        "state": IncidentState.ESCALATED,
        "opened_at": START,
        "first": verdict(0),
        "fingerprint": "checkout:container-exited,port-closed",
        "attempts": attempts(),
        "diagnosis": diagnosis(),
        "refusal": REFUSAL,
    }
    return Incident(**{**values, **changes})  # type: ignore[arg-type]  # a test names only what differs


def story() -> tuple[StoryEvent, ...]:
    told = (
        (0.0, StoryKind.SEEN, "container: the container exited with code 78; port: 127.0.0.1:18080 refuses connections"),
        (1.2, StoryKind.EXPLAINED, "bad_configuration: The program refuses its own configuration and exits at once"),
        (1.3, StoryKind.TRYING, "attempt 1: Restore the last good configuration and restart"),
        (2.0, StoryKind.TRYING, "attempt 1 of 2"),
        (4.8, StoryKind.TASK, "Put the good copy in place: failed"),
        (5.0, StoryKind.TRIED, "the playbook failed: 1 task failed"),
        (12.0, StoryKind.SEEN_AGAIN, "still sick: the container exited with code 78"),
        (42.0, StoryKind.TRYING, "attempt 2 of 2: Recreate the container from its declared spec"),
        (46.0, StoryKind.TRIED, "the playbook completed"),
        (106.0, StoryKind.SEEN_AGAIN, "still sick: the container exited with code 78"),
        (106.2, StoryKind.ESCALATED, "both attempts are spent and checkout is still sick"),
    )
    return tuple(
        StoryEvent(incident=ID, service=NAME, at=START + timedelta(seconds=at), kind=kind, text=text, id=index)
        for index, (at, kind, text) in enumerate(told, 1)
    )


def escalation() -> Escalation:
    return Escalation(
        incident=ID,
        at=START + timedelta(seconds=106.2),
        because=REFUSAL.because,
        next_step=ADVICE,
        report="/var/lib/medic/incidents/I7/report.md",
    )
