from __future__ import annotations

import re
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


def test_every_document_is_reached_from_the_index() -> None:
    index = (DOCS / "index.md").read_text()
    documents = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")} - {"index.md"}
    assert {path for path in documents if f"({path}" not in index} == set()


def test_no_link_between_documents_leads_nowhere() -> None:
    links = [
        (path, target)
        for path in [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]
        for target in re.findall(r"\]\(([^)#:]+\.(?:md|json|yaml))[^):]*\)", path.read_text())
    ]
    assert links
    assert [(str(path), target) for path, target in links if not (path.parent / target).exists()] == []
