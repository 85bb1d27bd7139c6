"""The log check: Docker's log file of the container is not too large and does not grow too fast."""

from collections.abc import Mapping

from agent.checks import frame
from agent.model import (
    Blind,
    ContainerFacts,
    Health,
    Judgement,
    LogCheck,
    LogRequest,
    LogSeen,
    Observation,
    ProbeRequest,
    Service,
)


def requests(check: LogCheck, service: Service, facts: ContainerFacts | Blind) -> tuple[ProbeRequest, ...]:
    """Return the file to measure, none where Docker keeps none."""
    request = _request(check, service, facts)
    return (request,) if isinstance(request, LogRequest) else ()


def judge(
    check: LogCheck,
    service: Service,
    facts: ContainerFacts | Blind,
    observed: Mapping[ProbeRequest, Observation],
) -> Judgement:
    """Judge its size, and what was written to it over the window."""
    request = _request(check, service, facts)
    if not isinstance(request, LogRequest):
        return frame.judgement(check, Health.UNKNOWN, f"cannot look: {request.why}")
    match observed.get(request):
        case LogSeen() as seen:
            return _judge_size(check, seen)
        case other:
            return frame.unseen(check, other, f"the log of {service.container}")


def _judge_size(check: LogCheck, seen: LogSeen) -> Judgement:
    signs = []
    seconds = seen.over.total_seconds()
    rate = seen.written / seconds if seconds else None
    if check.most_bytes is not None and seen.size > check.most_bytes:
        signs.append(("log-large", f"the log has {seen.size} bytes, {check.most_bytes} are allowed"))
    if check.most_bytes_per_second is not None and rate is not None and rate > check.most_bytes_per_second:
        over = f"{rate:.0f} bytes/s over {seconds:.0f} s, {check.most_bytes_per_second} are allowed"
        signs.append(("log-flood", f"the log grew by {over}"))
    if signs:
        return frame.sick(check, *signs)
    grew = "" if rate is None else f" and grew by {rate:.0f} bytes/s"
    return frame.well(check, f"the log has {seen.size} bytes{grew}")


def _request(check: LogCheck, service: Service, facts: ContainerFacts | Blind) -> LogRequest | Blind:
    if isinstance(facts, Blind):
        return facts
    if facts.log_path is None:
        return Blind(why=f"Docker keeps no log file of container {service.container} ({facts.state.value})")
    return LogRequest(host=service.host, path=facts.log_path, window=check.window)
