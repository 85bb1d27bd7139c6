"""Applies the rules to one evidence. In: `Evidence` (redacted, bounded) and the rules. Out: a `Diagnosis`, always.

How the cause is told from the noise around it:
- lines that a `benign_noise` rule knows, lines whose own level says INFO or below, and complaints that a later line
  declares over (`cleared_by`) count for no other rule;
- rules are tried by `order`: facts that stand by themselves first, then causes that start a cascade, then the effects
  that they drag behind them, then guesses from an exit code alone;
- among rules of one order the one whose line came first in the log speaks: the first cause behind the cascade;
- noise explains nothing on a service with a sick plane, nor beside a line of trouble that no rule knows.
"""

import functools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from agent.diagnosis import facts as structural
from agent.diagnosis import log_lines
from agent.diagnosis.log_lines import Entry
from agent.model import Cause, Diagnosis, Evidence, Health, LogLine, Plane, Rule, Sureness

CITED_LINES = 5
"""Lines a diagnosis carries: the first of each kind that was matched. The bundle has the rest."""

GUESSES = 870
"""Rules of this order or a higher one guess, from words that could mean anything."""

SURVIVABLE = 205
"""Rules of this order or a higher one name what a program may get over by itself: options, files, credentials, names, peers.
A full disk or a killed worker it does not."""

SERVED_WITHOUT = frozenset({Cause.GPU_RUNTIME_UNAVAILABLE})
"""What many a program does without: a complaint of it before the program says that it serves was no more than that."""

DEFECTS = range(330, GUESSES)
"""Orders of the rules that name a defect of the program: an error of that kind counts whatever comes after it."""

AT_WORK = 910
"""Rules of noise of this order or a higher one know lines that only a program at its ordinary work writes."""

OBEYS = 906
"""Rules of noise from this order to `AT_WORK` know lines by which a program stops since it was told to: it lived until then."""

PERSISTS = 3
"""Equal warnings from which a complaint counts as lasting, whatever the program says between them."""

_TROUBLE = re.compile(
    r"\berr(?:or)?\b|exception|\bdied\b|\bcrash(?:ed|es|ing)?\b|\bdumped\b|\bfail(?:ed|ure|ing)?\b|fatal|panic|traceback|critical|denied|refus(?:ed|ing)|\bkilled|abort|cannot|can't"
    r"|could not|unable|timed? ?out|corrupt|invalid|segfault|unhealthy|no such|not found|out of memory|unreachable|rejected",
    re.IGNORECASE,
)
_DENIES_TROUBLE = re.compile(
    r"\b(?:no|0|without) (?:errors?|failures?)\b|\b(?:errors?|failed|failures)[=:] ?0\b", re.IGNORECASE
)

_NOT_AT_WORK = re.compile(
    rf"{_TROUBLE.pattern}|wait|retr(?:y|ies)|attempt|connecting|disconnect|shut|stop|clos|exit|terminat|\" [45]\d\d\b",
    re.IGNORECASE,
)
"""A calm line with one of these does not show a program at its ordinary work."""

_STOPS = re.compile(r"\bterminat|\bshut(?:ting)?[ -]?down|\bstopp(?:ing|ed)\b|\bexit(?:ing|ed)?\b|\babort", re.IGNORECASE)
"""A calm line with one of these ends a program: what it complained of before has not been got over."""

_SAYS_SOMETHING = re.compile(r"[a-z]{2}[^a-z]{1,200}[a-z]{2}", re.IGNORECASE)
"""Two words: a calm line of nothing but its level and time shows no work."""

_ENDS_A_PROGRAM = re.compile(r"panic|fatal|uncaught|unhandled|\babort|crash|core dump|exiting|could not load|cannot load")

_PATH_OF_A_REQUEST = (Plane.HOST, Plane.CONTAINER, Plane.DIRECT, Plane.HOST_PORT, Plane.ENGINE, Plane.NGINX, Plane.PUBLIC)
"""From the inside out: the first sick plane is where to look."""


