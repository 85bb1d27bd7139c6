"""A stand-in for the Pulumi engine: the gRPC services that a program talks to, a state file, and what differs.

In: the root of a project, a stack, an operation (`preview`, `up`, `destroy`). Out: the steps (`create`, `update`, `replace`, `same`,
`delete`) in order, and the outputs. The program is started as the Python language host starts it, unmodified. It knows what our
program needs: no targets, no imports, no aliases, no parallel deletes; state is written when an operation ends.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
import yaml
from google.protobuf import empty_pb2, struct_pb2
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, resource_pb2, resource_pb2_grpc

from infra.describe import plain
from tests.infra.stand_in import cloud

T = TypeVar("T")

PATIENCE = 240
"""Seconds for one run of the program."""
WARNING = 2
"""Severity of a warning in Pulumi's log (engine.proto)."""

HOST = """
import asyncio, json, os, runpy, sys
import pulumi.runtime as runtime
told = json.loads(sys.argv[1])
runtime.set_all_config(told["config"], [])
runtime.configure(runtime.Settings(monitor=told["address"], engine=told["address"], project=told["project"], stack=told["stack"],
                                   parallel=8, dry_run=told["dry"], root_directory=told["root"], organization="organization"))
os.chdir(told["folder"])
sys.argv = [told["entry"]]
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(runtime.run_in_stack(lambda: runpy.run_path(told["entry"], run_name="__main__") and None))
"""
"""What the Python language host does with a program (pulumi 3.272, `python-language-exec`)."""


class EngineError(Exception):
    """The operation stopped; the text is what a person would be told."""


@dataclass(frozen=True, slots=True)
class Step:
    """What happened to one resource. changed: the inputs that differ."""

    action: str
    urn: str
    changed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The resource's own name."""
        return self.urn.rsplit("::", 1)[-1]


@dataclass
class Run:
    """What one operation did."""

    steps: list[Step] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def actions(self) -> dict[str, int]:
        """How many resources met each action."""
        found = [each.action for each in self.steps]
        return {each: found.count(each) for each in sorted(set(found))}

    def of(self, action: str) -> list[str]:
        """The names of the resources that met one action."""
        return [each.name for each in self.steps if each.action == action]


