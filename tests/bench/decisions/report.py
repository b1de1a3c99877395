"""From build/decisions.json to what docs/ shows: tables and two pictures. `python -m tests.bench.decisions.report`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("svg")
mpl.rcParams.update({"svg.hashsalt": "seawall", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
from matplotlib import pyplot as plt  # noqa: E402 -- after the backend is chosen

SOURCE = Path("build/decisions.json")
DOCS = Path("docs/decisions")
JUDGES = ("Seawall", "before/after test", "Kayenta", "Argo Rollouts", "Flagger")
HARMLESS = ("calm", "fleet-wide shock x2", "metric source away for 30 min", "one treated tenant's campaign")
HARMFUL = ("bad release x1.5", "bad release x2", "bad release x5", "bad release x2 under the shock")
COLOURS = dict(zip(JUDGES, ("#0b6e4f", "#b23a48", "#6c5b7b", "#1f77b4", "#e08e0b"), strict=True))

type Cell = dict[str, Any]


def tables(cells: Sequence[Cell]) -> str:
    """Markdown: for each world, how often each judge stops what; harmful ones with the median minutes."""
    found = {(c["world"], c["scenario"], c["judge"]): c for c in cells}
    parts = []
    for world in dict.fromkeys(c["world"] for c in cells):
        head = ["judge", *HARMLESS, *HARMFUL]
        lines = [f"**{world}**", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for judge in JUDGES:
            row = [_said(found[world, scenario, judge], harm=scenario in HARMFUL) for scenario in (*HARMLESS, *HARMFUL)]
            note = found[world, HARMLESS[0], judge]["note"]
            lines.append("| " + " | ".join([judge + (f" ({note})" if note else ""), *row]) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _said(cell: Cell, *, harm: bool) -> str:
    share = f"{100 * cell['rate']:.1f}% ({100 * cell['low']:.1f} to {100 * cell['high']:.1f})"
    return f"{share}, {cell['minutes']:.0f} min" if harm and cell["minutes"] is not None else share


def calibration(largest: dict[str, dict[str, list[float]]], out: Path) -> None:
    """Harmless rollouts: how often the e-value ever reaches 1/alpha, against alpha. Below the line is what is promised."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
    alphas = np.logspace(-3, -0.3, 60)
    for axis, kind, title in zip(axes, ("calm", "shock"), ("calm", "fleet-wide shock x2"), strict=True):
        for world, kinds in largest.items():
            logs = np.array(kinds[kind])
            axis.plot(alphas, [(logs >= -math.log(a)).mean() for a in alphas], label=world, linewidth=1)
        axis.plot(alphas, alphas, color="black", linestyle="--", linewidth=1, label="promised at most")
        axis.set(
            xscale="log", yscale="log", xlabel="alpha", title=f"{title}: share of rollouts ever stopped", ylim=(3e-4, 1)
        )
    axes[1].legend(fontsize=6, frameon=False)
    figure.savefig(out, metadata={"Date": None})


def tradeoff(cells: Sequence[Cell], out: Path) -> None:
    """Each judge in each world: the worst share of harmless rollouts stopped (calm or shock), and the share of x2 stopped."""
    figure, axis = plt.subplots(figsize=(6, 4.2), layout="constrained")
    found = {(c["world"], c["scenario"], c["judge"]): c["rate"] for c in cells}
    worlds = list(dict.fromkeys(c["world"] for c in cells))
    for judge in JUDGES:
        x = [max(found[w, s, judge] for s in HARMLESS[:3]) for w in worlds]
        y = [found[w, "bad release x2", judge] for w in worlds]
        axis.scatter(np.maximum(x, 3e-4), y, label=judge, color=COLOURS[judge], s=28)
    axis.axvline(0.01, color="black", linestyle="--", linewidth=1)
    axis.set(
        xscale="log",
        xlabel="worst share of good rollouts stopped (calm, shock, source away); dashed: 1%",
        ylabel="share of x2 releases stopped",
        ylim=(0, 1.03),
    )
    axis.legend(frameon=False)
    figure.savefig(out, metadata={"Date": None})


def main() -> None:
    """Write docs/decisions/."""
    body = json.loads(SOURCE.read_text())
    DOCS.mkdir(parents=True, exist_ok=True)
    (DOCS / "tables.md").write_text(
        "# Decision quality: all cells\n\n" + _preface(body["cells"]) + tables(body["cells"])
    )
    calibration(body["largest"], DOCS / "calibration.svg")
    tradeoff(body["cells"], DOCS / "tradeoff.svg")


def _preface(cells: Sequence[Cell]) -> str:
    runs = cells[0]["runs"] if cells else 0
    return (
        f"{runs} seeded replays per cell; share of rollouts stopped (95% interval, Clopper-Pearson), median time to stop. The first four columns\n"
        "are good releases: lower is better. How it was made, and what it can't show: [benchmarks](../benchmarks.md#decision-quality).\n\n"
    )


if __name__ == "__main__":
    main()
