"""An instance behind AWS Systems Manager, as people meet it: `medic watch` looks and suggests, and `medic host check` says what is there.

Stand-in: moto's wire before a real shell of this machine, which plays the instance. Every command is really run.
"""

import signal
from collections.abc import Iterator

import pytest

from agent.model import Closing, HoldCode
from tests import ssm_hosts
from tests.live.daemon import Daemon, Site, until
from tests.ssm_hosts import Instance

pytestmark = pytest.mark.live

SLOW = 240
"""Seconds at most: each look is several commands, one after the other, each asked for twice a second."""


@pytest.fixture
def instance() -> Iterator[Instance]:
    with ssm_hosts.ssm():
        yield ssm_hosts.instance()


def test_watch_looks_through_ssm_suggests_and_does_nothing_there(site: Site, instance: Instance) -> None:
    name = site.container("web")
    hosts = {"far": {"ssm": {"instance": instance.id, "region": ssm_hosts.REGION}}}
    site.write({"web": site.declared(name, host="far")}, hosts=hosts, interval="2s")
    with Daemon(site, within=SLOW) as daemon:
        site.send(name, signal.SIGKILL)
        daemon.wait("web", "held", within=SLOW)
        (sick,) = site.incidents("web")
        assert sick.hold is not None
        assert (sick.hold.code, sick.attempts) == (HoldCode.SUGGESTED, ())
        assert "would run start-container; host 'far' is reached through SSM" in sick.hold.because
        asked = site.medic("runbook", "run", "start-container", "web")
        assert asked.returncode == 2, asked.stdout
        assert "over which Medic looks and does not act; declare `ssh:` for it" in asked.stdout + asked.stderr
        assert not site.look(name)["Running"]

        site.engine.start(name)  # a person does what was suggested
        until(lambda: site.incidents("web")[0].closing is Closing.RECOVERED, SLOW, daemon.said)

        instance.refuses = "InvalidInstanceId"
        daemon.wait("host:far", "escalated", within=SLOW)
        (away,) = site.incidents("host:far")
        assert "InvalidInstanceId" in "; ".join(away.first.reasons)
        instance.refuses = None
        until(lambda: site.incidents("host:far")[0].closing is Closing.RECOVERED, SLOW, daemon.said)
    assert len(site.incidents("web")) == 1
    assert instance.ran
    assert not any("ansible" in script for script in instance.ran)


def test_host_check_says_what_an_instance_has_and_one_that_is_away_is_one_sentence(site: Site, instance: Instance) -> None:
    site.write({}, hosts={"far": {"ssm": {"instance": instance.id, "region": ssm_hosts.REGION}}})
    there = site.medic("host", "check", "far")
    found = {line.split()[1]: line.split()[0] for line in there.stdout.splitlines()}
    assert found["reach"] == found["tools"] == found["docker"] == found["clock"] == "ok", there.stdout + there.stderr
    assert "through SSM, to look only, as root" in there.stdout
    assert "python" not in found, "what only playbooks need is not asked for where none runs"
    assert there.returncode == 0

    instance.ends = "Undeliverable"
    away = site.medic("host", "check", "far")
    assert away.returncode == 3
    assert "Undeliverable" in away.stdout
