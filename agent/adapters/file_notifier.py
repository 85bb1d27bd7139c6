"""A channel that is a file: one JSON object per line, on disk before `send` returns. The channel that needs no network."""

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from agent import codec, notices
from agent.errors import ConfigError, OutsideError
from agent.model import Notice

PATIENCE = timedelta(seconds=5)
"""How long one writer waits for another; a line and its fsync take milliseconds, so longer means that somebody hangs."""
_TRY_AGAIN = 0.01
"""Seconds between two tries: flock itself would wait without an end."""


class FileNotifier:
    """Appends notices to `path`, readable by its owner only. Raises ConfigError for a path that cannot be such a file.

    Any number of them, in any number of processes, may write to one file: each waits its turn.

    redact: applied to every text before it is written. patience: how long it waits for another writer.
    """

    def __init__(self, channel: str, path: Path, *, redact: Callable[[str], str], patience: timedelta = PATIENCE) -> None:
        if path.exists() and not path.is_file():
            raise ConfigError(f"cannot use channel {channel!r}: {path} is not a plain file")
        if not path.is_absolute():
            raise ConfigError(f"cannot use channel {channel!r}: {path} must be an absolute path")
        self._channel = channel
        self._path = path
        self._redact = redact
        self._patience = patience

    def send(self, notice: Notice) -> None:
        """Append one line and wait until the disk has it.

        Raises OutsideError (transient: a full disk is emptied some day, and a writer that hangs is ended).
        """
        line = json.dumps(codec.as_dict(notices.redacted(notice, self._redact)), ensure_ascii=False).encode() + b"\n"
        try:
            self._append(line)
        except OSError as exc:
            raise OutsideError(
                f"cannot write to channel {self._channel!r}: {self._path}: {exc.strerror}", transient=True
            ) from exc

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # O_NONBLOCK: opening a FIFO that someone put here would wait for its reader for ever.
        opened = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        with os.fdopen(opened, "r+b", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise OSError(0, "it is not a plain file")
            # Until the file is closed: what another writer has half written is not torn, and no line comes between two halves.
            self._lock(opened)
            size = file.seek(0, os.SEEK_END)
            # A full disk may have cut the line before: this one must not become part of it.
            torn = size > 0 and os.pread(opened, 1, size - 1) != b"\n"
            left = memoryview(b"\n" + line if torn else line)
            while left:
                left = left[file.write(left) :]
            os.fsync(opened)

    def _lock(self, opened: int) -> None:
        end = time.monotonic() + self._patience.total_seconds()
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            if time.monotonic() > end:
                raise OSError(0, f"another writer has had it locked for {self._patience.total_seconds():g} s")
            time.sleep(_TRY_AGAIN)  # noqa: TID251  # what is waited for is another process, on the real clock
