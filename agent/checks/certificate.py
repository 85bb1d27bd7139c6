"""The certificate check: a certificate file on the host is good for long enough, and its key is not open to everybody."""

from collections.abc import Mapping

from agent.checks import frame
from agent.model import (
    Blind,
    CertificateCheck,
    CertificateRequest,
    CertificateSeen,
    ContainerFacts,
    Judgement,
    Observation,
    ProbeRequest,
    Service,
)

OPEN_TO_ALL = 0o007
"""Permissions that others have: no key may have any of them."""


def requests(check: CertificateCheck, service: Service, facts: ContainerFacts | Blind) -> tuple[ProbeRequest, ...]:  # noqa: ARG001 (one signature for all checks)
    """Return the file to read."""
    return (_request(check, service),)


def judge(
    check: CertificateCheck,
    service: Service,
    facts: ContainerFacts | Blind,  # noqa: ARG001 (one signature for all checks)
    observed: Mapping[ProbeRequest, Observation],
) -> Judgement:
    """Judge how long it is good, and who may read its key."""
    match observed.get(_request(check, service)):
        case CertificateSeen() as seen:
            signs = [*_age(check, seen), *_key(check, seen)]
            days = seen.left.days if seen.left is not None else 0
            return frame.sick(check, *signs) if signs else frame.well(check, f"{check.path} is good for {days} more days")
        case other:
            return frame.unseen(check, other, check.path)


def _age(check: CertificateCheck, seen: CertificateSeen) -> list[tuple[str, str]]:
    if seen.left is None:
        return [("certificate-unreadable", f"{check.path}: {seen.error or 'it holds no certificate'}")]
    if seen.left.total_seconds() <= 0:
        return [("certificate-expired", f"{check.path} expired {-seen.left.days} days ago")]
    if seen.left < check.left:
        return [("certificate-expiring", f"{check.path} is good for {seen.left.days} more days, {check.left.days} are wanted")]
    return []


def _key(check: CertificateCheck, seen: CertificateSeen) -> list[tuple[str, str]]:
    if seen.key_mode is None or not seen.key_mode & OPEN_TO_ALL:
        return []
    return [("certificate-open", f"everybody may read the key in {check.key or check.path} (mode {seen.key_mode:04o})")]


def _request(check: CertificateCheck, service: Service) -> CertificateRequest:
    return CertificateRequest(host=service.host, path=check.path, key=check.key)
