"""The HTTP check: does `GET url` answer an accepted status, and keep every further condition that is given: text, JSON and
headers of the answer, who answers, the certificate, the connection, the time it takes."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit

import jmespath
from jmespath.exceptions import JMESPathError

from agent.checks import frame, place
from agent.model import (
    Blind,
    CompletionCheck,
    ContainerFacts,
    HeaderRule,
    HttpCheck,
    HttpRequest,
    HttpSeen,
    Judgement,
    Observation,
    ProbeRequest,
    Service,
)

_ERROR_WORDS = {
    "connection-refused": "http-refused",
    "host-unreachable": "http-refused",
    "timeout": "http-timeout",
    "certificate-expired": "certificate-expired",
    "certificate-untrusted": "certificate-untrusted",
}
"""By the word before the colon. Everything else that a target does instead of answering is `http-broken`."""

ASKS_FOR_TIME = (429, 503)
"""Statuses whose Retry-After means "I am overloaded". Source: RFC 6585, section 4; RFC 9110, section 15.6.4."""

FEWEST_ANSWERS = 10
"""Answers of a window before its percentile means something: of fewer, the 95th percentile is one slow answer."""


def requests(check: HttpCheck, service: Service, facts: ContainerFacts | Blind) -> tuple[ProbeRequest, ...]:
    """Return the one GET, none when there is no address to send it to."""
    request = _request(check, service, facts)
    return (request,) if isinstance(request, HttpRequest) else ()


def judge(
    check: HttpCheck,
    service: Service,
    facts: ContainerFacts | Blind,
    observed: Mapping[ProbeRequest, Observation],
) -> Judgement:
    """Judge the answer. A redirect is never followed: it is judged by its own status."""
    request = _request(check, service, facts)
    if not isinstance(request, HttpRequest):
        return place.not_asked(check.name, check.plane, request)
    match observed.get(request):
        case HttpSeen() as seen:
            return _judge_answer(check, f"GET {request.url}", seen)
        case other:
            return frame.unseen(check, other, request.url)


def broken(
    check: HttpCheck | CompletionCheck, asked: str, seen: HttpSeen, accepted: Sequence[tuple[int, int]]
) -> Judgement | None:
    """Judge an answer that is none, or that has another status than the accepted ones; None where it has one of those."""
    if seen.error is not None or seen.status is None:
        error = seen.error or "no answer"
        said = f"did not finish within {check.timeout.total_seconds():g} s" if error == "timeout" else error
        return frame.sick(check, (_ERROR_WORDS.get(error.partition(":")[0], "http-broken"), f"{asked}: {said}"))
    if not any(low <= seen.status <= high for low, high in accepted):
        judgement = frame.sick(check, ("http-status", answered(asked, seen)))
        return replace(judgement, retry_after=seen.retry_after) if seen.status in ASKS_FOR_TIME else judgement
    return None


def answered(asked: str, seen: HttpSeen) -> str:
    """Return "this was asked, that was the status", for a person."""
    return f"{asked} answered {seen.status}" + (f" to {seen.location}" if seen.location else "")


def at(url: str, facts: ContainerFacts | Blind, name: str | None = None) -> tuple[str, str | None] | place.Gone | Blind:
    """Return the URL to ask, and the address to ask it at where the URL keeps a name of its own.

    The host `container` becomes the container's address. name: whom to ask for at whatever address the URL has.
    """
    host = place.named_in(url)
    match place.find(host, facts):
        case str(found):
            wanted = name or (found if found != host else None)
            if wanted is None:
                return url, None
            parts = urlsplit(url)
            port = f":{parts.port}" if parts.port else ""
            return urlunsplit(parts._replace(netloc=f"{place.bracketed(wanted)}{port}")), found if name else None
        case nowhere:
            return nowhere


def _judge_answer(check: HttpCheck, asked: str, seen: HttpSeen) -> Judgement:
    without = broken(check, asked, seen, check.status)
    if without is not None:
        return without
    said = answered(asked, seen)
    # The first sign speaks: a wrong body makes what follows from it no news.
    for word, lacks in _signs(check, seen):
        return frame.sick(check, (word, f"{said} {lacks}"))
    return frame.well(check, f"{said} in {seen.latency.total_seconds():.3g} s{_measured(check, seen)}")


def _signs(check: HttpCheck, seen: HttpSeen) -> Iterator[tuple[str, str]]:
    """Yield each condition that is not kept: its word, and what is missing. Nothing of the answer itself is quoted."""
    if check.identity is not None:
        header, text = check.identity.header, check.identity.text
        is_it = text in seen.body if header is None else dict(seen.headers).get(header) == text
        if not is_it:
            yield "nginx-wrong-service", f"and is not the service that {'says' if header is None else f'has {header}'} {text!r}"
    where = f"in its first {check.body_limit} bytes" if seen.cut else "in its body"
    if check.body is not None and check.body not in seen.body:
        yield "http-body", f"without {check.body!r} {where}"
    if check.body_json is not None:
        why = _denied(check.body_json, seen)
        if why:
            yield "http-json", f"and `{check.body_json}` {why}"
    for rule in check.response_headers:
        if not _keeps(rule, dict(seen.headers)):
            yield "http-header", f"without header {rule.name}: {rule.value}"
    yield from _connection_signs(check, seen)
    yield from _slow(check, seen)


def _connection_signs(check: HttpCheck, seen: HttpSeen) -> Iterator[tuple[str, str]]:
    if check.keep_alive and seen.reused is False:
        yield "http-not-reused", "and did not answer again on the same connection"
    if check.certificate_left is not None and seen.certificate_left is not None:
        left = seen.certificate_left
        if left < check.certificate_left:
            yield "certificate-expiring", f"with a certificate that is good for {left.days} more days"


def _slow(check: HttpCheck, seen: HttpSeen) -> Iterator[tuple[str, str]]:
    if check.slower_than is None:
        return
    allowed = f"{check.slower_than.total_seconds():g} s is allowed"
    if check.percentile is None:
        if seen.latency > check.slower_than:
            yield "http-slow", f"after {seen.latency.total_seconds():.3g} s, {allowed}"
    elif len(seen.recent) >= FEWEST_ANSWERS:
        found = percentile(seen.recent, check.percentile)
        if found > check.slower_than:
            of = f"{check.percentile}th percentile of {len(seen.recent)} answers"
            yield "http-slow", f"and the {of} is {found.total_seconds():.3g} s, {allowed}"


def percentile(values: Sequence[timedelta], percent: int) -> timedelta:
    """Return the smallest of `values` that at least `percent` % of them do not exceed (nearest rank). values: not empty."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def _measured(check: HttpCheck, seen: HttpSeen) -> str:
    if check.percentile is not None and len(seen.recent) < FEWEST_ANSWERS:
        return f"; {len(seen.recent)} of {FEWEST_ANSWERS} answers for a percentile so far"
    return ""


