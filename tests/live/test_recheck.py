"""The re-check script in a real shell: against a real container, and with texts that try to smuggle a command in."""

import subprocess
from dataclasses import replace
from datetime import timedelta

import pytest

from agent.adapters import recheck
from agent.model import ContainerCheck, HttpCheck, Plane, TcpCheck
from agent.redact import Redactor
from tests import escalated
from tests.live.conftest import Make
from tests.unit.test_recheck import NASTY, nasty_service

pytestmark = pytest.mark.live

REDACT = Redactor()


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh"], input=script, text=True, capture_output=True, check=False, timeout=60)


def test_collects_again_what_the_report_cites(container: Make) -> None:
    say = "echo ready; exec busybox httpd -f -p 8080 -h /"
    name = container(["/bin/busybox", "sh", "-c", say], host={"network_mode": "bridge"})
    every, thresholds, timeout = escalated.EVERY, escalated.THRESHOLDS, timedelta(seconds=2)
    service = replace(
        escalated.service(),
        container=name,
        checks=(
            ContainerCheck(name="container", every=every, thresholds=thresholds),
            TcpCheck(
                name="open", every=every, thresholds=thresholds, plane=Plane.DIRECT, address="container:8080", timeout=timeout
            ),
            TcpCheck(
                name="shut", every=every, thresholds=thresholds, plane=Plane.DIRECT, address="container:9", timeout=timeout
            ),
            HttpCheck(
                name="web",
                every=every,
                thresholds=thresholds,
                plane=Plane.DIRECT,
                url="http://container:8080/nowhere",
                timeout=timeout,
            ),
        ),
    )
    seen = run(recheck.script(escalated.incident(), service, REDACT))
    said = seen.stdout.split("\n== ")
    assert '"Status":"running"' in said[1]
    assert "ready" in said[2]
    assert " s to connect" in said[3]
    assert "0.000000 s to connect" not in said[3]
    assert "0.000000 s to connect" in said[4]
    assert "status 404 after" in said[5]


def test_says_that_a_container_is_gone_and_goes_on() -> None:
    service = replace(escalated.service(), container="medic-test-there-is-no-such-container")
    seen = run(recheck.script(escalated.incident(), service, REDACT))
    assert "No such" in seen.stderr
    assert "== check port" in seen.stdout


@pytest.mark.parametrize("nasty", NASTY)
def test_a_real_shell_starts_nothing_that_was_smuggled_in(nasty: str) -> None:
    stubs = "".join(f"{name}() {{ :; }}\n" for name in ("timeout", "curl", "head"))
    traps = "".join(f"{name}() {{ echo SMUGGLED; }}\n" for name in ("reboot", "touch", "rm"))
    seen = run(stubs + traps + recheck.script(escalated.incident(), nasty_service(nasty), REDACT))
    assert "SMUGGLED" not in seen.stdout.splitlines()
    assert (seen.returncode, seen.stderr) == (0, "")
