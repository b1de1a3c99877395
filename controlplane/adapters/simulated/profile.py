"""How a simulated fleet behaves: how long things take, and which releases break where. All of it seeded, nothing random."""

from __future__ import annotations

import hashlib
import re
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

FAULT_ANNOTATION = "seawall.test/fault"
"""On a pod template: the fault that its pods have, here and in the stages of the local control plane."""

DELAY_ANNOTATION = "seawall.test/delay"
"""On the same template, in seconds (`5s`): how long `slow-start` takes, or `crash-after-ready` stays ready."""

MESSAGE_ANNOTATION = "seawall.test/message"
"""On a Job's pod template: the termination message of its pod, here and in the stages of the local control plane."""

type Fault = Literal["never-ready", "slow-start", "crash-after-ready", "job-fails", "job-hangs"]


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class FaultRule(_Wire):
    """Pods of a namespace whose images match have a fault. Patterns are shell globs; `namespace` and `image` both must match."""

    namespace: str = "*"
    image: str = "*"
    fault: Fault


class MessageRule(_Wire):
    """Pods of Jobs in a namespace whose images match say this when they end. Patterns are shell globs."""

    namespace: str = "*"
    image: str = "*"
    message: str


class Profile(_Wire):
    """Ranges in seconds, drawn evenly by seed and name; and rules that break releases."""

    ready: tuple[float, float] = (0.05, 0.3)
    """A pod from creation to ready."""
    slow: tuple[float, float] = (5.0, 10.0)
    """The same for pods with fault `slow-start`."""
    crash: tuple[float, float] = (0.5, 1.0)
    """From ready to crashed, for pods with fault `crash-after-ready`."""
    job: tuple[float, float] = (0.05, 0.2)
    """A Job from creation to its end."""
    controller: float = 0.01
    """From a write until a controller acts on it."""
    terminate: float = 0.1
    """From the delete of a Namespace until it is gone."""
    call: tuple[float, float] = (0.0, 0.0)
    """One call to the API server."""
    faults: tuple[FaultRule, ...] = Field(default=())
    messages: tuple[MessageRule, ...] = Field(default=())


def draw(seed: int, span: tuple[float, float], *names: object) -> float:
    """A number in `span` that depends on the seed and the names alone, not on the order of calls."""
    key = "\x1f".join(str(one) for one in (seed, *names)).encode()
    unit = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) / 2**64
    return span[0] + (span[1] - span[0]) * unit


def fault_of(profile: Profile, namespace: str, template: dict[str, Any]) -> str:
    """The fault of the pods of this template in this namespace; empty for none."""
    notes = (template.get("metadata") or {}).get("annotations") or {}
    if notes.get(FAULT_ANNOTATION):
        return str(notes[FAULT_ANNOTATION])
    images = [str(one.get("image", "")) for one in (template.get("spec") or {}).get("containers") or []]
    for rule in profile.faults:
        if fnmatchcase(namespace, rule.namespace) and any(fnmatchcase(image, rule.image) for image in images):
            return rule.fault
    return ""


def message_of(profile: Profile, namespace: str, template: dict[str, Any]) -> str:
    """What the pod of a Job says when it ends; empty for nothing."""
    images = [str(one.get("image", "")) for one in (template.get("spec") or {}).get("containers") or []]
    for rule in profile.messages:
        if fnmatchcase(namespace, rule.namespace) and any(fnmatchcase(image, rule.image) for image in images):
            return rule.message
    return str(((template.get("metadata") or {}).get("annotations") or {}).get(MESSAGE_ANNOTATION, ""))


def delay_of(template: dict[str, Any]) -> float | None:
    """The delay that the template asks for, in seconds; None if it asks for none."""
    text = str(((template.get("metadata") or {}).get("annotations") or {}).get(DELAY_ANNOTATION, ""))
    return float(text.removesuffix("s")) if re.fullmatch(r"\d+(\.\d+)?s", text) else None
