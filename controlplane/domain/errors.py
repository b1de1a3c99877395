"""What can go wrong, told to a person: what happened, to what, and what to do next.

Four classes, by who must act (the API turns each into problem+json, the workers into a retry, a wait or an alarm):

- `CallerError`: the request is wrong; the caller changes it.
- `DependencyError`: something Seawall stands on did not answer; the same call is worth repeating.
- `ConflictError`: expected; somebody else was first or the world moved; wait or read again.
- anything else is a bug of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """One thing wrong in a body: `pointer` is a JSON pointer (RFC 6901) into it."""

    pointer: str
    detail: str


class SeawallError(Exception):
    """Base of every error that Seawall raises on purpose.

    `code` is stable, kebab-case and listed in the docs; `detail` is one or two sentences for a person.
    """

    status = 500
    code = "internal"
    title = "Something went wrong inside Seawall"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: Sequence[FieldError] = (),
        retry_after: int | None = None,
        extra: dict[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.errors = tuple(errors)
        self.retry_after = retry_after
        self.extra = extra or {}


class CallerError(SeawallError):
    """The caller's request can't be carried out as it is; repeating it changes nothing."""

    status = 400
    code = "bad-request"
    title = "The request can't be carried out as it is"


class InvalidError(CallerError):
    """Well-formed, but a value breaks a rule. `errors` names each one."""

    status = 422
    code = "invalid"
    title = "A value breaks a rule"


class NotFoundError(CallerError):
    """It does not exist, or the caller may not see it: the answer is the same."""

    status = 404
    code = "not-found"
    title = "Not found"


class UnauthenticatedError(CallerError):
    """No valid key or token came with the request."""

    status = 401
    code = "unauthenticated"
    title = "Who are you?"


class ForbiddenError(CallerError):
    """Known caller, visible thing, but the role does not allow the action."""

    status = 403
    code = "forbidden"
    title = "Your role does not allow this"


class ConflictError(SeawallError):
    """Expected: somebody else was first, or the world moved. Read again or wait."""

    status = 409
    code = "conflict"
    title = "Somebody else was first"


class PreconditionError(ConflictError):
    """`If-Match` names a version that is no longer the current one."""

    status = 412
    code = "changed-meanwhile"
    title = "It changed since you read it"


class DependencyError(SeawallError):
    """PostgreSQL, NATS, an API server or another part did not answer; the same call is worth repeating."""

    status = 503
    code = "dependency-unavailable"
    title = "A part Seawall depends on does not answer"
