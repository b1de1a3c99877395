"""Server-side apply in small: who owns which field, and what a forced apply changes.

After https://kubernetes.io/docs/reference/using-api/server-side-apply/ and structured-merge-diff: a leaf that we owned and no longer
send leaves the object unless somebody else owns it too; a forced apply takes a leaf whose value differs from its owner.
Lists whose items all have a `name` are merged by name, every other list is one leaf.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import orjson

from controlplane.domain.values import merge_patch

type Path = tuple[str, ...]
type Owners = dict[str, set[Path]]
"""Manager -> leaves it owns. A step of a path is a key, or `[name]` for the item of a list."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The object after an apply, who owns what then, and which leaves were taken from whom."""

    obj: dict[str, Any]
    owners: Owners
    taken: dict[str, str]


def leaves(value: Any, at: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Each leaf of an object with its path; an empty map or list is a leaf."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*at, key))
    elif _by_name(value):
        for item in value:
            yield from leaves(item, (*at, f"[{item['name']}]"))
    else:
        yield at, value


def json_copy[T](value: T) -> T:
    """A deep copy of JSON; several times faster than `copy.deepcopy`."""
    copied: T = orjson.loads(orjson.dumps(value))
    return copied


def _owned(value: Mapping[str, Any]) -> dict[Path, Any]:
    return dict(leaves(value)) if value else {}


def apply(live: dict[str, Any], sent: dict[str, Any], owners: Owners, manager: str) -> Merged:
    """Apply `sent` by force as `manager` onto `live`. None of the arguments is changed."""
    obj, wanted = json_copy(live), _owned(sent)
    held: Owners = {name: set(paths) for name, paths in owners.items()}
    current = _owned({key: value for key, value in live.items() if key != "status"})
    taken: dict[str, str] = {}
    for path, value in wanted.items():
        for other, paths in held.items():
            if other != manager and path in paths and current.get(path) != value:
                paths.discard(path)
                taken[dotted(path)] = other
        if path not in current or current[path] != value:
            _put(obj, path, json_copy(value) if isinstance(value, dict | list) else value)
    gone = held.get(manager, set()) - set(wanted)
    for path in sorted(gone, key=lambda p: (p[-1] == "name", -len(p), p)):  # an item's name goes last
        if not any(path in paths for other, paths in held.items() if other != manager):
            _cut(obj, path)
    held[manager] = set(wanted)
    return Merged(obj, {name: paths for name, paths in held.items() if paths}, taken)


def update(live: dict[str, Any], patch: dict[str, Any], owners: Owners, manager: str) -> Merged:
    """A merge patch (RFC 7396) by another manager: it becomes an owner of every leaf it changes, alone."""
    obj = merge_patch(live, patch)
    before, held = _owned(live), {name: set(paths) for name, paths in owners.items()}
    for path, value in _owned(obj).items():
        if before.get(path) != value:
            for other, paths in held.items():
                if other != manager:
                    paths.discard(path)
            held.setdefault(manager, set()).add(path)
    return Merged(obj, held, {})


def leaves_below(value: Any) -> bool:
    """Whether a value is more than one leaf: it has owners of its own further down."""
    return next(leaves(value))[0] != ()


def dotted(path: Path) -> str:
    """A path as a person writes it: `spec.template.spec.containers[web].image`."""
    return "".join(step if step.startswith("[") or not i else f".{step}" for i, step in enumerate(path))


def _by_name(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and "name" in one for one in value)


def _step(node: Any, step: str) -> Any:
    if isinstance(node, dict):
        return node.get(step)
    if not isinstance(node, list):
        return None  # the shape is another one now: what was here is gone already
    return next((one for one in node if isinstance(one, dict) and one.get("name") == step[1:-1]), None)


def _put(obj: dict[str, Any], path: Path, value: Any) -> None:
    node: Any = obj
    for step, after in pairwise(path):
        inner: Any = _step(node, step)
        if not (_by_name(inner) if after.startswith("[") else isinstance(inner, dict)):
            inner = [] if after.startswith("[") else {}
            if isinstance(node, list):
                inner["name"] = step[1:-1]
                node.append(inner)
            else:
                node[step] = inner
        node = inner
    node[path[-1]] = value


def _cut(obj: dict[str, Any], path: Path) -> None:
    trail: list[tuple[Any, str]] = []
    node: Any = obj
    for step in path[:-1]:
        trail.append((node, step))
        node = _step(node, step)
        if not node:
            return
    if not isinstance(node, dict) or (isinstance(node.get(path[-1]), dict | list) and leaves_below(node[path[-1]])):
        return  # was empty when we owned it; holds something now
    if not (path[-1] == "name" and len(path) > 1 and path[-2].startswith("[") and set(node) != {"name"}):
        node.pop(path[-1], None)
    for parent, step in reversed(trail):
        if node:
            return
        if step.startswith("["):
            parent.remove(node)
        else:
            parent.pop(step, None)
        node = parent
