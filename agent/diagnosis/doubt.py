"""Whether the rules alone are enough. In: what they said, and the evidence. Out: why not, as a sentence, or None.

They are not where they name no cause, and where what they name cannot be the reason for what the planes show: a log tells of
many things, and only the difference between the planes says which part is broken.
"""

from agent.model import Cause, Diagnosis, Evidence, Health, Plane, Sureness

_INNER = (Plane.CONTAINER, Plane.DIRECT, Plane.HOST_PORT, Plane.ENGINE)
_OUTER = (Plane.NGINX, Plane.PUBLIC)
_ON_THE_WAY = frozenset({Cause.ROUTING_MISCONFIGURATION, Cause.TLS_CERTIFICATE_ERROR, Cause.DNS_RESOLUTION_FAILURE})
"""Causes that lie between the container and who asks it."""


def why(ruled: Diagnosis, evidence: Evidence) -> str | None:
    """Return why a second opinion is wanted, None where the rules have settled it."""
    if ruled.cause is Cause.INCONCLUSIVE:
        return "no rule names a cause"
    sick = {judgement.plane for judgement in evidence.verdict.judgements if judgement.health is Health.SICK}
    inner, outer = sick.intersection(_INNER), sick.intersection(_OUTER)
    answers = any(j.plane in _INNER and j.health is Health.WELL for j in evidence.verdict.judgements)
    if ruled.cause is Cause.ROUTING_MISCONFIGURATION and inner:
        planes = ", ".join(sorted(plane.value for plane in inner))
        return f"the rules say {ruled.cause.value}, and it is sick further in: {planes}"
    if ruled.sureness is Sureness.SUSPECTED and ruled.cause not in _ON_THE_WAY and outer and not inner and answers:
        planes = ", ".join(sorted(plane.value for plane in outer))
        return f"the log suggests {ruled.cause.value}, and the container itself answers: only {planes} is sick"
    return None
