"""Gives a call that has no deadline of its own one: it runs on a thread of its own, and the caller stops waiting in time.

A thread cannot be ended from outside, so at most one such call per `Deadline` is ever left behind: while it lives, the next
one is refused instead of piling up beside it.
"""

import threading
from collections.abc import Callable
from datetime import timedelta

from agent.errors import OutsideError


class Deadline:
    """One caller's bounded calls, one at a time.

    what: names the call in errors, for example `send to channel 'ops'`.
    """

    def __init__(self, what: str, limit: timedelta) -> None:
        self._what = what
        self._limit = limit
        self._busy = threading.Lock()

    def run(self, call: Callable[[], None], abort: Callable[[], None] = lambda: None) -> None:
        """Run `call` and return when it has ended; raise what it raised.

        abort: called once when the time is over, to end the call (close its socket) where that can be done.
        Raises OutsideError (transient) when the time is over, or while an earlier call has not ended.
        """
        if not self._busy.acquire(blocking=False):
            raise OutsideError(f"cannot {self._what}: an earlier call has not ended yet", transient=True)
        done = threading.Event()
        raised: list[BaseException] = []

        def body() -> None:
            try:
                call()
            except BaseException as exc:  # noqa: BLE001  # carried to the caller's thread, which raises it
                raised.append(exc)
            finally:
                self._busy.release()
                done.set()

        threading.Thread(target=body, name=f"bounded: {self._what}", daemon=True).start()
        if not done.wait(self._limit.total_seconds()):
            abort()
            raise OutsideError(f"cannot {self._what}: no answer within {self._limit.total_seconds():g} s", transient=True)
        if raised:
            raise raised[0]
