"""The port `Playbooks` on Ansible: starts one guarded process per run, listens to it, and sees to it that it ends.

In: a plan. Out: how the run ended, what each task said, and a run folder with the output. The guard (`playbook_guard`) sweeps
what it started; this side ends the guard, and sweeps by the run's own mark in the environment if the guard itself was killed.
"""

import contextlib
import json
import os
import re
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psutil

from agent.adapters import playbook_order, ssh_client, state_folder, target_keeper
from agent.adapters.playbook_order import Busy, Ended, NotReached, Order, Output, Ready, Report, TaskEnded
from agent.adapters.ssh_client import Hop, Way
from agent.adapters.target_keeper import Post
from agent.errors import OutsideError
from agent.model import Here, Host, HostName, Plan, PlaybookRun, RunEnd, SshAccess, SsmAccess, TaskResult

ASK_EVERY = 0.1
"""Seconds between two questions to `should_stop`."""
LOCK_WAIT = 15.0
"""Seconds a run waits for an orphan of an earlier one to finish its sweep, which takes at most 10."""
GUARD_MARGIN = 5.0
"""Seconds beyond the plan's time and the lock's, after which the guard itself counts as hung."""
SWEEP_GRACE = 12.0
"""Seconds a guard has to sweep (at most 10) before it is killed and this side sweeps."""
HUNG = "hung"
"""The word for a run that we stopped because its guard outlived every deadline."""
RUN_MARK = "MEDIC_RUN"
"""Environment variable that every process of a run carries, with a value no other run has."""

_ENDS = {
    "completed": RunEnd.COMPLETED,
    "failed": RunEnd.FAILED,
    "unreachable": RunEnd.UNREACHABLE,
    "lost": RunEnd.LOST,
    "timed-out": RunEnd.TIMED_OUT,
    "stopped": RunEnd.INTERRUPTED,
}
LOCAL = Host(name=HostName("local"))
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")


