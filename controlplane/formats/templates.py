"""What a chart's templates call, read from their source, and the clock they would see in a year.

Go templates are tokenised just far enough to tell a function from a field, a variable, a string or a comment
(https://pkg.go.dev/text/template#hdr-Actions).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

YEAR_AHEAD = '(now | dateModify "8784h")'

_TOKEN = re.compile(
    r"""
      (?P<comment>/\*.*?\*/)
    | (?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`|'(?:\\.|[^'\\\n])*')
    | (?P<end>-?\}\})
    | (?P<name>[.$]*[A-Za-z_]\w*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


def functions_in(source: str) -> set[str]:
    """The names of all functions that the actions of a template call."""
    return {name for name, _, _ in _calls(source)}


def with_clock_ahead(source: str) -> str:
    """The same template with `now` a year and a day later, so that a second rendering shows whether the time matters."""
    parts, last = [], 0
    for name, start, end in _calls(source):
        if name == "now":
            parts += [source[last:start], YEAR_AHEAD]
            last = end
    return "".join([*parts, source[last:]])


def _calls(source: str) -> Iterator[tuple[str, int, int]]:
    at = source.find("{{")
    while at >= 0:
        position = at + 2
        while match := _TOKEN.match(source, position):
            position = match.end()
            if match["end"]:
                break
            if match["name"] and match["name"][0] not in ".$":
                yield match["name"], match.start(), match.end()
        at = source.find("{{", position)
