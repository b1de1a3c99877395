"""Gates: one file per kind, one line here. Measuring (`observe`) and judging (`judge`, pure) are apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.strategies import GateSpec, Strategy
from controlplane.domain.wire import field_errors
from controlplane.ports.gates import Gate

from .approval import ApprovalGate
from .metric import MetricGate

GATES: Mapping[str, Gate[Any]] = {gate.kind: gate for gate in (ApprovalGate(), MetricGate())}


def read_spec(kind: str, body: Mapping[str, Any]) -> BaseModel:
    """The spec of a gate as it was checked when its strategy was stored."""
    spec: BaseModel = GATES[kind].spec.model_validate(body)
    return spec


def check_gates(strategy: Strategy) -> None:
    """Check the body of every gate in a strategy; raises InvalidError `invalid-strategy` with a pointer for each thing wrong."""
    places: list[tuple[tuple[str | int, ...], GateSpec]] = [(("during", i), g) for i, g in enumerate(strategy.during)]
    for number, wave in enumerate(strategy.waves):
        places += [(("waves", number, "before", i), g) for i, g in enumerate(wave.before)]
        places += [(("waves", number, "after", i), g) for i, g in enumerate(wave.after)]
    found: list[FieldError] = []
    for at, gate in places:
        kind, body = next(iter(gate.items()))
        try:
            GATES[kind].spec.model_validate(body)
        except ValidationError as error:
            found += field_errors(error, (*at, kind))
    if found:
        raise InvalidError(
            f"A gate can't be used: {found[0].pointer}: {found[0].detail}", code="invalid-strategy", errors=found
        )
