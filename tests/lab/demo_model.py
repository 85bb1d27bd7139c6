"""`make demo-model`: a fault that no rule knows is explained by a model, with the lines that show it; what it proposes waits for a person,
is carried out, and is looked at again. The dialogue is left as one HTML page.

Real: Medic's heal, its control layer, litellm, HTTP, the ledger, the page. Make-believe: the containers and the clock (so it takes
seconds and needs no Docker), and the model: a scripted provider as strict as the real ones, which reads what it is told.
"""

import json
import re
import sys
import tempfile
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from agent import answering
from agent.adapters import transcript_page
from agent.adapters.litellm_model import Endpoint, LitellmModel, Workers
from agent.adapters.system_clock import SystemClock
from agent.cli import screen
from agent.llm import transcript
from agent.model import HttpSeen, IncidentState, ModelAnswer, ModelLimits, Price, Said, ToolSpec
from tests.lab import hostile
from tests.lab.hostile import PATIENT, RED, Bed
from tests.model_server import Heard, ModelServer, Says

console = Console(highlight=False, markup=False)
LOG = b"""web: boot, flux 12 of 12
web: serving on 8000
web: flux 13 of 12: the regulator kept its old ceiling
web: frobnicator gave up: flux 17 of 12
web: every request is refused until the frobnicator is rekindled
"""
PRICE = Price(input=Decimal("0.25"), output=Decimal(2))


class InTime:
    """`ports.Model` over another whose waits are real, for a story whose clock is not: the deadline is the real one."""

    def __init__(self, model: LitellmModel) -> None:
        self._model = model

    def complete(
        self,
        said: tuple[Said, ...],
        tools: tuple[ToolSpec, ...],
        *,
        model: str,
        deadline: timedelta,
        most_output: int,
        schema: str | None,
    ) -> ModelAnswer:
        within = max(deadline, timedelta(minutes=4))  # for litellm to load on a machine that is busy with other things
        return self._model.complete(said, tools, model="openai/small", deadline=within, most_output=most_output, schema=schema)


def provider(heard: Heard) -> Says:
    """Answer as a model would that reads: look at the log once, then name the lines that show it."""
    if heard.tools and not heard.results:
        return Says(
            "The planes agree that it runs and refuses. Does the log say why?",
            calls=(("read_logs", '{"service": "web", "contains": "frobnicator"}'),),
            usage=(1_900, 40),
        )
    cited = [id_ for id_, line in re.findall(r"^([LT]\d+)\| (.*)$", heard.text, re.MULTILINE) if "frobnicator" in line][:2]
    if heard.tools:
        return Says(f"The frobnicator gave up over its old ceiling: {', '.join(cited)}.", usage=(2_300, 30))
    verdict = {
        "cause": "application_bug",
        "runbook": "rekindle",
        "parameters": [],
        "evidence": cited,
        "confidence": 0.86,
        "summary": "The regulator kept an old ceiling, so the frobnicator gave up and refuses every request until it is rekindled.",
    }
    return Says(json.dumps(verdict), usage=(2_800, 90))


def main() -> int:
    """Tell the story, print it, leave the page. Returns 0 when it ended as it should, else 1."""
    folder = Path(tempfile.mkdtemp(prefix="medic-demo-model-"))
    with ModelServer(provider) as server:
        workers = Workers(SystemClock())
        endpoint = Endpoint(url=server.openai_url, key="none", prices={"openai/small": PRICE})
        model = LitellmModel(endpoint, workers, SystemClock(), RED)
        try:
            at = hostile.bed(folder, InTime(model), limits=ModelLimits())
            wrong = _tell(at, folder)
        finally:
            workers.close()
        wrong += [f"the provider refused a request: {words}" for words in server.refused]
        console.print(f"demo-model: {len(server.heard)} requests over HTTP, {len(server.refused)} refused")
    for sentence in wrong:
        console.print(sentence, style="red")
    return 1 if wrong else 0


def _tell(at: Bed, folder: Path) -> list[str]:
    at.machine.effects["rekindle"] = lambda: _mend(at)
    at.beat(2)
    console.print(Rule("web answers 500 and complains in words that no rule knows", align="left", style="dim"))
    box = at.machine.boxes[PATIENT]
    box.log, box.says = LOG, HttpSeen(status=500, latency=timedelta(milliseconds=3), body="refused")
    at.beat(3)
    approval = next(iter(at.store.approvals.waiting(at.clock.now())), None)
    if approval is None:
        return [f"nobody was asked; the incident is {at.incident(PATIENT).state.value}"]
    before = list(at.watched.changed)
    console.print(Rule(f"a person reads it and approves {approval.id}: {approval.plan.title}", align="left", style="dim"))
    answering.approve(approval.id, by="ada", why="the lines show it", store=at.store, clock=at.clock)
    at.beat(6)
    incident = at.incident(PATIENT)
    screen.print_story(at.store.story.since(0, incident=incident.id), console)
    dialogues = {number: transcript.read(at.world.bundles, incident.id, number) for number in (1, 2)}
    page = folder / "dialogue.html"
    story = at.store.story.since(0, incident=incident.id)
    page.write_text(transcript_page.render(incident, dialogues, story, RED), encoding="utf-8")
    spent = at.store.spending.of(incident.id)
    diagnosis = incident.diagnosis
    said_by, summary = (diagnosis.said_by, diagnosis.summary) if diagnosis else ("nobody", "nothing")
    console.print(f"demo-model: {said_by} says: {summary}", soft_wrap=True)
    for line in diagnosis.lines if diagnosis else ():
        console.print(f"  {line.id}| {line.text}")
    console.print(
        f"demo-model: {len(spent)} calls, ${sum(row.amount for row in spent):.4f}; the dialogue: {page}", soft_wrap=True
    )
    return [
        *(["something was done before a person said so"] if before else []),
        *([f"it ended {incident.state.value}"] if incident.state is not IncidentState.CLOSED else []),
        *(["the diagnosis cites no line"] if diagnosis is None or not diagnosis.lines else []),
        *(["rekindle was not run once"] if [plan.runbook for plan in at.watched.changed] != ["rekindle"] else []),
    ]


def _mend(at: Bed) -> None:
    box = at.machine.boxes[PATIENT]
    box.says = None
    box.facts = replace(box.facts, exit_code=None)


if __name__ == "__main__":
    sys.exit(main())