class AnsiblePlaybooks:
    """Runs playbooks of one `ansible/` folder, each against the host that its plan names.

    ansible: the folder with `playbooks/`, `roles/` and `ansible.cfg`. state_dir: run folders, locks and markers go under it;
    locks and markers of a host that is reached over SSH lie on that host as well.
    redact: applied to every text a playbook printed, before anyone else sees it. hosts: a plan that names none is for the first.
    markers: the folder on this machine for run markers; `state_dir/markers` unless given.
    agent_socket: the ssh-agent, for hosts that name no key file.
    until: up to when this Medic may change things, in CLOCK_BOOTTIME; None for ever. Asked again and again during a run.
    """

    def __init__(
        self,
        *,
        ansible: Path,
        state_dir: Path,
        redact: Callable[[str], str],
        hosts: Sequence[Host] = (LOCAL,),
        markers: Path | None = None,
        agent_socket: str | None = None,
        until: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._ansible = ansible.resolve()
        self._state_dir = state_dir.resolve()
        self._redact = redact
        self._hosts = {host.name: host for host in hosts}
        # A fleet may have no host at this moment; then there is nothing to run anything on.
        self._first = next(iter(self._hosts), None)
        self._agent_socket = agent_socket
        self._until = until
        self._markers = (markers or state_dir / "markers").resolve()
        # The kernel signals a guard when the thread that started it ends, so all guards start from this one, which lives on.
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="guard-starter")

    def close(self) -> None:
        """Stop starting guards. One that still runs is told to stop by the kernel."""
        self._starter.shutdown()

    def run(
        self,
        plan: Plan,
        *,
        run_id: str,
        check: bool,
        on_task: Callable[[TaskResult], None],
        should_stop: Callable[[], str | None],
    ) -> PlaybookRun:
        """Run the playbook and return how it ended. Raises OutsideError when it could not be started at all."""
        host = self._host(plan)
        run_folder = self._folder("runs", run_id)
        private = Path(tempfile.mkdtemp(prefix="private-", dir=run_folder))
        mark = f"{run_id}/{uuid.uuid4().hex}"
        run = _Run(run_id, host.name, self._redact, on_task)
        post = self._post(plan, host, run_id)
        within = plan.timeout.total_seconds() + LOCK_WAIT + GUARD_MARGIN
        if post is not None:
            within += LOCK_WAIT + target_keeper.REACH + target_keeper.PARTING
        try:
            with (
                tempfile.TemporaryFile() as complaints,
                self._guard(self._order(plan, run_id, private, post, check=check), mark, host, complaints) as guard,
            ):
                asked = _Leash(guard, self._until, should_stop).word
                stopped = _listen(guard, run.hear, asked, within)
                result = run.result(stopped, _sweep(mark) if run.ended is None else 0, self._redact(_tail(complaints)))
        finally:
            shutil.rmtree(private, ignore_errors=True)
            if post is not None:
                shutil.rmtree(post.folder, ignore_errors=True)
            run.keep_output(run_folder / "output.txt")
        was_lost = post is not None and run.ended is not None and run.ended.end == "lost" and stopped is None
        return self._what_was_lost(result, plan, run_id, check=check) if was_lost else result

    def finished(self, plan: Plan, *, run_id: str) -> bool | None:
        """Read the marker on the target: True it finished, False it started and did not, None it never started.

        Raises OutsideError when the target cannot be asked.
        """
        host = self._host(plan)
        if isinstance(host.access, Here):
            marker = self._markers / _checked(run_id)
            if (marker / "finished").is_dir():
                return True
            return False if (marker / "started").is_dir() else None
        return target_keeper.finished(self.way(host), self._place(), _checked(run_id), _target(_variables(plan)))

    def _what_was_lost(self, run: PlaybookRun, plan: Plan, run_id: str, *, check: bool) -> PlaybookRun:
        """Return what the target says of a run whose connection ended in the middle. Nothing of it is ever started again here."""
        if check:
            return run
        try:
            finished = self.finished(plan, run_id=run_id)
        except OutsideError as exc:
            return replace(run, message=f"{run.message}; how far it came is not known: {exc}")
        if finished:
            return replace(run, end=RunEnd.COMPLETED, message=f"{run.message}; its marker there says that it finished")
        if finished is None:
            message = f"{run.message}; it had not begun to change anything, says its marker there"
            return replace(run, end=RunEnd.UNREACHABLE, message=message)
        return replace(run, message=f"{run.message}; its marker there says that it began and did not finish")

    def _host(self, plan: Plan) -> Host:
        host = self._hosts.get(plan.host or self._first or HostName(""))
        if host is None:
            raise OutsideError(f"cannot run playbook {plan.playbook!r}: no host {plan.host!r} is declared", transient=False)
        return host

    def _post(self, plan: Plan, host: Host, run_id: str) -> Post | None:
        if isinstance(host.access, Here):
            return None
        return Post(
            way=self.way(host),
            # A socket's path may be 108 bytes long, and a state folder's alone may be longer.
            folder=tempfile.mkdtemp(prefix="medic-ssh-", dir="/tmp"),  # mkdtemp gives it mode 0700
            lock=_target(_variables(plan)),
            mark=f"{run_id}/{uuid.uuid4().hex}",
            place=self._place(),
            holder=f"Medic on {socket.gethostname()}",
        )

    def _place(self) -> str:
        """Return the name of our state folder, safe as the name of a folder on a target."""
        return quote(state_folder.place(self._state_dir), safe="")

    def way(self, host: Host) -> Way:
        """Return how a host is reached, the jumps before it first. Raises OutsideError where playbooks cannot reach it."""
        hops: list[Hop] = []
        at: Host | None = host
        while at is not None:
            match at.access:
                case SshAccess() as ssh:
                    key = None if ssh.key_file is None else str(ssh.key_file)
                    known = str(ssh.known_hosts)
                    hops.insert(0, Hop(address=ssh.address, port=ssh.port, user=ssh.user, known_hosts=known, key_file=key))
                    at = self._hosts[ssh.jump] if ssh.jump is not None else None
                case SsmAccess():
                    raise OutsideError(
                        f"cannot run a playbook on host {host.name!r}: it is reached through SSM, over which Medic looks and does"
                        " not act; declare `ssh:` for it",
                        transient=False,
                    )
                case Here():
                    raise OutsideError(f"cannot reach host {host.name!r} over SSH: it is this machine", transient=False)
        sudo = isinstance(host.access, SshAccess) and host.access.sudo
        return Way(host=host.name, hops=tuple(hops), sudo=sudo, docker=host.docker or "", agent_socket=self._agent_socket)

    def _order(self, plan: Plan, run_id: str, private: Path, post: Post | None, *, check: bool) -> Order:
        playbook = self._ansible / "playbooks" / plan.playbook
        if not playbook.is_file():
            raise OutsideError(f"cannot run playbook {plan.playbook!r}: there is no {playbook}", transient=False)
        variables = _variables(plan)
        elsewhere = "" if post is None else f"{quote(post.way.host, safe='')}-"
        return Order(
            agent=os.getpid(),
            playbook=str(playbook),
            private=str(private),
            variables={**variables, "medic_run": run_id, "medic_markers": str(self._markers)},
            timeout=plan.timeout.total_seconds(),
            lock=str(self._folder("locks") / f"target-{elsewhere}{_target(variables)}.lock"),
            lock_wait=LOCK_WAIT,
            check=check,
            until=self._until(),
            post=post,
        )

    @contextlib.contextmanager
    def _guard(self, order: Order, mark: str, host: Host, complaints: IO[bytes]) -> Iterator["subprocess.Popen[bytes]"]:
        """Start a guard with its order; whatever happens in the body, it is ended and waited for."""
        environment = self._environment(mark, order, host)
        try:
            guard = self._starter.submit(_start, environment, complaints).result()
        except (OSError, RuntimeError) as exc:
            raise OutsideError(f"cannot start the guard of {order.playbook}: {exc}", transient=True) from exc
        try:
            _tell(guard, playbook_order.write(order))
            yield guard
        finally:
            # Close first: a guard that waits for us to read would never get to its sweep.
            for pipe in (guard.stdin, guard.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):  # what a dead guard has not read
                        pipe.close()
            if not _end(guard):
                _sweep(mark)

    def _environment(self, mark: str, order: Order, host: Host) -> dict[str, str]:
        """Return the whole environment of a run. Nothing of the agent's own is passed on: it may hold secrets."""
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(Path.home()),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            # On a target elsewhere it is set there: the path is one of that host's.
            **({"DOCKER_HOST": host.docker or ""} if order.post is None else ssh_client.environment(order.post.way)),
            "ANSIBLE_CONFIG": str(self._ansible / "ansible.cfg"),
            # ansible-runner switches this off unless it is set here.
            "ANSIBLE_HOST_KEY_CHECKING": "True",
            "ANSIBLE_ROLES_PATH": str(self._ansible / "roles"),
            "ANSIBLE_FORCE_COLOR": "0",
            "ANSIBLE_LOCAL_TEMP": f"{order.private}/local",
            # A module unpacks itself, and writes down what it was told, where Python puts temporary files: swept with the rest.
            "TMPDIR": order.private,
            RUN_MARK: mark,
        }

    def _folder(self, *parts: str) -> Path:
        folder = self._state_dir.joinpath(*(_checked(part) for part in parts))
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise OutsideError(f"cannot make folder {folder}: {exc.strerror}", transient=True) from exc
        return folder


