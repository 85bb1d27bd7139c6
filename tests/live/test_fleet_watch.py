"""After `up` on the stand-ins: a daemon that is told of nothing but the inventory heals what dies on a host of the fleet, over SSH.

Real: the program, boto3, `medic watch`, sshd, Docker, Ansible. Stand-ins: the engine, moto, and this machine for the instance.
"""

import json
import logging
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.ec2.models import ec2_backends
from moto.server import ThreadedMotoServer

from agent.model import Closing
from infra import inventory
from tests.far_hosts import far_host
from tests.infra.stack import IMAGE
from tests.infra.stand_in import moto_more
from tests.infra.stand_in.cloud import ACCOUNT, Cloud
from tests.infra.stand_in.engine import Project
from tests.lab import images
from tests.live.daemon import Daemon, Site, until

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
ADDRESS, PORT = "127.0.1.22", 8137
READY = "/bin/busybox"
"""A file that the container's own web server can give."""


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto_more.install()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    found = {"ENDPOINT_URL": f"http://{host}:{port}", "ACCESS_KEY_ID": "stand-in", "SECRET_ACCESS_KEY": "stand-in"}
    for key, value in found.items():
        monkeypatch.setenv(f"AWS_{key}", value)
    yield Cloud(f"http://{host}:{port}")
    server.stop()


def _model(site: Site) -> str:
    """Start the container that stands for the model, on the host's own network as a published port would be."""
    name = f"medic-watch-{site.run}-model"
    client = site.engine
    made = client.create_container(
        images.ensure(images.TINY),
        ["/bin/busybox", "httpd", "-f", "-p", f"127.0.0.1:{PORT}", "-h", "/"],
        name=name,
        host_config=client.create_host_config(network_mode="host"),
    )["Id"]
    site.made.append(name)
    client.start(made)
    return name


def test_a_daemon_that_knows_the_inventory_alone_heals_a_killed_container_over_ssh(
    site: Site, aws: Cloud, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        if probe.connect_ex((ADDRESS, 22)) == 0:
            pytest.skip(f"something listens on {ADDRESS}:22 already: no host of a fleet can stand there")
    name = _model(site)
    run = Project(ROOT, "test", aws, tmp_path / "state.json").up(image=IMAGE, minSize=1, maxSize=2, port=PORT, readyPath=READY)
    stack = inventory.parse(run.outputs["inventory"])
    document = json.loads(inventory.render(stack))
    document["model"]["container"], document["ssh_user"] = name, "root"
    parameter = f"/medic/{stack.stack}/inventory"
    aws.client("ssm").put_parameter(Name=parameter, Value=json.dumps(document), Type="String", Overwrite=True)
    (instance,) = aws.warm(stack.group, stack.host_keys)
    (card,) = ec2_backends[ACCOUNT]["us-east-1"].get_instance(instance).nics.values()
    card.private_ip_address = ADDRESS
    with far_host(tmp_path / "sshd", ADDRESS, port=22) as server:
        key = " ".join((server.folder / "host_key.pub").read_text().split()[:2])
        aws.client("ssm").put_parameter(Name=f"{stack.host_keys}/{instance}", Value=key, Type="String", Overwrite=True)
        # This machine has no GPU to look at.
        stands = {"ssm_parameter": parameter, "region": "us-east-1", "key_file": str(server.folder / "user_key"), "gpus": False}
        site.config.write_text(json.dumps({"state_dir": str(site.state), "interval": "1s", "fleet": stands}))
        service = f"{name}-{instance}"
        with Daemon(site) as daemon:
            until(lambda: any(True for _ in site.incidents(service)) or site.beat() > 0, 30, daemon.said)
            site.send(name, signal.SIGKILL)
            daemon.wait(service, "healed", within=90)
    assert site.look(name)["Running"]
    assert [each.closing for each in site.incidents(service)] == [Closing.HEALED]
