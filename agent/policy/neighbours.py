"""Whether an attempt made things worse. Pure."""

from agent.model import Health, Verdict


def worse(before: Verdict, after: Verdict) -> bool:
    """Say whether a check that was WELL before is SICK after."""
    well = {judgement.check for judgement in before.judgements if judgement.health is Health.WELL}
    return any(judgement.check in well and judgement.health is Health.SICK for judgement in after.judgements)
