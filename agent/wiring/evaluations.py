"""Deciding again what was once decided: recordings of incidents, how things stood then, what an evaluation showed, what was said."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from agent.errors import ConfigError
from agent.model import Incident, Service, Standing, StoryEvent
from agent.ports import Store
from agent.settings import Settings
from agent.wiring import clock

if TYPE_CHECKING:  # types only: importing them for real is what the fast commands must not pay for
    from agent.model import Golden, Runbook
    from agent.recall import Past


def recordings(using: Settings, store: Store, incident: Incident) -> "tuple[tuple[int, Golden], ...]":
    """Return what each decision of an incident rested on, by attempt number, as its bundle has it. Raises StoreError, ConfigError."""
    from agent import codec, evaluation
    from agent.adapters.bundles import BundleFiles
    from agent.model import Evidence

    service = store.services.service(incident.service)
    if service is None:
        raise ConfigError(f"cannot read {incident.id} again: service {incident.service!r} is no longer declared")
    bundles, found = BundleFiles(using.state_dir), []
    asked = {approval.number for approval in store.approvals.of(incident.id)}
    for number in range(1, len(incident.attempts) + 2):
        content = bundles.read(incident.id, f"evidence-{number}.json")
        if content is None:
            continue
        try:
            evidence = codec.loads(content.decode())
        except ValueError as exc:
            raise ConfigError(f"cannot read evidence-{number}.json of {incident.id}: {exc}") from exc
        if not isinstance(evidence, Evidence):
            raise ConfigError(f"cannot read evidence-{number}.json of {incident.id}: it is no evidence")
        found.append((number, evaluation.recorded(incident, service, number, evidence, asked)))
    return tuple(found)


def past_of(using: Settings, store: Store, incident: Incident, at: datetime) -> "Past":
    """Return what was known when an incident was under way. Raises StoreError."""
    from agent import recall

    return recall.as_of(at, incident, store=store, rule=using.fleet_limits.memory)


def standing_at(
    using: Settings, store: Store, service: Service, at: datetime, past: "Past", runbooks: "tuple[Runbook, ...]"
) -> Standing:
    """Return how a service stands by its declaration and the wishes of now, at a time of the past: what a replay decides in.

    past: what was known then; it orders remedies as it did.
    """
    from agent import parameters, standing
    from agent.adapters.good_copies import GoodCopyFiles
    from agent.policy import memory

    copies, episode = GoodCopyFiles(using.state_dir), past.trouble.episode
    return Standing(
        now=at,
        good_copy=parameters.good_copy(service, copies.latest(service.name)),
        around=standing.surroundings(service, store, copies, at),
        permissions=using.permissions,
        remedies=memory.of_now(episode.remedies, runbooks) if episode is not None else (),
        memory=using.fleet_limits.memory,
    )


def keep_evaluation(using: Settings, bundle: str, *, passed: bool, figures: dict[str, float | int | str]) -> None:
    """Note what an evaluation of a bundle showed. Raises StoreError."""
    from agent.adapters.eval_records import EvalRecords

    EvalRecords(using.state_dir).keep(bundle, passed=passed, figures=figures, now=clock.CLOCK.now())


def dialogue_page(using: Settings, incident: Incident, story: Sequence[StoryEvent]) -> str:
    """Return what was said with models about one incident, as a self-contained HTML page. Raises OutsideError."""
    from agent.adapters import transcript_page
    from agent.adapters.bundles import BundleFiles
    from agent.llm import transcript
    from agent.redact import Redactor

    bundles = BundleFiles(using.state_dir)
    # One more than the attempts: what was asked before an attempt that was never made.
    dialogues = {number: transcript.read(bundles, incident.id, number) for number in range(1, len(incident.attempts) + 2)}
    return transcript_page.render(incident, dialogues, story, Redactor(using.secrets))
