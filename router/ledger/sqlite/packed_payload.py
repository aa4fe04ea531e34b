"""Reply and record of a decision as SQLite keeps them: compressed together, by an example that is alike.

Most of both is names that recur in every decision of a bundle and a catalog. An example of such a decision,
which is stored once, is the dictionary of the compression, so that even the first of these names costs a few
bits. An example holds nothing of a caller: a dictionary outlives the decisions that are erased.

A packed payload is the length of the reply (four bytes, little-endian), then reply and record as one raw
DEFLATE stream (RFC 1951). The reply comes first, because a repeated request reads it alone.
"""

from __future__ import annotations

import zlib

__all__ = ["DamagedPayload", "pack", "unpacked_record", "unpacked_reply"]

_HEADER = 4
_LEVEL = 5
"""It takes a sixth more time than level 3, and the file is a tenth smaller."""
_RAW = -zlib.MAX_WBITS


class DamagedPayload(Exception):
    """A packed payload cannot be unpacked: it, or its dictionary, was cut or changed."""


def pack(reply: bytes, record: str, dictionary: bytes) -> bytes:
    """A reply and a record in their packed form.

    Args:
        reply: of any length below 4 GiB.
        record: as JSON.
        dictionary: an example of both; only its last 32 KiB count.
    """
    compressor = zlib.compressobj(
        _LEVEL, zlib.DEFLATED, _RAW, zlib.DEF_MEM_LEVEL, zlib.Z_DEFAULT_STRATEGY, dictionary
    )
    stream = compressor.compress(reply + record.encode()) + compressor.flush()
    return len(reply).to_bytes(_HEADER, "little") + stream


def unpacked_reply(packed: bytes, dictionary: bytes) -> bytes:
    """The reply of a packed payload.

    Raises:
        DamagedPayload: it cannot be unpacked.
    """
    length = int.from_bytes(packed[:_HEADER], "little")
    # For zlib, 0 is no bound.
    reply = _decompressed(packed, dictionary, length) if length else b""
    if len(reply) != length:
        raise DamagedPayload
    return reply


def unpacked_record(packed: bytes, dictionary: bytes) -> str:
    """The record of a packed payload.

    Raises:
        DamagedPayload: it cannot be unpacked.
    """
    length = int.from_bytes(packed[:_HEADER], "little")
    try:
        return _decompressed(packed, dictionary, 0)[length:].decode()
    except UnicodeDecodeError:
        raise DamagedPayload from None


def _decompressed(packed: bytes, dictionary: bytes, most: int) -> bytes:
    decompressor = zlib.decompressobj(_RAW, dictionary)
    try:
        data = decompressor.decompress(packed[_HEADER:], most)
    except zlib.error:
        raise DamagedPayload from None
    if not most and not decompressor.eof:
        raise DamagedPayload
    return data
