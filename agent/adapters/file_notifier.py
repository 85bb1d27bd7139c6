"""A channel that is a file: one JSON object per line, on disk before `send` returns. The channel that needs no network."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

from agent import codec, notices
from agent.errors import ConfigError, OutsideError
from agent.model import Notice


class FileNotifier:
    """Appends notices to `path`, readable by its owner only. Raises ConfigError for a path that cannot be such a file.

    redact: applied to every text before it is written.
    """

    def __init__(self, channel: str, path: Path, *, redact: Callable[[str], str]) -> None:
        if path.exists() and not path.is_file():
            raise ConfigError(f"cannot use channel {channel!r}: {path} is not a plain file")
        if not path.is_absolute():
            raise ConfigError(f"cannot use channel {channel!r}: {path} must be an absolute path")
        self._channel = channel
        self._path = path
        self._redact = redact

    def send(self, notice: Notice) -> None:
        """Append one line and wait until the disk has it. Raises OutsideError (transient: a full disk is emptied some day)."""
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
            size = file.seek(0, os.SEEK_END)
            # A full disk may have cut the line before: this one must not become part of it.
            torn = size > 0 and os.pread(opened, 1, size - 1) != b"\n"
            left = memoryview(b"\n" + line if torn else line)
            while left:
                left = left[file.write(left) :]
            os.fsync(opened)
