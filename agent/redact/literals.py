"""The forms in which a known secret stands in a text: plain, in URLs, JSON, hex and base64."""

import base64
import json
from urllib.parse import quote, quote_plus

SHORTEST = 6
"""A known secret shorter than this is no secret, and replacing it would wreck ordinary words."""
_SHORTEST_ENCODED = 8


def forms(literal: str) -> set[str]:
    """Return a secret as it stands in URLs, JSON, hex dumps and base64 (at each of the three offsets within a longer text)."""
    raw = literal.encode("utf-8", "replace")
    forms = {
        literal,
        quote(literal, safe=""),
        quote_plus(literal),
        json.dumps(literal)[1:-1],
        json.dumps(literal, ensure_ascii=False)[1:-1],
    }
    encoded = {raw.hex(), raw.hex().upper()}
    for offset, skipped in ((0, 0), (1, 2), (2, 3)):
        # Characters that mix our bits with a neighbour's are not ours to know.
        known = (offset + len(raw)) * 8 // 6
        encoded.add(base64.b64encode(bytes(offset) + raw).decode()[skipped:known])
        encoded.add(base64.urlsafe_b64encode(bytes(offset) + raw).decode()[skipped:known])
    return forms | {form for form in encoded if len(form) >= _SHORTEST_ENCODED}
