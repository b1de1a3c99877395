"""One person under many names."""

from __future__ import annotations

from controlplane.domain.people import Person, names_of, one_name

PEOPLE = {
    "ann": Person(names=("ann@acme.example", "Ann-GH", "oidc:https://login#1")),
    "ben": Person(names=("ben@acme.example",)),
    "ann-old": Person(names=("oidc:https://login#1", "ann@old.example")),
}


def test_a_name_without_an_entry_stands_for_itself() -> None:
    assert names_of(["Zoe "], PEOPLE) == {"zoe"}
    assert one_name("zoe", {"zoe"}) == "zoe"


def test_any_name_leads_to_all_of_them_over_entries_that_share_one() -> None:
    found = names_of(["ann-gh"], PEOPLE)
    assert found == {
        "people/ann",
        "people/ann-old",
        "ann@acme.example",
        "ann-gh",
        "oidc:https://login#1",
        "ann@old.example",
    }
    assert one_name("key:1", found) == "people/ann"


def test_empty_names_lead_nowhere() -> None:
    assert names_of(["", " "], PEOPLE) == frozenset()
