"""Whether a chart does no more with its namespace than write it down, so that one rendering can stand for many."""

from __future__ import annotations

import re

from controlplane.formats.helm import chart_files
from controlplane.formats.templates import functions_in

_ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_USE = re.compile(r"\bRelease\b(?!\.(Name|Service|Revision|IsInstall|IsUpgrade)\b)")
_WRITTEN = re.compile(
    r"^-?\s*(\$?\.Release\.Namespace|printf\s+\"[^\"]*\"(\s+\$?\.[\w.]+)+)(\s*\|\s*(quote|squote))?\s*-?$"
)


def only_writes_namespace(format_name: str, artifact: bytes) -> bool:
    """True if every use of the release's namespace is `{{ .Release.Namespace }}`, quoted or in a `printf`.

    A condition on it, a function of it, a variable that holds it, or `tpl` (which renders values) could give one tenant
    other content than its neighbours; then the answer is False. Plain manifests have no templates.
    """
    if format_name == "manifests":
        return True
    if format_name != "helm":
        return False
    return all(_harmless(body.decode(errors="replace")) for body in chart_files(artifact).values() if b"{{" in body)


def _harmless(source: str) -> bool:
    if "tpl" in functions_in(source):
        return False
    return all(_WRITTEN.match(action) for action in _ACTION.findall(source) if _USE.search(action))
