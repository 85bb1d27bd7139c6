"""What every check says in the same way: its judgement, and that nobody could look or nothing was asked."""

from agent.model import Blind, Check, Health, Judgement, Observation, Symptom


def judgement(check: Check, health: Health, detail: str) -> Judgement:
    """Return a judgement that names no symptom."""
    return Judgement(check=check.name, plane=check.plane, health=health, detail=detail)


def well(check: Check, detail: str) -> Judgement:
    """Return that all is as it should be."""
    return judgement(check, Health.WELL, detail)


def sick(check: Check, *signs: tuple[str, str]) -> Judgement:
    """Return a sick judgement of one or more signs: (word from the closed list, what was seen)."""
    symptoms = tuple(Symptom(word=word, plane=check.plane, detail=detail) for word, detail in signs)
    return Judgement(
        check=check.name,
        plane=check.plane,
        health=Health.SICK,
        detail="; ".join(detail for _, detail in signs),
        symptoms=symptoms,
    )


def unseen(check: Check, answer: Observation | None, asked: str) -> Judgement:
    """Return what a question without a proper answer is worth: nothing is known. asked: names the question."""
    why = answer.why if isinstance(answer, Blind) else f"{asked} was not asked"
    return judgement(check, Health.UNKNOWN, f"cannot look: {why}")
