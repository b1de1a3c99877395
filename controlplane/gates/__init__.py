"""Gates: one file per kind, one line here. Measuring (`observe`) and judging (`judge`, pure) are apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.strategies import GateSpec, Strategy, gates_at
from controlplane.domain.wire import field_errors, pointer
from controlplane.ports.gates import Gate, TargetGate

from .approval import ApprovalGate
from .backup import BackupGate
from .burn_rate import BurnRateGate
from .capacity import CapacityGate
from .control_group import ControlGroupGate
from .evidence import EvidenceGate
from .invariants import InvariantsGate, unpaired
from .metric import MetricGate
from .notice import NoticeGate
from .provenance import ProvenanceGate
from .rules import RulesGate
from .verified_in import VerifiedInGate
from .webhook import WebhookGate

ALL: tuple[Gate[Any], ...] = (
    ApprovalGate(),
    BackupGate(),
    BurnRateGate(),
    CapacityGate(),
    ControlGroupGate(),
    EvidenceGate(),
    InvariantsGate(),
    MetricGate(),
    NoticeGate(),
    ProvenanceGate(),
    RulesGate(),
    VerifiedInGate(),
    WebhookGate(),
)
GATES: Mapping[str, Gate[Any]] = {gate.kind: gate for gate in ALL}


def read_spec(kind: str, body: Mapping[str, Any]) -> BaseModel:
    """The spec of a gate as it was checked when its strategy was stored."""
    spec: BaseModel = GATES[kind].spec.model_validate(body)
    return spec


def check_gates(strategy: Strategy) -> None:
    """Check the body of every gate in a strategy; raises InvalidError `invalid-strategy` with a pointer for each thing wrong."""
    found: list[FieldError] = []
    for at, gate in gates_at(strategy):
        kind, body = next(iter(gate.items()))
        try:
            GATES[kind].spec.model_validate(body)
        except ValidationError as error:
            found += field_errors(error, (*at, kind))
        if "beforeEach" in at and not isinstance(GATES[kind], TargetGate):
            can = ", ".join(sorted(name for name, one in GATES.items() if isinstance(one, TargetGate))) or "none"
            detail = f"gate kind {kind!r} gives no verdict for a single target; it stands before, during or after. These do: {can}"
            found.append(FieldError(pointer(at), detail))
    found += [FieldError(pointer(at), detail) for at, detail in unpaired(strategy)]
    if found:
        raise InvalidError(
            f"A gate can't be used: {found[0].pointer}: {found[0].detail}", code="invalid-strategy", errors=found
        )


def check_gate(gate: GateSpec, at: tuple[str | int, ...]) -> None:
    """Check the body of one gate of a known kind; raises InvalidError `invalid-strategy` with a pointer for each thing wrong."""
    kind, body = next(iter(gate.items()))
    try:
        GATES[kind].spec.model_validate(body)
    except ValidationError as error:
        found = field_errors(error, (*at, kind))
        raise InvalidError(
            f"A gate can't be used: {found[0].pointer}: {found[0].detail}", code="invalid-strategy", errors=found
        ) from error