_Entries = tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spoken:
    """A rule that holds, with what it rests on."""

    rule: Rule
    agreed: tuple[tuple[str, str], ...]
    lines: tuple[LogLine, ...]
    first: float
    """Rank of its first line; -1 without one."""

    @property
    def precedence(self) -> tuple[float, int, str]:
        """Of rules of one order the lowest speaks: the first before what it dragged behind, then what more facts agree with,
        then the id, so that the order of files decides nothing."""
        return self.first, -len(self.agreed), self.rule.id


def diagnose(evidence: Evidence, rules: Sequence[Rule]) -> Diagnosis:
    """Return what the rules make of `evidence`: a cause, or INCONCLUSIVE with the difference between the planes."""
    found = structural.facts(evidence)
    log = _Log.of(evidence, rules)
    plane = _sick_plane(found)
    said = _first_to_speak(rules, found, log)
    if said is None and (log.has_unexplained_trouble or log.ends_in_calm_trouble or _ended_badly(found)):
        # Something is wrong and no complaint names it: some programs tell their last at INFO.
        said = _first_to_speak(rules, found, log.with_calm_lines())
    if said is not None:
        return _diagnosis(said, plane)
    if evidence.log and _may_be_noise(found, log):
        return Diagnosis(
            cause=Cause.BENIGN_NOISE,
            sureness=Sureness.SUSPECTED,
            said_by="log:no-trouble",
            summary="No line of the log tells of trouble, and no check sees any.",
            plane=plane,
            advice="Nothing to do.",
        )
    return Diagnosis(
        cause=Cause.INCONCLUSIVE,
        sureness=Sureness.NONE,
        said_by="none",
        summary=_what_is_known(evidence, found),
        plane=plane,
        advice="Read the evidence bundle: no rule knows this. Once the cause is found, a rule for it saves the next reader.",
    )


def _first_to_speak(rules: Sequence[Rule], found: Mapping[str, frozenset[str]], log: "_Log") -> _Spoken | None:
    """Return the rule that speaks: of the lowest order that has something to say, the one that takes precedence."""
    for _, same_order in groupby(sorted(rules, key=lambda rule: rule.order), key=lambda rule: rule.order):
        spoken = [said for rule in same_order if (said := _speak(rule, found, log)) is not None]
        if spoken:
            return min(spoken, key=lambda said: said.precedence)
    return None


