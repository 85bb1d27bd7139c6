"""The short-lived process that runs one playbook and leaves nothing behind: `python -m agent.adapters.playbook_guard`.

In: one `Order` on standard input. Out: reports on standard output (see `playbook_order`). ansible-runner's own time limit
and cancel leave workers and their children running (measured, 2.4.3), and a killed agent leaves the whole playbook. So this
process makes itself the reaper of everything it starts, asks the kernel for SIGTERM when the agent dies, and on a time-out, a
signal or the end of the playbook kills every descendant until none is left. The only importer of ansible_runner.
"""

import ctypes
import fcntl
import json
import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Container, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO  # ansible-runner ships no types: its events and results are plain dictionaries

import ansible_runner
import psutil

from agent.adapters import playbook_order, ssh_client, target_keeper
from agent.adapters.playbook_order import Busy, Ended, NotReached, Order, Output, Ready, Report, TaskEnded, cut
from agent.adapters.target_keeper import Held, Keeper, NotHeld, Post

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
"""Source of both numbers: linux/prctl.h, prctl(2)."""
SWEEP_WITHIN = 10.0
"""Seconds given to a sweep. SIGKILL takes milliseconds; what outlives this is stuck in the kernel."""
WAIT = 0.02
"""Seconds between two looks, while waiting for a lock, an end or a death."""

FORSAKEN = "Medic was not heard of for too long to be sure that no other has taken over"

TASK_EVENTS = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_skipped": "skipped",
    "runner_on_unreachable": "unreachable",
}
BOILERPLATE = ("", "non-zero return code", "All items completed")
"""What Ansible says when it has nothing to say."""
LOOP_FAILED = "One or more items failed"
"""What it says of a loop: what went wrong stands with the pass that did."""


class Stop:
    """A flag that a signal handler may raise. `threading.Event` takes a lock in `set`: a second signal inside the first one's
    handler waits for it for ever, and the guard would outlive its agent (seen under `make crash`)."""

    def __init__(self) -> None:
        self._told = False

    def set(self) -> None:
        """Raise it. Safe inside a signal handler."""
        self._told = True

    def is_set(self) -> bool:
        """Say whether it is raised."""
        return self._told


class Leash:
    """Up to when the agent lets this run go on. The agent lengthens it for as long as it may change things itself."""

    def __init__(self, until: float | None) -> None:
        self._until = until

    def is_over(self) -> bool:
        """Say whether nothing has been heard for too long."""
        return self._until is not None and time.clock_gettime(time.CLOCK_BOOTTIME) >= self._until

    def follow(self, lines: TextIO) -> None:
        """Take in each later time, until the agent closes its end."""
        for line in lines:
            self._until = float(line)


def main() -> int:
    """Run the order on standard input. Exit 0 when the last report was written, 3 when the agent was gone before the start."""
    out, agent = _own_stdout(), _own_stdin()
    order = playbook_order.read_order(agent.readline())
    stop, leash = Stop(), Leash(order.until)
    threading.Thread(target=leash.follow, args=(agent,), daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: stop.set())
    _tie_to_parent()
    try:
        # The agent may have died before the kernel knew that we care; then nobody sends the signal.
        if os.getppid() != order.agent:
            return 3
        with Path(order.lock).open("w", encoding="utf-8") as lock:
            if not _take(lock, order.lock_wait, stop):
                _say(out, Ended(end="stopped", message="was told to stop", swept=0, left=0) if stop.is_set() else Busy())
                return 0
            _say(out, _at_its_post(order, stop, leash, lambda report: _say(out, report)))
    finally:
        shutil.rmtree(order.private, ignore_errors=True)
        if order.post is not None:
            shutil.rmtree(order.post.folder, ignore_errors=True)
    return 0


def _at_its_post(order: Order, stop: Stop, leash: Leash, say: Callable[[Report], None]) -> Report:
    """Take the lock on a target that is elsewhere, then run the playbook; return the last word."""
    if order.post is None:
        return _guard(order, None, stop, leash, say)
    keeper = Keeper(order.post, wait=order.lock_wait, bound=order.timeout + SWEEP_WITHIN)
    match keeper.held(lambda: stop.is_set() or leash.is_over()):
        case Held() as held:
            return _guard(order, (keeper, held), stop, leash, say)
        case NotHeld(message=message, transient=transient, busy=busy):
            keeper.part()
            return Busy(message=message) if busy else NotReached(message=message, transient=transient)
        case None:
            keeper.part()
            return Ended(end="stopped", message="was told to stop" if stop.is_set() else FORSAKEN, swept=0, left=0)


