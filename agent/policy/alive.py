"""Reasons to leave a service alone that is alive: it is overloaded by design, its own probe is wrong, it comes and goes.

Each function that decides returns a `Hold` or None; each has its plain question, which the sweep asks of its own verdict to
learn that the reason is gone. Pure.
"""

from datetime import datetime, timedelta

from agent.model import (
    CompletionCheck,
    ContainerState,
    Findings,
    Health,
    Hold,
    HoldCode,
    HttpCheck,
    Judgement,
    RestartedBy,
    Service,
    Standing,
    TcpCheck,
    Verdict,
)

SLOW = ({"http-slow"}, {"engine-slow"})
"""What it is called to be right and late."""

FLAPS = 4
"""Changes of the settled verdict ..."""
FLAPS_WITHIN = timedelta(minutes=10)
"""... within so long make a service that comes and goes. Our own remedies start the count anew."""
LOOPS = 3
"""So many restarts by its restart policy in the same time are a crash loop: one can be luck, two a slow dependency."""
LOOP_OVER = timedelta(seconds=60)
"""So long without another restart, and the loop is over: Docker waits up to a minute between two."""
STEADY = timedelta(seconds=10)
"""So long must it have run after a single restart: Docker itself calls a restart successful after ten seconds.
Source: https://docs.docker.com/engine/containers/start-containers-automatically/"""

OVERLOAD_SHORTEST = timedelta(seconds=10)
OVERLOAD_LONGEST = timedelta(minutes=5)
"""What the service itself asks for is taken between these two."""

WRONG_PROBE_FOR = timedelta(hours=1)
"""Nothing changes until a person mends the probe; a sick check ends the Hold at once."""


def overload(findings: Findings) -> Hold | None:
    """It answers, and asks to be left alone for a while, or is merely slow: a restart would cost what it still serves."""
    container, verdict = findings.evidence.container, findings.evidence.verdict
    if container is None or container.state is not ContainerState.RUNNING or not is_overload(verdict):
        return None
    asked = [judgement.retry_after for judgement in verdict.judgements if judgement.retry_after is not None]
    said = f"it asks to come back in {max(asked).total_seconds():.0f} s" if asked else "it answers, only slowly"
    return Hold(
        code=HoldCode.OVERLOAD,
        because=said,
        until="it answers in time, or something else is wrong with it",
        look_again=min(max(OVERLOAD_SHORTEST, *asked, OVERLOAD_SHORTEST), OVERLOAD_LONGEST),
    )


def is_overload(verdict: Verdict) -> bool:
    """Say whether everything sick is a 429 or 503 with Retry-After, or slowness. A HEALTHCHECK may be red beside the former."""
    sick = _sick(verdict)
    asks = any(judgement.retry_after is not None for judgement in sick)
    return bool(sick) and all(
        judgement.retry_after is not None or _words(judgement) in SLOW or (asks and _words(judgement) == {"healthcheck-red"})
        for judgement in sick
    )


def wrong_probe(service: Service, findings: Findings) -> Hold | None:
    """Its HEALTHCHECK is red and it serves all the same."""
    if not is_wrong_probe(service, findings.evidence.verdict):
        return None
    return Hold(
        code=HoldCode.WRONG_PROBE,
        because="its HEALTHCHECK is red, and every check over the network is well: mend the HEALTHCHECK",
        until="the HEALTHCHECK is green, or a check over the network is sick",
        look_again=WRONG_PROBE_FOR,
    )


def is_wrong_probe(service: Service, verdict: Verdict) -> bool:
    """Say whether the HEALTHCHECK alone is red while every network check is WELL, an HTTP check among them.

    An open port alone proves nothing: the kernel opens it for a program that hangs.
    """
    sick = _sick(verdict)
    if not sick or any(_words(judgement) != {"healthcheck-red"} for judgement in sick):
        return False
    asking = {check.name for check in service.checks if isinstance(check, HttpCheck | CompletionCheck)}
    network = asking | {check.name for check in service.checks if isinstance(check, TcpCheck)}
    well = {judgement.check for judgement in verdict.judgements if judgement.health is Health.WELL}
    return bool(asking) and network <= well


def flapping(standing: Standing) -> Hold | None:
    """It changed between WELL and SICK too often by itself: one incident stays open until it is steady.

    A crash loop that a restart policy hides does not get steady by waiting: it is treated, or handed over.
    """
    ours = [end or begin for begin, end in standing.own_changes]
    since = max([standing.now - FLAPS_WITHIN, *ours])
    changes = [at for at in standing.flips if at > since]
    if len(changes) < FLAPS or len(_by_policy(standing, since)) >= LOOPS:
        return None
    minutes = FLAPS_WITHIN.total_seconds() / 60
    return Hold(
        code=HoldCode.FLAPPING,
        because=f"it changed between well and sick {len(changes)} times in {minutes:.0f} min by itself",
        until=f"it changes less than {FLAPS} times in {minutes:.0f} min",
        look_again=changes[-FLAPS] + FLAPS_WITHIN - standing.now,
    )


def looping(standing: Standing) -> Hold | None:
    """It is WELL, perhaps only between two deaths: what its restart policy started a moment ago has not recovered yet."""
    restarts = _by_policy(standing, standing.now - FLAPS_WITHIN)
    steady = LOOP_OVER if len(restarts) >= LOOPS else STEADY
    if not restarts or standing.now - restarts[-1] >= steady:
        return None
    often = "once" if len(restarts) == 1 else f"{len(restarts)} times"
    return Hold(
        code=HoldCode.FLAPPING,
        because=f"its restart policy restarted it {often} in {FLAPS_WITHIN.total_seconds() / 60:.0f} min",
        until=f"it is sick again, or has run for {steady.total_seconds():.0f} s",
        look_again=STEADY,
    )


def _by_policy(standing: Standing, since: datetime) -> list[datetime]:
    """Return when its restart policy restarted it after `since`, oldest first."""
    return [each.at for each in standing.restarts if each.by is RestartedBy.RESTART_POLICY and each.at > since]


def _sick(verdict: Verdict) -> list[Judgement]:
    """Return the sick judgements that name a symptom; one that only its streak still counts as sick names none."""
    return [judgement for judgement in verdict.judgements if judgement.health is Health.SICK and judgement.symptoms]


def _words(judgement: Judgement) -> set[str]:
    return {symptom.word for symptom in judgement.symptoms}
