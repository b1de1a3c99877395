"""Files in a directory: whole or not at all, exactly those that were named."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.adapters.folder import Folder
from controlplane.domain.errors import DependencyError


async def test_a_folder_holds_exactly_what_it_was_given_last(tmp_path: Path) -> None:
    folder, home = Folder(tmp_path / "made"), tmp_path / "made" / "clusters" / "c" / "n"
    assert await folder.replace("clusters/c/n", {"a": "1", "b": "2"}) == 2
    assert await folder.replace("clusters/c/n", {"a": "1", "c": "3"}) == 2
    assert ((home / "a").read_text(), (home / "b").exists(), (home / "c").read_text()) == ("1", False, "3")
    assert await folder.replace("clusters/c/n", {"a": "1", "c": "3"}) == 0
    assert await folder.replace("clusters/c/n", {}) == 2
    assert not home.exists()
    assert await folder.replace("clusters/c/n", {}) == 0


async def test_files_that_others_keep_at_the_top_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    await Folder(tmp_path).replace("", {"README.txt": "how"})
    assert ((tmp_path / "mine").read_text(), (tmp_path / "README.txt").read_text()) == ("x", "how")


async def test_a_file_is_replaced_and_never_written_into(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    await folder.replace("f", {"a": "old"})
    with (tmp_path / "f" / "a").open() as reader:
        await folder.replace("f", {"a": "new and longer"})
        assert reader.read() == "old"


async def test_a_place_that_can_not_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DependencyError) as refused:
        await Folder(tmp_path / "file").replace("f", {"a": "1"})
    assert refused.value.code == "blobs-unavailable"
