"""Reading `.tar.gz` artifacts in memory, within limits, without ever writing a path that an archive names."""

from __future__ import annotations

import io
import tarfile
import zlib

from controlplane.domain.errors import InvalidError

MAX_BYTES = 32 << 20
MAX_FILES = 5000
GZIP_MAGIC = b"\x1f\x8b"


def read_tar(data: bytes, what: str = "The artifact") -> dict[str, bytes]:
    """The regular files of a `.tar.gz` by path. Raises `InvalidError` (`artifact-invalid`) for anything else or too much."""
    files: dict[str, bytes] = {}
    total = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for member in archive:
                total += member.size
                if total > MAX_BYTES or len(files) >= MAX_FILES:
                    raise _invalid(f"{what} unpacks to more than {MAX_BYTES >> 20} MB or {MAX_FILES} files.")
                if member.issym() or member.islnk():
                    raise _invalid(f"{what} holds a link ({member.name}). Pack the file itself.")
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    files[member.name.removeprefix("./")] = content.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise _invalid(f"{what} is not a .tar.gz archive: {error}.") from error
    return files


def write_tar(files: dict[str, bytes]) -> bytes:
    """A `.tar.gz` whose bytes depend on names and contents alone: sorted, no times, no owners."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(files[name]), 0o644
            archive.addfile(entry, io.BytesIO(files[name]))
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)  # 31: a gzip header, without a time
    return packer.compress(plain.getvalue()) + packer.flush()


def _invalid(sentence: str) -> InvalidError:
    return InvalidError(sentence, code="artifact-invalid")
