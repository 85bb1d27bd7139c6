"""The errors Medic raises on purpose. Expected results (`Hold`, `Refusal`, a SICK verdict) are values, never errors.

Wording, everywhere: `cannot <verb> <object>: <cause>`. Long evidence goes into a field, not into the sentence.
"""

from collections.abc import Callable


class MedicError(Exception):
    """Root of every error that Medic raises on purpose."""


class ConfigError(MedicError):
    """The user can put this right: the sentence names the file, the key and what would be right. The CLI exits 2."""


class OutsideError(MedicError):
    """A port failed: Docker, Ansible, the network, the file system.

    transient: True where the same call may well succeed later (a refused socket, a time-out, a 5xx).
    """

    def __init__(self, sentence: str, *, transient: bool) -> None:
        super().__init__(sentence)
        self.transient = transient


class HostKeyRefused(OutsideError):  # noqa: N818  it is named after what is so
    """A host showed another key than the pinned one: it was replaced, or somebody answers in its place. People are told at
    once, and nothing is sent to it."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, transient=False)


class JumpHostLost(OutsideError):  # noqa: N818  it is named after what is so
    """A host lies behind another that cannot be used: the trouble is the other's.

    host: the name of the one that is in trouble, the nearest of them.
    """

    def __init__(self, sentence: str, host: str, *, transient: bool) -> None:
        super().__init__(sentence, transient=transient)
        self.host = host


class HungError(OutsideError):
    """A program did not end in time. It was killed with all that it started, and is gone, unless `left` says otherwise.

    left: whether it is still there: in uninterruptible sleep nothing ends a process, and another one would only join it.
    """

    def __init__(self, sentence: str, left: Callable[[], bool]) -> None:
        super().__init__(sentence, transient=True)
        self.left = left


class StoreError(OutsideError):
    """The store cannot be read or written. Nothing may be changed in the world while this lasts: no count, no act."""


class LeaseLost(StoreError):  # noqa: N818  it is named after what is so, as the other sentences are
    """This Medic may not change anything, in the world or in the store: another one leads, or may by now."""

    def __init__(self, verb: str, why: str) -> None:
        super().__init__(f"cannot {verb}: {why}", transient=False)
