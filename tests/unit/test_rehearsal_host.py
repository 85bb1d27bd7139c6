"""On which host a runbook is rehearsed: never on one that anybody needs where it is done to the whole of it."""

import json
from pathlib import Path

import pytest

from agent.errors import ConfigError
from agent.wiring import reading, rehearsals, shipped

SSH = {"address": "10.0.0.1", "user": "medic", "known_hosts": "known_hosts"}


@pytest.mark.parametrize(
    ("runbook", "named", "host"),
    [
        ("restart-container", None, "local"),
        ("restart-container", "gpu-1", "gpu-1"),
        ("restart-docker", "spare", "spare"),
        ("restart-docker", None, "it is done to a whole host; name one with --host"),
        ("restart-docker", "gpu-1", "cannot test 'restart-docker' on host 'gpu-1': llm of medic.yaml lives there"),
        ("restart-container", "gpu-2", "no host 'gpu-2' with a Docker engine is declared; there are: local, gpu-1, spare"),
        ("restart-container", "jump", "no host 'jump' with a Docker engine is declared; there are: local, gpu-1, spare"),
    ],
)
def test_a_host_is_chosen_or_it_is_said_why_not(tmp_path: Path, runbook: str, named: str | None, host: str) -> None:
    (tmp_path / "known_hosts").touch()
    hosts = {"jump": {"ssh": SSH, "docker": "none"}, "local": {}, "gpu-1": {"ssh": SSH}, "spare": {"ssh": SSH}}
    services = {"llm": {"host": "gpu-1", "checks": [{"kind": "container"}]}}
    (tmp_path / "medic.yaml").write_text(json.dumps({"state_dir": "state", "hosts": hosts, "services": services}))
    using = reading.settings(tmp_path / "medic.yaml")
    chosen = next(each for each in shipped.runbooks() if each.id == runbook)
    try:
        said = str(rehearsals.host_for(using, chosen, named).name)  # type: ignore[arg-type]  # a name, as people type it
    except ConfigError as exc:
        said = str(exc)
    assert said == host or (len(host) > 10 and host in said)
