"""The HTTP check: does `GET url` answer an accepted status, with the expected text, fast enough."""

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

from agent.checks import place
from agent.model import (
    Blind,
    ContainerFacts,
    Health,
    HttpCheck,
    HttpRequest,
    HttpSeen,
    Judgement,
    Observation,
    ProbeRequest,
    Service,
    Symptom,
)

_ERROR_WORDS = {"connection-refused": "http-refused", "host-unreachable": "http-refused", "timeout": "http-timeout"}
"""Everything else that a target does instead of answering is `http-broken`."""

ASKS_FOR_TIME = (429, 503)
"""Statuses whose Retry-After means "I am overloaded". Source: RFC 6585, section 4; RFC 9110, section 15.6.4."""


def requests(check: HttpCheck, service: Service, facts: ContainerFacts | Blind) -> tuple[ProbeRequest, ...]:  # noqa: ARG001 (one signature for all checks)
    """Return the one GET, none when there is no address to send it to."""
    request = _request(check, facts)
    return (request,) if isinstance(request, HttpRequest) else ()


def judge(
    check: HttpCheck,
    service: Service,  # noqa: ARG001 (one signature for all checks)
    facts: ContainerFacts | Blind,
    observed: Mapping[ProbeRequest, Observation],
) -> Judgement:
    """Judge the answer. A redirect is never followed: it is judged by its own status."""
    request = _request(check, facts)
    if not isinstance(request, HttpRequest):
        return place.not_asked(check.name, check.plane, request)
    match observed.get(request):
        case HttpSeen() as seen:
            return _judge_answer(check, request, seen)
        case Blind(why=why):
            return _judgement(check, Health.UNKNOWN, f"cannot look: {why}")
        case _:
            return _judgement(check, Health.UNKNOWN, f"cannot look: {request.url} was not asked")


def _judge_answer(check: HttpCheck, request: HttpRequest, seen: HttpSeen) -> Judgement:
    took = f"{seen.latency.total_seconds():.3g} s"
    asked = f"GET {request.url}"
    if seen.error is not None or seen.status is None:
        error = seen.error or "no answer"
        said = f"did not finish within {check.timeout.total_seconds():g} s" if error == "timeout" else error
        return _judgement(check, Health.SICK, f"{asked}: {said}", word=_ERROR_WORDS.get(error, "http-broken"))
    answered = f"{asked} answered {seen.status}" + (f" to {seen.location}" if seen.location else "")
    if not any(low <= seen.status <= high for low, high in check.status):
        judgement = _judgement(check, Health.SICK, answered, word="http-status")
        return replace(judgement, retry_after=seen.retry_after) if seen.status in ASKS_FOR_TIME else judgement
    if check.body is not None and check.body not in seen.body:
        where = f"in its first {check.body_limit} bytes" if seen.cut else "in its body"
        return _judgement(check, Health.SICK, f"{answered} without {check.body!r} {where}", word="http-body")
    if check.slower_than is not None and seen.latency > check.slower_than:
        allowed = f"{check.slower_than.total_seconds():g} s"
        return _judgement(check, Health.SICK, f"{answered} after {took}, {allowed} is allowed", word="http-slow")
    return _judgement(check, Health.WELL, f"{answered} in {took}")


def _request(check: HttpCheck, facts: ContainerFacts | Blind) -> HttpRequest | place.Gone | Blind:
    parts = urlsplit(check.url)
    match place.find(parts.hostname or "", facts):
        case str(found):
            url = check.url
            if found != (parts.hostname or ""):
                port = f":{parts.port}" if parts.port else ""
                url = urlunsplit(parts._replace(netloc=f"{place.bracketed(found)}{port}"))
            return HttpRequest(url=url, timeout=check.timeout, headers=check.headers, body_limit=check.body_limit)
        case nowhere:
            return nowhere


def _judgement(check: HttpCheck, health: Health, detail: str, *, word: str | None = None) -> Judgement:
    symptoms = (Symptom(word=word, plane=check.plane, detail=detail),) if word else ()
    return Judgement(check=check.name, plane=check.plane, health=health, detail=detail, symptoms=symptoms)
