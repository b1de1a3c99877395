"""Where webhook gates ask (`PUT /v1/endpoints/NAME`), and what an answer looks like.

Both directions carry the signature headers of Standard Webhooks 1.0 with the endpoint's secrets.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Literal

from pydantic import Field, ValidationError

from controlplane.domain.names import Digest
from controlplane.domain.quantities import Duration
from controlplane.domain.secret_refs import SecretRef
from controlplane.domain.tree import PlainText
from controlplane.domain.webhooks import Url
from controlplane.domain.wire import Wire

MOST_BYTES: Final = 64 * 1024
"""A longer answer is not read."""

Saying = Literal["pass", "wait", "fail"]


class Endpoint(Wire):
    """The body of `PUT /v1/endpoints/NAME`: a service that says whether a rollout may go on."""

    url: Url
    secrets: tuple[SecretRef, ...] = Field(
        min_length=1,
        max_length=3,
        description="Signing secrets (`whsec_...`); each signs what we ask, any of them what is answered.",
    )
    timeout: Duration = Field(
        default=timedelta(seconds=10),
        gt=timedelta(0),
        le=timedelta(seconds=60),
        description="An answer that takes longer is none.",
    )
    allow_private: bool = Field(
        default=True, description="Whether addresses of private networks and loopback may be called."
    )


class Answer(Wire):
    """What is answered at once: `{"verdict": "pass", "reason": "..."}`. Anything else is no answer."""

    verdict: Saying
    reason: PlainText = ""


class LateAnswer(Answer):
    """What is answered later, to the callback. `planHash`: which plan it is about; `by`: who decided, if a person did."""

    plan_hash: Digest
    by: PlainText = ""


def read_answer(status: int, media_type: str, body: bytes) -> Answer | str:
    """Read an answer; a sentence on what is wrong with it if it is none."""
    if status != 200:
        hint = "; redirects are not followed, give the endpoint its final address" if 300 <= status < 400 else ""
        return f"it answered {status}{hint}"
    if media_type.partition(";")[0].strip().lower() != "application/json":
        return f"it answered {media_type.partition(';')[0][:100] or 'no media type'}, not application/json"
    try:
        return Answer.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return f'its answer is not {{"verdict": "pass|wait|fail", "reason": "..."}}: {first["msg"]}'
