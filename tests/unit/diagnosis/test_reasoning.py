"""How the matcher tells a cause from what a program lives through: each rule of reasoning with a log where it decides, and
one that differs in a single thing and is judged the other way. The rules of causes here are made up; what ships is in tests/cases.
"""

from dataclasses import dataclass, replace

import pytest

from agent.diagnosis import match
from agent.model import Cause, ContainerFacts, ContainerState, Evidence, Plane, Rule
from tests.unit.diagnosis.test_match import evidence, rule

PEER = rule("peer", Cause.DEPENDENCY_UNREACHABLE, order=300, log=("peer lost",), cleared_by=("peer is back",))
NOTE = rule("note", Cause.PERMISSION_DENIED, order=210, log=("may not read",))
DEFECT = rule("defect", Cause.APPLICATION_BUG, order=330, log=("index out of range",))
DISK = rule("disk", Cause.DISK_FULL, order=130, log=("no space",))
GPU = rule("gpu", Cause.GPU_RUNTIME_UNAVAILABLE, order=140, log=("no driver",))
GUESS = rule("guess", Cause.BAD_CONFIGURATION, order=match.GUESSES, log=("odd option",), cleared_by=("peer is back",))
STOP = rule("told", Cause.BENIGN_NOISE, order=match.OBEYS, log=("received SIGTERM",))
LEFT = rule("left", Cause.BENIGN_NOISE, order=match.OBEYS - 1, log=("worker left",))
CALLER = rule("caller", Cause.BENIGN_NOISE, order=902, log=("caller left",))
WORK = rule("work", Cause.BENIGN_NOISE, order=match.AT_WORK, log=("serving on port",))
RULES = (PEER, NOTE, DEFECT, DISK, GPU, GUESS, STOP, LEFT, CALLER, WORK)

