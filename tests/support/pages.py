"""Reading HTML in tests: what a page says, its forms, and what keeps people out who can't see or can't use a mouse."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = frozenset({"meta", "link", "input", "br", "img", "hr"})


@dataclass
class Form:
    """A form: where it goes, how, and its fields with the values they have."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """A parsed page. `faults` holds what is wrong with it: tags that don't nest, fields without a label, tables without headings."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.headings: list[str] = []
        self.faults: list[str] = []
        self._open: list[tuple[str, dict[str, str]]] = []
        self._labels: set[str] = set()
        self._fields: list[tuple[str, str]] = []
        self._ids: list[str] = []
        self.feed(html)
        self.close()
        self.faults += [f"<{tag}> is never closed" for tag, _ in self._open]
        self.faults += [f"field {name} has no label" for name, id_ in self._fields if id_ not in self._labels]
        self.faults += [f"id {one} twice" for one in sorted({i for i in self._ids if self._ids.count(i) > 1})]
        if self.headings.count("h1") != 1:
            self.faults.append(f"{self.headings.count('h1')} headings of the first level")

    def form(self, action: str) -> Form:
        """The form that is sent to this address."""
        found = [form for form in self.forms if form.action == action]
        assert len(found) == 1, f"{action} not among {[form.action for form in self.forms]}"
        return found[0]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._note(tag, given)
        if tag not in _VOID:
            self._open.append((tag, given))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1][0] != tag:
            self.faults.append(f"</{tag}> where <{self._open[-1][0] if self._open else 'nothing'}> is open")
            return
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1][0] not in ("script", "style"):
            self.text += data

    def _note(self, tag: str, given: dict[str, str]) -> None:
        if "id" in given:
            self._ids.append(given["id"])
        if any(name.startswith("on") or name == "style" for name in given):
            self.faults.append(f"<{tag}> with inline script or style")
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append(tag)
        if tag == "th" and given.get("scope") not in ("col", "row"):
            self.faults.append("<th> without scope")
        if tag == "html" and not given.get("lang"):
            self.faults.append("<html> without lang")
        if tag == "a":
            self.links.append(given.get("href", ""))
        if tag == "label" and "for" in given:
            self._labels.add(given["for"])
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get")))
        if tag in ("input", "select", "textarea"):
            self._note_field(given)

    def _note_field(self, given: dict[str, str]) -> None:
        if self.forms and "name" in given:
            self.forms[-1].fields.setdefault(given["name"], given.get("value", ""))
        wrapped = any(tag == "label" for tag, _ in self._open)
        if given.get("type") != "hidden" and not wrapped:
            self._fields.append((given.get("name", ""), given.get("id", "")))
