from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.cli.docs import GENERATED, renew

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda p: str(p.relative_to(DOCS)))
def test_generated_parts_of_the_docs_are_what_the_code_says(path: Path) -> None:
    assert path.read_text() == renew(path.read_text()), "run: python -m controlplane.cli.docs"


def test_every_generated_part_is_used_somewhere() -> None:
    everything = "\n".join(path.read_text() for path in DOCS.rglob("*.md"))
    assert [name for name in GENERATED if f"<!-- generated: {name} -->" not in everything] == []


def test_an_unknown_part_is_an_error_not_an_empty_place() -> None:
    with pytest.raises(KeyError):
        renew("<!-- generated: nothing -->\n<!-- end -->")
