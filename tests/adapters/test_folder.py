"""Files in a directory, besides what the contract of all places says: a reader never sees half of one."""

from __future__ import annotations

from pathlib import Path

from controlplane.adapters.folder import Folder


async def test_a_file_is_replaced_and_never_written_into(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    await folder.replace("f", {"a": "old"})
    with (tmp_path / "f" / "a").open() as reader:
        await folder.replace("f", {"a": "new and longer"})
        assert reader.read() == "old"
