"""What people see of a rollout: a line that names it and its fleet, waves as a table, and sentences that explain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .output import cell, short_id, when

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

    from .client import Json

OVER = frozenset({"succeeded", "failed", "aborted"})
_IN_FLIGHT = ("preflight", "backup", "migrate", "apply", "verify", "soak", "failed", "rollingBack")
_UNTOUCHED = ("pending", "skipped", "cancelled", "deferred")
_STYLES = {"succeeded": "green", "failed": "red", "aborted": "red", "paused": "yellow", "rollingBack": "yellow"}
_WAVE_WORDS = {"done": "passed", "failed": "HALTED", "pending": "", "gating": "waits for a gate"}
_WAVE_STYLES = {"done": "green", "failed": "bold red", "running": "cyan", "soaking": "cyan", "judging": "cyan"}


def tenants(count: int) -> str:
    """`1 tenant`, `4 tenants`."""
    return f"{count} tenant" if count == 1 else f"{count} tenants"


def headline(view: Mapping[str, Any], fleet: str) -> Text:
    """`odoo/17.0.5  deploy ...c2d4  24 tenants  strategy careful@1  running        fleet: SIMULATED`."""
    from rich.text import Text

    what = view.get("release") or view.get("app") or ""
    line = Text.assemble((str(what), "bold"), f"  rollout {short_id(view['id'])}  {tenants(view['targets'])}  ")
    line.append(f"strategy {view['strategy']}  ")
    line.append(str(view["state"]), style=_STYLES.get(str(view["state"]), "cyan"))
    if view.get("emergency"):
        line.append(f"  EMERGENCY {view['emergency']}", style="bold red")
    if fleet:
        line.append("      fleet: ").append(fleet, style="bold magenta")
    return line


def rollout_screen(view: Mapping[str, Any], fleet: str) -> Group:
    """Everything about a rollout that fits on a screen."""
    from rich.console import Group

    parts: list[Any] = [headline(view, fleet), wave_table(view)]
    parts += [_waiting_line(one) for one in view.get("waitingFor") or ()]
    if view.get("inFlight") and view["state"] not in OVER:
        parts.append(labelled("at stake", _stake(view["inFlight"])))
    if view.get("blame"):
        parts.append(labelled("blame", blame_line(view["blame"], str(view["id"]))))
    explanation = view.get("explanation") or {}
    parts += [labelled(label, explanation[label]) for label in ("why", "next", "who") if explanation.get(label)]
    return Group(*parts)


def blame_line(found: Mapping[str, Any], rollout: str) -> str:
    """The newest verdict on a rollout, what followed, and where the votes are."""
    words = {"blamed": "blamed", "acquitted": "not this one"}
    word = words.get(str(found["role"]), str(found["verdict"]))
    return f"{word}: {found['reason']} {found['why']} Votes: seawall blame {short_id(rollout)}"


def wave_table(view: Mapping[str, Any]) -> Any:
    """One line per wave: how many tenants stand where, and what became of the wave."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("  wave", no_wrap=True)
    for heading in ("tenants", "in flight", "verified", "rolled back", "untouched"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for wave in view["waves"]:
        counts = wave["counts"]
        numbers = [
            _sum(counts, _IN_FLIGHT),
            _sum(counts, ("verified",)),
            _sum(counts, ("rolledBack",)),
            _sum(counts, _UNTOUCHED),
        ]
        table.add_row(
            f"  {wave['name']}",
            str(wave["targets"]),
            *(str(n) if n else "." for n in numbers),
            wave_outcome(wave, str(view["state"])),
        )
    return table


def wave_outcome(wave: Mapping[str, Any], rollout_state: str) -> Text:
    """What became of a wave, in words. Why it halted is the rollout's `why`."""
    from rich.text import Text

    state = str(wave["state"])
    word = _WAVE_WORDS.get(state, state)
    if state == "pending" and rollout_state in OVER:
        word = "never started"
    stuck = _sum(wave["counts"], ("stuck",))
    return Text(f"{word}  {stuck} STUCK" if stuck else word, style=_WAVE_STYLES.get(state, "dim"))


def plan_screen(plan: Mapping[str, Any], fleet: str) -> Group:
    """A preview, for a person who decides."""
    from rich.console import Group
    from rich.text import Text

    head = Text.assemble(
        (str(plan.get("release") or plan["kind"]), "bold"), f"  {tenants(plan['targets'])}  strategy {plan['strategy']}"
    )
    if fleet:
        head.append("      fleet: ").append(fleet, style="bold magenta")
    peak, back = plan["peak"], plan["wayBack"]
    lines = [
        ("from", cell(plan["from"])),
        (
            "at once",
            f"{peak['inFlight']} in flight, {peak['unverified']} unverified, {peak['ordersPerHour']} orders/h{_money(peak)} at most",
        ),
        ("way back", ", ".join(f"{number} {kind}" for kind, number in back.items() if number)),
        *_groups("left out", plan["excluded"], plan.get("excludedCount"), lambda e: e.get("detail") or e["code"]),
        *_groups("will wait", plan["waitingFor"], plan.get("waitingCount"), lambda w: f"{w['gate']}: {w['reason']}"),
    ]
    lines += _lane_lines(plan.get("emergency"))
    notes = [("rule", rule_line(rule)) for rule in plan.get("rules") or ()]
    notes += [("note", n["detail"]) for n in plan.get("notes") or ()]
    return Group(head, _plan_waves(plan), *(labelled(label, text) for label, text in [*lines, *notes] if text))


def rule_line(rule: Mapping[str, Any]) -> str:
    """A risk rule that applied: which, what it does to how many, and why."""
    names = _few([str(name) for name in rule["examples"]])
    return f"{rule['rule']} ({rule['effect']}, {tenants(rule['tenants'])}: {names}): {rule['reason']}"


def _lane_lines(lane: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """What an emergency leaves out, each by name."""
    if not lane:
        return []
    gates = [f"{g['kind']} {g['place']}{' ' + g['wave'] if g['wave'] else ''}" for g in lane["leftOut"]]
    windows = ["closed windows"] if "window" in lane["skip"] else []
    out = [*gates, *windows, *(f"freeze {one}" for one in lane["freezes"])]
    return [("emergency", f"{lane['criterion']}: {lane['reason']}"), ("does without", ", ".join(out) or "nothing")]


def _plan_waves(plan: Mapping[str, Any]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("  wave", no_wrap=True)
    table.add_column("tenants", justify="right")
    table.add_column("expected by")
    for wave in plan["waves"]:
        table.add_row(f"  {wave['name']}", str(wave["targets"]), when(wave["expectedBy"]))
    return table


def _groups(label: str, items: Sequence[Json], total: int | None, why: Callable[[Json], str]) -> list[tuple[str, str]]:
    """Targets by their reason, a line for each, with a few of their names."""
    groups: dict[str, list[str]] = {}
    for one in items:
        groups.setdefault(why(one), []).append(str(one["tenant"]))
    lines = [(label, f"{_few(names)}: {reason}") for reason, names in groups.items()]
    more = (total or len(items)) - len(items)
    return [*lines, (label, f"and {more} more")] if more > 0 else lines


def _few(names: Sequence[str], most: int = 3) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _money(stake: Json) -> str:
    money = stake.get("moneyAtRisk")
    return f", {money['amount']} {money['currency']} at risk" if money and float(money["amount"]) else ""


def _stake(now: Json) -> str:
    orders = f", {now['ordersPerHour']} orders/h" if float(now["ordersPerHour"]) else ""
    return f"{now['inFlight']} in flight, {now['unverified']} unverified{orders}{_money(now)}"


def _waiting_line(one: Json) -> Text:
    until = f" until {when(one['until'])}" if one.get("until") else ""
    who = f"; {one['who']} can act" if one.get("who") else ""
    count = f" ({tenants(one['targets'])})" if one.get("targets") else ""
    return labelled("waits for", f"{one['gate']}: {one['reason']}{until}{count}{who}", "yellow")


def labelled(label: str, text: str, style: str = "") -> Text:
    """A line with a dim label."""
    from rich.text import Text

    return Text.assemble((f"  {label:<10} ", "dim"), (text, style))


def _sum(counts: Mapping[str, int], states: tuple[str, ...]) -> int:
    return sum(counts.get(state, 0) for state in states)
