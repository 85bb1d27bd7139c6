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

_BLANKS = re.compile(r"\s+")


def word() -> str:
    """Return a new word for a fence."""
    return secrets.token_hex(8)


def line(text: str, redact: Callable[[str], str], limit: int = LONGEST_TEXT) -> str:
    """Return one line of data: redacted, visible, without line ends, at most `limit` characters and a mark."""
    flat = _BLANKS.sub(" ", visible.visible(redact(text))).strip()
    return flat if len(flat) <= limit else f"{flat[:limit]} [... {len(flat) - limit} more characters]"


def fenced(data: str, nonce: str) -> str:
    """Return `data` between two lines that carry `nonce`, which cannot stand inside it."""
    inside = data.replace(nonce, "[...]")
    return f"<<<DATA {nonce}\n{inside}\nDATA {nonce}>>>"
