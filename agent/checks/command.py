"""The command check: a program inside the container ends in time, as it should.

Its words come from medic.yaml, never from a label, a log or a model, and pass no shell. `timeout -s KILL` inside the container
ends it and what it started, since Docker has no call that ends what an exec started.
"""

from collections.abc import Mapping

from agent.checks import frame, place
from agent.model import (
    Blind,
    CommandCheck,
    ContainerFacts,
    ContainerState,
    DnsCheck,
    ExecRequest,
    ExecSeen,
    Judgement,
    Observation,
    ProbeRequest,
    Service,
)

ENDED_BY_TIMEOUT = (124, 137)
"""How `timeout` says that it ended the program: 124, or 137 where it had to be SIGKILL. Source: coreutils; busybox says 137."""

CANNOT_RUN = (125, 126, 127)
"""Exit codes that say something of the question and nothing of the service: the container lacks the program or `timeout`, or
may not run it. Source: coreutils, `timeout`; Docker 20.10 says 126 or 127 of what it cannot start."""


def requests(check: CommandCheck, service: Service, facts: ContainerFacts | Blind) -> tuple[ProbeRequest, ...]:
    """Return the program to run, none in a container that does not run."""
    return () if nowhere(facts) else (_request(check, service),)


def judge(
    check: CommandCheck,
    service: Service,
    facts: ContainerFacts | Blind,
    observed: Mapping[ProbeRequest, Observation],
) -> Judgement:
    """Judge how it ended. What it printed is compared, and not quoted."""
    why = nowhere(facts)
    if why is not None:
        return place.not_asked(check.name, check.plane, why)
    asked = f"`{' '.join(check.command)}` in {service.container}"
    match observed.get(_request(check, service)):
        case ExecSeen(exit_code=code) if code in CANNOT_RUN and code != check.exit_code:
            return frame.unseen(check, unusable(code, asked), asked)
        case ExecSeen(exit_code=code) if code in ENDED_BY_TIMEOUT and code != check.exit_code:
            return frame.sick(check, ("command-timeout", f"{asked} did not end within {check.timeout.total_seconds():g} s"))
        case ExecSeen(exit_code=code) if code != check.exit_code:
            return frame.sick(check, ("command-failed", f"{asked} ended with exit code {code}, {check.exit_code} is right"))
        case ExecSeen(output=output) if check.output is not None and check.output not in output:
            return frame.sick(check, ("command-failed", f"{asked} did not print {check.output!r}"))
        case ExecSeen(exit_code=code):
            return frame.well(check, f"{asked} ended with exit code {code}")
        case other:
            return frame.unseen(check, other, asked)


def nowhere(facts: ContainerFacts | Blind) -> place.Gone | Blind | None:
    """Return why nothing can be run in the container, None where it runs. In a paused one an exec is refused."""
    if isinstance(facts, Blind):
        return facts
    running = facts.state is ContainerState.RUNNING
    return None if running else place.Gone(why=f"the container is {facts.state.value}")


def unusable(code: int, asked: str) -> Blind:
    """Return why an exit code tells nothing of the service. asked: names the question."""
    why = "the container lacks the program or `timeout`, or may not run it" if code in CANNOT_RUN else "it means nothing here"
    return Blind(why=f"{asked}: exit code {code}: {why}")


def bounded(check: CommandCheck | DnsCheck, service: Service, argv: tuple[str, ...]) -> ExecRequest:
    """Return a program that `timeout` ends for certain."""
    seconds = f"{max(1, round(check.timeout.total_seconds()))}"  # busybox takes whole seconds only
    return ExecRequest(
        host=service.host,
        container=service.container,
        argv=("timeout", "-s", "KILL", seconds, *argv),
    )


def _request(check: CommandCheck, service: Service) -> ExecRequest:
    return bounded(check, service, check.command)
