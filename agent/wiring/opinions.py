"""The second opinion: the model, its providers, its senses and where its traces go; None where nobody asked for one."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent import look, recall
from agent.errors import ConfigError
from agent.model import TranscriptEntry
from agent.ports import Advisor, Containers, EvidenceFiles, Prober, Store
from agent.settings import ModelSettings, Settings
from agent.wiring import clock, keeping, shipped

if TYPE_CHECKING:  # types only: importing them for real is what the fast commands must not pay for
    from agent.evaluation import Recording
    from agent.llm.advisor import ModelAdvisor
    from agent.llm.providers import Provider
    from agent.llm.tools import Senses


def model_bundle(using: Settings) -> tuple[str, bool]:
    """Return the id of everything that decides what the model is asked, and whether an evaluation of it has passed.

    Raises ConfigError where no model is configured.
    """
    from agent.adapters.eval_records import EvalRecords
    from agent.llm import bundle

    if using.model is None:
        raise ConfigError(f"cannot name the bundle of a model: {using.file} configures none under `model:`")
    id_ = bundle.of(
        shipped.runbooks(),
        shipped.rules(),
        [(each.investigate, each.model) for each in using.model.providers],
        using.model.limits,
    )
    return id_, EvalRecords(using.state_dir).passed(id_)


@contextlib.contextmanager
def advisor(
    using: Settings,
    store: Store,
    docker: Containers,
    prober: Prober,
    redact: Callable[[str], str],
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Advisor | None]:
    """Join the second opinion; None where nobody asked for one. Raises ConfigError where what it needs is not installed."""
    if using.model is None:
        yield None
        return
    from agent.adapters.bundles import BundleFiles
    from agent.llm.tools import Senses

    senses = Senses(
        containers=docker,
        look=lambda service: look.at(service, prober, clock.CLOCK),
        recent=lambda name: store.incidents.recent(service=name, limit=recall.HISTORY),
        remembered=lambda name: recall.of(name, store=store, rule=using.fleet_limits.memory, now=clock.CLOCK.now()),
        clock=clock.CLOCK,
        redact=redact,
    )
    bundles = BundleFiles(using.state_dir)
    with _providers(using.model, using.file, redact, stopping) as providers, _traces(using) as on_asked:
        yield _asking(using, using.model, providers, senses, store, bundles, redact, stopping, on_asked)


@contextlib.contextmanager
def _traces(using: Settings) -> Iterator[Callable[[Sequence[TranscriptEntry]], None]]:
    """Yield what is told of each asking: it sends spans where an OTLP endpoint is named. Raises ConfigError without the extra."""
    if using.traces_to is None:
        yield lambda _entries: None
        return
    from importlib import util

    if util.find_spec("opentelemetry") is None or util.find_spec("opentelemetry.exporter") is None:
        raise ConfigError(
            "cannot send traces (OTEL_EXPORTER_OTLP_ENDPOINT): install the extra: pip install 'medic-agent[otel]', or unset it"
        )
    from agent.adapters import otel_spans

    spans = otel_spans.Spans(otel_spans.exporter(using.traces_to))
    try:
        yield spans.asked
    finally:
        spans.close()


@contextlib.contextmanager
def _providers(
    model: ModelSettings, file: Path | None, redact: Callable[[str], str], stopping: Callable[[], bool] = lambda: False
) -> Iterator[tuple["Provider", ...]]:
    """Open every provider. file: the medic.yaml to blame. Raises ConfigError where what it needs is not installed."""
    from importlib import util

    from agent.adapters.litellm_model import Endpoint, LitellmModel, Workers
    from agent.llm.providers import Provider

    if util.find_spec("litellm") is None:
        raise ConfigError(
            f"cannot read {file}: model: nothing here can ask one; install the extra: pip install 'medic-agent[llm]'"
        )
    workers = Workers(clock.CLOCK, stopping)
    opened = [
        LitellmModel(Endpoint(url=each.url, key=each.key, prices=dict(each.prices)), workers, clock.CLOCK, redact)
        for each in model.providers
    ]
    try:
        yield tuple(
            Provider(
                name=f"{position} {each.model}", port=port, investigate=each.investigate, classify=each.model, price=port.price
            )
            for position, (each, port) in enumerate(zip(model.providers, opened, strict=True), start=1)
        )
    finally:
        workers.close()


def _asking(
    using: Settings,
    model: ModelSettings,
    providers: tuple["Provider", ...],
    senses: "Senses",
    store: Store,
    bundles: EvidenceFiles,
    redact: Callable[[str], str],
    stopping: Callable[[], bool] = lambda: False,
    on_asked: Callable[[Sequence[TranscriptEntry]], None] = lambda _entries: None,
) -> "ModelAdvisor":
    from agent import spending
    from agent.adapters.eval_records import EvalRecords
    from agent.llm.advisor import ModelAdvisor, Setup
    from agent.llm.providers import Providers

    return ModelAdvisor(
        Setup(
            providers=providers,
            limits=model.limits,
            asks=model.asks,
            rules=shipped.rules(),
            daily_usd=None if using.inventory is None else using.inventory.money_per_day,
        ),
        Providers(providers, clock.CLOCK, at_once=model.limits.at_once),
        senses,
        spending=store.spending,
        bundles=bundles,
        clock=clock.CLOCK,
        redact=redact,
        has_passed=EvalRecords(using.state_dir).passed,
        on_spent=spending.teller(model.limits, store.outbox, tuple(channel.name for channel in using.channels)),
        on_asked=on_asked,
        stopping=stopping,
    )


@contextlib.contextmanager
def second_opinions(using: Settings, model: ModelSettings) -> Iterator[Callable[["Recording", recall.Past], "ModelAdvisor"]]:
    """Yield what makes a second opinion over a recording and what was known then: for evaluations and replays. What it costs is on
    the ledger.

    Its dialogues are kept only while the context lasts. Raises ConfigError.
    """
    import tempfile

    from agent.adapters.bundles import BundleFiles
    from agent.llm.tools import Senses
    from agent.redact import Redactor

    redact = Redactor(using.secrets)
    with (
        keeping.open_store(using) as store,
        _providers(model, using.file, redact) as providers,
        tempfile.TemporaryDirectory() as folder,
    ):

        def made(recording: "Recording", past: recall.Past) -> "ModelAdvisor":
            senses = Senses(
                containers=recording,
                look=recording.look,
                recent=lambda name: past.history[: recall.HISTORY] if name == recording.service.name else (),
                remembered=lambda name: past.troubles if name == recording.service.name else (),
                clock=clock.CLOCK,
                redact=redact,
            )
            return _asking(using, model, providers, senses, store, BundleFiles(Path(folder)), redact)

        yield made
