"""The shape of `checks:` in medic.yaml, one class per kind. `config` makes nouns of them."""

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from agent import spans, words
from agent.shapes import Keys, Name, Text, Timing, empty, matching, span

Timeout = Annotated[timedelta, span("10ms", "9s")]  # under look.DEADLINE, which ends the whole batch
ProbePlane = Literal["direct", "host-port", "engine", "nginx", "public"]
Percent = Annotated[int, Field(ge=1, le=100)]
Url = Annotated[str, matching(words.url)]
Window = Annotated[timedelta, span("10s", "1d")]

_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"})
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)  # RFC 9110, section 5.6.2: a field name is a token


def _headers(given: dict[str, str]) -> dict[str, str]:
    """Return headers that may be sent and shown. Raises ValueError."""
    for header, value in given.items():
        _is_header(header, value)
        if header.lower() in _SECRET_HEADERS:
            raise ValueError(f"the header {header!r} is a secret: what is written here is shown and stored")
    return given


def _is_header(header: str, value: str) -> None:
    if not _HEADER.fullmatch(header) or not value.isprintable():
        raise ValueError(f"the header {header[:40]!r} is no header: a name of letters, digits and `-`, a value on one line")


def _rules(given: dict[str, str]) -> dict[str, str]:
    """Return what headers of an answer must be. Raises ValueError."""
    for header, value in given.items():
        _is_header(header, value)
        words.header_rule(value)
    return given


Headers = Annotated[dict[str, str], BeforeValidator(empty), AfterValidator(_headers)]
HeaderRules = Annotated[dict[str, str], BeforeValidator(empty), AfterValidator(_rules)]


class ContainerShape(Timing):
    """`kind: container`."""

    kind: Literal["container"]
    name: Name | None = None
    image_digest: Annotated[str, matching(words.digest)] | None = None


class TcpShape(Timing):
    """`kind: tcp`."""

    kind: Literal["tcp"]
    name: Name | None = None
    plane: ProbePlane | None = None
    address: Annotated[str, matching(words.address)]
    timeout: Timeout = timedelta(seconds=2)


class IdentityShape(Keys):
    """`identity:`."""

    text: Text
    header: Annotated[str, Field(pattern=_HEADER.pattern.join(("^", "$")))] | None = None


class HttpShape(Timing):
    """`kind: http`."""

    kind: Literal["http"]
    name: Name | None = None
    plane: ProbePlane | None = None
    url: Url
    timeout: Timeout = timedelta(seconds=2)
    status: list[Annotated[tuple[int, int], BeforeValidator(words.status)]] = Field(default=[(200, 399)], min_length=1)
    body: Text | None = None
    body_json: Annotated[str, matching(words.json_condition)] | None = None
    headers: Headers = {}
    response_headers: HeaderRules = {}
    identity: IdentityShape | None = None
    slower_than: Timeout | None = None
    percentile: Annotated[int, Field(ge=50, le=99)] | None = None
    window: Window = timedelta(minutes=5)
    certificate_left: Annotated[timedelta, span("1h", "365d")] | None = None
    tls_name: Annotated[str, matching(words.host_name)] | None = None
    ca_file: Text | None = None
    keep_alive: bool = False
    body_limit: Annotated[int, Field(ge=1, le=1_048_576)] = 65_536

    @model_validator(mode="after")
    def _agrees(self) -> "HttpShape":
        if self.slower_than is not None and self.slower_than >= self.timeout:
            raise ValueError(f"slower_than must be shorter than the timeout ({spans.text(self.timeout)})")
        if self.percentile is not None and self.slower_than is None:
            raise ValueError("percentile needs slower_than, which it is compared with")
        given = (("certificate_left", self.certificate_left), ("tls_name", self.tls_name), ("ca_file", self.ca_file))
        for key, value in given:
            if value is not None and not self.url.startswith("https://"):
                raise ValueError(f"{key} needs a url that begins with https://")
        return self


class CompletionShape(Timing):
    """`kind: completion`."""

    kind: Literal["completion"]
    name: Name | None = None
    url: Url
    model: Text
    timeout: Timeout = timedelta(seconds=8)
    api: Literal["chat", "text"] = "chat"
    stream: bool = True
    prompt: Text = "Say yes."
    max_tokens: Annotated[int, Field(ge=1, le=64)] = 4
    first_token_within: Timeout | None = None
    headers: Headers = {}

    @model_validator(mode="after")
    def _agrees(self) -> "CompletionShape":
        if self.first_token_within is not None and self.first_token_within >= self.timeout:
            raise ValueError(f"first_token_within must be shorter than the timeout ({spans.text(self.timeout)})")
        if self.first_token_within is not None and not self.stream:
            raise ValueError("first_token_within needs `stream: true`: without it all tokens come at once")
        return self


