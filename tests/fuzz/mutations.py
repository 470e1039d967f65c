"""Changes of valid files: what disks and downloads do, and what an attacker would write."""

import json
import re
import struct
import zlib
from collections.abc import Callable

import numpy as np
from safetensors.torch import load

from nucleigan.training.checkpoint import checksum

Random = np.random.Generator
# Numbers at which sizes, counts and offsets overflow.
EXTREMES = [0, 1, -1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1]
WRITTEN = [
    *(b"nan", b"inf", b"-inf", b"1e308", b"-1e308", b"1e-320", b"1e400", b"0", b"-1", b"null", b""),
    *(b"9" * 25, b"9" * 5000, b"1" + b"0" * 400, b"0x10", b"1_0", b"4294967296", b"true", b'"x"'),
]
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
# Pieces that change the meaning of a text.
TOKENS = [
    *(b'<!DOCTYPE a [<!ENTITY b "ha">]>', b"&b;", b"<!ENTITY % p SYSTEM 'file:///etc/passwd'>"),
    *(b"<Region>", b"</Region>", b"<Vertex/>", b"<![CDATA[", b"]]>", b"<!--", b"<?x?>", b"\x00"),
    *(b"[", b"]", b"{", b"}", b'"', b"'", b",", b":", b"\n", b"\r", b"\t", b"\\u0000", b"\xff\xfe"),
    *(
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"../",
        b"$(id)",
        b";",
        b"&a ",
        b"*a",
        b"!!python/object:a",
    ),
    *(b"!!timestamp x", b"2001-99-99", b"<<: ", b"- ", b"? ", b"%", b"=cmd()", b"|", b">"),
]


def mutate(content: bytes, others: list[bytes], text: bool, random: Random) -> bytes:
    """One to four changes, drawn at random.

    Parameters
    ----------
    content
        A valid file.
    others
        Files that pieces are taken from.
    text
        Whether numbers and signs are written as text.
    random
        Source of all randomness.
    """
    changes = [*ANYWHERE, *(IN_TEXT if text else IN_BINARY)]
    for _ in range(random.integers(1, 5)):
        change = changes[random.integers(len(changes))]
        content = change(content, others, random)
    return content


def repaired_png(content: bytes) -> bytes:
    """Checksums made right again, so that what was changed gets past them."""
    result, place = bytearray(content), 8
    while place + 12 <= len(result):
        (length,) = struct.unpack_from(">I", result, place)
        end = place + 8 + length
        if end + 4 > len(result):
            break
        struct.pack_into(">I", result, end, zlib.crc32(result[place + 4 : end]))
        place = end + 4
    return bytes(result)


def repaired_safetensors(content: bytes) -> bytes:
    """The length of the header and the checksum made right again where they can be told."""
    try:
        header, length = json.JSONDecoder().raw_decode(content[8:].decode("latin-1"))
        # Filled up with spaces, so that the numbers begin at a multiple of eight.
        while length % 8 and content[8 + length : 9 + length] == b" ":
            length += 1
        content = struct.pack("<Q", length) + content[8:]
        texts = header["__metadata__"]
        written = texts.pop("checksum")
        return content.replace(written.encode(), checksum(load(content), texts).encode(), 1)
    # The loader's own errors, and all that broken JSON may bring about.
    except Exception:
        return content


REPAIRS: dict[str, Callable[[bytes], bytes]] = {
    ".png": repaired_png,
    ".safetensors": repaired_safetensors,
}


def _place(content: bytes, random: Random) -> int:
    """Anywhere, but as often near the beginning, where headers are."""
    end = len(content) if random.random() < 0.5 else min(len(content), 600)
    return int(random.integers(max(end, 1)))


def _flip(content: bytes, others: list[bytes], random: Random) -> bytes:
    result = bytearray(content)
    for _ in range(random.integers(1, 9)):
        if result:
            result[min(_place(content, random), len(result) - 1)] ^= 1 << int(random.integers(8))
    return bytes(result)


def _truncate(content: bytes, others: list[bytes], random: Random) -> bytes:
    return content[: int(len(content) * random.random())]


def _delete(content: bytes, others: list[bytes], random: Random) -> bytes:
    start = _place(content, random)
    return content[:start] + content[start + int(random.integers(1, 65)) :]


def _repeat(content: bytes, others: list[bytes], random: Random) -> bytes:
    start = _place(content, random)
    piece = content[start : start + int(random.integers(1, 200))]
    times = int(10 ** random.uniform(0, 3.5))
    return content[:start] + piece * times + content[start:]


def _splice(content: bytes, others: list[bytes], random: Random) -> bytes:
    other = others[random.integers(len(others))]
    start, end = sorted((_place(other, random), _place(other, random)))
    place = _place(content, random)
    skipped = place + (end - start if random.random() < 0.5 else 0)
    return content[:place] + other[start:end] + content[skipped:]


def _fill(content: bytes, others: list[bytes], random: Random) -> bytes:
    start, length = _place(content, random), int(random.integers(1, 33))
    value = bytes([int(random.choice([0, 255, random.integers(256)]))])
    return content[:start] + value * length + content[start + length :]


def _extreme(content: bytes, others: list[bytes], random: Random) -> bytes:
    width = int(random.choice([1, 2, 4, 8]))
    value = int(random.choice(len(EXTREMES)))
    number = EXTREMES[value] % (1 << 8 * width)
    place = _place(content, random)
    if random.random() < 0.7:
        place -= place % 2
    order = "little" if random.random() < 0.5 else "big"
    return content[:place] + number.to_bytes(width, order) + content[place + width :]


def _tiff_entry(content: bytes, others: list[bytes], random: Random) -> bytes:
    """An entry of the first directory of a TIFF: its type, count or value; or its tag."""
    if content[:2] not in (b"II", b"MM") or len(content) < 16:
        return _extreme(content, others, random)
    order = "<" if content[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", content, 4)
    if start + 2 > len(content):
        return content
    (count,) = struct.unpack_from(f"{order}H", content, start)
    place = start + 2 + 12 * int(random.integers(max(count, 1)))
    if place + 12 > len(content):
        return content
    offset, kind = [(0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "H")][random.integers(5)]
    bits = 8 * struct.calcsize(kind)
    drawn = EXTREMES[random.integers(len(EXTREMES))] if random.random() < 0.6 else None
    number = (int(random.integers(1 << 15)) if drawn is None else drawn) % (1 << bits)
    result = bytearray(content)
    struct.pack_into(f"{order}{kind}", result, place + offset, number)
    return bytes(result)


def _number(content: bytes, others: list[bytes], random: Random) -> bytes:
    found = list(NUMBER.finditer(content[:200_000]))
    if not found:
        return content
    match = found[random.integers(len(found))]
    written = WRITTEN[random.integers(len(WRITTEN))]
    return content[: match.start()] + written + content[match.end() :]


def _token(content: bytes, others: list[bytes], random: Random) -> bytes:
    place = _place(content, random)
    times = 1 if random.random() < 0.7 else int(10 ** random.uniform(0, 5))
    return content[:place] + TOKENS[random.integers(len(TOKENS))] * times + content[place:]


ANYWHERE = [_flip, _truncate, _delete, _repeat, _splice, _fill]
IN_BINARY = [_extreme, _extreme, _tiff_entry, _number]
IN_TEXT = [_number, _number, _token, _token]
