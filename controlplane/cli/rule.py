"""`rule`: trying risk rules before they are in force."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import TABLE, Output, Selector, new_group

if TYPE_CHECKING:
    from .client import Json

group = new_group("Risk rules: what may refuse a rollout, ask an approval, or require a strategy.")


@group.command("test")
def try_(
    file: Annotated[Path, typer.Argument(help="A file with one rule, as `seawall apply` takes it.")],
    release: Annotated[str, typer.Option("--release", help="Such as odoo/17.0.4")],
    tenant: Annotated[str, typer.Option("--tenant", "-t", help="Only this one.")] = "",
    selector: Selector = "",
    environment: Annotated[
        str, typer.Option("--environment", "-e", help="Of which tenants' environments.")
    ] = "production",
    strategy: Annotated[str, typer.Option("--strategy", help="What rollout.strategy is.")] = "",
    at: Annotated[str, typer.Option("--at", help="As if it were then: 2026-11-27T08:00:00Z.")] = "",
    output: Output = TABLE,
) -> None:
    """Say of which tenants a rule is true, and what would follow; nothing is stored. Fails if it can't be evaluated for somebody."""
    from .client import connect
    from .failures import CommandError
    from .output import show_one

    body: dict[str, Any] = {"rule": spec_of(file), "release": release, "environment": environment}
    body |= {"tenant": tenant} if tenant else {}
    body |= {"selector": selector} if selector else {}
    body |= {"strategy": strategy} if strategy else {}
    body |= {"at": at} if at else {}
    found = connect().post("/v1/rules:test", body)
    show_one(found, output, name=found["effect"], table=lambda: _table(found))
    if found["unclear"]:
        raise CommandError(
            f"It can't be evaluated for {found['unclear']} of {found['tenants']} tenants: a rollout would leave them out."
        )


def spec_of(file: Path) -> Any:
    """The spec of the one rule in a file. Raises UsageError."""
    from .apply import documents_of
    from .failures import UsageError

    rules = [document for document in documents_of(file) if document.kind == "rule"]
    if len(rules) != 1:
        raise UsageError(f"{file} holds {len(rules)} documents of kind rule, not one.")
    return rules[0].spec


def _table(found: Json) -> None:
    typer.echo(
        f"true of {found['applies']} of {found['tenants']} tenants; looks at {', '.join(found['uses']) or 'nothing'}"
    )
    if found["applies"]:
        typer.echo(f"effect: {found['effect']}: {found['reason']}")
    for line in found["lines"]:
        said = {True: "applies", False: "-", None: f"unclear: {line['why']}"}[line["applies"]]
        typer.echo(f"  {line['tenant']}  {said}")
