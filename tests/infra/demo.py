"""`make infra-demo`: the life of a stack in a minute, on stand-ins: preview, up, inventory, an interruption, the drain, destroy.

Real: the Pulumi program, unmodified; the agent's AWS adapters, its event loop, its drain and its store's contract. Stand-ins: the
engine (for Pulumi's command line), moto (for AWS), a make-believe machine (for the hosts' Docker), and a clock that is moved, so
that a drain of a minute takes none. Ends with 1 when anything is not as it should be.
"""

import json
import logging
import os
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from moto.server import ThreadedMotoServer

from agent import config
from agent.departing import FleetWatch
from agent.model import Closing, HostName, IncidentId, Member
from agent.settings import Settings
from agent.wiring import cloud
from infra import inventory, prices
from tests.fakes import FakeClock
from tests.infra.stack import IMAGE, WHEEL
from tests.infra.stand_in import moto_more
from tests.infra.stand_in.cloud import Cloud
from tests.infra.stand_in.engine import Project
from tests.infra.test_agent_on_stack import OnStack
from tests.stories.world import service

ROOT = Path(__file__).parents[2]
CONFIG = {"image": IMAGE, "balancer": "internal", "minSize": 2, "agentWheel": WHEEL, "noticeEmail": "ops@example.com"}
_began = time.monotonic()


def main() -> int:
    """Run the demo; return the exit code."""
    print(
        "stand-ins: an engine for Pulumi's command line, moto for AWS, a make-believe machine for Docker, a clock that is moved\n"
    )
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto_more.install()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "stand-in", "AWS_SECRET_ACCESS_KEY": "stand-in"
    }  # fmt: skip
    try:
        with tempfile.TemporaryDirectory() as folder:
            _life(Path(folder), Cloud(f"http://{host}:{port}"))
    finally:
        server.stop()
    print(f"\nall of it in {time.monotonic() - _began:.0f} s")
    return 0


def _life(folder: Path, aws: Cloud) -> None:
    project = Project(ROOT, "demo", aws, folder / "state.json")
    would = project.preview(**CONFIG)
    _say("preview", f"{len(would.steps)} resources to create; nothing is touched")
    run = project.up(**CONFIG)
    _say("up", f"{len(run.steps)} resources made")
    stack = inventory.parse(run.outputs["inventory"])
    aws.warm(stack.group, stack.host_keys)
    settings = _settings(folder)
    snapshot = cloud.sync_inventory(settings)
    _say("inventory", f"/medic/{stack.stack}/inventory, {len(snapshot.members)} hosts, keys pinned")
    for each in snapshot.members:
        print(f"             {each.instance} {each.kind} {each.zone} {'spot' if each.spot else 'on-demand'} {each.state}")
    _interruption(folder, aws, stack, settings, next(each for each in snapshot.members if each.spot))
    project.unprotect()
    _empty(aws, stack.bucket)
    done = project.destroy()
    _say("destroy", f"{len(done.steps)} resources gone; left: {aws.client('s3').list_buckets()['Buckets'] or 'nothing'}")
    assert not aws.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]


def _settings(folder: Path) -> Settings:
    path = folder / "medic.yaml"
    path.write_text(
        f"state_dir: {folder / 'state'}\nfleet: {{ssm_parameter: /medic/medic-demo/inventory, region: us-east-1}}\n"
    )
    return config.load(path, {})


def _interruption(folder: Path, aws: Cloud, stack: inventory.Inventory, settings: Settings, doomed: Member) -> None:
    book = prices.load().on_demand
    model = replace(service("model"), host=HostName(doomed.instance))
    ward = OnStack(folder=folder, services=(model,), clock=FakeClock(datetime.now(UTC)))
    ward.reach(stack, lambda kind: Decimal(str(book[kind])) if kind in book else None)
    watch = FleetWatch(ward.fleet, ward.world, ward.engine, lambda: (cloud.sync_inventory(settings).members, False))
    detail = {"instance-id": doomed.instance, "instance-action": "terminate"}
    notice = {"Source": "aws.ec2", "DetailType": "EC2 Spot Instance Interruption Warning", "Detail": json.dumps(detail)}
    _say("notice", f"EC2 takes {doomed.instance} back (put_events, twice: events come more than once)")
    aws.client("events").put_events(Entries=[notice, notice])
    watch.attend()
    incident = ward.incident(f"spot:{doomed.instance}")
    _tell(ward, incident.id, 0)
    told = len(ward.store.story.since(0, incident=incident.id))
    (came,) = aws.warm(stack.group, stack.host_keys)
    ward.clock.move(timedelta(seconds=95))
    watch.attend()
    _say("warm", f"{came} finished its launch hook")
    _tell(ward, incident.id, told)
    assert ward.incident(f"spot:{doomed.instance}").closing is Closing.HEALED
    assert len(ward.incidents()) == 1


def _tell(ward: OnStack, incident: IncidentId, after: int) -> None:
    for event in ward.store.story.since(0, incident=incident)[after:]:
        print(f"             {event.kind.value}: {event.text}")


def _empty(aws: Cloud, bucket: str) -> None:
    """What the how-to tells people to do before `pulumi destroy`."""
    s3 = aws.client("s3")
    for each in s3.list_object_versions(Bucket=bucket, Prefix="crash/").get("Versions", []):
        s3.delete_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])


def _say(what: str, text: str) -> None:
    print(f"{time.monotonic() - _began:5.1f} s  {what:<10} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
