"""What the agent and the guarded process say to each other, as one line of JSON each.

In: one `Order` on the guard's standard input. Out, on its standard output: `Ready` once it is safe to begin (or `Busy` or
`NotReached`), `TaskEnded` and `Output` as they come, `Ended` last. Standard library only: the guard must start fast.
"""

import dataclasses
import json
from dataclasses import dataclass

from agent.adapters import ssh_client
from agent.adapters.target_keeper import Post

MESSAGE_LIMIT = 2_000
"""Characters kept of what one task said: enough for a module's error, small enough for a timeline and a report."""
OUTPUT_LIMIT = 262_144
"""Characters kept of a whole run's output and of its diff."""
TASK_LIMIT = 500
"""Tasks reported of one run. Ours have fewer than ten; this bounds a loop gone wild."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Everything the guard needs to run one playbook once."""

    agent: int
    """Process id of the agent. The guard ends at once when its parent is another one."""
    playbook: str
    """Absolute path."""
    private: str
    """An empty folder (mode 0700) for Ansible's own files. The guard deletes it when it ends."""
    variables: dict[str, object]
    """Extra variables. Every text among them is marked unsafe: Ansible never reads it as a template."""
    timeout: float
    """Seconds until the run is ended and swept."""
    lock: str
    """Lock file held while anything of this run lives, so that an orphan still sweeping keeps the next run out."""
    lock_wait: float
    """Seconds to wait for it."""
    check: bool
    """Check mode with diff."""
    until: float | None = None
    """CLOCK_BOOTTIME up to which the agent may certainly change things, None for ever. Each further line on standard input
    is a later one. An agent that is stopped or cut off sends none, and the run ends before another agent begins."""
    post: Post | None = None
    """What is to be held on a target that is reached over SSH; None where the target is this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The lock is held and the parent lives: the playbook starts now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """An earlier run on the same target is not gone yet. Nothing was started."""

    message: str = ""
    """What is known of it, as a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotReached:
    """The target cannot be reached, or will not have us. Nothing was started. transient: it may pass by itself."""

    message: str
    transient: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEnded:
    """One Ansible task ended on the target."""

    name: str
    status: str
    """`ok`, `changed`, `failed`, `skipped`, `unreachable`."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Text that ansible-playbook printed. `diff`: it shows what a task would change."""

    text: str
    diff: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The last word: how the run ended, and that nothing of it is left.

    end: `completed`, `failed`, `unreachable`, `lost` (the connection, in the middle), `timed-out`, `stopped` (a signal, or the
    agent died).
    """

    end: str
    message: str
    swept: int
    """Processes that had to be killed."""
    left: int
    """Processes that did not die, stuck in the kernel. Anything but 0 is said loudly."""


Report = Ready | Busy | NotReached | TaskEnded | Output | Ended

_REPORTS: dict[str, type[Report]] = {kind.__name__: kind for kind in (Ready, Busy, NotReached, TaskEnded, Output, Ended)}


def write(message: Order | Report) -> str:
    """Return one line of JSON, with its line end."""
    return json.dumps({"_": type(message).__name__, **dataclasses.asdict(message)}, separators=(",", ":")) + "\n"


def read_order(line: str) -> Order:
    """Return the order on a line. Raises ValueError for anything else."""
    fields = json.loads(line)
    if not isinstance(fields, dict) or fields.pop("_", None) != Order.__name__:
        raise ValueError("cannot read the order: it is not one")
    post = fields.pop("post", None)
    return Order(**fields, post=None if post is None else Post(**{**post, "way": ssh_client.way_of(post["way"])}))


def read_report(line: str) -> Report:
    """Return the report on a line. Raises ValueError for anything else."""
    fields = json.loads(line)
    kind = _REPORTS.get(fields.pop("_", "")) if isinstance(fields, dict) else None
    if kind is None:
        raise ValueError(f"cannot read the guard's report: {line[:80]!r}")
    return kind(**fields)


def cut(text: str, limit: int) -> str:
    """Return at most `limit` characters, the end marked where something was left out."""
    return text if len(text) <= limit else text[: limit - 6] + " [...]"
