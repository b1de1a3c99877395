"""`breakglass`: what every tenant runs, as files for plain kubectl."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import new_group

group = new_group("For the day that Seawall is gone: what every tenant runs, as files for plain kubectl.")


@group.command("export")
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Made if it is missing.")],
    tenant: Annotated[str, typer.Option("--tenant", help="One tenant only.")] = "",
) -> None:
    """Write the walls and newest verified revisions of all tenants into a directory; an earlier export there is brought up to date."""
    import asyncio
    import json

    from controlplane.adapters.folder import Folder
    from controlplane.domain.errors import DependencyError

    from .client import connect
    from .failures import CommandError
    from .output import say

    folder, environments = Folder(directory), 0
    path = f"/v1/breakglass?tenant={tenant}" if tenant else "/v1/breakglass"
    try:
        with connect().stream(path, {"Accept": "application/x-ndjson"}) as lines:
            for line in lines:
                found = json.loads(line)
                asyncio.run(folder.replace(found["folder"], found["files"]))
                environments += bool(found["folder"] and found["files"])
    except DependencyError as error:
        raise CommandError(error.detail) from error
    say(f"{environments} environments are in {directory}; README.txt there says how to apply them.")
