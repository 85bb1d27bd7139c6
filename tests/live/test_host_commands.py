"""`medic host` against a real sshd on loopback."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from agent.adapters import host_keys
from agent.cli import main
from tests import far_hosts
from tests.far_hosts import FarHost

pytestmark = pytest.mark.live


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FarHost]:
    for variable in [key for key in os.environ if key.startswith("MEDIC_")]:
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    with far_hosts.far_host(tmp_path / "sshd") as served:
        document = {"state_dir": "state", "hosts": {"far": {"ssh": served.words()}}}
        (tmp_path / "medic.yaml").write_text(yaml.safe_dump(document))
        yield served


def medic(*words: str, answer: str = "") -> tuple[int, str, str]:
    result = CliRunner().invoke(main.app, list(words), input=answer)
    return result.exit_code, result.stdout, result.stderr


def test_check_says_what_a_host_has_and_a_host_that_is_away_is_one_sentence(server: FarHost) -> None:
    code, out, _ = medic("host", "check", "far")
    found = {line.split()[1]: line.split()[0] for line in out.splitlines()}
    assert found["reach"] == found["python"] == found["docker"] == found["clock"] == "ok"
    assert (code == 0) is (found.get("python requests", "ok") != "missing" and "missing" not in found.values())

    server.stop()
    code, out, _ = medic("host", "check", "far")
    assert code == 3
    assert "nothing listens on port" in out

    code, _, err = medic("host", "check", "fra")
    assert code == 2
    assert "cannot find host 'fra' (did you mean 'far'?)" in err


def test_prepare_says_in_a_dry_run_what_is_missing_and_changes_nothing(server: FarHost) -> None:
    code, out, err = medic("host", "prepare", "far", "--check")

    assert code == 0, out + err
    assert re.search(r"Say what is missing - (nothing is missing|missing: )", out)
    assert "changed " not in out.split("completed:")[0]


def test_add_shows_the_fingerprint_asks_and_pins_it(server: FarHost, tmp_path: Path) -> None:
    pinned = tmp_path / "pinned"
    asked = ("host", "add", "gpu-9", "--address", server.address, "--port", str(server.port), "--user", "medic")
    asked += ("--known-hosts", str(pinned), "--sudo")
    kind, key, *_ = (server.folder / "host_key.pub").read_text().split()
    fingerprint = host_keys.HostKey(kind=kind, base64=key).fingerprint

    code, _, err = medic(*asked, answer="n\n")
    assert code == 1
    assert fingerprint in err
    assert not pinned.exists()

    code, _, err = medic(*asked, "--fingerprint", "SHA256:other")
    assert code == 2
    assert "not SHA256:other" in err

    code, out, _ = medic(*asked, answer="y\n")
    assert code == 0
    assert pinned.read_text() == f"[{server.address}]:{server.port} {kind} {key}\n"
    assert yaml.safe_load(out[out.index("  gpu-9") :]) == {
        "gpu-9": {
            "ssh": {"address": server.address, "user": "medic", "known_hosts": str(pinned), "port": server.port, "sudo": True}
        }
    }
