"""The shapes of secrets that are known by their look: one table, one row per shape.

A new shape is a row here and its contexts in tests/unit/test_redact.py. Pure data and the predicates that spare look-alikes.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One shape of secret. The secret is the group that matched, or the whole match of a pattern without groups."""

    kind: str
    needles: tuple[str, ...]
    """Lower case. The pattern is tried only on lines that hold one of them: a substring test is 50 times cheaper."""
    pattern: re.Pattern[str]
    spares: Callable[[str, str], bool] = lambda _before, _secret: False
    """(text before the match and the match's own head, what would be replaced) -> True for what only looks like a secret."""


def _rule(
    kind: str, needles: str, pattern: str, spares: Callable[[str, str], bool] | None = None, *, exact: bool = False
) -> Rule:
    flags = re.ASCII if exact else re.ASCII | re.IGNORECASE
    compiled = re.compile(pattern, flags)
    return Rule(kind, tuple(needles.split()), compiled, spares) if spares else Rule(kind, tuple(needles.split()), compiled)


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

RULES: tuple[Rule, ...] = (
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
    # A head without a body is read to its end and spared: were it no match, the search would begin again at each `eyJ` inside it.
    _rule(
        "jwt",
        "eyj",
        r"eyJ[\w-]{8,}(?:\.[\w-]{8,}(?:\.[\w-]*){0,3})?",
        lambda _before, secret: "." not in secret,
        exact=True,
    ),
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
        r"\"(?:_?auth|identitytoken|registrytoken)\\*\"\s*:\s*\\*\"([^\"\\]{3,})",
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
    # Redis's own words for a password, which take a blank and stand in no prose.
    _rule("setting", "requirepass masterauth", rf"\b(?:requirepass|masterauth)\s{{1,8}}{_VALUE}", _no_secret),
    _rule("setting", "pass", rf"\bpass[\"']?\s?=\s?{_VALUE}", _no_secret),
    _rule(
        "setting",
        "_key",
        r"\b[A-Z][A-Z0-9_]{0,60}_KEY[\"']?\s?[=:]\s?[\"']?([^\s\"',;]{16,})",
        lambda _before, secret: secret.startswith(("/", "${", "<")),
        exact=True,
    ),
)
