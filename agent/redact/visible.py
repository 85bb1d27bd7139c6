"""Text as a reader sees it: what hides a secret from a rule (escapes, invisible characters, look-alikes) goes first."""

import re
import unicodedata

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|\x1b[@-Z\\-_]?|\x9b[0-?]*[ -/]*[@-~]")
"""Terminal sequences: CSI, OSC, two-byte ones, and the 8-bit CSI. Source: ECMA-48 section 5.4."""
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+")
_FIRST_COMPATIBLE = 0x2000


class _Seen(dict[int, str | int | None]):
    """Maps a code point to what a reader sees of it: nothing for invisible ones, ASCII for its look-alikes of equal length.

    Full NFKC could make a text 18 times longer; one character for one keeps every cap true.
    """

    def __missing__(self, code: int) -> str | int | None:
        char = chr(code)
        seen: str | int | None = code
        category = unicodedata.category(char)
        if category == "Cs":
            seen = "\ufffd"  # half a surrogate pair cannot be encoded by whoever writes this text
        elif category == "Cf" or (category == "Cc" and char not in "\t\n\r") or 0xFE00 <= code <= 0xFE0F:
            seen = None
        elif code >= _FIRST_COMPATIBLE:
            folded = unicodedata.normalize("NFKC", char)
            seen = folded if len(folded) == 1 and folded.isascii() else code
        self[code] = seen
        return seen


_SEEN = _Seen()


def visible(text: str) -> str:
    """Return the text as a reader sees it: no terminal escapes, no invisible characters, full-width letters as plain ones."""
    if "\x1b" in text or "\x9b" in text:
        text = _ESCAPES.sub("", text)
    if text.isascii():
        return _CONTROLS.sub("", text)
    return text.translate(_SEEN)
