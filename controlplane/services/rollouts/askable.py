"""What an approval gate would refuse whatever people say: told in the preview, and refused at the start rather than halfway."""

from __future__ import annotations

from collections.abc import Collection

from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.gating import gates_of
from controlplane.domain.plans import Note, Plan
from controlplane.gates.approval import ApprovalSpec

_AUTHORS, _CHANGE = "authors-unknown", "change-ref-missing"


def notes_on(plan: Plan, authors: Collection[str], change_ref: str) -> tuple[Note, ...]:
    """A note for each thing that an approval gate of the plan needs and the rollout does not have."""
    asks = [
        (plan.waves[gate.key.wave].name, ApprovalSpec.model_validate(gate.spec))
        for gate in gates_of(plan).values()
        if gate.kind == "approval"
    ]
    found = []
    needing = [wave for wave, spec in asks if spec.known_authors]
    if needing and plan.kind == "deploy" and not authors:
        detail = (
            f"The approval gate of wave {needing[0]} needs to know who wrote {plan.app}/{plan.release}, and the release names nobody. "
            "Register it under a new version with provenance.authors, or from CI with a workload's token."
        )
        found.append(Note(code=_AUTHORS, detail=detail))
    needing = [wave for wave, spec in asks if spec.needs_change_ref]
    if needing and not change_ref:
        detail = f"The approval gate of wave {needing[0]} needs the number of a change. Give it as changeRef."
        found.append(Note(code=_CHANGE, detail=detail))
    return tuple(found)


def refuse_unaskable(plan: Plan) -> None:
    """Raise InvalidError `authors-unknown` or `change-ref-missing` if the plan's notes say so."""
    for note in plan.notes:
        if note.code == _AUTHORS:
            raise InvalidError(note.detail, code="authors-unknown", errors=[FieldError("/release", "names no authors")])
        if note.code == _CHANGE:
            raise InvalidError(note.detail, code="change-ref-missing", errors=[FieldError("/changeRef", "is missing")])
