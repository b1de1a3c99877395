"""Workload rules from a YAML file."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from controlplane.domain.errors import InvalidError
from controlplane.domain.federation import Workload
from controlplane.domain.wire import field_errors

_RULES: TypeAdapter[list[Workload]] = TypeAdapter(list[Workload])


def read_workloads(path: Path) -> list[Workload]:
    """Read the rules. Raises InvalidError `invalid-workloads` that names the file and the place."""
    try:
        return _RULES.validate_python(yaml.safe_load(path.read_text()) or [], by_alias=True, by_name=False)
    except ValidationError as error:
        found = field_errors(error)
        detail = f"{path} can't be used: {found[0].pointer or '/'}: {found[0].detail}"
        raise InvalidError(detail, code="invalid-workloads", errors=found) from error
    except (OSError, yaml.YAMLError) as error:
        raise InvalidError(f"{path} can't be read: {error}", code="invalid-workloads") from error
