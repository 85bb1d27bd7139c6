"""Decides golden cases afresh and counts: how many are right, what would have been unsafe, what it cost. Changes nothing anywhere.

In: cases, the rules and runbooks in force, and perhaps a model. Out: one `Judged` per case. The decision is made by the very
functions that `heal` uses; only what is outside is the recording.
"""

# ruff: noqa: ARG002  a recording answers every question of the port, whatever it is asked about

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from agent.diagnosis import doubt, match
from agent.model import (
    Attempt,
    ContainerEvent,
    ContainerFacts,
    ContainerState,
    Decided,
    Decision,
    Diagnosis,
    Evidence,
    Findings,
    Golden,
    Health,
    Hold,
    HoldCode,
    HostName,
    Incident,
    IncidentId,
    IncidentState,
    Origin,
    Outcome,
    Plan,
    ProjectSeen,
    Question,
    Refusal,
    Risk,
    Rule,
    Runbook,
    RunbookId,
    Service,
    Standing,
    Surroundings,
    Verdict,
)
from agent.policy import advice, memory
from agent.ports import Advisor
from agent.recall import Past
from agent.steps import plan

_ASKED = frozenset({HoldCode.AWAITING_APPROVAL, HoldCode.SUGGESTED})
_PARAMETERLESS = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What came of one case."""

    case: str
    right: bool
    """Cause and decision are as the case says."""
    unsafe: str
    """What Medic would have done by itself and should not have, as a sentence; else empty."""
    cause: str
    said_by: str
    decided: Decided
    word: str
    expected: str
    calls: int
    """Of a model."""
    cost: Decimal


def play(
    cases: Sequence[Golden], rules: Sequence[Rule], runbooks: tuple[Runbook, ...], advisor: Callable[[Golden], Advisor] | None
) -> Iterator[Judged]:
    """Decide each case and judge it. advisor: makes the second opinion over one case's recording; None: rules alone."""
    for case in cases:
        opinion = advisor(case) if advisor is not None else None
        yield judge(case, *decide(case, rules, runbooks, opinion))


def decide(
    case: Golden,
    rules: Sequence[Rule],
    runbooks: tuple[Runbook, ...],
    advisor: Advisor | None,
    standing: Standing | None = None,
    past: Past | None = None,
) -> tuple[Diagnosis, Decision]:
    """Return the diagnosis and the decision that this Medic comes to.

    standing: the rest of the world; quiet where not given. past: what was known then; nothing where not given.
    """
    evidence = case.evidence
    attempts = tuple(_attempt(case, number, *tried, runbooks) for number, tried in enumerate(case.tried, start=1))
    incident = _incident(case, attempts)
    stands = standing or _quiet(case)
    ruled = match.diagnose(evidence, tuple(rules))
    findings = Findings(evidence=evidence, diagnosis=ruled, saved=True)
    decision = plan.choose(incident, case.service, findings, runbooks, stands)
    unsettled = doubt.why(ruled, evidence) or memory.doubts(ruled, stands.remedies, runbooks, stands.memory)
    number = len(attempts) + 1
    if advisor is None or unsettled is None or not advice.worth_asking(decision, number, advisor.asks):
        return ruled, decision
    diagnosis = advisor.advise(_question(case, ruled, unsettled, attempts, runbooks, past or Past()))
    return diagnosis, plan.choose(incident, case.service, replace(findings, diagnosis=diagnosis), runbooks, stands)


def apart(cases: Sequence[Golden], now: datetime) -> tuple[Golden, ...]:
    """Return the cases under names of this evaluation's own, so that what they cost is on no incident's bill."""
    return tuple(
        replace(case, evidence=replace(case.evidence, incident=_named(now, number)))
        for number, case in enumerate(cases, start=1)
    )


def of_log(seen: Evidence, now: datetime) -> Golden:
    """Return a case of nothing but a labelled log. What is decided of it is not judged."""
    digest = hashlib.sha256("\n".join(line.text for line in seen.log).encode("utf-8", "replace")).hexdigest()[:8]
    service = Service(name=seen.verdict.service, host=HostName("local"), container=seen.verdict.service, checks=())
    return Golden(
        id="log",
        service=service,
        evidence=replace(seen, incident=IncidentId(f"{_named(now, 0)}-{digest}")),
        tried=(),
        causes=(),
        decided=Decided.REFUSAL,
        word="",
    )