class _Run:
    """What one guard has said so far."""

    def __init__(
        self, run_id: str, host: HostName, redact: Callable[[str], str], on_task: Callable[[TaskResult], None]
    ) -> None:
        self._run_id = run_id
        self._host = host
        self._redact = redact
        self._on_task = on_task
        self._tasks: list[TaskResult] = []
        self._output: list[Output] = []
        self._ready = False
        self._busy: Busy | None = None
        self._not_reached: NotReached | None = None
        self.ended: Ended | None = None

    def hear(self, report: Report) -> None:
        """Take in one report."""
        match report:
            case Ready():
                self._ready = True
            case Busy():
                self._busy = report
            case NotReached():
                self._not_reached = report
            case TaskEnded(name=name, status=status, message=message):
                task = TaskResult(
                    name=name, status=status, message=playbook_order.cut(self._redact(message), playbook_order.MESSAGE_LIMIT)
                )
                self._tasks.append(task)
                self._on_task(task)
            case Output():
                self._output.append(report)
            case Ended():
                self.ended = report

    def result(self, stopped: str | None, swept: int, complaints: str) -> PlaybookRun:
        """Return how the run ended. Raises OutsideError when it never began."""
        if self._busy is not None:
            why = self._redact(self._busy.message) or "an earlier run on the same target is not gone yet"
            raise OutsideError(f"cannot start run {self._run_id}: {why}", transient=True)
        if self._not_reached is not None:
            raise OutsideError(
                f"cannot start run {self._run_id}: {self._redact(self._not_reached.message)}",
                transient=self._not_reached.transient,
            )
        if self.ended is None and not self._ready and stopped is None:
            raise OutsideError(
                f"cannot start run {self._run_id}: the guard ended before it began: {complaints}", transient=False
            )
        if self.ended is None:
            end, message = RunEnd.LOST, f"the guard of run {self._run_id} was killed: {complaints or 'it left no word'}"
        else:
            end, message, swept = _ENDS[self.ended.end], self._redact(self.ended.message), self.ended.swept + swept
            if end is RunEnd.LOST:
                message = f"the connection to host {self._host!r} was lost in the middle: {message}"
            if self.ended.left:
                message += f"; {self.ended.left} of its processes would not die"
        if stopped is not None and end in (RunEnd.LOST, RunEnd.INTERRUPTED):
            end, message = _why_stopped(stopped)
        diff = "".join(self._redact(output.text) for output in self._output if output.diff)
        return PlaybookRun(end=end, message=message, tasks=tuple(self._tasks), diff=diff, swept=swept)

    def keep_output(self, path: Path) -> None:
        """Keep what was printed, redacted, for the report. A run that printed nothing leaves no file."""
        text = self._redact("\n".join(output.text for output in self._output))
        if text:
            with contextlib.suppress(OSError):  # the tasks are in the store; a full disk must not hide how the run ended
                path.write_text(text + "\n", encoding="utf-8")


