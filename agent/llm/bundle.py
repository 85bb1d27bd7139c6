"""The id of everything that decides what a model is asked and what its answer is worth.

Another prompt, schema, tool, rule, runbook, model or limit is another bundle: what was measured of one says nothing of the next.
"""

import hashlib
import json
from collections.abc import Sequence

from agent import codec
from agent.llm import brief, reply, tools
from agent.model import ModelLimits, Rule, Runbook

LENGTH = 16
"""Characters of an id: enough to tell bundles apart, short enough to be read out."""


def of(runbooks: Sequence[Runbook], rules: Sequence[Rule], models: Sequence[tuple[str, str]], limits: ModelLimits) -> str:
    """Return the id. The same for the same content, wherever and in whatever order it was read.

    models: of each provider in order, who searches and who gives the verdict.
    """
    parts = [
        brief.investigator(),
        brief.judge(runbooks),
        reply.schema(runbooks),
        brief.READ,
        reply.summary_schema(),
        *(codec.dumps(tool) for tool in tools.TOOLS),
        *sorted(codec.dumps(rule) for rule in rules),
        *sorted(f"{runbook.id} {runbook.hash}" for runbook in runbooks),
        *(f"{searches} {judges}" for searches, judges in models),
        codec.dumps(limits),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:LENGTH]