@dataclass
class Project:
    """One project and stack: where its state is kept, and the cloud that carries it out."""

    root: Path
    stack: str
    aws: cloud.Cloud
    state: Path

    def preview(self, **config: Any) -> Run:
        """Say what `up` would do; touches nothing."""
        return self._run(config, dry=True)

    def up(self, **config: Any) -> Run:
        """Make the cloud hold what the program asks for."""
        return self._run(config, dry=False)

    def destroy(self) -> Run:
        """Delete everything, the last made first. Raises EngineError where something is protected; nothing is deleted then."""
        old = self._resources()
        if held := [each["urn"] for each in old if each["protect"]]:
            raise EngineError(f"cannot delete protected resource {held[0].rsplit('::', 1)[-1]}")
        run = Run()
        for each in reversed(old):
            self.aws.delete(each["type"], each["id"], each["outputs"])
            run.steps.append(Step("delete", each["urn"]))
        self._save([])
        return run

    def unprotect(self) -> None:
        """What `pulumi state unprotect --all` does."""
        self._save([{**each, "protect": False} for each in self._resources()])

    def _resources(self) -> list[dict[str, Any]]:
        return list(json.loads(self.state.read_text())) if self.state.exists() else []

    def _save(self, resources: list[dict[str, Any]]) -> None:
        self.state.write_text(json.dumps(resources, indent=1))

    def _run(self, config: Mapping[str, Any], *, dry: bool) -> Run:
        monitor = _Monitor(self, self._resources(), dry=dry)
        with _serving(monitor) as address:
            self._start(address, config, dry=dry)
        gone = [each for each in monitor.old.values() if each["urn"] not in monitor.seen]
        for each in reversed([*gone, *monitor.replaced]):
            if not dry:
                self.aws.delete(each["type"], each["id"], each["outputs"])
            monitor.run.steps.append(Step("delete", each["urn"]))
        if not dry:
            self._save(monitor.new)
        return monitor.run

    def _start(self, address: str, config: Mapping[str, Any], *, dry: bool) -> None:
        declared = yaml.safe_load((self.root / "Pulumi.yaml").read_text())
        told = {
            "address": address, "project": declared["name"], "stack": self.stack, "dry": dry, "root": str(self.root),
            "folder": str(self.root / declared["main"]), "entry": ".", "config": _texts(declared, config),
        }  # fmt: skip
        words = [sys.executable, "-W", "ignore", "-c", HOST, json.dumps(told)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode:
            raise EngineError(done.stderr.strip()[-3000:])


def _texts(declared: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    """Return what the program's `pulumi.Config` reads: the project's values and defaults, then the stack's."""
    project = {key: each.get("value", each.get("default")) for key, each in declared["config"].items()}
    stack = {f"{declared['name']}:{key}": each for key, each in config.items()}
    known = {key: each for key, each in {**project, **stack}.items() if each is not None}
    return {key: json.dumps(each) if isinstance(each, (list, dict)) else str(each) for key, each in known.items()}


@contextmanager
def _serving(monitor: "_Monitor") -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(8))
    engine_pb2_grpc.add_EngineServicer_to_server(monitor, server)
    resource_pb2_grpc.add_ResourceMonitorServicer_to_server(monitor, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


class _Monitor(engine_pb2_grpc.EngineServicer, resource_pb2_grpc.ResourceMonitorServicer):  # type: ignore[misc]  # generated, untyped
    """The services `Engine` and `ResourceMonitor` of Pulumi's protocol, as far as a program of ours uses them."""

    def __init__(self, project: Project, old: list[dict[str, Any]], *, dry: bool) -> None:
        self._project, self._dry = project, dry
        self._lock = threading.Lock()
        self._root = ""
        self.old = {each["urn"]: each for each in old}
        self.new: list[dict[str, Any]] = []
        self.replaced: list[dict[str, Any]] = []
        self.seen: set[str] = set()
        self.run = Run()

    # Engine

    def Log(self, request: Any, context: Any) -> Any:  # noqa: N802  (the protocol's names)
        if request.severity == WARNING:
            self.run.warnings.append(request.message)
        return empty_pb2.Empty()

    def GetRootResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        return engine_pb2.GetRootResourceResponse(urn=self._root)

    def SetRootResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._root = request.urn
        return engine_pb2.SetRootResourceResponse()

    def RequirePulumiVersion(self, request: Any, context: Any) -> Any:  # noqa: N802
        return engine_pb2.RequirePulumiVersionResponse()

    # ResourceMonitor

    def SupportsFeature(self, request: Any, context: Any) -> Any:  # noqa: N802
        return resource_pb2.SupportsFeatureResponse(hasSupport=request.id in ("secrets", "resourceReferences", "aliasSpecs"))

    def GetDeploymentInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        features = [
            resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
            resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_REFERENCES,
            resource_pb2.RESOURCE_MONITOR_FEATURE_ALIAS_SPECS,
        ]
        return resource_pb2.DeploymentInfo(supportedFeatures=features)

    def SignalAndWaitForShutdown(self, request: Any, context: Any) -> Any:  # noqa: N802
        return empty_pb2.Empty()

    def RegisterPackage(self, request: Any, context: Any) -> Any:  # noqa: N802
        return resource_pb2.RegisterPackageResponse(ref=request.name)

    def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = _or_abort(
            context, request.tok, lambda: self._project.aws.invoke(request.tok, plain(MessageToDict(request.args)))
        )
        return resource_pb2.ResourceInvokeResponse(**{"return": _struct(found)})

    def RegisterResourceOutputs(self, request: Any, context: Any) -> Any:  # noqa: N802
        if "::pulumi:pulumi:Stack::" in request.urn:
            self.run.outputs = plain(MessageToDict(request.outputs))
        return empty_pb2.Empty()

    def RegisterResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        urn = self._urn(request)
        with self._lock:
            if urn in self.seen:
                context.abort(grpc.StatusCode.ALREADY_EXISTS, f"duplicate resource {urn}")
            self.seen.add(urn)
        if not request.custom or request.type.startswith("pulumi:providers:"):
            return resource_pb2.RegisterResourceResponse(
                urn=urn, id="provider" if request.custom else "", object=request.object
            )
        step, made = _or_abort(context, urn, lambda: self._carry_out(urn, request))
        with self._lock:
            self.run.steps.append(step)
            self.new.append(made)
        return resource_pb2.RegisterResourceResponse(
            urn=urn, id=made["id"], object=_struct(made["outputs"]), stable=step.action == "same"
        )

    def _urn(self, request: Any) -> str:
        parent = request.parent.split("::")[2] if request.parent else ""
        kind = request.type if not parent or parent == "pulumi:pulumi:Stack" else f"{parent}${request.type}"
        return f"urn:pulumi:{self._project.stack}::medic::{kind}::{request.name}"

    def _carry_out(self, urn: str, request: Any) -> tuple[Step, dict[str, Any]]:
        """Do to the cloud what the difference to the last state asks for."""
        wanted = plain(MessageToDict(request.object))
        last = self.old.get(urn)
        if last:
            wanted.update({key: last["inputs"][key] for key in request.ignoreChanges if key in last["inputs"]})
        record = {"urn": urn, "type": request.type, "inputs": wanted, "protect": request.protect}
        if last is None:
            return Step("create", urn), {**record, **self._create(request, wanted)}
        changed = tuple(sorted(key for key in {*wanted, *last["inputs"]} if wanted.get(key) != last["inputs"].get(key)))
        if not changed:
            return Step("same", urn), {**record, "id": last["id"], "outputs": last["outputs"]}
        if self._project.aws.can_update(request.type, changed):
            outputs = {**last["outputs"], **wanted}
            if not self._dry:
                outputs = self._project.aws.update(request.type, last["id"], last["outputs"], wanted)
            return Step("update", urn, changed), {**record, "id": last["id"], "outputs": outputs}
        if request.protect:
            raise EngineError(f"cannot replace protected resource {request.name}: {', '.join(changed)} would change")
        if request.deleteBeforeReplace and not self._dry:
            self._project.aws.delete(request.type, last["id"], last["outputs"])
            self.run.steps.append(Step("delete", urn))
        else:
            with self._lock:
                self.replaced.append(last)
        return Step("replace", urn, changed), {**record, **self._create(request, wanted)}

    def _create(self, request: Any, wanted: dict[str, Any]) -> dict[str, Any]:
        if self._dry:
            return {"id": "", "outputs": wanted}
        made, outputs = self._project.aws.create(request.type, request.name, wanted)
        return {"id": made, "outputs": outputs}


def _or_abort(context: Any, about: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except Exception as exc:  # whatever goes wrong behind it has to reach the program as its provider's error
        context.abort(grpc.StatusCode.UNKNOWN, f"{about}: {type(exc).__name__}: {exc}")
        raise


def _struct(values: Mapping[str, Any]) -> Any:
    struct = struct_pb2.Struct()
    struct.update(dict(values))
    return struct
