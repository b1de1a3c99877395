"""Values of an app in one environment."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Query, Response
from pydantic import Field, ValidationError

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import IfMatch, check_if_match, etag_of, respond
from controlplane.api.routing import feature_router
from controlplane.domain.errors import InvalidError, PreconditionError
from controlplane.domain.names import Name
from controlplane.domain.tree import ValuesTree
from controlplane.domain.values import Layer, merge_patch
from controlplane.domain.wire import Wire, field_errors
from controlplane.services.values import LayerInputs, check_values, merged, read_layers, store_values

router = feature_router("tenants")
PATH = "/v1/tenants/{tenant}/environments/{environment}/apps/{app}/values"


class LeafView(Wire):
    """One effective value and the layer that set it."""

    pointer: str
    value: Any
    origin: Layer


class ValuesView(Wire):
    """The environment's layer; with `effective=true` also every leaf that all six layers come to, with its origin."""

    tenant: str
    environment: str
    app: str
    version: int
    values: ValuesTree
    release: str | None = Field(
        description="The installed release; None: the chart's and the release's layers are unknown."
    )
    effective: list[LeafView] | None = Field(default=None, exclude_if=lambda v: v is None)
    deleted: dict[str, Layer] | None = Field(default=None, exclude_if=lambda v: v is None)


def _view(inputs: LayerInputs) -> ValuesView:
    release = f"{inputs.app}/{inputs.release.version}" if inputs.release else None
    where = {"tenant": inputs.tenant, "environment": inputs.environment, "app": inputs.app}
    return ValuesView(**where, version=inputs.version, values=inputs.own, release=release)


@router.get(PATH, operation_id="getValues", response_model=ValuesView)
async def get_values(
    tenant: Name,
    environment: Name,
    app: Name,
    call: Annotated[Call, may("values.read")],
    effective: Annotated[bool, Query(description="Show every leaf with its origin.")] = False,
) -> Response:
    """Show the environment's layer of values, or what all layers come to."""
    call.check_tenant(tenant)
    async with call.platform() as uow:
        inputs = await read_layers(uow, tenant, environment, app)
    shown = _view(inputs)
    if effective:
        found = await merged(inputs)
        leaves = [LeafView(pointer=leaf.pointer, value=leaf.value, origin=leaf.origin) for leaf in found.leaves()]
        shown = shown.model_copy(update={"effective": leaves, "deleted": found.deleted})
    return respond(shown, etag=etag_of(_view(inputs)) if not effective else "")


@router.patch(PATH, operation_id="changeValues", response_model=ValuesView)
async def change_values(
    tenant: Name,
    environment: Name,
    app: Name,
    patch: Annotated[dict[str, Any], Body(media_type="application/merge-patch+json")],
    call: Annotated[Call, may("values.change")],
    if_match: IfMatch = None,
) -> Response:
    """Change the environment's layer by a JSON merge patch; a rollout of kind `values` brings it to the cluster."""
    async with call.platform() as uow:
        inputs = await read_layers(uow, tenant, environment, app)
    check_if_match(if_match, etag_of(_view(inputs)))
    own = _checked(_view(inputs), merge_patch(inputs.own, patch))
    await check_values(inputs, own)
    async with call.platform() as uow:
        await uow.tenants.get(tenant, lock=True)
        now = await read_layers(uow, tenant, environment, app)
        if now.version != inputs.version:
            raise PreconditionError(
                "It changed since you read it. Read it again, decide again, then send the new ETag."
            )
        await store_values(uow, inputs, own, actor=call.actor)
        return respond(_view(await read_layers(uow, tenant, environment, app)))


def _checked(shown: ValuesView, own: Any) -> dict[str, Any]:
    try:
        return ValuesView.model_validate({**shown.model_dump(), "values": own}).values
    except ValidationError as error:
        raise InvalidError("These values can't be stored.", errors=field_errors(error)) from error
