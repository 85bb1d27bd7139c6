"""Untrusted text for a prompt: redacted, then made one line, then cut, then fenced with a word that nobody outside can know.

The order matters. Text that was cut before it was redacted can hold half a secret, which no rule knows; text that keeps its
line ends can write lines of its own into the prompt. A fence alone does not stop injection (measured by others, again and
again): what a model makes of it all is checked in `reply` and by `plan`.
"""

import re
import secrets
from collections.abc import Callable

from agent.redact import visible

LONGEST_TEXT = 300
"""Characters of one line of data."""

_EMAIL = re.compile(
    r"\b[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,5}(?!service\b|socket\b|timer\b|mount\b)[a-z][\w-]{1,23}\b", re.IGNORECASE
)
"""An address of a person, which no diagnosis needs; `getty@tty1.service` is none. Addresses of machines stay: it does need those."""
_BLANKS = re.compile(r"\s+")


def word() -> str:
    """Return a new word for a fence."""
    return secrets.token_hex(8)


def line(text: str, redact: Callable[[str], str], limit: int = LONGEST_TEXT) -> str:
    """Return one line of data: redacted, visible, without e-mail addresses and line ends, at most `limit` characters and a mark."""
    flat = _EMAIL.sub("[EMAIL]", _BLANKS.sub(" ", visible.visible(redact(text))).strip())
    return flat if len(flat) <= limit else f"{flat[:limit]} [... {len(flat) - limit} more characters]"


def fenced(data: str, nonce: str) -> str:
    """Return `data` between two lines that carry `nonce`, which cannot stand inside it."""
    inside = data.replace(nonce, "[...]")
    return f"<<<DATA {nonce}\n{inside}\nDATA {nonce}>>>"
