"""Where a secret lies: never the secret itself. Configuration names it, the process that needs it reads it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from controlplane.domain.wire import Wire

ENV_PREFIX = "SEAWALL_SECRET_"


class SecretRef(Wire):
    """An environment variable (`SEAWALL_SECRET_...` only) or a file in the folder of secrets; exactly one of them."""

    env: Annotated[str, StringConstraints(pattern=rf"^{ENV_PREFIX}[A-Z0-9_]+$", max_length=128)] | None = Field(
        default=None, description=f"Name of an environment variable; it starts with {ENV_PREFIX}."
    )
    file: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][-_.a-zA-Z0-9]*$", max_length=128)] | None = Field(
        default=None, description="Name of a file in the folder SEAWALL_SECRETS; no path."
    )

    @model_validator(mode="after")
    def _one(self) -> SecretRef:
        if (self.env is None) == (self.file is None):
            raise ValueError("name either `env` or `file`")
        return self

    def __str__(self) -> str:
        return f"environment variable {self.env}" if self.env else f"file {self.file}"
