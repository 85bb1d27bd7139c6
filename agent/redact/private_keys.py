"""Private keys in PEM: the one secret that goes over many lines, whole, cut at either end, or escaped into one line."""

import re

_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_SAME_LINE = re.compile(r"(?:[A-Za-z0-9+/=\\]|[ \t\r](?=[A-Za-z0-9+/=]{16}))*")
"""What follows a BEGIN on its own line when the END is cut off: base64 with escaped or blanked line ends."""
_BODY = re.compile(r"(?:^|(?<=[\s|>\"':\]]))([A-Za-z0-9+/=]{40,})(?:\\[nr])*[\"',]{0,2}\s*$")
_LAST = re.compile(
    r"(?:^|(?<=[\s|>\"':\]]))((?=\S*[A-Z0-9=])(?:[A-Za-z0-9+/]{4})*[A-Za-z0-9+/]{2}[A-Za-z0-9+/=]{2})(?:\\[nr])*[\"',]{0,2}\s*$"
)
"""The short last line of a body. A lower-case word is none."""
_BEFORE_END = re.compile(r"[A-Za-z0-9+/=\\]{16,}(?:\\[nr])*$")
_HEADER = re.compile(r"^\s*$|Proc-Type:|DEK-Info:|Comment:|Version:")
_KEY_MARK = "[REDACTED:private-key]"


def without_private_keys(lines: list[str]) -> list[str]:
    """Replace private keys, line by line so that line numbers stay: whole blocks, cut ones, and tails without a head."""
    out: list[str] = []
    inside = False
    for line in lines:
        begin, end = _BEGIN.search(line), _END.search(line)
        if begin:
            kept, inside = _keyless(line)
            out.append(kept)
        elif end:
            if not inside:
                _cover_backwards(out)
            # The rest of a body may stand before END on the same line; between two of them stands another key's.
            head = _BEFORE_END.sub("", line[: end.start()])
            *_, last = _END.finditer(line)
            out.append(f"{head}{_KEY_MARK}{line[last.end() :]}")
            inside = False
        elif inside:
            kept, inside = _covered(line)
            out.append(kept)
        else:
            out.append(line)
    return out


def _keyless(line: str) -> tuple[str, bool]:
    """Return a line without the keys that begin on it, and whether the last of them goes on below."""
    parts: list[str] = []
    at = 0
    inside = False
    while begin := _BEGIN.search(line, at):
        parts += [line[at : begin.start()], _KEY_MARK]
        end, nested = _END.search(line, begin.end()), _BEGIN.search(line, begin.end())
        # A second BEGIN before the END: the first block was cut. Stopping there keeps this linear on hostile input.
        if end and (nested is None or end.start() < nested.start()):
            at = end.end()
            inside = False
        else:
            rest = _SAME_LINE.match(line, begin.end())
            at = rest.end() if rest else begin.end()
            inside = nested is None
    parts.append(line[at:])
    return "".join(parts), inside


def _covered(line: str) -> tuple[str, bool]:
    """Return a line inside a block without its base64, and whether the block can still go on."""
    if body := _BODY.search(line):
        return f"{line[: body.start(1)]}{_KEY_MARK}{line[body.end(1) :]}", True
    if _HEADER.search(line):
        return line, True
    if last := _LAST.search(line):
        return f"{line[: last.start(1)]}{_KEY_MARK}{line[last.end(1) :]}", False
    return line, False


def _cover_backwards(out: list[str]) -> None:
    """Cover the base64 lines just above an END whose BEGIN is not in the text."""
    for index in range(len(out) - 1, max(-1, len(out) - 200), -1):
        pattern = _LAST if index == len(out) - 1 else _BODY
        found = pattern.search(out[index])
        if not found:
            return
        out[index] = f"{out[index][: found.start(1)]}{_KEY_MARK}{out[index][found.end(1) :]}"
