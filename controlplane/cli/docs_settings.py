"""The reference of settings and roles, from the code."""

from __future__ import annotations

from controlplane.domain.identity import PERMISSIONS
from controlplane.settings import Settings


def settings() -> str:
    """Give the table of environment variables."""
    prefix = Settings.model_config.get("env_prefix", "")
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        shown = "" if default in (None, "") else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        rows.append(f"| `{prefix}{name.upper()}` | {shown} | {field.description or ''} |")
    return "\n".join(rows)


def permissions() -> str:
    """Give the table of actions and the roles that may do them."""
    rows = ["| action | roles |", "|---|---|"]
    rows += [f"| `{action}` | {', '.join(sorted(roles))} |" for action, roles in sorted(PERMISSIONS.items())]
    return "\n".join(rows)