def _guard(order: Order, post: tuple[Keeper, Held] | None, stop: Stop, leash: Leash, say: Callable[[Report], None]) -> Ended:
    """Run the playbook until it ends, is stopped, is cut off or is out of time; then sweep, there as well as here.

    Nothing of it lives when this returns, unless the target cannot be heard any more: then its keeper ends it there.
    """
    say(Ready())
    keeper, held = post or (None, None)
    if leash.is_over():  # the agent was stopped between asking and starting us: another may be at work by now
        return Ended(end="stopped", message=FORSAKEN, swept=0, left=0)
    deadline = time.monotonic() + order.timeout
    running = ThreadPoolExecutor(max_workers=1).submit(_play, order, held, stop, say)
    while not (running.done() or stop.is_set() or leash.is_over() or _is_lost(keeper) or time.monotonic() >= deadline):
        time.sleep(WAIT)  # noqa: TID251 -- a process of its own: there is no port and no test clock in here
    ended, told, forsaken, lost = running.done(), stop.is_set(), leash.is_over(), _is_lost(keeper)
    stop.set()
    # Here first: what still runs here would start more there.
    swept, left = sweep(until=running, spare=() if keeper is None else (keeper.pid,))
    complaint = keeper.complaint()[0] if keeper is not None and lost else ""
    parted = None if keeper is None else keeper.part()
    swept, left = (swept, left) if parted is None else (swept + parted[0], left + parted[1])
    if ended:
        end, message = running.result()  # raises what a bug of ours raised in there: after the sweep, never before
        if end == "unreachable" and keeper is not None:
            end, message = "lost", complaint or message  # it had been reached: a task may have been under way
    elif lost:
        end, message = "lost", complaint
    elif told:
        end, message = "stopped", "was told to stop"
    elif forsaken:
        end, message = "stopped", FORSAKEN
    else:
        end, message = "timed-out", f"did not end within {order.timeout:g} s"
    return Ended(end=end, message=message, swept=swept, left=left)


def _is_lost(keeper: Keeper | None) -> bool:
    return keeper is not None and keeper.is_lost()


def sweep(until: Future[Any], spare: Container[int] = ()) -> tuple[int, int]:
    """Kill all descendants until none is left and `until` is done; return how many were killed and how many would not die.

    spare: processes that are ended otherwise.

    Orphans come back to us (we are their reaper), so a process cannot slip away by starting a session of its own.
    `until`: the thread that starts ansible-playbook; before it is done, "no descendants" may be a moment too early.
    """
    killed: set[int] = set()
    end = time.monotonic() + SWEEP_WITHIN
    while True:
        living = [process for process in _descendants() if process.pid not in spare]
        if (not living and until.done()) or time.monotonic() >= end:
            break
        for process in living:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
            killed.add(process.pid)
        time.sleep(WAIT)  # noqa: TID251 -- as above
    return len(killed), len(living)


def _descendants() -> list[psutil.Process]:
    """Return every descendant that still runs. A zombie does not: it is gone but for its exit code."""
    return [process for process in psutil.Process().children(recursive=True) if _runs(process)]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _play(order: Order, held: Held | None, stop: Stop, say: Callable[[Report], None]) -> tuple[str, str]:
    """Run ansible-playbook; return the end and a sentence. Its children are swept by the caller."""
    private = Path(order.private)
    _write_private(private, order, held)
    if stop.is_set():
        return "stopped", "was told to stop"
    teller = _Teller(say)
    try:
        result = ansible_runner.run(
            private_data_dir=str(private),
            project_dir=str(Path(order.playbook).parent),
            playbook=order.playbook,
            ident="run",
            cmdline="--check --diff" if order.check else None,
            quiet=True,
            settings={"suppress_output_file": True, "suppress_ansible_output": True},
            event_handler=teller.hear,
        )
    except (ansible_runner.AnsibleRunnerException, OSError) as exc:
        return "failed", f"cannot run ansible-playbook: {exc}"
    if result.status == "successful":
        return "completed", f"{teller.changed} changed, {teller.ended} in all"
    return ("unreachable" if teller.unreachable else "failed"), teller.trouble or f"ansible-playbook exited {result.rc}"


class _Teller:
    """Turns ansible-runner's events into reports, each bounded, and remembers the first trouble."""

    def __init__(self, say: Callable[[Report], None]) -> None:
        self._say = say
        self._output_left = playbook_order.OUTPUT_LIMIT
        self.ended = 0
        self.changed = 0
        self.trouble = ""
        self.unreachable = False

    def hear(self, event: Mapping[str, Any]) -> bool:
        """Report one event. False: ansible-runner need not write it to a file, where secrets could lie."""
        kind = event["event"]
        if text := event.get("stdout"):
            self._print(text, diff=kind == "runner_on_file_diff" or kind == "runner_on_diff")
        if status := TASK_EVENTS.get(kind):
            self._end_task(status, event["event_data"])
        elif kind == "error" and not self.trouble:
            self.trouble = cut(str(text).strip().split("\n")[0], playbook_order.MESSAGE_LIMIT)
        return False

    def _print(self, text: str, *, diff: bool) -> None:
        if self._output_left > 0:
            kept = cut(text, self._output_left)
            self._output_left -= len(kept)
            self._say(Output(text=kept, diff=diff))

    def _end_task(self, status: str, event: Mapping[str, Any]) -> None:
        result = event.get("res") or {}
        if status == "ok" and result.get("changed"):
            status = "changed"
        message = _message(result)
        self.ended += 1
        self.changed += status == "changed"
        if status in ("failed", "unreachable") and not event.get("ignore_errors"):
            self.unreachable = self.unreachable or status == "unreachable"
            self.trouble = self.trouble or message or f"{event.get('task')}: {status}"
        if self.ended <= playbook_order.TASK_LIMIT:
            self._say(TaskEnded(name=cut(str(event.get("task", "")), 200), status=status, message=message))