SERVED = "INFO order 7 served in 3 ms"
NOISE = "log:no-trouble"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is shown, and who must speak."""

    lines: tuple[str, ...]
    said_by: str
    exit_code: int | None = None
    sick: Plane | None = None

    def answer(self) -> str:
        return match.diagnose(evidence(*self.lines, exit_code=self.exit_code, sick=self.sick), RULES).said_by


CASES: dict[str, tuple[Told, Told]] = {
    "a complaint that ordinary work follows was got over; one that nothing follows was not": (
        Told(lines=("ERROR peer lost", SERVED), said_by=NOISE),
        Told(lines=(SERVED, "ERROR peer lost"), said_by="rule:peer"),
    ),
    "a full disk is not got over by working on": (
        Told(lines=("ERROR no space", SERVED), said_by="rule:disk"),
        Told(lines=("ERROR may not read", SERVED), said_by=NOISE),
    ),
    "what is got over counts again where a plane is sick": (
        Told(lines=("ERROR peer lost", SERVED), sick=Plane.DIRECT, said_by="rule:peer"),
        Told(lines=("ERROR peer lost", SERVED), said_by=NOISE),
    ),
    "and where the container ended badly": (
        Told(lines=("ERROR peer lost", SERVED), exit_code=1, said_by="rule:peer"),
        Told(lines=("ERROR peer lost", SERVED), exit_code=143, said_by=NOISE),
    ),
    "a complaint three times over lasts; twice does not": (
        Told(lines=("ERROR peer lost", SERVED) * 3, said_by="rule:peer"),
        Told(lines=("ERROR peer lost", SERVED) * 2, said_by=NOISE),
    ),
    "complaints that differ in their numbers only are one": (
        Told(lines=tuple(line for n in range(3) for line in (f"ERROR peer lost 10.0.0.{n}", SERVED)), said_by="rule:peer"),
        Told(lines=("ERROR peer lost at a", SERVED, "ERROR peer lost at b", SERVED, "ERROR peer lost at c", SERVED), said_by=NOISE),
    ),
    "a defect of the program counts whatever comes after it": (
        Told(lines=("ERROR index out of range", SERVED), said_by="rule:defect"),
        Told(lines=("WARN index out of range", SERVED), said_by=NOISE),
    ),
    "an error with a trace is one that nothing caught": (
        Told(lines=("ERROR peer lost", "\tat a.b.C(D.java:7)", SERVED), said_by="rule:peer"),
        Told(lines=("ERROR peer lost", "  see the manual", SERVED), said_by=NOISE),
    ),
    "an error that ends a program counts": (
        Told(lines=("FATAL peer lost, exiting", SERVED), said_by="rule:peer"),
        Told(lines=("ERROR peer lost, retrying", SERVED), said_by=NOISE),
    ),
    "a lone warning of a program at its work is none, even as its last word": (
        Told(lines=(SERVED, "WARN peer lost"), said_by=NOISE),
        Told(lines=("WARN peer lost",), said_by="rule:peer"),
    ),
    "a program that serves does without its GPU; one that only talks has not shown so": (
        Told(lines=("ERROR no driver", "serving on port 8000"), said_by="rule:work"),
        Told(lines=("ERROR no driver", SERVED), said_by="rule:gpu"),
    ),
    "without its GPU and sick is another matter": (
        Told(lines=("ERROR no driver", "serving on port 8000"), sick=Plane.DIRECT, said_by="rule:gpu"),
        Told(lines=("ERROR no driver", "serving on port 8000"), said_by="rule:work"),
    ),
    "who lived until it was told to stop had got over it; who merely left had not": (
        Told(lines=("ERROR peer lost", "received SIGTERM"), said_by="rule:told"),
        Told(lines=("ERROR peer lost", "worker left"), said_by="rule:peer"),
    ),
    "what a cleared complaint said does not count, for its rule alone": (
        Told(lines=("ERROR peer lost", "peer is back"), said_by=NOISE),
        Told(lines=("ERROR no space", "peer is back"), said_by="rule:disk"),
    ),
    "a guess rests on errors; a warning is no ground for one": (
        Told(lines=("ERROR odd option",), said_by="rule:guess"),
        Told(lines=("WARN odd option",), said_by=NOISE),
    ),
    "a guess is dropped where the program went on": (
        Told(lines=("ERROR odd option", SERVED), said_by=NOISE),
        Told(lines=(SERVED, "ERROR odd option"), said_by="rule:guess"),
    ),
    "a guess is dropped where the program was told to stop": (
        Told(lines=("ERROR odd option", "received SIGTERM"), said_by="rule:told"),
        Told(lines=("ERROR odd option", "worker left"), said_by="rule:guess"),
    ),
    "trouble that no rule knows, at the end, makes what came before count": (
        Told(lines=("ERROR may not read", SERVED, "ERROR zorkmids failed"), said_by="rule:note"),
        Told(lines=("ERROR may not read", SERVED, "WARN zorkmids failed"), said_by=NOISE),
    ),
    "a calm line that ends the program is no going on": (
        Told(lines=("ERROR zorkmids failed", "INFO terminating the server"), said_by="none"),
        Told(lines=("ERROR zorkmids failed", "INFO counting the stock"), said_by=NOISE),
    ),
    "calm lines are read where nothing else names the trouble": (
        Told(lines=("INFO no space", "ERROR zorkmids failed"), said_by="rule:disk"),
        Told(lines=("INFO no space", "ERROR peer lost"), said_by="rule:peer"),
    ),
    "trouble as the last word counts though its level is calm, from the second time": (
        Told(lines=("INFO may not read, failed", SERVED, "INFO may not read, failed"), said_by="rule:note"),
        Told(lines=(SERVED, "INFO may not read, failed"), said_by=NOISE),
    ),
    "and a copy is no second time": (
        Told(lines=("INFO may not read 1, failed", "INFO may not read 2, failed"), said_by="rule:note"),
        Told(lines=("INFO may not read 1, failed", "INFO may not read 1, failed"), said_by=NOISE),
    ),
    "a supervisor that gives up writes so at INFO": (
        Told(lines=("INFO may not read", "INFO gave up: shop entered FATAL state"), said_by="rule:note"),
        Told(lines=("INFO may not read", "INFO success: shop entered RUNNING state"), said_by=NOISE),
    ),
    "an orderly end explains what was complained of on the way": (
        Told(lines=("zorkmids failed", "received SIGTERM"), exit_code=143, said_by="rule:told"),
        Told(lines=("received SIGTERM", "zorkmids failed"), exit_code=143, said_by="none"),
    ),
    "a trace belongs to what stands above it: a client's when that is a client's": (
        Told(lines=("caller left", "    at f (node:net:7:1) {", "  code: 'peer lost'", "}"), said_by="rule:caller"),
        Told(lines=("caller left", "  code: 'peer lost'"), said_by="rule:peer"),
    ),
    "but what caused it is another's": (
        Told(lines=("caller left", "\tat a.b.C(D.java:7)", "Caused by: x.Y: peer lost"), said_by="rule:peer"),
        Told(lines=("caller left", "\tat a.b.C(D.java:7)", "\tpeer lost"), said_by="rule:caller"),
    ),
    "a reason that tells of trouble makes a calm line tell of it; any other does not": (
        Told(lines=('INFO may not read reason="BackOff"', "ERROR zorkmids failed"), said_by="rule:note"),
        Told(lines=("ERROR peer lost", 'INFO scaled up reason="ScalingReplicaSet"'), said_by=NOISE),
    ),
    "NestJS and Jupyter have levels of their own": (
        Told(lines=("ERROR peer lost", "[Nest] 17  - 07/24/2026, 9:00:00 AM     LOG [Shop] order 7 is served"), said_by=NOISE),
        Told(lines=("ERROR peer lost", "[E 2026-07-25 09:00:00.801 App] zorkmids failed"), said_by="rule:peer"),
    ),
    "a class that is called a warning is one": (
        Told(lines=("(node:1) OddListenersWarning: odd option",), said_by=NOISE),
        Told(lines=("(node:1) OddListenersError: odd option",), said_by="rule:guess"),
    ),
    "PyTorch writes its level as one letter before the day": (
        Told(lines=("[W1103 07:30:02.114 socket.cpp:697] odd option",), said_by=NOISE),
        Told(lines=("[E1103 07:30:02.114 socket.cpp:697] odd option",), said_by="rule:guess"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_reasoning(name: str) -> None:
    decides, near_miss = CASES[name]
    assert decides.answer() == decides.said_by
    assert near_miss.answer() == near_miss.said_by


def test_a_near_miss_is_judged_the_other_way() -> None:
    assert [name for name, (decides, near_miss) in CASES.items() if decides.said_by == near_miss.said_by] == []


def shown(error: str | None, *lines: str) -> Evidence:
    container = ContainerFacts(name="web", id="c", state=ContainerState.CREATED, error=error)
    return replace(evidence(*lines), container=container)


def test_what_docker_says_of_a_start_is_read_before_the_log() -> None:
    said = match.diagnose(shown("no space", "ERROR peer lost"), RULES)
    assert (said.said_by, [line.id for line in said.lines]) == ("rule:disk", ["docker"])
    assert match.diagnose(shown(None, "ERROR peer lost"), RULES).said_by == "rule:peer"


def rules_of(order: int) -> tuple[Rule, ...]:
    return tuple(replace(each, order=order) for each in (PEER, NOTE))


@pytest.mark.parametrize(("order", "said_by"), [(match.SURVIVABLE - 1, "rule:note"), (match.SURVIVABLE, NOISE)])
def test_a_complaint_is_survivable_from_one_order_on(order: int, said_by: str) -> None:
    assert match.diagnose(evidence("ERROR may not read", SERVED), rules_of(order)).said_by == said_by
