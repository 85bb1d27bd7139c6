"""A channel that is an apprise URL (chat, e-mail, pager): apprise knows how to speak to a hundred services.

apprise has no retry (our outbox has), reports trouble as a falsy result, and takes a URL it does not understand in silence
(reference: apprise 2.2.0, `Apprise.add` returns False). So the URL is checked when the channel is made.
"""

import logging
from collections.abc import Callable
from datetime import timedelta

import apprise

from agent import notices
from agent.adapters.deadline import Deadline
from agent.errors import ConfigError, OutsideError
from agent.model import Notice, NoticeKind

DEADLINE = timedelta(seconds=15)
"""For one notice. apprise bounds each request by 4 s to connect and 4 s to read; e-mail and some chats need several."""

_TYPES = {
    NoticeKind.OPENED: apprise.NotifyType.WARNING,
    NoticeKind.ESCALATED: apprise.NotifyType.FAILURE,
    NoticeKind.RESOLVED: apprise.NotifyType.SUCCESS,
}


class AppriseNotifier:
    """Sends notices to one apprise URL. Raises ConfigError for a URL that apprise does not understand.

    redact: applied to every text before it is sent. The URL holds the channel's secret: it is in no error and no log.
    """

    def __init__(self, channel: str, url: str, *, redact: Callable[[str], str], deadline: timedelta = DEADLINE) -> None:
        # It logs its payload and URL at its own levels; what matters comes back as an OutsideError.
        logging.getLogger("apprise").setLevel(logging.CRITICAL)
        # Without `recursion` and attachments, a notice's text can never make apprise read a file or another URL.
        target = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        if target is None:
            scheme = url.split(":", 1)[0] if "://" in url else ""
            named = f"the {scheme}:// URL" if scheme.isalnum() else "the URL"
            raise ConfigError(
                f"cannot use channel {channel!r}: apprise does not understand {named}; see the list of services in apprise's documentation"
            )
        self._channel = channel
        self._target = apprise.Apprise(target)
        self._redact = redact
        self._deadline = Deadline(f"send to channel {channel!r}", deadline)

    def send(self, notice: Notice) -> None:
        """Deliver one notice. Raises OutsideError (transient) when the service did not take it in time."""
        self._deadline.run(lambda: self._send(notices.redacted(notice, self._redact)))

    def _send(self, notice: Notice) -> None:
        try:
            taken = self._target.notify(
                title=notice.title,
                body=f"{notice.body}\n[{notice.dedup_key}]",
                notify_type=_TYPES[notice.kind],
                body_format=apprise.NotifyFormat.TEXT,
                interpret_escapes=False,
            )
        except (
            apprise.exception.AppriseException,
            TypeError,
        ) as exc:  # TypeError: how apprise says that it was given nothing to send
            raise OutsideError(f"cannot send to channel {self._channel!r}: {type(exc).__name__}", transient=False) from exc
        if not taken:
            raise OutsideError(f"cannot send to channel {self._channel!r}: the service did not take the notice", transient=True)
