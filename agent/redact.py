"""The one choke point for secrets: every text that leaves Medic (store, report, notice, prompt, log line) passes a `Redactor`.

In: any text. Out: the same text with each secret replaced by `[REDACTED:<kind>]`, without terminal escapes and invisible
characters (a zero-width space inside a token would hide it from a rule, not from a reader). What a diagnosis needs is kept:
addresses, host names, UUIDs, digests, commit and container ids, paths, prose about passwords.

Redact first and cut afterwards: text that was cut before it came here can hold half a secret, which no rule knows.

Known gaps, accepted: a password after nothing but a space in prose, base64 or hex of an unknown secret, a token wrapped over
two lines. A secret that is ours is caught there too, as a literal.
"""

import base64
import dataclasses
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar, cast
from urllib.parse import quote, quote_plus

from agent.model import CommandCheck, CompletionCheck, HttpCheck, Plan, Request, RunSpec, Service, Spec

LONGEST_LINE = 65_536
"""Characters. A longer line keeps its head and its tail: 100 MB in one line must not cost more than 64 KB does."""
_KEPT = 28_672
"""Characters kept at each end of a line that is too long; both ends and the marker stay under LONGEST_LINE."""
_OVERLAP = 4_096
"""Read beyond each kept end and dropped after redaction, so that a secret at the cut is seen whole."""
_SHORTEST_LITERAL = 6
"""A known secret shorter than this is no secret, and replacing it would wreck ordinary words."""
_SHORTEST_ENCODED = 8
_GROWTH = 1.5
_SLACK = 64
"""A redacted text is at most `_GROWTH` times as long as it was, plus `_SLACK`: caps upstream stay true."""


