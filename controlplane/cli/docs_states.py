"""The state diagrams of the documentation, drawn from the transition tables."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from controlplane.domain.operations import ITEM_TRANSITIONS, OPERATION_TRANSITIONS
from controlplane.domain.rollouts import ROLLOUT_TRANSITIONS, TARGET_TRANSITIONS, WAVE_TRANSITIONS
from controlplane.domain.tenants import PHASE_TRANSITIONS


def rollout_states() -> str:
    """The states of a rollout."""
    return _diagram(ROLLOUT_TRANSITIONS)


def wave_states() -> str:
    """The states of a wave."""
    return _diagram(WAVE_TRANSITIONS)


def target_states() -> str:
    """The states of a target."""
    return _diagram(TARGET_TRANSITIONS)


def tenant_phases() -> str:
    """The phases of a tenant."""
    return _diagram(PHASE_TRANSITIONS)


def operation_states() -> str:
    """The states of an operation."""
    return _diagram(OPERATION_TRANSITIONS)


def item_states() -> str:
    """The states of one item of an operation."""
    return _diagram(ITEM_TRANSITIONS)


def _diagram[S: StrEnum](table: Mapping[S, frozenset[S]]) -> str:
    """A mermaid state diagram: begins at the table's first state; a state that leads nowhere is an end."""
    order = list(table)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {order[0]}"]
    for state, after in table.items():
        lines += [f"    {state} --> {other}" for other in order if other in after]
        if not after:
            lines.append(f"    {state} --> [*]")
    return "\n".join([*lines, "```"])
