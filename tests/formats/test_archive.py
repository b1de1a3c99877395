from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.errors import InvalidError
from controlplane.domain.names import digest_of
from controlplane.formats import archive
from controlplane.formats.archive import read_tar, write_tar
from controlplane.formats.pack import pack_chart


@given(st.dictionaries(st.text("abc/", min_size=1, max_size=5).filter(lambda n: "/" not in n), st.binary(max_size=50)))
def test_what_is_packed_is_read_back(files: dict[str, bytes]) -> None:
    assert read_tar(write_tar(files)) == files


def test_packing_twice_gives_the_same_bytes_whatever_the_order() -> None:
    assert write_tar({"a": b"1", "b": b"2"}) == write_tar({"b": b"2", "a": b"1"})


def test_an_archive_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 1000)
    with pytest.raises(InvalidError) as caught:
        read_tar(write_tar({"bomb": b"0" * 1001}))
    assert caught.value.code == "artifact-invalid"


def test_an_archive_with_a_link_is_refused() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        link = tarfile.TarInfo("templates/x.yaml")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed.addfile(link)
    with pytest.raises(InvalidError, match="link"):
        read_tar(buffer.getvalue())


def test_a_cut_archive_is_refused() -> None:
    with pytest.raises(InvalidError):
        read_tar(write_tar({"a": b"1" * 5000})[:40])


def test_a_chart_folder_packs_to_the_same_digest_each_time_and_another_version_to_another(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: demo\nversion: 1.0.0\n")
    (tmp_path / "templates" / "a.yaml").write_text("a: 1\n")
    assert digest_of(pack_chart(tmp_path)) == digest_of(pack_chart(tmp_path))
    assert digest_of(pack_chart(tmp_path)) != digest_of(pack_chart(tmp_path, version="1.0.1"))
    assert sorted(read_tar(pack_chart(tmp_path))) == ["demo/Chart.yaml", "demo/templates/a.yaml"]


def test_a_folder_without_chart_file_is_not_packed(tmp_path: Path) -> None:
    with pytest.raises(InvalidError):
        pack_chart(tmp_path)
