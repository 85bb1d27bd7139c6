"""A stand-in for EC2 instances behind AWS Systems Manager: moto's server and wire, and commands that a real shell really runs.

moto 5.2 says "Success" to a command that nobody ran. Here the command's script is run by `sh` on this machine, which plays every
instance, as an instance's agent would: fetched a little later, ended after `executionTimeout`, its output cut where AWS cuts
it. What AWS says when an instance is away is said here, too. Nothing speaks to AWS, and how long AWS takes is not played.
"""

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.core.responses import EmptyResult
from moto.server import ThreadedMotoServer
from moto.ssm import models, responses
from moto.ssm.exceptions import SSMException

from agent.model import Host, HostName, SsmAccess

REGION = "us-east-1"
STDOUT, STDERR = 24_000, 8_000
"""Characters that are passed on. Source: GetCommandInvocation, API of 2014-11-06."""
_UNSENT = {
    "InvalidInstanceId": "Instances not in a valid state for account",
    "ThrottlingException": "Rate exceeded",
    "AccessDeniedException": "User is not authorized to perform: ssm:SendCommand",
}


@dataclass
class Instance:
    """One instance. Its fields change what it, or AWS, does from now on."""

    id: str
    refuses: str | None = None
    """The code of the error that SendCommand ends with."""
    ends: str | None = None
    """`StatusDetails` of every command, none of which is run: `Undeliverable`, `DeliveryTimedOut`, ..."""
    fetches: bool = True
    """Whether its agent fetches commands."""
    delay: float = 0.0
    """Seconds before it does."""
    throttles_asking: int = 0
    """So many questions for a command are throttled."""
    garbles: bool = False
    """Whether output comes back as another program's."""
    environment: dict[str, str] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    """Every script that it ran."""
    cancelled: list[str] = field(default_factory=list)

    def access(self) -> SsmAccess:
        return SsmAccess(instance=self.id, region=REGION)

    def host(self, name: str, **changed: Any) -> Host:
        return Host(name=HostName(name), access=self.access(), **changed)


_instances: dict[str, Instance] = {}


@contextlib.contextmanager
def ssm() -> Iterator[None]:
    """A moto server for every client that is made in the body, with the stand-in behind its wire."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    _install()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    found = {"ENDPOINT_URL": f"http://{host}:{port}", "ACCESS_KEY_ID": "stand-in", "SECRET_ACCESS_KEY": "stand-in"}
    with pytest.MonkeyPatch.context() as patched:
        for key, value in found.items():
            patched.setenv(f"AWS_{key}", value)
        # moto loads a service when it is first asked, which takes longer on a busy machine than our own clients wait.
        patient = Config(read_timeout=300, retries={"total_max_attempts": 1})
        boto3.client("ssm", region_name=REGION, config=patient).list_commands()
        yield
    server.stop()
    _instances.clear()


def instance(number: int = 1) -> Instance:
    """Return a new instance that AWS knows."""
    made = Instance(id=f"i-{number:017x}")
    _instances[made.id] = made
    return made


def _install() -> None:
    """Patch moto in this process; once is enough."""
    backend, answers = models.SimpleSystemManagerBackend, responses.SimpleSystemManagerResponse
    if getattr(backend.send_command, "runs", False):
        return
    sent_by_moto, asked_of_moto = backend.send_command, backend.get_command_invocation

    def send(self: Any, *, instance_ids: list[str], parameters: dict[str, list[str]], **more: Any) -> Any:
        (id_,) = instance_ids
        found = _instances.get(id_)
        refusal = "InvalidInstanceId" if found is None else found.refuses
        if refusal is not None:
            raise SSMException(refusal, _UNSENT.get(refusal, refusal))
        command = sent_by_moto(self, instance_ids=instance_ids, parameters=parameters, **more)
        _settle(command, "Pending", "Pending")
        threading.Thread(target=_run, args=(_instances[id_], command), daemon=True).start()
        return command

    def ask(self: Any, command_id: str, instance_id: str, plugin_name: str | None) -> Any:
        found = _instances[instance_id]
        if found.throttles_asking > 0:
            found.throttles_asking -= 1
            raise SSMException("ThrottlingException", "Rate exceeded")
        return asked_of_moto(self, command_id, instance_id, plugin_name)

    def cancel(self: Any) -> EmptyResult:
        for id_ in self._get_param("InstanceIds", []):
            _instances[id_].cancelled.append(self._get_param("CommandId"))
        return EmptyResult()

    send.runs = True  # type: ignore[attr-defined]
    backend.send_command = send  # type: ignore[method-assign, assignment]
    backend.get_command_invocation = ask  # type: ignore[method-assign]
    answers.cancel_command = cancel  # type: ignore[attr-defined]


def _settle(command: Any, status: str, details: str, stdout: str = "", stderr: str = "") -> None:
    for each in command.invocations:
        each.update(Status=status, StatusDetails=details, StandardOutputContent=stdout, StandardErrorContent=stderr)


def _run(on: Instance, command: Any) -> None:
    """Do what the agent of an instance does with one command."""
    time.sleep(on.delay)
    if on.ends is not None:
        status = {"DeliveryTimedOut": "TimedOut", "ExecutionTimedOut": "TimedOut", "Cancelled": "Cancelled"}.get(
            on.ends, "Failed"
        )
        return _settle(command, status, on.ends)
    if not on.fetches or command.command_id in on.cancelled:
        return None
    _settle(command, "InProgress", "InProgress")
    script = "\n".join(command.parameters["commands"])
    on.ran.append(script)
    shell = subprocess.Popen(
        ("sh", "-c", script),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **on.environment},
        start_new_session=True,
    )
    try:
        out, err = shell.communicate(timeout=float(command.parameters["executionTimeout"][0]))
    except subprocess.TimeoutExpired:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.communicate()
        return _settle(command, "TimedOut", "ExecutionTimedOut")
    said = "Unable to locate your own feet" if on.garbles else out.decode("utf-8", "replace")[:STDOUT]
    ended = ("Success", "Success") if shell.returncode == 0 else ("Failed", "Failed")
    return _settle(command, *ended, said, err.decode("utf-8", "replace")[:STDERR])
