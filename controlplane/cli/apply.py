"""`apply` and `get`: configuration through one declarative door."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import TABLE, Output

if TYPE_CHECKING:
    from .client import Client

API_VERSION = "seawall.dev/v1"
KINDS = {
    "app": "apps",
    "tier": "tiers",
    "cluster": "clusters",
    "calendar": "calendars",
    "strategy": "strategies",
    "trigger": "triggers",
    "rule": "rules",
    "webhook": "webhooks",
    "source": "sources",
    "person": "people",
    "endpoint": "endpoints",
    "trust": "trusts",
    "criterion": "criteria",
    "limit": "limits",
}
"""Configuration kinds, one of them and many."""
ORDER = list(KINDS)
"""Objects are applied in this order, so that what others name exists first."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("apply")(apply)
    app.command("get")(get)


@dataclass(frozen=True)
class Document:
    """One object of a file."""

    file: str
    kind: str
    name: str
    spec: dict[str, Any]


def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="A YAML or JSON file, a folder of them, or - for stdin.")],
) -> None:
    """Create or replace configuration: documents with apiVersion seawall.dev/v1, kind, metadata.name and spec."""
    from .client import connect
    from .failures import CommandError, ProblemError

    documents = sorted(documents_of(file), key=lambda d: ORDER.index(d.kind))
    client = connect()
    for document in documents:
        try:
            outcome = put_document(client, document)
        except ProblemError as error:
            message = {
                **error.problem,
                "detail": f"{document.kind}/{document.name} in {document.file}: {error.message}",
            }
            raise ProblemError(error.status, message) from error
        typer.echo(f"{document.kind}/{document.name} {outcome}")
    if not documents:
        raise CommandError(f"{file} holds no document.")


def put_document(client: Client, document: Document) -> str:
    """Put one object in force; says `created`, `changed to version 8` or `unchanged`."""
    from .failures import ProblemError

    path = f"/v1/{KINDS[document.kind]}/{document.name}"
    try:
        before, etag = client.get_tagged(path)
    except ProblemError as error:
        if error.status != 404:
            raise
        before, etag = {}, ""
    after = client.put(path, document.spec, etag).json()
    if not before:
        return "created"
    return "unchanged" if after["version"] == before["version"] else f"changed to version {after['version']}"


def get(
    kind: Annotated[str, typer.Argument(help="strategies, tiers, ... or one of them: strategy/careful@7")],
    name: Annotated[str, typer.Argument(help="A name, or name@version.")] = "",
    output: Output = TABLE,
) -> None:
    """Show configuration. -o yaml writes what `apply` takes."""
    from .client import connect
    from .output import Column, column, show_list, show_one, when

    kind, _, inner = kind.partition("/")
    plural = _plural(kind)
    client = connect()
    if name or inner:
        item = client.get(f"/v1/{plural}/{name or inner}")
        show_one(document_of(item), output, name=_name(item), table=lambda: _print(item))
        return
    columns = [
        column("NAME", "name"),
        column("VERSION", "version", right=True),
        Column("SINCE", lambda i: when(i["createdAt"])),
        column("BY", "createdBy"),
    ]
    items = client.pages(f"/v1/{plural}")
    if output is TABLE:
        show_list(items, columns, output, name=_name)
    else:
        show_list(map(document_of, items), columns, output, name=lambda d: f"{d['kind']}/{d['metadata']['name']}")


def document_of(item: dict[str, Any]) -> dict[str, Any]:
    """Write an object of the API as a document that `apply` takes."""
    return {
        "apiVersion": API_VERSION,
        "kind": _singular(item["kind"]),
        "metadata": {"name": item["name"]},
        "spec": item["spec"],
    }


def documents_of(file: Path) -> Iterator[Document]:
    """Read all documents of a file, a folder (every .yaml, .yml and .json below it) or stdin. Raises UsageError."""
    from .failures import UsageError

    if str(file) == "-":
        yield from _read(typer.get_text_stream("stdin").read(), "stdin")
        return
    if not file.exists():
        raise UsageError(f"There is no file or folder {file}.")
    files = sorted(p for p in file.rglob("*") if p.suffix in (".yaml", ".yml", ".json")) if file.is_dir() else [file]
    for one in files:
        yield from _read(one.read_text(), str(one))


def _read(text: str, file: str) -> Iterator[Document]:
    import yaml

    from .failures import UsageError

    try:
        loaded = [d for d in yaml.safe_load_all(text) if d is not None]
    except yaml.YAMLError as error:
        raise UsageError(f"{file} is not YAML: {error}") from error
    for raw in loaded:
        yield _document(raw, file)


def _document(raw: Any, file: str) -> Document:
    from .failures import UsageError

    wanted = "Each document has apiVersion: seawall.dev/v1, kind, metadata.name and spec."
    if not isinstance(raw, dict) or raw.get("apiVersion") != API_VERSION:
        raise UsageError(f"{file} holds a document that is not of {API_VERSION}.", wanted)
    kind = str(raw.get("kind", "")).lower()
    if kind not in KINDS:
        raise UsageError(
            f"{file}: {raw.get('kind')!r} is not a kind of configuration.", f"There are: {', '.join(KINDS)}."
        )
    metadata, spec = raw.get("metadata"), raw.get("spec")
    if not isinstance(metadata, dict) or not metadata.get("name") or not isinstance(spec, dict):
        raise UsageError(f"{file}: a {kind} without metadata.name or spec.", wanted)
    return Document(file, kind, str(metadata["name"]), spec)


def _plural(kind: str) -> str:
    from .failures import UsageError

    found = KINDS.get(kind.lower(), kind.lower())
    if found not in KINDS.values():
        raise UsageError(
            f"{kind!r} is not a kind of configuration.",
            f"There are: {', '.join(KINDS.values())}. What happens has commands of its own: `seawall --help`.",
        )
    return found


def _name(item: dict[str, Any]) -> str:
    return f"{_singular(item['kind'])}/{item['name']}"


def _singular(kind: str) -> str:
    return next((one for one, many in KINDS.items() if kind in (one, many)), kind)


def _print(item: dict[str, Any]) -> None:
    import yaml

    from .output import show_fields, when

    show_fields(
        [
            (_singular(item["kind"]), f"{item['name']}@{item['version']}"),
            ("since", when(item["createdAt"])),
            ("by", item["createdBy"]),
        ]
    )
    typer.echo(yaml.safe_dump(item["spec"], sort_keys=False, allow_unicode=True), nl=False)
