"""The catalogue of named queries (`catalogue.yaml`): ready-made signals of the reference workload, by family."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Final

import yaml
from pydantic import Field, model_validator

from controlplane.domain.names import Name
from controlplane.domain.quantities import Duration
from controlplane.domain.wire import Wire

from .signals import unknown_placeholders

FAMILIES: Final = {
    "ingress": "Ingress: latency and 5xx",
    "response-times": "Response times",
    "workers": "Worker saturation",
    "postgresql": "PostgreSQL",
    "redis": "Redis memory",
    "queue": "Queue depth and age",
    "nodes": "Node and quota pressure",
    "cron": "Cron lag",
    "reporting": "Reporting queries",
    "attachments": "Attachments",
    "business": "Orders, stock moves, payments against the same hour last week",
}


class Named(Wire):
    """A named query. Exactly one of `max` and `min` is its default threshold."""

    name: Name
    family: str
    says: str = Field(description="What the value is, in a sentence.")
    unit: str
    query: str
    max: float | None = None
    min: float | None = None
    window: Duration = timedelta(minutes=5)
    volume: str | None = Field(default=None, description="How many events stand behind a value.")
    min_volume: float = 0.0
    filling: dict[str, str] = Field(
        default_factory=dict, description="Placeholders of its own and what fills them by default."
    )
    budget: bool = Field(default=False, description="The value is a share of bad events, which burns an error budget.")
    needs: str = Field(description="Whose metrics it reads.")

    @model_validator(mode="after")
    def _whole(self) -> Named:
        if (self.max is None) == (self.min is None):
            raise ValueError("a named query has one of max and min")
        if self.family not in FAMILIES:
            raise ValueError(f"there is no family {self.family}")
        if unknown := unknown_placeholders(self.query + (self.volume or ""), self.filling):
            raise ValueError(f"nothing fills {', '.join(unknown)}")
        return self


@cache
def _read() -> Mapping[str, Named]:
    body = yaml.safe_load(files(__package__).joinpath("catalogue.yaml").read_text(encoding="utf-8"))
    return {name: Named.model_validate({"name": name, **entry}) for name, entry in body.items()}


CATALOGUE: Final[Mapping[str, Named]] = _read()


def named(name: str) -> Named:
    """A named query; raises KeyError if there is none."""
    return CATALOGUE[name]
