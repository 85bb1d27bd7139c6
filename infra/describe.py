"""What `pulumi up` would make, without Pulumi's command line, an account or the network: `python -m infra.describe FILE`.

Runs the very program on Pulumi's own mocks, in a process of its own (Pulumi keeps its state in globals), and prints JSON:
`{"resources": [{"type", "name", "part", "inputs"}], "outputs": {...}, "warnings": [...]}`, where `part` is the component it belongs to.
Ids and ARNs in it are made up.
Exit 2: a setting or a policy refuses; 3: the program or Pulumi failed. The last line on standard error says why.
"""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi.runtime

from infra import program, settings

ZONES = ("a", "b", "c", "d", "e", "f")
"""Zones that a region is taken to have: as many as settings may ask for."""
ACCOUNT = "123456789012"
IMAGE = "ami-of-the-day"
PATIENCE = 120
"""Seconds for the whole program; it takes two."""

_SIGNATURE, _SECRET = (
    "4dabf18193072939515e22adb298388d",
    "1b47061264138c4ac30d75fd1eb44270",
)  # how Pulumi marks a secret on its wire


class _Recorder(pulumi.runtime.Mocks):
    """Writes every resource down; answers with names as ids."""

    def __init__(self, region: str) -> None:
        self.resources: list[dict[str, Any]] = []
        self._region = region
        self._parts: dict[tuple[str, str], str] = {}

    def note_part(self, given: pulumi.ResourceTransformationArgs) -> None:
        """Remember which component a resource belongs to; mocks are not told."""
        parent = given.opts.parent
        if isinstance(parent, pulumi.ComponentResource):
            self._parts[given.type_, given.name] = parent.pulumi_resource_type.rsplit(":", 1)[-1]

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        inputs = plain(args.inputs)
        if not args.custom:
            return None, inputs
        part = self._parts.get((args.typ, args.name), "")
        self.resources.append({"type": args.typ, "name": args.name, "part": part, "inputs": inputs})
        made = {
            "name": inputs.get("name", args.name),
            "arn": f"arn:aws:{args.typ.split(':')[1].split('/')[0]}:{self._region}:{ACCOUNT}:{args.name}",
            "url": f"https://sqs.{self._region}.amazonaws.com/{ACCOUNT}/{args.name}",
            "dnsName": f"{args.name}.{self._region}.elb.amazonaws.com",
            "latestVersion": 1,
        }
        return args.name, {**inputs, **made}

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        answers: dict[str, dict[str, Any]] = {
            "aws:index/getAvailabilityZones:getAvailabilityZones": {"names": [self._region + each for each in ZONES]},
            "aws:index/getCallerIdentity:getCallerIdentity": {"accountId": ACCOUNT},
            "aws:ssm/getParameter:getParameter": {"value": IMAGE},
        }
        return answers[args.token], []


def describe(fleet: settings.FleetSettings, config: Mapping[str, Any]) -> dict[str, Any]:
    """Run the program; return its resources and outputs. Raises what the program raises. Once a process."""
    # The loop comes first: Pulumi makes the root resource on whichever there is when mocks are set.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # Pulumi reports a refused resource there as well as by raising.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    recorder = _Recorder(fleet.region)
    texts = {
        f"{settings.PROJECT}:{key}": json.dumps(each) if isinstance(each, list) else str(each) for key, each in config.items()
    }
    pulumi.runtime.set_all_config({**texts, "aws:region": fleet.region}, [])
    stack = fleet.name.removeprefix(f"{settings.PROJECT}-")
    pulumi.runtime.set_mocks(recorder, project=settings.PROJECT, stack=stack, preview=False)

    async def run() -> dict[str, Any]:
        pulumi.runtime.register_stack_transformation(recorder.note_part)
        outputs = program.main()
        await pulumi.runtime.stack.wait_for_rpcs()
        return {key: await each.future() for key, each in outputs.items()}

    exported = loop.run_until_complete(asyncio.wait_for(run(), PATIENCE))
    return {"resources": recorder.resources, "outputs": exported, "warnings": list(fleet.warnings())}


def plain(value: Any) -> Any:
    """Return inputs as a provider sees them: secrets unwrapped, whole numbers whole."""
    if isinstance(value, Mapping):
        return plain(value["value"]) if value.get(_SIGNATURE) == _SECRET else {key: plain(each) for key, each in value.items()}
    if isinstance(value, pulumi.FileAsset):
        return {"path": str(value.path)}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def main(path: str) -> int:
    """Describe the stack of one stack file on standard output; return the exit code."""
    try:
        fleet, config = settings.from_stack_file(Path(path)), settings.ours(Path(path))
        described = describe(fleet, config)
    except (settings.SettingsError, program.PolicyError) as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    except Exception as exc:  # noqa: BLE001  (whatever Pulumi raises, its caller needs one line)
        sys.stderr.write(f"cannot describe {path}: {type(exc).__name__}: {exc}\n")
        return 3
    json.dump(described, sys.stdout)
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1])
    sys.stdout.flush()
    sys.stderr.flush()
    # Pulumi leaves loops open, and each says so at the end of the process.
    os._exit(code)