class Redactor:
    """Replaces secrets in text. Never raises; what it cannot redact it withholds (`[REDACTION FAILED: n bytes]`).

    literals: exact secrets that are known (configuration, environment); they are found in their URL, JSON, hex and base64
    forms as well. Redacting twice changes nothing. Bars and sample: tests/unit/test_redact.py.
    """

    def __init__(self, literals: Iterable[str] = ()) -> None:
        forms = {form for literal in literals if len(literal) >= _SHORTEST_LITERAL for form in _encodings(literal)}
        # Longest first: a short secret that starts a longer one must not leave the longer one's rest behind.
        self._literals = tuple(sorted(forms, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """Return `text` without its secrets, at most 1.5 times as long plus 64 characters."""
        try:
            return _bounded(self._redact(text), text)
        except Exception:  # noqa: BLE001  # whatever went wrong here, letting the text through would be worse
            return f"[REDACTION FAILED: {_size(text)} bytes]"

    def _redact(self, text: str) -> str:
        if len(text) > LONGEST_LINE:
            text = "\n".join(self._shortened(line) if len(line) > LONGEST_LINE else line for line in text.split("\n"))
        text = _visible(text)
        for literal in self._literals:
            if literal in text:
                text = text.replace(literal, "[REDACTED:known]")
        return "\n".join(_redact_lines(text))

    def _shortened(self, line: str) -> str:
        """Return the head and tail of an over-long line, each redacted before it is cut."""
        head, tail = self._redact(line[: _KEPT + _OVERLAP]), self._redact(line[-(_KEPT + _OVERLAP) :])
        return f"{head[:_KEPT]} [... {len(line) - 2 * _KEPT} characters left out ...] {tail[-_KEPT:]}"


T = TypeVar("T")
_MARKED = "[REDACTED:"


def within(value: T, redact: Callable[[str], str]) -> T:
    """Return a value of the model, or plain JSON, with every text inside it redacted. Equal texts stay equal; types stay.

    What Medic acts on stays as it is, to the letter: a declaration, a plan, a person's request. They hold no secret, for
    whoever wrote one into them was refused (`holds_secret`).
    """
    return cast("T", _within(value, redact))


def pair(name: str, value: str, redact: Callable[[str], str]) -> tuple[str, str]:
    """Return a name and its value, redacted also where only the name says that the value is a secret."""
    together = redact(f"{name}={value}")
    hidden = together.count(_MARKED) > f"{name}={value}".count(_MARKED)
    alone = redact(value)
    return redact(name), "[REDACTED:setting]" if hidden and alone == value else alone


def holds_secret(texts: Iterable[str]) -> bool:
    """Return whether a rule knows a secret in one of these texts."""
    rules = Redactor()
    return any(rules(text).count(_MARKED) > text.count(_MARKED) for text in texts)


def texts_of(service: Service) -> Iterator[str]:
    """Return every text of a declaration, and together what is read together: pairs, and the words of a command."""
    sent = (check.headers for check in service.checks if isinstance(check, HttpCheck | CompletionCheck))
    for pairs in (*sent, *_pairs(service.spec)):
        yield from (f"{name}={value}" for name, value in pairs)
    if isinstance(service.spec, RunSpec):
        yield " ".join(service.spec.command)
    yield from (" ".join(check.command) for check in service.checks if isinstance(check, CommandCheck))
    yield from _texts(service)


def _pairs(spec: Spec | None) -> tuple[tuple[tuple[str, str], ...], ...]:
    return (spec.env, spec.labels) if isinstance(spec, RunSpec) else ()


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _texts(part)
    elif dataclasses.is_dataclass(value):
        for each in dataclasses.fields(value):
            yield from _texts(getattr(value, each.name))


def _within(value: object, redact: Callable[[str], str]) -> object:
    match value:
        case str():
            return redact(value)
        case Service() | Plan() | Request():
            return value
        case (str(name), str(text)) if isinstance(value, tuple):
            return pair(name, text, redact)
        case tuple() | list():
            return type(value)(_within(part, redact) for part in value)
        case dict():
            return {redact(str(key)): _within(part, redact) for key, part in value.items()}
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            parts = {each.name: _within(getattr(value, each.name), redact) for each in dataclasses.fields(value)}
            return dataclasses.replace(value, **parts)
        case _:
            return value


# ---------------------------------------------------------------------------------------------------------------- rules


@dataclass(frozen=True, slots=True)
class _Rule:
    """One shape of secret. The secret is the group that matched, or the whole match of a pattern without groups."""

    kind: str
    needles: tuple[str, ...]
    """Lower case. The pattern is tried only on lines that hold one of them: a substring test is 50 times cheaper."""
    pattern: re.Pattern[str]
    spares: Callable[[str, str], bool] = lambda _before, _secret: False
    """(text before the match and the match's own head, what would be replaced) -> True for what only looks like a secret."""


def _rule(
    kind: str, needles: str, pattern: str, spares: Callable[[str, str], bool] | None = None, *, exact: bool = False
) -> _Rule:
    flags = re.ASCII if exact else re.ASCII | re.IGNORECASE
    compiled = re.compile(pattern, flags)
    return _Rule(kind, tuple(needles.split()), compiled, spares) if spares else _Rule(kind, tuple(needles.split()), compiled)


_NAMES = (
    r"pass(?:word|wd|phrase|code)|pwd|_pass|-pass|secret|token|api[_-]?key|apikey|access[_-]?key|account[_-]?key|secret[_-]?key"
    r"|private[_-]?key|auth[_-]?key|encryption[_-]?key|signing[_-]?key|master[_-]?key|client[_-]?key|shared[_-]?key|credentials?"
    r"|requirepass|masterauth|connection[_-]?string"
)
_NAME_NEEDLES = "pass pwd secret token key credential masterauth connection"
_PROSE = frozenset(
    re.findall(
        r"\w+",
        """
        a an and are as at authentication bad by can cannot changed could denied disabled does empty enabled error errors exceeded expired
        expires failed failure false for found from has if in incorrect invalid is it key length limit mismatch missing must needed no none
        not null of ok on optional or provided rejected required reset revoked rotated set should string the this to too true undefined
        unknown unset unauthorized updated user valid was with wrong yes bearer basic android com
        """,
    )
)
_MODEL_TOKENS = re.compile(
    r"(?:\b|_)(?:eos|bos|pad|unk|sep|cls|mask|stop|special|next|last|first|start|end|image|per|new|continuation)_?\Z",
    re.IGNORECASE,
)
"""`eos_token='</s>'` is a tokeniser's setting, and every inference engine logs it."""


def _no_secret(before: str, secret: str) -> bool:
    """Return whether a value under a secret-sounding name is prose, a reference, a switch, or a number of tokens."""
    head = before.lower()
    plain = secret.strip("\"'\\")
    is_token = "token" in head[-12:]
    return (
        plain.lower().rstrip(".,;:)!") in _PROSE
        or plain.startswith(("${", "$(", "{{", "<", "%(", "/run/secrets/", "file:", "vault:", "arn:"))
        or (plain.startswith("/") and ("pwd" in head[-8:] or is_token))
        or (is_token and (plain.replace(".", "").isdigit() or _MODEL_TOKENS.search(before[: head.rfind("token")]) is not None))
        or (is_token and ("." in plain and plain.replace(".", "").isalpha()))
        or plain.startswith(("android.", "com.", "java.", "org."))
    )


_VALUE = r"""(?:\\+["']((?:[^"'\\]|\\[^"'])+)|[bur]?"((?:[^"\\]|\\.){3,})"|[bur]?'((?:[^'\\]|\\.){3,})'|([^\s"'\\,;&|<>(){}\[\]][^\s"'\\,;&|<>){}\]]{2,}))"""
"""A value in any quoting: escaped quotes, double, single, or bare up to a separator. Three characters at least."""

_RULES: tuple[_Rule, ...] = (
    # Prefixes that a provider gave its keys: nothing else looks like them.
    _rule("aws-key", "akia asia abia acca", r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])", exact=True),
    _rule("google-key", "aiza ya29. gocspx-", r"AIza[\w-]{35}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,}", exact=True),
    _rule("github-token", "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_", r"gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{22,}", exact=True),
    _rule("gitlab-token", "gl", r"\bgl(?:pat|dt|rt|ptt|ft|soat|cbt|imt|agent|oas|ffct)-[\w-]{20,}(?:\.[\w.]+)?", exact=True),
    _rule("slack-token", "xox xapp-", r"xox[abeoprs](?:\.xox[bp])?-[\w-]{10,}|xapp-[\w-]{10,}"),
    _rule(
        "webhook-url",
        "hooks.slack.com discord webhook.office.com logic.azure.com",
        r"(?:hooks\.slack\.com/(?:services|workflows|triggers)|discord(?:app)?\.com/api/webhooks|webhook\.office\.com/webhookb2)/([^\s\"'<>]+)",
    ),
    _rule("stripe-key", "_live_ _test_ whsec_", r"\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}|\bwhsec_[A-Za-z0-9+/=]{20,}"),
    _rule(
        "model-key",
        "sk- gsk_ xai- r8_ nvapi-",
        r"\bsk-[\w-]{20,}|\b(?:gsk_|r8_)[A-Za-z0-9]{30,}|\bxai-[\w-]{30,}|\bnvapi-[\w-]{30,}",
        exact=True,
    ),
    _rule("huggingface-token", "hf_", r"\bhf_[A-Za-z0-9]{30,}", exact=True),
    _rule("package-token", "npm_ pypi-", r"\bnpm_[A-Za-z0-9]{36}|\bpypi-[\w-]{50,}", exact=True),
    _rule("sendgrid-key", "sg.", r"\bSG\.[\w-]{16,}\.[\w-]{16,}", exact=True),
    _rule("twilio-key", "sk", r"\bSK[0-9a-f]{32}\b", exact=True),
    _rule("vault-token", "hvs. hvb. hvr.", r"\bhv[sbr]\.[\w-]{20,}", exact=True),
    _rule("telegram-token", ":aa", r"(?<!\d)\d{8,10}:AA[\w-]{32,}", exact=True),
    _rule("cloud-token", "_v1_ pul- dapi", r"\bdo[opr]_v1_[0-9a-f]{64}|\bpul-[0-9a-f]{40}|\bdapi[0-9a-f]{32}\b", exact=True),
    _rule("private-key", "age-secret-key-", r"AGE-SECRET-KEY-1[0-9A-Z]{50,}"),
    _rule(
        "password-hash",
        "$1$ $2 $5$ $6$ $y$ $apr1$ $argon2",
        r"\$(?:1|5|6|y|apr1|2[abxy]?)\$[\w./$=,-]{16,}|\$argon2(?:id|i|d)\$[\w./$=,+-]{16,}",
    ),
    # Structures.
    _rule("jwt", "eyj", r"eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*){0,3}", exact=True),
    _rule(
        "authorization",
        "authorization",
        r"authorization[\"'\\]{0,3}\s*(?:[:=]|=>|,)\s*[\"'\\]{0,3}"
        r"(?:(?:Digest|AWS4-HMAC-SHA256)\s+([^\r]{3,})|(?:[A-Za-z][\w-]{2,24}\s+(?=\S{8}))?([^\s\"'\\,;\]}]{3,}))",
        _no_secret,
    ),
    _rule("bearer", "bearer", r"\bBearer\s+([\w.~+/=:-]{12,})", _no_secret),
    _rule(
        "basic-auth",
        "basic",
        r"\bBasic\s+([A-Za-z0-9+/]{12,}={0,2})(?![\w-])",
        lambda _before, secret: secret.isalpha() and secret.islower(),
    ),
    _rule(
        "url-password",
        "://",
        r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@\"'<>]{0,256}:(?!\d{1,5}(?:/|$))([^\s\"'<>]{1,512})@(?=[\w.\[-])",
    ),
    _rule(
        "url-signature",
        "sig= signature= token= key= x-amz- secret= password= pwd= code= auth=",
        r"[?&;](?:sig|(?:x-amz-|x-goog-)?signature|x-amz-security-token|x-amz-credential|(?:access_|refresh_|id_|auth_)?token|api_?key"
        r"|key|(?:client_)?secret|password|pwd|code|auth)=([^&\s\"'#<>]{3,})",
    ),
    _rule("cookie", "cookie", r"\b(?:set-)?cookie[\"'\\]{0,3}\s*(?:[:=]|=>)\s*[\"'\\]{0,3}([\w.%-]+=[^\"'\\\r]{3,})"),
    _rule(
        "docker-auth",
        "auth identitytoken registrytoken",
        r"\\*\"(?:_?auth|identitytoken|registrytoken)\\*\"\s*:\s*\\*\"([^\"\\]{3,})",
    ),
    _rule("netrc", "machine", r"\bmachine\s+\S+\s+login\s+\S+\s+password\s+(\S{3,})"),
    _rule("sql-password", "password identified", r"\b(?:PASSWORD|IDENTIFIED\s+BY)\s+'((?:[^'\\]|\\.|''){3,})'"),
    _rule("xml-password", "</", rf"<[\w:.-]{{0,40}}(?:{_NAMES})>([^<]{{3,}})<"),
    _rule("flag", "--", rf"(?<![\w-])--?[\w-]{{0,40}}?(?:{_NAMES})(?:=|\s+|[\"'],\s*[\"'])(?!-){_VALUE}", _no_secret),
    _rule(
        "flag",
        "sshpass redis-cli mysql mariadb docker podman mongo",
        r"\b(?:sshpass\s+(?:-\w+\s+)*?-p\s*|redis-cli\b[^\n|;]{0,200}?\s-a\s+|(?:mysql|mysqldump|mysqladmin|mariadb)\b[^\n|;]{0,200}?\s-p(?=\S)"
        r"|(?:docker|podman)\s+login\b[^\n|;]{0,200}?\s-p\s+|mongo\w*\b[^\n|;]{0,200}?\s-p\s+)[\"']?([^\s\"']{3,})",
    ),
    _rule(
        "flag",
        "curl wget http",
        r"\b(?:curl|wget|https?)\b[^\n|;]{0,200}?\s(?:-u|--user|--proxy-user|-a|-U)[=\s]*[\"']?[^\s:\"']{1,100}:([^\s\"']{3,})",
    ),
    _rule(
        "name-value",
        "value",
        rf"\b(?:name|key)\\*[\"']?\s*[:=]\s*\\*[\"']?\w{{0,60}}?(?:{_NAMES}|_key)\\*[\"']?\s*,?\s*\\*[\"']?value\\*[\"']?\s*[:=]\s*{_VALUE}",
    ),
    _rule(
        "setting",
        _NAME_NEEDLES,
        rf"(?:{_NAMES})\d{{0,2}}(?:[\"'\]\\]|%22){{0,4}}\s{{0,8}}(?:=>|:=|==?|:|[\"'],)\s{{0,8}}{_VALUE}",
        _no_secret,
    ),
    _rule("setting", "pass", rf"\bpass[\"']?\s?=\s?{_VALUE}", _no_secret),
    _rule(
        "setting",
        "_key",
        r"\b[A-Z][A-Z0-9_]{0,60}_KEY[\"']?\s?[=:]\s?[\"']?([^\s\"',;]{16,})",
        lambda _before, secret: secret.startswith(("/", "${", "<")),
        exact=True,
    ),
)


# ---------------------------------------------------------------------------------------------------------------- lines


def _redact_lines(text: str) -> list[str]:
    """Redact each line with the rules whose needles the text holds at all, carrying private-key blocks across lines."""
    lowered = text.lower()
    rules = [rule for rule in _RULES if any(needle in lowered for needle in rule.needles)]
    lines = text.split("\n")
    if "private key" in lowered:
        lines = _without_private_keys(lines)
    return [_redact_line(line, rules) for line in lines] if rules else lines


def _redact_line(line: str, rules: list[_Rule]) -> str:
    lowered = line.lower()
    for rule in rules:
        for needle in rule.needles:
            if needle in lowered:
                line = rule.pattern.sub(_replacing(rule), line)
                break
    return line


def _replacing(rule: _Rule) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        whole = match[0]
        group = match.lastindex or 0
        secret = match[group]
        # Replaced already, or masked by whoever wrote the line: redacting twice changes nothing.
        if "[REDACTED:" in secret or not secret.strip("*x\"' "):
            return whole
        start = match.start(group) - match.start()
        before = match.string[max(0, match.start() - 24) : match.start(group)]
        if rule.spares(before, secret):
            return whole
        return f"{whole[:start]}[REDACTED:{rule.kind}]{whole[start + len(secret) :]}"

    return replace


# --------------------------------------------------------------------------------------------------------- private keys

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


def _without_private_keys(lines: list[str]) -> list[str]:
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
            # The rest of a body may stand before END on the same line.
            head = _BEFORE_END.sub("", line[: end.start()])
            out.append(f"{head}{_KEY_MARK}{line[end.end() :]}")
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


# ----------------------------------------------------------------------------------------------------- what can be seen

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


def _visible(text: str) -> str:
    """Return the text as a reader sees it: no terminal escapes, no invisible characters, full-width letters as plain ones."""
    if "\x1b" in text or "\x9b" in text:
        text = _ESCAPES.sub("", text)
    if text.isascii():
        return _CONTROLS.sub("", text)
    return text.translate(_SEEN)


# ------------------------------------------------------------------------------------------------- literals and bounds


def _encodings(literal: str) -> set[str]:
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


_MARK = re.compile(r"\[REDACTED:[a-z-]+\]")


def _bounded(redacted: str, text: str) -> str:
    """Return the redacted text, with short marks where many tiny secrets would make it much longer than it was."""
    if len(redacted) <= len(text) * _GROWTH + _SLACK:
        return redacted
    return _MARK.sub("***", redacted)


def _size(text: object) -> int:
    return len(text.encode("utf-8", "replace")) if isinstance(text, str) else 0