class CommandShape(Timing):
    """`kind: command`."""

    kind: Literal["command"]
    name: Name | None = None
    plane: Literal["container", "direct", "engine"] = "container"
    command: Annotated[list[Text], BeforeValidator(words.command), Field(min_length=1)]
    timeout: Annotated[timedelta, span("1s", "8s")] = timedelta(seconds=5)
    exit_code: Annotated[int, Field(ge=0, le=255)] = 0
    output: Text | None = None


class DnsShape(Timing):
    """`kind: dns`."""

    kind: Literal["dns"]
    name: Name | None = None
    lookup: Annotated[str, matching(words.host_name)]
    timeout: Annotated[timedelta, span("1s", "8s")] = timedelta(seconds=5)


class LogShape(Timing):
    """`kind: log`."""

    kind: Literal["log"]
    name: Name | None = None
    most_bytes: Annotated[int, Field(ge=1)] | None = None
    most_bytes_per_second: Annotated[int, Field(ge=1)] | None = None
    window: Window = timedelta(minutes=5)

    @model_validator(mode="after")
    def _asks(self) -> "LogShape":
        if self.most_bytes is None and self.most_bytes_per_second is None:
            raise ValueError("asks nothing: give most_bytes, most_bytes_per_second or both")
        return self


class HostCheckShape(Timing):
    """`kind: host`."""

    kind: Literal["host"]
    name: Name | None = None
    disks: Annotated[list[Annotated[str, Field(pattern="^/", max_length=4096)]], Field(min_length=1)] = ["/"]
    disk_used: Percent = 90
    inodes_used: Percent = 90
    memory_used: Percent = 95
    load_per_cpu: Annotated[float, Field(gt=0, le=1000)] | None = None
    docker_within: Annotated[timedelta, span("10ms", "9s")] = timedelta(seconds=2)
    clock_url: Url | None = None
    clock_within: Annotated[timedelta, span("1s", "1d")] = timedelta(seconds=5)


class GpuShape(Timing):
    """`kind: gpu`."""

    kind: Literal["gpu"]
    name: Name | None = None
    timeout: Annotated[timedelta, span("1s", "8s")] = timedelta(seconds=5)
    count: Annotated[int, Field(ge=1, le=64)] | None = None
    in_container: bool = True
    container_count: Annotated[int, Field(ge=1, le=64)] | None = None
    temperature: Annotated[int, Field(ge=30, le=120)] | None = None
    throttled: bool = True
    ecc_uncorrected: Annotated[int, Field(ge=0)] = 0
    remap_pending: bool = False
    orphan_memory: Annotated[int, Field(ge=0)] | None = 256
    xids: bool = True
    app_faults: Annotated[int, Field(ge=1, le=1000)] = 2
    fabric_manager: bool = False
    tool: Annotated[str, Field(pattern=r"^(/[^\x00-\x1f]+|[A-Za-z0-9][A-Za-z0-9._-]*)$", max_length=4096)] = "nvidia-smi"
    kernel_log: Annotated[str, Field(pattern="^/", max_length=4096)] | None = None
    dcgm_url: Url | None = None

    @model_validator(mode="after")
    def _agrees(self) -> "GpuShape":
        if self.container_count is not None and not self.in_container:
            raise ValueError("container_count needs in_container: true")
        if self.count is not None and self.container_count is not None and self.container_count > self.count:
            raise ValueError(f"container_count must be at most count ({self.count})")
        return self


class CertificateShape(Timing):
    """`kind: certificate`."""

    kind: Literal["certificate"]
    name: Name | None = None
    path: Text
    left: Annotated[timedelta, span("1h", "365d")] = timedelta(days=14)
    key: Text | None = None


class NginxShape(Timing):
    """`kind: nginx`."""

    kind: Literal["nginx"]
    name: Name | None = None
    nginx: Name | None = None
    on_host: bool = False
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    socket: Annotated[str, matching(words.absolute_path)] | None = None
    server_name: Text | None = None
    location: Text = "/"

    @model_validator(mode="after")
    def _has_one_place(self) -> "NginxShape":
        if (self.nginx is None) is not self.on_host:
            raise ValueError("needs either `nginx:`, the container that nginx runs in, or `on_host: true`")
        if (self.port is None) is (self.socket is None):
            raise ValueError(
                "needs either `port:`, which the service listens on in its container, or `socket:`, as nginx writes it"
            )
        return self


CheckShape = (
    ContainerShape
    | TcpShape
    | HttpShape
    | CompletionShape
    | CommandShape
    | DnsShape
    | LogShape
    | HostCheckShape
    | GpuShape
    | CertificateShape
    | NginxShape
)
