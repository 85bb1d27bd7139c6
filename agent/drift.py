"""Drift: where a stack is not as its settings say. Pure: settings, the published inventory and what was seen in; lines out.

Three things are held against one another: what is wanted (the stack file, or where none is given the inventory), what was
published (the inventory, as the last `pulumi up` wrote it) and what is live. Each line that is not the same ends with the very
setting to change or the command to run. What could not be looked at is unknown and never "the same".

How many hosts the group has is the autoscaler's own and no drift (`ignore_changes` in infra/components/gpu_fleet.py).
"""

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

from agent.model import Door, GroupFacts, HookFacts, LiveStack, Look, TemplateFacts, Unseen
from infra import settings as fleet_settings
from infra.inventory import Inventory
from infra.settings import FleetSettings

STRATEGY = "price-capacity-optimized"
ANYWHERE = "0.0.0.0/0"
LAUNCHING, TERMINATING = "autoscaling:EC2_INSTANCE_LAUNCHING", "autoscaling:EC2_INSTANCE_TERMINATING"
NOT_SAID = "not said"
GONE = "there is none"

_Open = tuple[str, tuple[int, int] | None, str]
"""One open door: protocol, ports (None for all) and peer."""


class State(enum.Enum):
    """How one thing compares."""

    SAME = "same"
    DRIFTED = "drifted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing compared. published: what the inventory says, empty where it says nothing of it. do: empty where it is the same."""

    what: str
    expected: str
    published: str
    live: str
    state: State
    do: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What settings or an inventory say of a stack. Fields are named as in FleetSettings; None: an older program did not say."""

    image: str
    instance_types: tuple[str, ...] | None
    on_demand_base: int
    on_demand_percent_above_base: int | None
    min_size: int | None
    max_size: int
    burst_max_size: int | None
    volume_gib: int | None
    ami_id: str
    warm_up_seconds: int
    drain_seconds: int
    port: int
    ready_path: str
    model_name: str
    sleep_cron: str


def of_settings(settings: FleetSettings) -> Wanted:
    """Return what a stack file says."""
    return Wanted(**{each.name: getattr(settings, each.name) for each in fields(Wanted)})


def of_inventory(published: Inventory) -> Wanted:
    """Return what the last `pulumi up` published."""
    return Wanted(
        image=published.model.image,
        instance_types=published.instance_types or None,
        on_demand_base=published.on_demand_base,
        on_demand_percent_above_base=_said(published.on_demand_percent),
        min_size=_said(published.min_size),
        max_size=published.max_size,
        burst_max_size=_said(published.burst_max_size),
        volume_gib=_said(published.volume_gib),
        ami_id=published.ami_id,
        warm_up_seconds=published.warm_up_seconds,
        drain_seconds=published.drain_seconds,
        port=published.model.port,
        ready_path=published.model.ready_path,
        model_name=published.model.name,
        sleep_cron=published.sleep_cron,
    )


def _said(number: int) -> int | None:
    return None if number < 0 else number


def compare(wanted: Wanted, published: Inventory, live: LiveStack) -> tuple[Line, ...]:
    """Return everything that was compared, in the order that people read it. wanted: of the stack file, or of the inventory."""
    known, stack = of_inventory(published), published.stack
    return (
        *(_setting(name, wanted, known, look(live), stack) for name, look in _LIVE.items()),
        *(_only_published(name, wanted, known, stack) for name in ("port", "ready_path", "model_name")),
        *_group(published, live),
        *_template(published, live),
        *_hooks(published, live),
        *_doors(published, wanted.port, live),
        *_bucket(published, live),
    )


def worst(lines: tuple[Line, ...]) -> State:
    """Return DRIFTED where anything has, else UNKNOWN where anything is."""
    states = {each.state for each in lines}
    return next((each for each in (State.DRIFTED, State.UNKNOWN) if each in states), State.SAME)


def keep(stack: str, name: str, value: int | str | tuple[str, ...]) -> str:
    """Return how a change of the live stack is kept, and how it is put back. name: a field of FleetSettings."""
    return f"{_set(stack, name, value)} to keep it; {_again(stack)} puts it back"


def change(stack: str, name: str, value: int | str) -> str:
    """Return the commands that bring one setting to a value: what a person runs, to the letter. name: a field of FleetSettings."""
    return f"{_set(stack, name, value)} and {_up(stack)}"


def _set(stack: str, name: str, value: object) -> str:
    key = f"medic:{fleet_settings.key_of(name)}"
    if isinstance(value, tuple):  # the command line takes a list one by one
        return f"set `{key}: [{', '.join(value)}]` in `Pulumi.{_short(stack)}.yaml`"
    return f"`pulumi config set --stack {_short(stack)} {key} {value}`"


def _again(stack: str) -> str:
    # Without --refresh Pulumi compares with its own state, where nothing has changed.
    return f"`pulumi up --refresh --stack {_short(stack)}`"


def _up(stack: str) -> str:
    return f"`pulumi up --stack {_short(stack)}`"


def _short(stack: str) -> str:
    return stack.removeprefix(f"{fleet_settings.PROJECT}-")


# ------------------------------------------------------------------------------------------------------------- settings


def _of_group(part: Callable[[GroupFacts], object]) -> Callable[[LiveStack], Look[object]]:
    return lambda live: live.group if live.group is None or isinstance(live.group, Unseen) else part(live.group)


def _of_template(part: Callable[[TemplateFacts], object]) -> Callable[[LiveStack], Look[object]]:
    return lambda live: live.template if live.template is None or isinstance(live.template, Unseen) else part(live.template)


def _of_hook(transition: str) -> Callable[[LiveStack], Look[object]]:
    def seconds(live: LiveStack) -> Look[object]:
        if live.hooks is None or isinstance(live.hooks, Unseen):
            return live.hooks
        return next((each.seconds for each in live.hooks if each.transition == transition), None)

    return seconds


def _burst(live: LiveStack) -> Look[object]:
    if live.burst is None or isinstance(live.burst, Unseen):
        return live.burst if live.burst else 0
    return live.burst.largest


_LIVE: dict[str, Callable[[LiveStack], Look[object]]] = {
    "image": _of_template(lambda it: it.image or "user data of somebody else"),
    "instance_types": _of_group(lambda it: it.kinds),
    "on_demand_base": _of_group(lambda it: it.on_demand_base),
    "on_demand_percent_above_base": _of_group(lambda it: it.on_demand_percent),
    "min_size": _of_group(lambda it: it.smallest),
    "max_size": _of_group(lambda it: it.largest),
    "burst_max_size": _burst,
    "volume_gib": _of_template(lambda it: it.volume_gib),
    "ami_id": _of_template(lambda it: it.ami_id),
    "warm_up_seconds": _of_hook(LAUNCHING),
    "drain_seconds": _of_hook(TERMINATING),
}
"""Where the live value of a setting is seen."""


def _setting(name: str, wanted: Wanted, known: Wanted, live: Look[object], stack: str) -> Line:
    expected, published = getattr(wanted, name), getattr(known, name)
    state, do = _verdict(name, wanted, published, live, stack)
    return Line(
        what=f"medic:{fleet_settings.key_of(name)}",
        expected=_text(name, expected),
        published=_text(name, published),
        live=_live_text(live),
        state=state,
        do=do,
    )


def _verdict(name: str, wanted: Wanted, published: object, live: Look[object], stack: str) -> tuple[State, str]:
    expected = getattr(wanted, name)
    if isinstance(live, Unseen):
        return State.UNKNOWN, live.why
    if expected is None:
        return State.UNKNOWN, f"name the stack file, or let {_up(stack)} write it into the inventory"
    moves = name == "ami_id" and not expected
    asleep = name == "min_size" and wanted.sleep_cron and live == 0
    if live is None:
        return State.DRIFTED, f"{_again(stack)} makes it again"
    if not (moves or asleep or _same(name, expected, live)):
        if published is not None and _same(name, published, live):
            return State.DRIFTED, f"{_up(stack)} brings up what the file says"
        value = live if isinstance(live, int | str | tuple) else str(live)
        return State.DRIFTED, keep(stack, name, value)
    if published is not None and not _same(name, expected, published):
        return State.DRIFTED, f"{_up(stack)} writes it into the inventory"
    return State.SAME, ""


def _only_published(name: str, wanted: Wanted, known: Wanted, stack: str) -> Line:
    """Compare a setting that nothing but the inventory shows."""
    expected, published = getattr(wanted, name), getattr(known, name)
    same = expected == published
    return Line(
        what=f"medic:{fleet_settings.key_of(name)}",
        expected=_text(name, expected),
        published=_text(name, published),
        live="",
        state=State.SAME if same else State.DRIFTED,
        do="" if same else f"{_up(stack)} brings up what the file says",
    )


def _same(name: str, one: object, other: object) -> bool:
    # The spot strategy goes by price and capacity: the order of types means nothing to it.
    if name == "instance_types" and isinstance(one, tuple) and isinstance(other, tuple):
        return set(one) == set(other)
    return one == other


def _text(name: str, value: object) -> str:
    if value is None:
        return NOT_SAID
    if isinstance(value, tuple):
        return ", ".join(str(each) for each in value)
    return "whatever amiParameter names" if name == "ami_id" and not value else str(value)


def _live_text(live: Look[object]) -> str:
    if isinstance(live, Unseen):
        return "unknown"
    return GONE if live is None else _text("", live)


# ------------------------------------------------------------------------------------------ what the program itself decides


def _line(what: str, expected: str, live: Look[str], do: str) -> Line:
    """Compare one text that no setting speaks of. do: what puts it right."""
    if isinstance(live, Unseen):
        return Line(what=what, expected=expected, published="", live="unknown", state=State.UNKNOWN, do=live.why)
    seen = GONE if live is None else live
    same = seen == expected
    return Line(
        what=what,
        expected=expected,
        published="",
        live=seen,
        state=State.SAME if same else State.DRIFTED,
        do="" if same else do,
    )


def _look(of: Look[object], text: Callable[[], str]) -> Look[str]:
    return of if of is None or isinstance(of, Unseen) else text()


def _names(found: tuple[str, ...]) -> str:
    return ", ".join(found) or "none"


def _group(published: Inventory, live: LiveStack) -> Iterator[Line]:
    group, name, again = live.group, published.group, f"{_again(published.stack)} puts it back"
    if group is None or isinstance(group, Unseen):
        yield _line(f"group {name}", "there", group, f"{_again(published.stack)} makes it again")
        return
    yield _line("spot strategy", STRATEGY, group.spot_strategy, again)
    yield _line("cap on the spot price", "none", group.spot_price_cap or "none", again)
    yield _line("capacity rebalancing", "on", "on" if group.rebalances else "off", again)
    yield _line(
        "suspended processes",
        "none",
        _names(group.suspended),
        f"`aws autoscaling resume-processes --auto-scaling-group-name {name}`; no setting speaks of them",
    )
    hosts = " ".join(group.set_aside)
    yield _line(
        "hosts on standby",
        "none",
        _names(group.set_aside),
        f"`aws autoscaling exit-standby --auto-scaling-group-name {name} --instance-ids {hosts}`, or end them;"
        " no setting speaks of single hosts",
    )
    yield _line(
        "hosts of another template version",
        "none",
        _names(group.other_version),
        f"`aws autoscaling start-instance-refresh --auto-scaling-group-name {name}`",
    )


def _template(published: Inventory, live: LiveStack) -> Iterator[Line]:
    seen, again = live.template, f"{_again(published.stack)} puts it back"
    if seen is None or isinstance(seen, Unseen):
        yield _line("launch template", "there", seen, f"{_again(published.stack)} makes it again")
        return
    if isinstance(live.group, GroupFacts):
        yield _line("launch template version", seen.newest, live.group.version, again)
    yield _line(
        "instance metadata", "IMDSv2, 1 hop", f"{'IMDSv2' if seen.tokens == 'required' else 'IMDSv1'}, {seen.hops} hop", again
    )
    yield _line("volumes of hosts", "encrypted", "encrypted" if seen.encrypted else "not encrypted", again)
    if published.hosts_security_group:
        yield _line("security groups of hosts", published.hosts_security_group, _names(seen.doors), again)


def _hooks(published: Inventory, live: LiveStack) -> Iterator[Line]:
    again = f"{_again(published.stack)} puts it back"
    for transition, name, otherwise in (
        (LAUNCHING, published.launch_hook, "ABANDON"),
        (TERMINATING, published.drain_hook, "CONTINUE"),
    ):
        yield _line(f"hook {name}, when nobody speaks", otherwise, _otherwise(live.hooks, transition, name), again)


def _otherwise(hooks: Look[tuple[HookFacts, ...]], transition: str, name: str) -> Look[str]:
    if hooks is None or isinstance(hooks, Unseen):
        return hooks
    return next((each.otherwise for each in hooks if (each.transition, each.name) == (transition, name)), None)


# ---------------------------------------------------------------------------------------------------------------- doors


def _doors(published: Inventory, port: int, live: LiveStack) -> Iterator[Line]:
    hosts, agent = published.hosts_security_group, published.agent_security_group
    wanted: set[_Open] = {("tcp", (22, 22), agent), ("tcp", (port, port), agent)}
    if published.balancer_security_group:
        wanted.add(("tcp", (port, port), published.balancer_security_group))
    yield from _doors_of("GPU hosts", hosts, wanted, live.host_doors, published.stack)
    yield from _doors_of("Medic's host", agent, set(), live.agent_doors, published.stack)


def _doors_of(whose: str, group: str, wanted: set[_Open], live: Look[tuple[Door, ...]], stack: str) -> Iterator[Line]:
    what = f"who may reach {whose}"
    if live is None or isinstance(live, Unseen):
        yield _line(what, _open(wanted), live, f"{_again(stack)} makes it again")
        return
    inwards = {each.id: (each.protocol, each.ports, each.peer) for each in live if each.inwards}
    strange = {id_: door for id_, door in inwards.items() if door not in wanted}
    for id_, door in sorted(strange.items()):
        # Rules are resources of their own: what is none of Pulumi's, no `up` takes away.
        revoke = f"`aws ec2 revoke-security-group-ingress --group-id {group} --security-group-rule-ids {id_}`"
        yield _line(f"{what}: {id_}", "no such rule", _open({door}), f"{revoke}; it is no part of the stack")
    for door in sorted(wanted - set(inwards.values()), key=str):
        yield _line(what, _open({door}), None, f"{_again(stack)} makes it again")
    if not strange and wanted <= set(inwards.values()):
        yield _line(what, _open(wanted), _open(wanted), "")
    outwards = {(each.protocol, each.ports, each.peer) for each in live if not each.inwards}
    everywhere: set[_Open] = {("-1", None, ANYWHERE)}
    yield _line(f"what {whose} may reach", _open(everywhere), _open(outwards), f"{_again(stack)} puts it back")


def _open(doors: set[_Open]) -> str:
    return "; ".join(sorted(_one_open(*each) for each in doors)) or "nobody"


def _one_open(protocol: str, ports: tuple[int, int] | None, peer: str) -> str:
    if ports is None:
        return f"{'all' if protocol == '-1' else protocol} {peer}"
    first, last = ports
    return f"{protocol} {first if first == last else f'{first}-{last}'} {peer}"


# --------------------------------------------------------------------------------------------------------------- bucket


def _bucket(published: Inventory, live: LiveStack) -> Iterator[Line]:
    again = f"{_again(published.stack)} puts it back"
    closed, ends = live.closed_to_public, live.old_versions_end
    for what, expected, seen in (
        ("versioning", "Enabled", live.versioning),
        ("encryption", "aws:kms", live.encryption),
        ("public access", "blocked", _look(closed, lambda: "blocked" if closed else "open")),
        ("old versions of models", "end in time", _look(ends, lambda: "end in time" if ends else "are kept for ever")),
    ):
        yield _line(f"bucket {published.bucket}: {what}", expected, seen, again)
