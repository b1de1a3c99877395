"""No module needs itself, by whatever way round; imports inside functions count, those for types alone do not."""

from __future__ import annotations

from graphlib import TopologicalSorter

import grimp


def test_no_import_comes_back_to_where_it_began() -> None:
    graph = grimp.build_graph("controlplane", "workers", exclude_type_checking_imports=True, cache_dir=None)
    needs = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(list(TopologicalSorter(needs).static_order())) == len(needs) > 500
