"""`release`: immutable versions of apps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import TABLE, Output, Reason, new_group

if TYPE_CHECKING:
    from .client import Client, Json

group = new_group("Releases: immutable versions of an app.")
Ref = Annotated[str, typer.Argument(metavar="APP/VERSION", help="Such as odoo/17.0.4")]


@group.command("register")
def register(
    ref: Ref,
    source: Annotated[Path, typer.Argument(help="A chart's folder, a chart archive (.tgz), or a file of manifests.")],
    image: Annotated[
        list[str] | None, typer.Option("--image", help="name=reference@sha256:..., may be given several times.")
    ] = None,
    risk: Annotated[
        list[str] | None, typer.Option("--risk", help="inventory, pricing, tax, payments, schema, ...")
    ] = None,
    module: Annotated[
        list[str] | None,
        typer.Option("--module", help="A module of the app that it changes, may be given several times."),
    ] = None,
    database: Annotated[str, typer.Option(help="none, reversible, forward-only or restore-required.")] = "none",
    upgrade_from: Annotated[str, typer.Option(help="Range of versions from which going to this one is safe.")] = "",
    requires_kubernetes: Annotated[str, typer.Option(help="Range, such as >=1.31.")] = "",
    repository: Annotated[str, typer.Option(help="Where it was built from.")] = "",
    commit: Annotated[str, typer.Option(help="The commit it was built from.")] = "",
    author: Annotated[list[str] | None, typer.Option("--author", help="May never approve it.")] = None,
    output: Output = TABLE,
) -> None:
    """Pack, upload and register a release. The same again changes nothing; another body under a version is refused."""
    from .client import connect
    from .output import show_one

    format_, data = read_source(source)
    body: dict[str, Any] = {"images": _pairs(image or []), "risks": risk or [], "database": {"change": database}}
    body |= {"upgradeFrom": upgrade_from} if upgrade_from else {}
    body |= {"modules": module} if module else {}
    body |= {"requires": {"kubernetes": requires_kubernetes}} if requires_kubernetes else {}
    origin = {"repository": repository, "commit": commit, "authors": author or []}
    body["provenance"] = {name: value for name, value in origin.items() if value}
    made = register_release(connect(), ref, format_, data, body)
    show_one(made, output, name=ref, table=lambda: typer.echo(f"{ref} {made['digest']}"))


def register_release(client: Client, ref: str, format_: str, data: bytes, body: dict[str, Any]) -> Json:
    """Upload bytes and register them as a release."""
    from controlplane.domain.names import digest_of

    app, version = split_ref(ref)
    digest = digest_of(data)
    client.upload(f"/v1/artifacts/{digest}", data)
    source = {"format": format_, "artifact": digest}
    return client.post("/v1/releases", {"app": app, "version": version, "source": source, **body})


def read_source(source: Path) -> tuple[str, bytes]:
    """Read a chart folder, an archive or manifests as (format, bytes). Raises UsageError."""
    from .failures import UsageError

    if source.is_dir():
        from controlplane.formats.pack import pack_chart

        return "helm", pack_chart(source)
    if not source.is_file():
        raise UsageError(f"There is no file or folder {source}.")
    return ("manifests" if source.suffix in (".yaml", ".yml") else "helm"), source.read_bytes()


@group.command("list")
def list_(app: Annotated[str, typer.Option("--app", help="Only of this app.")] = "", output: Output = TABLE) -> None:
    """List releases, newest first."""
    from .client import connect
    from .output import Column, show_list, when

    columns = [
        Column("RELEASE", _ref),
        Column("REGISTERED", lambda r: when(r["createdAt"])),
        Column("RISKS", lambda r: r["risks"]),
        Column("DATABASE", lambda r: r["database"]["change"]),
        Column("STANDING", standing),
    ]
    show_list(connect().pages("/v1/releases", app=app or None), columns, output, name=_ref)


@group.command("show")
def show(ref: Ref, output: Output = TABLE) -> None:
    """Show a release: what it is, whether it is proven or held."""
    from .client import connect
    from .output import show_fields, show_one, when

    app, version = split_ref(ref)
    item = connect().get(f"/v1/releases/{app}/{version}")

    def table() -> None:
        hold = item.get("hold") or {}
        show_fields(
            [
                ("release", ref),
                ("standing", standing(item)),
                ("held for", hold.get("reason")),
                ("held by", f"rollout {hold['rolloutId']}" if hold.get("rolloutId") else ""),
                ("registered", f"{when(item['createdAt'])} by {item['createdBy']}"),
                ("source", f"{item['source']['format']} {item['source']['artifact']}"),
                ("images", [f"{name} {image}" for name, image in item["images"].items()]),
                ("risks", item["risks"]),
                ("modules", item.get("modules")),
                ("database", item["database"]["change"]),
                ("upgrade from", item.get("upgradeFrom")),
                ("commit", (item.get("provenance") or {}).get("commit")),
            ]
        )

    show_one(item, output, name=ref, table=table)


@group.command("lift")
def lift(ref: Ref, reason: Reason) -> None:
    """End the hold of a release's bytes, so that triggers may start it again."""
    from .client import connect
    from .output import say

    app, version = split_ref(ref)
    connect().post(f"/v1/releases/{app}/{version}:lift", {"reason": reason})
    say(f"{ref} is not held any more.")