def _why_stopped(word: str) -> tuple[RunEnd, str]:
    match word:
        case "stopping":
            return RunEnd.INTERRUPTED, "Medic was told to stop; the playbook was swept"
        case "lease":
            return RunEnd.INTERRUPTED, "another Medic may have taken over; the playbook was swept"
        case _ if word == HUNG:
            return RunEnd.TIMED_OUT, "the guard did not end in time and was killed; the playbook was swept"
        case _:
            return RunEnd.CANCELLED, f"stopped by {word}; the playbook was swept"


def _start(environment: dict[str, str], complaints: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start a guard in a session of its own, so that a Ctrl-C at the agent's terminal does not reach it past the agent."""
    return subprocess.Popen(
        [sys.executable, "-m", "agent.adapters.playbook_guard"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        env=environment,
        cwd="/",
        start_new_session=True,
    )


def _tell(guard: "subprocess.Popen[bytes]", line: str) -> None:
    """Hand over the order. A guard that is dead already is noticed by its silence."""
    assert guard.stdin is not None  # noqa: S101 -- opened with PIPE, which the type cannot say
    with contextlib.suppress(BrokenPipeError):
        guard.stdin.write(line.encode())
        guard.stdin.flush()


class _Leash:
    """Lets the guard know, while it is listened to, up to when it may go on."""

    def __init__(
        self, guard: "subprocess.Popen[bytes]", until: Callable[[], float | None], should_stop: Callable[[], str | None]
    ) -> None:
        self._guard = guard
        self._until = until
        self._should_stop = should_stop
        self._told = until()

    def word(self) -> str | None:
        """Lengthen the leash where there is more of it; return what `should_stop` says."""
        until = self._until()
        if until != self._told:
            self._told = until
            _tell(self._guard, f"{until}\n")
        return self._should_stop()


def _listen(
    guard: "subprocess.Popen[bytes]", hear: Callable[[Report], None], should_stop: Callable[[], str | None], within: float
) -> str | None:
    """Hear reports until the guard closes its end; return the word that stopped it, None if nothing did.

    A stopped guard is told once (SIGTERM) and then heard out, for it reports its sweep; `_end` deals with a deaf one.
    """
    assert guard.stdout is not None  # noqa: S101 -- as above
    descriptor = guard.stdout.fileno()
    os.set_blocking(descriptor, False)
    end = time.monotonic() + within
    stopped: str | None = None
    unread = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            # What was said is heard out even when it is late: we may have been stopped ourselves, the guard was not.
            if selector.select(ASK_EVERY):
                heard = os.read(descriptor, 65_536)
                if not heard:
                    return stopped
                *lines, unread = (unread + heard).split(b"\n")
                for line in lines:
                    hear(playbook_order.read_report(line.decode("utf-8", "replace")))
            elif time.monotonic() >= end:
                return stopped or HUNG
            if stopped is None and (stopped := should_stop()) is not None:
                guard.terminate()
                end = time.monotonic() + SWEEP_GRACE


def _end(guard: "subprocess.Popen[bytes]") -> bool:
    """End a guard: ask, wait for its sweep, then kill. False if it was killed before it could sweep."""
    if guard.poll() is None:
        guard.terminate()
    try:
        return guard.wait(SWEEP_GRACE) >= 0
    except subprocess.TimeoutExpired:
        guard.kill()
        guard.wait()
        return False


def _sweep(mark: str) -> int:
    """Kill every process that carries the mark, until none is left; return how many. For a guard that was killed itself."""
    killed: set[int] = set()
    end = time.monotonic() + SWEEP_GRACE
    while (marked := list(_marked(mark))) and time.monotonic() < end:
        for process in marked:
            with contextlib.suppress(psutil.Error):
                process.kill()
                killed.add(process.pid)
    return len(killed)


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(RUN_MARK) == mark:
                yield process


def _variables(plan: Plan) -> dict[str, object]:
    return {name: json.loads(value) for name, value in plan.parameters}


def _target(variables: dict[str, object]) -> str:
    """Return what a run excludes others from: its container, else the proxy it touches, as part of a file name."""
    named = next((str(variables[name]) for name in ("container", "nginx") if name in variables), "machine")
    return quote(named, safe="")[:200]


def _tail(complaints: IO[bytes]) -> str:
    """Return the last line or so of what a guard printed in distress."""
    complaints.seek(max(0, complaints.seek(0, os.SEEK_END) - 2_000))
    return " ".join(complaints.read().decode("utf-8", "replace").split("\n")[-3:]).strip()


def _checked(run_id: str) -> str:
    """Return the id if it is safe as the name of a folder. Ids are made by Medic; anything else is a bug."""
    if not _RUN_ID.fullmatch(run_id):
        raise ValueError(f"cannot use {run_id!r} as the name of a run")
    return run_id