class _Whole:
    """A log as one text. Most patterns are ruled out by it, without reading a line: first by their trigrams, then by needle."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._trigrams = _trigrams(text)
        self._held: dict[str, bool] = {}

    def may_hold(self, pattern: str) -> bool:
        """Tell whether some line may match `pattern`."""
        held = self._held.get(pattern)
        if held is None:
            held = self._held[pattern] = _trigrams_of_needle(pattern) <= self._trigrams and needle(pattern) in self._text
        return held


@dataclass(frozen=True, kw_only=True)  # no slots: what is asked of every rule is worked out once
class _Log:
    """The lines of one evidence, sorted into what each kind of rule may read."""

    telling: _Entries
    """Lines that may name a cause."""
    calm: _Entries
    """Those whose own level says that they are ordinary."""
    noise: _Entries
    """Those that some `benign_noise` rule knows, or whose complaint is over; and the calm ones."""
    at_work: _Entries
    """Those of the noise that show the program at its work."""
    worked_from: int
    """Position of the first line that shows the program at its ordinary work; beyond every line without one."""
    lives_until: int
    """Position of the last such line, or of one by which it obeys when it is told to stop; -1 without either."""
    serves_until: int
    """Position of the last line that only a program at its work writes; -1 without one."""
    whole: "_Whole"

    @classmethod
    def of(cls, evidence: Evidence, rules: Sequence[Rule]) -> "_Log":
        lines = evidence.log
        if evidence.container is not None and evidence.container.error:
            # Why Docker could not start it stands in inspect only, never in the log.
            lines = (LogLine(id="docker", text=evidence.container.error), *lines)
        entries = log_lines.read(lines)
        whole = _Whole(text="\n".join(entry.lowered for entry in entries))
        known: set[int] = set()
        at_work: set[int] = set()
        obeys: set[int] = set()
        for rule in rules:
            if rule.cause is Cause.BENIGN_NOISE:
                hits = _matching(rule, entries, whole)
                known.update(entry.position for entry in hits)
                at_work.update(entry.position for entry in hits if rule.order >= AT_WORK)
                obeys.update(entry.position for entry in hits if OBEYS <= rule.order < AT_WORK)
            elif rule.cleared_by and rule.order < GUESSES and (hits := _matching(rule, entries, whole)):
                over = max((entry.position for entry in entries if _any(rule.cleared_by, entry)), default=-1)
                known.update(entry.position for entry in hits if entry.position < over)
        # A trace is told by its exception: where that is noise, so are the frames above it.
        known.update(entry.position for entry in entries if entry.ends_at in known or entry.starts_at in known)
        calm = {entry.position for entry in entries if entry.calm} - known
        ordinary = [entry.position for entry in entries if entry.position in calm | at_work and _is_ordinary(entry)]
        return cls(
            telling=tuple(entry for entry in entries if entry.position not in known | calm),
            calm=tuple(entry for entry in entries if entry.position in calm),
            noise=tuple(entry for entry in entries if entry.position in known | calm),
            at_work=tuple(entry for entry in entries if entry.position in at_work),
            worked_from=min(ordinary, default=len(entries)),
            lives_until=max((*ordinary, *obeys), default=-1),
            serves_until=max(at_work, default=-1),
            whole=whole,
        )

    def with_calm_lines(self) -> "_Log":
        """Return this log with its calm lines among those that may name a cause, and nothing lived through: it went wrong."""
        both = sorted((*self.telling, *self.calm), key=lambda entry: entry.position)
        return replace(self, telling=tuple(both), lives_until=-1)

    @functools.cached_property
    def has_unexplained_trouble(self) -> bool:
        """Trouble that no rule knows, and after which the program did not go on in its ordinary way. A warning is none."""
        went_on = [entry.position for entry in self.calm if _STOPS.search(entry.text) is None]
        went_on_until = max(went_on[-1] if went_on else -1, self.lives_until)
        return any(_tells_of_trouble(entry) for entry in self.telling if not entry.warning and entry.position > went_on_until)

    @functools.cached_property
    def ends_in_calm_trouble(self) -> bool:
        """The last word is of trouble and not the first of its kind, though its level says that all is ordinary.

        A line right after one that reads the same is its copy, as a log has it that two carriers brought.
        """
        last = max((*self.telling, *self.noise), key=lambda entry: entry.position, default=None)
        if last is None or last not in self.calm or last.position <= self.lives_until or not _tells_of_trouble(last):
            return False
        same = [entry for entry in self.calm if entry.template == last.template]
        copies = sum(after.position == one.position + 1 and after.text == one.text for one, after in pairwise(same))
        return len(same) - copies > 1


def _is_ordinary(entry: Entry) -> bool:
    return _NOT_AT_WORK.search(entry.text) is None and _SAYS_SOMETHING.search(entry.text) is not None


def _tells_of_trouble(entry: Entry) -> bool:
    return _TROUBLE.search(entry.text) is not None and _DENIES_TROUBLE.search(entry.text) is None


def _speak(rule: Rule, found: Mapping[str, frozenset[str]], log: _Log) -> _Spoken | None:
    """Return what the rule rests on, or None when it has nothing to say."""
    agreed: list[tuple[str, str]] = []
    for name, accepted in rule.facts:
        value = structural.agrees(found, name, accepted)
        if value is None:
            return None
        agreed.append((name, value))
    if not rule.log:
        return _Spoken(rule=rule, agreed=tuple(agreed), lines=(), first=-1)
    if rule.cause is Cause.BENIGN_NOISE:
        hits = _matching(rule, log.noise, log.whole)
        hits = hits if hits and _may_be_noise(found, log) else ()
    else:
        hits = _matching(rule, log.telling, log.whole)
        if not _is_sick(found):
            hits = _not_lived_through(rule, hits, log)
        if rule.order >= GUESSES:
            hits = _grounds_for_a_guess(rule, hits, found, log)
    if not hits:
        return None
    for name, accepted in rule.agree:
        value = structural.agrees(found, name, accepted)
        if value is not None:
            agreed.append((name, value))
    first = min(entry.rank for entry in hits)
    return _Spoken(rule=rule, agreed=tuple(agreed), lines=_cited(hits), first=first)


def _not_lived_through(rule: Rule, hits: _Entries, log: _Log) -> _Entries:
    """Return `hits` without those after which the program went on with its work: nothing but the log speaks of sickness.

    A complaint that comes again and again lasts; an error with a trace, or one that ends a program, nothing has caught.
    """
    if rule.order < SURVIVABLE:
        without = rule.cause in SERVED_WITHOUT
        return tuple(entry for entry in hits if not without or entry.position > log.serves_until)
    times = Counter(entry.template for entry in hits)

    def counts(entry: Entry) -> bool:
        if times[entry.template] >= PERSISTS:
            return True
        if entry.position > log.lives_until:
            # A lone warning of a program that is at its work ends nothing, even as the last line.
            return not entry.warning or entry.position < log.worked_from
        ended = entry.traced or rule.order in DEFECTS or _ENDS_A_PROGRAM.search(entry.lowered) is not None
        return ended and not entry.warning

    return tuple(entry for entry in hits if counts(entry))


def _grounds_for_a_guess(rule: Rule, hits: _Entries, found: Mapping[str, frozenset[str]], log: _Log) -> _Entries:
    """Return `hits` without warnings and without what is over; none when the program then went on in its ordinary way.

    What a guess takes to be over is over for this guess only: another rule may know that complaint for certain.
    """
    cleared = (entry.position for entry in (*log.telling, *log.noise) if hits and _any(rule.cleared_by, entry))
    over = max(cleared, default=-1)
    errors = tuple(entry for entry in hits if not entry.warning and entry.position > over)
    went_on = errors and max(log.lives_until, log.calm[-1].position if log.calm else -1) > errors[-1].position
    return () if went_on and not _ended_badly(found) else errors


def _cited(hits: _Entries) -> tuple[LogLine, ...]:
    """Return the first lines that say different things: the same complaint a hundred times tells nothing new."""
    first_of = {entry.template: entry.line for entry in reversed(hits)}
    return tuple(entry.line for entry in hits if first_of[entry.template] is entry.line)[:CITED_LINES]


def _ended_badly(found: Mapping[str, frozenset[str]]) -> bool:
    """Tell whether the container ended with a code that is neither success nor the answer to SIGINT or SIGTERM."""
    return bool(found.get("exit_code", frozenset()) - {"0", "130", "143"})


def _ended_well(found: Mapping[str, frozenset[str]]) -> bool:
    return bool(found.get("exit_code", frozenset()) & {"0", "130", "143"})


def _is_sick(found: Mapping[str, frozenset[str]]) -> bool:
    """Tell whether anything but the log speaks of sickness: a plane, or how the container ended."""
    return _ended_badly(found) or any("sick" in found[f"plane.{plane.value}"] for plane in Plane)


def _may_be_noise(found: Mapping[str, frozenset[str]], log: _Log) -> bool:
    if _ended_well(found) and log.noise and log.noise[-1].position > max((e.position for e in log.telling), default=-1):
        return True  # it was asked to stop, and did: what it complained of on the way ended nothing
    return not _is_sick(found) and not log.has_unexplained_trouble


def _matching(rule: Rule, entries: _Entries, whole: "_Whole") -> _Entries:
    patterns = tuple(pattern for pattern in rule.log if whole.may_hold(pattern))
    if not patterns:
        return ()
    return tuple(entry for entry in entries if _any(patterns, entry) and not _any(rule.not_log, entry))


@functools.cache
def _trigrams_of_needle(pattern: str) -> frozenset[str]:
    return _trigrams(needle(pattern))


def _trigrams(text: str) -> frozenset[str]:
    return frozenset(map("".join, zip(text, text[1:], text[2:], strict=False)))


def _any(patterns: tuple[str, ...], entry: Entry) -> bool:
    return fits(patterns, entry.text, entry.lowered)


def fits(patterns: tuple[str, ...], text: str, lowered: str | None = None) -> bool:
    """Tell whether any of `patterns` is found in `text`. lowered: the same in lower case, where the caller has it."""
    seen = text.lower() if lowered is None else lowered
    return any(needle(pattern) in seen and _compiled(pattern).search(text) is not None for pattern in patterns)


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.ASCII)


@functools.cache
def needle(pattern: str) -> str:
    """Return the longest run of plain characters that every match of `pattern` contains, in lower case; "" if unsure.

    A substring test is some fifty times cheaper than a case-insensitive search, and most rules have nothing to say
    about most lines. Only runs outside groups count; a pattern with alternatives at its top has none.
    """
    runs, run, depth, index = [], "", 0, 0
    while index < len(pattern):
        character = pattern[index]
        width = 1
        if character == "\\":
            width = 2
            escaped = pattern[index + 1]
            plain = escaped if not escaped.isalnum() else None
        elif character == "[":
            closing = pattern.index("]", index + 2)
            width, plain = closing + 1 - index, None
        else:
            plain = None if character in "().^$|?*+{" else character
        if character == "|" and depth == 0:
            return ""
        depth += (character == "(") - (character == ")")
        if character in "?*{":
            run = run[:-1]  # the character before may be absent
        if character == "{":
            width = pattern.index("}", index) + 1 - index
        if plain is not None and depth == 0:
            run += plain
        else:
            runs.append(run)
            run = ""
        index += width
    return max((*runs, run), key=len).lower()


def _diagnosis(said: _Spoken, plane: Plane | None) -> Diagnosis:
    return Diagnosis(
        cause=said.rule.cause,
        sureness=Sureness.CONFIRMED if said.agreed else Sureness.SUSPECTED,
        said_by=f"rule:{said.rule.id}",
        summary=said.rule.summary,
        plane=plane,
        facts=said.agreed,
        lines=said.lines,
        advice=said.rule.advice,
    )


def _sick_plane(found: Mapping[str, frozenset[str]]) -> Plane | None:
    return next((plane for plane in _PATH_OF_A_REQUEST if "sick" in found[f"plane.{plane.value}"]), None)


def _what_is_known(evidence: Evidence, found: Mapping[str, frozenset[str]]) -> str:
    """Say which planes are well and which sick: without a cause, that difference is what a person starts from."""
    sentences = ["No rule names a cause."]
    for health in Health:
        planes = [plane.value for plane in _PATH_OF_A_REQUEST if health.value in found[f"plane.{plane.value}"]]
        if planes:
            sentences.append(f"{health.value.capitalize()}: {', '.join(planes)}.")
    words = sorted(found["symptom"])
    if words:
        sentences.append(f"Symptoms: {', '.join(words)}.")
    if found["changed"]:
        sentences.append(f"Changed since last well: {', '.join(sorted(found['changed']))}.")
    if not evidence.log:
        sentences.append(f"Log: {evidence.log_note}.")
    return " ".join(sentences)