def _denied(expression: str, seen: HttpSeen) -> str | None:
    """Return why the expression is not true of the body, None where it is."""
    try:
        body = json.loads(seen.body)
        found = jmespath.compile(expression).search(body)
    except (ValueError, RecursionError):
        return f"cannot be asked: the body is no JSON{', it was cut' if seen.cut else ''}"
    except (JMESPathError, TypeError):  # a TypeError: `<` of a number and a text (jmespath 1.1)
        return "cannot be asked of this body: a value in it has another type than the expression needs"
    return None if found is True else "is not true of its body"


def _keeps(rule: HeaderRule, headers: Mapping[str, str]) -> bool:
    value = headers.get(rule.name)
    if value is None:
        return False
    if rule.value.startswith("~"):
        return re.search(rule.value[1:], value) is not None
    return rule.value in ("*", value)


def _request(check: HttpCheck, service: Service, facts: ContainerFacts | Blind) -> HttpRequest | place.Gone | Blind:
    match at(check.url, facts, check.tls_name):
        case (str(url), address):
            keep = [rule.name for rule in check.response_headers]
            keep += [check.identity.header] if check.identity is not None and check.identity.header else []
            return HttpRequest(
                url=url,
                timeout=check.timeout,
                headers=check.headers,
                body_limit=check.body_limit,
                address=address,
                via=place.via(place.named_in(check.url), service),
                ca_file=check.ca_file,
                keep=tuple(dict.fromkeys(keep)),
                certificate=check.certificate_left is not None,
                again=check.keep_alive,
                window=check.window if check.percentile is not None else None,
            )
        case nowhere:
            return nowhere
