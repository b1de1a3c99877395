"""Names and ids: DNS-1123 labels, UUIDv7, and the one domain `seawall.dev` that every mark uses."""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import StringConstraints

DOMAIN = "seawall.dev"
MANAGED_LABEL = f"{DOMAIN}/managed"
TENANT_LABEL = f"{DOMAIN}/tenant"
ENVIRONMENT_LABEL = f"{DOMAIN}/environment"
APP_LABEL = f"{DOMAIN}/app"
FENCED_LABEL = f"{DOMAIN}/fenced"
EPOCH_ANNOTATION = f"{DOMAIN}/epoch"
STEP_ANNOTATION = f"{DOMAIN}/step"
REVISION_ANNOTATION = f"{DOMAIN}/revision"
CONTENT_ANNOTATION = f"{DOMAIN}/content"
INSTALLATION_ANNOTATION = f"{DOMAIN}/installation"
OPERATION_ANNOTATION = f"{DOMAIN}/operation"
JOB_FINALIZER = f"{DOMAIN}/outcome"
"""Keeps a Job until its outcome is committed in the ledger."""

_LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_VERSION: Final = r"[^/:\s][^/:]{0,127}"
NAME_PATTERN: Final = f"^{_LABEL}$"
VERSION_PATTERN: Final = f"^{_VERSION}$"
DIGEST_PATTERN: Final = r"^sha256:[0-9a-f]{64}$"
RELEASE_REF_PATTERN: Final = f"^{_LABEL}/{_VERSION}$"
VERSIONED_NAME_PATTERN: Final = rf"^{_LABEL}(@[1-9][0-9]{{0,8}})?$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=63)]
"""A DNS-1123 label: what Kubernetes takes as a namespace."""

Version = Annotated[str, StringConstraints(pattern=VERSION_PATTERN, max_length=128)]
"""Free text without `/` or `:`."""

Digest = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]

_SHA256 = re.compile(DIGEST_PATTERN)


def new_id(now: datetime) -> uuid.UUID:
    """Make a UUIDv7 (RFC 9562 §5.7): 48 bits of Unix milliseconds, then 74 random bits; sorts by time of making."""
    millis = int(now.timestamp() * 1000) & ((1 << 48) - 1)
    rand = int.from_bytes(os.urandom(10), "big")
    value = (millis << 80) | (0x7 << 76) | ((rand >> 68 & 0xFFF) << 64) | (0b10 << 62) | (rand & ((1 << 62) - 1))
    return uuid.UUID(int=value)


def canonical_json(value: Any) -> bytes:
    """Write JSON whose bytes depend on the content alone: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str).encode()


def digest_of(value: Any) -> str:
    """`sha256:<hex>` of bytes as they are, or of anything else's canonical JSON."""
    data = value if isinstance(value, bytes) else canonical_json(value)
    return "sha256:" + hashlib.sha256(data).hexdigest()


def is_digest(text: str) -> bool:
    """Whether `text` is a full sha256 digest."""
    return bool(_SHA256.match(text))


def namespace_name(tenant: str, environment: str) -> str:
    """The namespace of a tenant's environment: the tenant's name for production, else `<tenant>--<environment>`.

    Two hyphens, which tenant names may not hold, so that tenant `a-staging` and staging of `a` never meet.
    """
    return tenant if environment == "production" else f"{tenant}--{environment}"
