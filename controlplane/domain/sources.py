"""Where signed events come from (`PUT /v1/sources/NAME`, received at `POST /v1/hooks/NAME`), and how each kind is read.

Sources: GitHub "Validating webhook deliveries" (X-Hub-Signature-256, X-GitHub-Event, X-GitHub-Delivery), Flux notification-controller
"Generic HMAC webhook" (X-Signature), CloudEvents "HTTP 1.1 Web Hooks for Event Delivery" (OPTIONS handshake, bearer or `code`) as Azure
Event Grid and Azure Container Registry use it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Literal

from pydantic import Field

from controlplane.domain.errors import UnauthenticatedError
from controlplane.domain.events import CloudEvent, EventError, load_json, read_events
from controlplane.domain.names import digest_of
from controlplane.domain.quantities import Duration
from controlplane.domain.secret_refs import SecretRef
from controlplane.domain.wire import Wire

SourceKind = Literal["github", "flux", "azure"]
_HASHES: Final = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}


class Source(Wire):
    """A sender that signs what it sends."""

    kind: SourceKind = Field(description="How its requests are signed and read.")
    secrets: tuple[SecretRef, ...] = Field(
        min_length=1, max_length=3, description="What signs them; several while a secret is being replaced."
    )
    replay_window: Duration = Field(
        default=timedelta(days=7), description="An identical body under another id is taken for a replay this long."
    )
    allowed_origins: tuple[str, ...] = Field(
        default=("eventgrid.azure.net",), max_length=10, description="Who may ask for the handshake (kind azure)."
    )


class BadSignatureError(UnauthenticatedError):
    """The request is not signed with any of the source's secrets."""

    code = "bad-signature"


def authenticate(
    source: Source, secrets: Sequence[bytes], headers: Mapping[str, str], query: Mapping[str, str], body: bytes
) -> None:
    """Check a request's signature in constant time. Header names are lower case. Raises BadSignatureError."""
    match source.kind:
        case "github":
            good = _signed(secrets, headers.get("x-hub-signature-256", ""), body, ("sha256",))
        case "flux":
            good = _signed(secrets, headers.get("x-signature", ""), body, tuple(_HASHES))
        case "azure":
            good = _presented(secrets, headers, query)
    if not good:
        raise BadSignatureError(
            "The request's signature fits none of the source's secrets. Nothing was stored. Compare the secret on both sides."
        )


def _signed(secrets: Sequence[bytes], header: str, body: bytes, allowed: Sequence[str]) -> bool:
    algorithm, _, given = header.partition("=")
    if algorithm not in allowed:
        return False
    made = [hmac.new(secret, body, _HASHES[algorithm]).hexdigest() for secret in secrets]
    return any(hmac.compare_digest(m.encode(), given.encode(errors="replace")) for m in made)


def _presented(secrets: Sequence[bytes], headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
    """Bearer or `code`: the web hook specification, section 3 ("Authorization")."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    given = token if scheme.lower() == "bearer" else query.get("code", "")
    return any(hmac.compare_digest(secret, given.encode(errors="replace")) for secret in secrets) and bool(given)


def read_hook(name: str, source: Source, headers: Mapping[str, str], body: bytes) -> list[CloudEvent]:
    """Turn an authenticated request into events. Raises EventError."""
    match source.kind:
        case "github":
            return [_github(name, headers, body)]
        case "flux":
            return [_flux(name, body)]
        case "azure":
            return read_events(headers.get("content-type", ""), headers, body)


def _github(name: str, headers: Mapping[str, str], body: bytes) -> CloudEvent:
    event, delivery = headers.get("x-github-event", ""), headers.get("x-github-delivery", "")
    if not event or not delivery:
        raise EventError("A GitHub delivery carries X-GitHub-Event and X-GitHub-Delivery; one of them is missing.")
    payload = _object(body)
    action = payload.get("action")
    repository = payload.get("repository")
    subject = repository.get("full_name", "") if isinstance(repository, dict) else ""
    return CloudEvent(
        id=delivery[:256],
        source=name,
        type=f"{event}.{action}" if isinstance(action, str) else event,
        subject=str(subject),
        data={**payload, **_release_fields(payload)},
    )


def _release_fields(payload: Mapping[str, Any]) -> dict[str, Any]:
    """`tag`, `prerelease`, `draft` at the top, whatever kind of GitHub event names them."""
    release, ref = payload.get("release"), payload.get("ref")
    if isinstance(release, dict):
        names = {"tag": "tag_name", "prerelease": "prerelease", "draft": "draft"}
        return {name: release[theirs] for name, theirs in names.items() if theirs in release}
    if isinstance(ref, str) and (ref.startswith("refs/tags/") or payload.get("ref_type") == "tag"):
        return {"tag": ref.removeprefix("refs/tags/")}
    return {}


def _flux(name: str, body: bytes) -> CloudEvent:
    payload = _object(body)
    thing = payload.get("involvedObject")
    thing = thing if isinstance(thing, dict) else {}
    subject = "/".join(str(thing[k]) for k in ("namespace", "name") if thing.get(k))
    kind, reason = thing.get("kind", "object"), payload.get("reason", "event")
    return CloudEvent(id=digest_of(body), source=name, type=f"flux.{kind}.{reason}", subject=subject, data=payload)


def _object(body: bytes) -> dict[str, Any]:
    payload = load_json(body)
    if not isinstance(payload, dict):
        raise EventError("The body is not a JSON object.")
    return payload
