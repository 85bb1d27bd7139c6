"""Plans made by hand, for tests that run playbooks without deciding anything."""

import json
from collections.abc import Mapping
from datetime import timedelta

from agent.model import Plan, Rerun, Risk, RunbookId


def plan(playbook: str, parameters: Mapping[str, object], *, timeout: timedelta = timedelta(seconds=60)) -> Plan:
    """Return a plan that runs `playbook` with `parameters`."""
    return Plan(
        runbook=RunbookId(playbook.removesuffix(".yml")),
        runbook_hash="",
        title=playbook,
        risk=Risk.SAFE,
        playbook=playbook,
        parameters=tuple((name, json.dumps(value)) for name, value in parameters.items()),
        timeout=timeout,
        settle=timedelta(),
        rerun=Rerun.SAFE,
        undo=None,
        why="a test",
    )