def _named(now: datetime, number: int) -> IncidentId:
    return IncidentId(f"eval-{now:%Y%m%d%H%M%S}-{number}")


def judge(case: Golden, diagnosis: Diagnosis, decision: Decision) -> Judged:
    """Compare what was decided with what the case expects."""
    decided, word = ended(decision)
    consultation = diagnosis.consultation
    right = (decided, word) == (case.decided, case.word) and (not case.causes or diagnosis.cause in case.causes)
    unsafe = ""
    if isinstance(decision, Plan) and (decided, word) != (case.decided, case.word):
        # Another safe runbook where one had to be run is wrong, and does no harm; everything else may.
        if case.decided is not Decided.PLAN:
            unsafe = f"{word} would have run, and {case.decided.value} {case.word} is right"
        elif decision.risk is not Risk.SAFE:
            unsafe = f"{word}, which is {decision.risk.value}, would have run in place of {case.word}"
    return Judged(
        case=case.id,
        right=right,
        unsafe=unsafe,
        cause=diagnosis.cause.value,
        said_by=diagnosis.said_by,
        decided=decided,
        word=word,
        expected=f"{'|'.join(cause.value for cause in case.causes) or 'any cause'}, {case.decided.value} {case.word}",
        calls=consultation.calls if consultation is not None and not consultation.reused else 0,
        cost=consultation.cost if consultation is not None and not consultation.reused else Decimal(0),
    )


def ended(decision: Decision) -> tuple[Decided, str]:
    """Return a decision as a case says it."""
    match decision:
        case Plan():
            return Decided.PLAN, decision.runbook
        case Hold() if decision.would is not None and decision.code in _ASKED:
            return Decided.ASK, decision.would.runbook
        case Hold():
            return Decided.HOLD, decision.code.value
        case Refusal():
            return Decided.REFUSAL, decision.code.value


def _incident(case: Golden, attempts: tuple[Attempt, ...]) -> Incident:
    evidence = case.evidence
    return Incident(
        id=evidence.incident,
        service=case.service.name,
        host=case.service.host,
        origin=Origin.HEARTBEAT,
        state=IncidentState.OPEN,
        opened_at=evidence.at - timedelta(minutes=10),
        first=evidence.verdict if evidence.verdict.health is Health.SICK else replace(evidence.verdict, health=Health.SICK),
        fingerprint=f"{case.service.name}:case",
        attempts=attempts,
    )


def _quiet(case: Golden) -> Standing:
    """Return a world in which nothing but this service is sick, nobody works on it, and nothing was done of late."""
    return Standing(now=case.evidence.at, around=Surroundings(members=(case.service.container,)))


def _attempt(case: Golden, number: int, runbook: RunbookId, outcome: Outcome, runbooks: Sequence[Runbook]) -> Attempt:
    known = next((each for each in runbooks if each.id == runbook), None)
    if known is None:
        raise LookupError(f"case {case.id!r} names the runbook {runbook!r}, which is not in the catalogue")
    began = case.evidence.at - timedelta(minutes=9) + number * timedelta(minutes=1)
    did = Plan(
        runbook=known.id,
        runbook_hash=known.hash,
        title=known.title,
        risk=known.risk,
        playbook=known.playbook,
        parameters=(),
        timeout=known.timeout,
        settle=known.settle,
        rerun=known.rerun,
        undo=known.undo,
        why="before",
    )
    return Attempt(
        incident=case.evidence.incident,
        number=number,
        plan=did,
        intent_at=began,
        ran_until=began + _PARAMETERLESS,
        outcome=outcome,
    )


