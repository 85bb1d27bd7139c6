"""What the past says about which remedy comes first. Pure. It orders what fits anyway: it lets nothing run and keeps nothing out.

In: what each runbook came to against this very trouble. Out: which of them let people down, and which helped. Permission, risk,
limits and the ladder's other rules are asked as ever. Source: docs/decisions/0015-what-is-remembered.md
"""

from collections.abc import Iterable, Sequence

from agent.model import Cause, Diagnosis, Episode, MemoryRule, Remedy, Runbook, RunbookId

HELPS = 0.5
"""Share of its results, old ones weighing less, from which a runbook counts as one that helps against a trouble."""


def of_now(remedies: Sequence[Remedy], runbooks: Sequence[Runbook]) -> tuple[Remedy, ...]:
    """Return those of runbooks as they are now: a changed one has no past."""
    hashes = {(runbook.id, runbook.hash) for runbook in runbooks}
    return tuple(each for each in remedies if (each.runbook, each.hash) in hashes)


def let_down(remedy: Remedy, rule: MemoryRule) -> bool:
    """Say whether a runbook failed so often in a row that it is not the first choice.

    Failures that have lost more than half of their weight are not held against it any more: it is worth another try.
    """
    return remedy.vain >= rule.let_down_after and remedy.vain_weight >= rule.let_down_after / 2


def helps(remedy: Remedy, rule: MemoryRule) -> bool:
    """Say whether a runbook healed this trouble more often than not."""
    return remedy.helped > 0 and remedy.chance >= HELPS and not let_down(remedy, rule)


def behind(remedies: Sequence[Remedy], rule: MemoryRule) -> frozenset[RunbookId]:
    """Return the runbooks that are tried after the others that fit."""
    return frozenset(each.runbook for each in remedies if let_down(each, rule))


def ahead(remedies: Sequence[Remedy], rule: MemoryRule) -> frozenset[RunbookId]:
    """Return the runbooks that are tried before others that are no less risky."""
    return frozenset(each.runbook for each in remedies if helps(each, rule))


def said_of(chosen: RunbookId, fitting: Iterable[RunbookId], remedies: Sequence[Remedy], rule: MemoryRule) -> str:
    """Return what the past has to do with the choice of a runbook, to be added to why it was chosen; empty where nothing."""
    known = {each.runbook: each for each in remedies}
    passed_over = [known[id_] for id_ in fitting if id_ != chosen and id_ in known and let_down(known[id_], rule)]
    mine = known.get(chosen)
    said = []
    if mine is not None and helps(mine, rule):
        said.append(f"helped against this trouble {mine.helped} of {mine.helped + mine.did_not} times")
    if passed_over and not (mine is not None and let_down(mine, rule)):
        said.append(f"{_named(passed_over)} did not")
    return "".join(f"; {each}" for each in said)


def doubts(ruled: Diagnosis, remedies: Sequence[Remedy], runbooks: Sequence[Runbook], rule: MemoryRule) -> str | None:
    """Return why the past speaks against what the rules say, as a sentence, or None.

    It does where every remedy for the cause that they name was tried against this very trouble and let people down.
    """
    treating = {runbook.id for runbook in runbooks if ruled.cause in runbook.treats_causes}
    tried = [each for each in remedies if each.runbook in treating]
    if ruled.cause is Cause.INCONCLUSIVE or not tried or {each.runbook for each in tried} != treating:
        return None
    if not all(let_down(each, rule) for each in tried):
        return None
    return f"the rules say {ruled.cause.value}, and {_named(tried)} did not help against this trouble"


def sentence(episode: Episode, rule: MemoryRule) -> str:
    """Return what is remembered of a trouble as one line, made of closed words and numbers."""
    came = (
        f"this trouble came {episode.times} time{'s' if episode.times > 1 else ''} before, last {episode.last:%Y-%m-%d %H:%M}"
    )
    cause = f", as {episode.cause.value}" if episode.cause is not None else ""
    needed = f"; a person was needed {episode.handed_over} times" if episode.handed_over else ""
    tried = "".join(
        f"; {each.runbook} helped {each.helped} of {each.helped + each.did_not}{' and comes last now' if let_down(each, rule) else ''}"
        for each in episode.remedies
    )
    return came + cause + (tried or "; no remedy was tried") + needed


def _named(remedies: Sequence[Remedy]) -> str:
    return ", ".join(f"{each.runbook} ({each.vain} times in a row)" for each in remedies)
