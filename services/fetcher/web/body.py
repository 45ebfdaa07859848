"""The body of a response, unpacked in steps, so that no few bytes become many before they are counted."""

import zlib
from typing import Final

from shared.errors import Terminal, Transient

ENCODINGS: Final = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
_STEP: Final = 64 * 1024
_ANY_HEADER: Final = 47
"""zlib's word for: gzip or zlib, whichever it is."""
_NO_HEADER: Final = -15
"""What some servers call deflate."""
_MEMBER: Final = b"\x1f\x8b"


class Body:
    """Takes the bytes as they come and gives them unpacked. Raises `Terminal` for more than `at_most`, either way."""

    def __init__(self, encoding: str, *, at_most: int) -> None:
        encoding = encoding.strip().lower()
        if encoding not in ENCODINGS:
            raise Terminal("encoding", f"It came as {encoding[:40]!r}; gzip, deflate and plain are taken.")
        self._packed = encoding not in {"", "identity"}
        self._at_most = at_most
        self._came = 0
        self._parts: list[bytes] = []
        self._size = 0
        self._begin = b""
        self._unpack = zlib.decompressobj(_ANY_HEADER)

    def add(self, data: bytes) -> None:
        """Take these bytes."""
        self._came += len(data)
        if self._came > self._at_most:
            raise self._too_large()
        if self._packed:
            self._take(data)
        else:
            self._keep(data)

    def whole(self) -> bytes:
        """Everything. Raises `Transient` where the packed bytes end too soon."""
        if self._packed and self._came and not self._unpack.eof:
            raise Transient("cut_off", "Its packed bytes end in the middle.")
        return b"".join(self._parts)

    def _take(self, data: bytes) -> None:
        if len(self._begin) < 2:
            self._begin = data = self._begin + data
            if len(data) < 2:
                return
            if not _has_header(data):
                self._unpack = zlib.decompressobj(_NO_HEADER)
        self._unpacked(data)

    def _unpacked(self, data: bytes) -> None:
        more = True
        while more:
            try:
                part = self._unpack.decompress(data, _STEP)
            except zlib.error as error:
                raise Transient("cut_off", "Its packed bytes are damaged.") from error
            self._keep(part)
            data = self._left()
            more = bool(data) or len(part) == _STEP

    def _left(self) -> bytes:
        """What is still to be unpacked; after the end of one gzip member that is the next."""
        if self._unpack.eof and self._unpack.unused_data.startswith(_MEMBER):
            rest = self._unpack.unused_data
            self._unpack = zlib.decompressobj(_ANY_HEADER)
            return rest
        return self._unpack.unconsumed_tail

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._at_most:
            raise self._too_large()
        if data:
            self._parts.append(data)

    def _too_large(self) -> Terminal:
        return Terminal("too_large", f"It has more than {self._at_most:,} bytes.")


def _has_header(data: bytes) -> bool:
    """Whether these are gzip's first bytes or zlib's, which are a multiple of 31."""
    return data.startswith(_MEMBER) or (data[0] & 0x0F == 8 and int.from_bytes(data[:2]) % 31 == 0)
