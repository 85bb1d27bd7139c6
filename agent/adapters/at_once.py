"""Makes several blocking calls at once and stops waiting in time. A call that hangs costs its own answer and nothing else."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def call_all(calls: Mapping[K, Callable[[], V]], deadline: timedelta) -> dict[K, V]:
    """Make every call on a daemon thread of its own; return the answers that came before `deadline`.

    A call without an answer is still running, could not be started (no more threads), or raised. Daemon threads, since a
    pool's threads are joined when the interpreter ends: one hung call would keep the whole program from ending.
    """
    ended: queue.SimpleQueue[tuple[K, list[V]]] = queue.SimpleQueue()

    def body(key: K, call: Callable[[], V]) -> None:
        answer: list[V] = []
        try:
            answer.append(call())
        finally:
            ended.put((key, answer))

    end = time.monotonic() + deadline.total_seconds()
    waiting = 0
    for key, call in calls.items():
        try:
            threading.Thread(target=body, args=(key, call), name=f"ask {key}"[:60], daemon=True).start()
        except RuntimeError:  # "can't start new thread": our own exhaustion
            continue
        waiting += 1
    answers: dict[K, V] = {}
    while waiting:
        try:
            key, answer = ended.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        waiting -= 1
        answers.update((key, value) for value in answer)
    return answers