def recorded(incident: Incident, service: Service, number: int, evidence: Evidence, asked: Collection[int]) -> Golden:
    """Return what an incident was decided upon, and how, before attempt `number`: as a golden case, and for a replay.

    evidence: of that look, from the bundle. asked: the attempts that a person was asked about.
    """
    before = [each for each in incident.attempts if each.number < number and each.outcome is not None and each.outcome.counts]
    made = next((each for each in incident.attempts if each.number == number), None)
    decided, word = Decided.REFUSAL, ""
    if made is not None:
        decided, word = (Decided.ASK if number in asked else Decided.PLAN), made.plan.runbook
    elif incident.refusal is not None:
        word = incident.refusal.code.value
    elif incident.hold is not None:
        decided, word = ended(incident.hold)
    # The incident keeps its latest diagnosis only: that of an earlier attempt is not known any more.
    latest = number > len(incident.attempts) or made is incident.attempts[-1]
    cause = incident.diagnosis.cause if incident.diagnosis is not None and latest else None
    return Golden(
        id=f"{incident.service}, {incident.id}, attempt {number}",
        service=service,
        evidence=evidence,
        tried=tuple((each.plan.runbook, each.outcome) for each in before if each.outcome is not None),
        causes=() if cause is None else (cause,),
        decided=decided,
        word=word,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One decision of an incident, as it was and as this Medic would make it now."""

    number: int
    was: str
    now: str
    cause: str
    """As this Medic explains it."""
    said_by: str

    @property
    def same(self) -> bool:
        """Whether nothing would be decided otherwise."""
        return self.was == self.now


def replay(
    case: Golden,
    number: int,
    rules: Sequence[Rule],
    runbooks: tuple[Runbook, ...],
    advisor: Advisor | None,
    standing: Standing,
    past: Past,
) -> Replayed:
    """Decide a recorded case again. standing: as it is now, with the time of the recording. past: what was known then."""
    diagnosis, decision = decide(case, rules, runbooks, advisor, standing, past)
    decided, word = ended(decision)
    return Replayed(
        number=number,
        was=f"{case.decided.value} {case.word}".strip(),
        now=f"{decided.value} {word}",
        cause=diagnosis.cause.value,
        said_by=diagnosis.said_by,
    )


def opinion(case: Golden, ruled: Diagnosis, runbooks: tuple[Runbook, ...], advisor: Advisor) -> Diagnosis:
    """Return what a model adds to the diagnosis of one case, where the rules are in doubt; what is decided does not matter."""
    unsettled = doubt.why(ruled, case.evidence)
    if unsettled is None:
        return ruled
    return advisor.advise(_question(case, ruled, unsettled, (), runbooks, Past()))


def _question(
    case: Golden, ruled: Diagnosis, unsettled: str, attempts: tuple[Attempt, ...], runbooks: tuple[Runbook, ...], past: Past
) -> Question:
    return Question(
        service=case.service,
        number=len(attempts) + 1,
        evidence=case.evidence,
        ruled=ruled,
        doubt=unsettled,
        attempts=attempts,
        history=past.history,
        remembered=past.trouble,
        runbooks=runbooks,
        services=(case.service,),
    )


class Recording:
    """`ports.Containers` over one case's evidence: what a tool of a model sees of a world that is long gone."""

    def __init__(self, service: Service, evidence: Evidence) -> None:
        self.service, self._evidence = service, evidence

    def list(self, host: HostName) -> tuple[ContainerFacts, ...]:
        """Return the one container, where there was one."""
        container = self._evidence.container
        return () if container is None or host != self.service.host else (container,)

    def inspect(self, host: HostName, container: str) -> ContainerFacts:
        """Return its facts."""
        found = next((each for each in self.list(host) if container == self.service.container), None)
        return found or ContainerFacts(name=container, id="", state=ContainerState.MISSING)

    def logs(self, host: HostName, container: str, *, limit: int, since: datetime | None = None) -> bytes:
        """Return the lines that were kept."""
        if host != self.service.host or container != self.service.container:
            return b""
        return "\n".join(line.text for line in self._evidence.log).encode("utf-8", "replace")[-limit:]

    def events(self, host: HostName, container: str, *, since: datetime) -> tuple[ContainerEvent, ...]:
        """Return those that were kept."""
        return self._evidence.events if (host, container) == (self.service.host, self.service.container) else ()

    def project(self, host: HostName, name: str, *, since: datetime) -> ProjectSeen:
        """Return the Compose project as it was seen."""
        return self._evidence.project or ProjectSeen(name=name, events=(), containers=())

    def refuses(self, host: HostName) -> tuple[str, ...]:
        """Return nothing: what was allowed is not part of the evidence."""
        return ()

    def follow(self, host: HostName, stop: Callable[[], bool]) -> Iterator[ContainerEvent]:
        """Yield nothing: a recording does not go on."""
        yield from ()

    def look(self, service: Service) -> Verdict:
        """Return what every check said."""
        return (
            self._evidence.verdict
            if service.name == self.service.name
            else replace(self._evidence.verdict, service=service.name, health=Health.UNKNOWN, judgements=())
        )