def _message(result: Mapping[str, Any]) -> str:
    """Return what a task said: its own sentence; of a command that failed, what it printed; of a loop, its first that failed."""
    said = result.get("msg") or ""
    wrong = next((each for each in result.get("results") or () if each.get("failed")), None) if said == LOOP_FAILED else None
    if wrong is not None:
        return _message(wrong)
    if said in BOILERPLATE:
        said = (result.get("stderr") or result.get("stdout") or said) if result.get("rc") else ""
    return cut(str(said).strip(), playbook_order.MESSAGE_LIMIT)


def _unsafe(value: object) -> object:
    """Return `value` with every text marked so that Ansible neither reads it as a template nor guesses another type for it.

    As JSON: with YAML's `!unsafe`, Ansible 2.19 still makes a bool of "true" and a number of "1".
    """
    match value:
        case str():
            return {"__ansible_unsafe": value}
        case list():
            return [_unsafe(part) for part in value]
        case dict():
            return {str(key): _unsafe(part) for key, part in value.items()}
        case _:
            return value


def _here(private: Path) -> dict[str, object]:
    """Return the target's variables where it is this machine."""
    return {
        "ansible_connection": "local",
        # Discovery may pick a shim that cannot run (measured with pyenv), so we name our own interpreter.
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        # Modules are copied with their arguments before they run; killed ones do not clean up after themselves.
        "ansible_remote_tmp": str(private / "modules"),
    }


def _there(post: Post, held: Held) -> dict[str, object]:
    """Return the target's variables where it is reached over SSH. Address, keys and pins stand in ssh's own configuration."""
    hop = post.way.hops[-1]
    return {
        "ansible_connection": "ssh",
        "ansible_host": ssh_client.TARGET,
        "ansible_user": hop.user,
        "ansible_port": hop.port,
        "ansible_ssh_common_args": shlex.join(["-F", f"{post.folder}/config"]),
        "ansible_ssh_executable": target_keeper.write_ssh(post),
        # In place of Ansible's own: a connection kept open in the background would outlive the run. And not every end of one is news.
        "ansible_ssh_args": "-o ControlMaster=no -o LogLevel=ERROR",
        "ansible_ssh_retries": 0,
        "ansible_ssh_transfer_method": "piped",  # needs nothing there but dd
        "ansible_ssh_pipelining": True,
        "ansible_timeout": ssh_client.CONNECT_WITHIN,
        "ansible_python_interpreter": held.python or target_keeper.PYTHON,
        "ansible_remote_tmp": target_keeper.temporary(post.mark),
    }


def _write_private(private: Path, order: Order, held: Held | None) -> None:
    """Write the inventory (one target) and the variables where ansible-runner expects them."""
    if order.post is None or held is None:
        target, variables = _here(private), order.variables
    else:
        target, variables = _there(order.post, held), {**order.variables, "medic_markers": held.markers}
    inventory = {"all": {"hosts": {"target": target}}}
    for folder, name, text in (
        ("inventory", "hosts.json", json.dumps(inventory)),
        ("env", "extravars", json.dumps(_unsafe(variables))),
    ):
        (private / folder).mkdir(mode=0o700)
        (private / folder / name).write_text(text, encoding="utf-8")


def _own_stdout() -> TextIO:
    """Return our way to the agent, and send everything else that prints to standard error.

    The new descriptor closes itself in every program we start: no grandchild can write into the reports or keep them open.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


def _own_stdin() -> TextIO:
    """Return the agent's end, and give everything else that reads standard input nothing."""
    agent = os.fdopen(os.dup(0), encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return agent


_saying = threading.Lock()


def _say(out: TextIO, report: Report) -> None:
    with _saying:
        try:
            out.write(playbook_order.write(report))
            out.flush()
        except BrokenPipeError:
            return  # the agent is dead; its death also sends us SIGTERM, and the sweep goes on without a listener


def _tie_to_parent() -> None:
    """Become the reaper of all descendants, and ask for SIGTERM when the thread that started us ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((PR_SET_CHILD_SUBREAPER, 1), (PR_SET_PDEATHSIG, int(signal.SIGTERM))):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl failed")


def _take(lock: TextIO, wait: float, stop: Stop) -> bool:
    """Take the lock within `wait` seconds. The kernel gives it back when this process ends, however it ends."""
    end = time.monotonic() + wait
    while not stop.is_set():
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(WAIT)  # noqa: TID251 -- as above
        else:
            return True
    return False


if __name__ == "__main__":
    # Not sys.exit: it would wait for threads, and after a sweep there is nothing worth waiting for.
    code = main()
    sys.stdout.flush()
    os._exit(code)
