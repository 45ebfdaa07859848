"""Body of a response, decompressed in steps, so that a small body cannot become large before it is counted."""

import zlib
from typing import Final

from shared.errors import Terminal, Transient

ENCODINGS: Final = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
_STEP: Final = 64 * 1024
_ANY_HEADER: Final = 47
"""zlib's window bits for a gzip or zlib header."""
_NO_HEADER: Final = -15
"""zlib's window bits for raw deflate, which some servers send as `deflate`."""
_MEMBER: Final = b"\x1f\x8b"


class Body:
    """Collects and decompresses a body. Raises `Terminal` if it exceeds `at_most` bytes, packed or unpacked."""

    def __init__(self, encoding: str, *, at_most: int) -> None:
        """Raise `Terminal` (`encoding`) for a content encoding other than gzip, deflate and identity."""
        encoding = encoding.strip().lower()
        if encoding not in ENCODINGS:
            raise Terminal("encoding", f"Its encoding is {encoding[:40]!r}; gzip, deflate and plain are supported.")
        self._packed = encoding not in {"", "identity"}
        self._at_most = at_most
        self._came = 0
        self._parts: list[bytes] = []
        self._size = 0
        self._begin = b""
        self._unpack = zlib.decompressobj(_ANY_HEADER)

    def add(self, data: bytes) -> None:
        """Add bytes as received. Raises `Terminal` (`too_large`), or `Transient` (`cut_off`) if they cannot be
        decompressed.
        """
        self._came += len(data)
        if self._came > self._at_most:
            raise self._too_large()
        if self._packed:
            self._decompress_start(data)
        else:
            self._keep(data)

    def finish(self) -> bytes:
        """Return the body. Raises `Transient` (`cut_off`) if the compressed bytes end early."""
        if self._packed and self._came and not self._unpack.eof:
            raise Transient("cut_off", "Its compressed bytes end early.")
        return b"".join(self._parts)

    def _decompress_start(self, data: bytes) -> None:
        """Decompress bytes, after the first two have shown if they begin with a header."""
        if len(self._begin) < 2:
            self._begin = data = self._begin + data
            if len(data) < 2:
                return
            if not _has_header(data):
                self._unpack = zlib.decompressobj(_NO_HEADER)
        self._decompress(data)

    def _decompress(self, data: bytes) -> None:
        """Decompress bytes in steps of `_STEP`, counting each."""
        more = True
        while more:
            try:
                part = self._unpack.decompress(data, _STEP)
            except zlib.error as error:
                raise Transient("cut_off", "Its compressed bytes are damaged.") from error
            self._keep(part)
            data = self._remaining()
            more = bool(data) or len(part) == _STEP

    def _remaining(self) -> bytes:
        """Return the bytes still to decompress; after the end of a gzip member those of the next one."""
        if self._unpack.eof and self._unpack.unused_data.startswith(_MEMBER):
            rest = self._unpack.unused_data
            self._unpack = zlib.decompressobj(_ANY_HEADER)
            return rest
        return self._unpack.unconsumed_tail

    def _keep(self, data: bytes) -> None:
        """Keep decompressed bytes. Raise `Terminal` if they are too many."""
        self._size += len(data)
        if self._size > self._at_most:
            raise self._too_large()
        if data:
            self._parts.append(data)

    def _too_large(self) -> Terminal:
        """Return the fault for too many bytes."""
        return Terminal("too_large", f"It has more than {self._at_most:,} bytes.")


def _has_header(data: bytes) -> bool:
    """Return True if these are the first bytes of gzip or zlib; zlib's are a multiple of 31."""
    return data.startswith(_MEMBER) or (data[0] & 0x0F == 8 and int.from_bytes(data[:2]) % 31 == 0)