@group.command("attest")
def attest(
    ref: Ref,
    kind: Annotated[str, typer.Option("--kind", help="security, rehearsal, performance-baseline, provenance, ...")],
    result: Annotated[
        list[str] | None, typer.Option("--result", help="name=value, may be given several times.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="It says that it failed.")] = False,
    at: Annotated[str, typer.Option("--at", help="When it was measured; now if not given.")] = "",
    url: Annotated[str, typer.Option("--url", help="Where a person can read more.")] = "",
    envelope: Annotated[
        Path | None,
        typer.Option("--envelope", help="A signed attestation: a DSSE envelope as cosign attest writes it."),
    ] = None,
    certificate: Annotated[
        list[Path] | None, typer.Option("--certificate", help="PEM of the signer, then of intermediates.")
    ] = None,
    output: Output = TABLE,
) -> None:
    """Attest something about a release, for gates and risk rules. The newest of a kind counts; none ever changes."""
    import json
    from datetime import UTC, datetime

    from .client import connect
    from .output import show_one

    app, version = split_ref(ref)
    body: dict[str, Any] = {"kind": kind, "at": at or datetime.now(UTC).isoformat(), "passed": not failed, "url": url}
    body |= {"results": {name: _number(value) for name, value in _pairs(result or [], "--result").items()}}
    if envelope is not None:
        body["envelope"] = json.loads(_read(envelope))
        body["certificates"] = [_read(path) for path in certificate or ()]
    made = connect().post(f"/v1/releases/{app}/{version}/evidence", body)
    show_one(made, output, name=made["id"], table=lambda: typer.echo(f"{ref} {kind} {made['id']}"))


@group.command("evidence")
def evidence(
    ref: Ref,
    kind: Annotated[str, typer.Option("--kind", help="Only of this kind.")] = "",
    output: Output = TABLE,
) -> None:
    """List what was attested about a release, newest first."""
    from .client import connect
    from .output import Column, column, show_list, when

    app, version = split_ref(ref)
    columns = [
        column("KIND", "kind"),
        Column("AT", lambda e: when(e["at"])),
        Column("SAYS", lambda e: "passed" if e["passed"] else "FAILED"),
        Column("RESULTS", lambda e: [f"{name}={value}" for name, value in e["results"].items()]),
        Column("SIGNED", lambda e: "yes" if e["envelope"] else "no"),
        column("BY", "reportedBy"),
    ]
    items = connect().pages(f"/v1/releases/{app}/{version}/evidence", kind=kind or None)
    show_list(items, columns, output, name=lambda e: str(e["id"]))


def _number(text: str) -> int | float | str:
    """A result as JSON has it: a number where it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _read(path: Path) -> str:
    from .failures import UsageError

    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    return path.read_text()


def split_ref(ref: str) -> tuple[str, str]:
    """Split app/version. Raises UsageError."""
    from .failures import UsageError

    app, slash, version = ref.partition("/")
    if not (app and slash and version):
        raise UsageError(f"{ref!r} does not name a release.", "Write app/version, such as odoo/17.0.4.")
    return app, version


def standing(item: Json) -> str:
    """Whether a release is held, proven, or neither yet."""
    if item.get("hold"):
        return "HELD"
    return "proven" if item.get("provenAt") else "not proven"


def _ref(item: Json) -> str:
    return f"{item['app']}/{item['version']}"


def _pairs(texts: list[str], option: str = "--image") -> dict[str, str]:
    from .failures import UsageError

    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} {text!r} is not name=value.")
        pairs[name] = value
    return pairs
