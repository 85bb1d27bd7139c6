"""Standard logging, set up once for a daemon: one handler on stderr, text or JSON, every line redacted."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from agent import incident_at_hand
from agent.settings import LogFormat

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""Attributes that every record has; what else is there came with `extra=`."""


def _fields(record: logging.LogRecord) -> dict[str, str]:
    return {key: str(value) for key, value in vars(record).items() if key not in _PLAIN}


class _Lines(logging.Formatter):
    """One line per record, its `extra=` fields behind the sentence, without secrets."""

    def __init__(self, redact: Callable[[str], str], *, as_json: bool) -> None:
        super().__init__()
        self._redact = redact
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        incident = incident_at_hand.named()  # a line of an adapter does not know whose it is; the thread does
        fields = {**({"incident": incident} if incident else {}), **_fields(record)}
        trace = self.formatException(record.exc_info) if record.exc_info else None
        at = datetime.fromtimestamp(record.created, UTC)
        if self._as_json:
            head = {"at": at.isoformat(), "level": record.levelname, "logger": record.name, "message": record.getMessage()}
            whole = {**fields, **head, **({"trace": trace} if trace else {})}
            return json.dumps({key: self._redact(value) for key, value in whole.items()}, ensure_ascii=True)
        words = [record.getMessage(), *(f"{key}={value}" for key, value in fields.items())]
        line = f"{at.astimezone():%H:%M:%S} {record.levelname:<7} {record.name}: {' '.join(words)}".replace("\n", " ")
        return self._redact(f"{line}\n{trace}" if trace else line)


def configure(form: LogFormat, *, verbose: bool, redact: Callable[[str], str]) -> None:
    """Send the log to stderr. Text is for a person who has the timeline beside it: warnings only, unless `verbose`."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines(redact, as_json=form == "json"))
    logging.basicConfig(level=logging.INFO if verbose or form == "json" else logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("agent").setLevel(logging.DEBUG if verbose else logging.NOTSET)
