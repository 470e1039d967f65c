"""Read the matrices of numbers in MATLAB files, and leave everything else in them alone.

Readers of the whole format follow what a file says about cells, structures and objects, and some
end the interpreter on damaged files. A label map needs a small part of it: elements of a type, a
length and data, one for each variable, compressed or not (The MathWorks, "MAT-File Format", level
5, which MATLAB writes by default as -v7 and with -v6).
"""

import math
import mmap
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nucleigan.errors import NucleiganError

PREAMBLE = 128
ORDERS = {b"IM": "<", b"MI": ">"}
# Numbers of the types of elements, and of the classes of arrays.
TYPES = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}
MATRIX, COMPRESSED = 14, 15
# From double to 64-bit integers; below are cells, structures, objects, text and sparse matrices.
NUMBERS = range(6, 16)
COMPLEX = 0x0800
# Of a variable, before its numbers: more than any name and any number of dimensions take, bytes.
HEAD = 4096
# Of an array; a label map has two.
MOST_DIMENSIONS = 32


@dataclass(frozen=True)
class Variable:
    """A variable of a file, before its numbers are read.

    Attributes
    ----------
    name, shape
        As the file says.
    numbers
        Whether it is an array of real numbers.
    place
        First byte of its element, and the byte after it.
    """

    name: str
    shape: tuple[int, ...]
    numbers: bool
    place: tuple[int, int]


class MatFile:
    """The variables of a file, whose numbers are read one by one.

    Parameters
    ----------
    path
        MATLAB file, level 5.
    max_variables
        More are refused.

    Raises
    ------
    ValueError, struct.error, zlib.error
        Damaged, or of another version.
    NucleiganError
        It has too many variables.
    """

    def __init__(self, path: Path, max_variables: int) -> None:
        with path.open("rb") as stream:
            self.content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        order = ORDERS.get(self.content[PREAMBLE - 2 : PREAMBLE])
        if order is None or self.content[:10] == b"MATLAB 7.3":
            raise ValueError("it is no MATLAB file of the versions 5 to 7; save it with -v7")
        self.order = order
        self.variables = self._variables(path, max_variables)

    def read(self, variable: Variable) -> np.ndarray:
        """The numbers of a variable, in the type that they are stored as."""
        size = math.prod(variable.shape)
        element = self._unpacked(variable.place, HEAD + 8 * size)
        place = self._head(element)[-1]
        kind, start, length, _ = self._element(element, place)
        if kind not in TYPES:
            raise ValueError(f"{variable.name} holds elements of type {kind}, which are no numbers")
        dtype = np.dtype(f"{self.order}{TYPES[kind]}")
        if length != size * dtype.itemsize or start + length > len(element):
            raise ValueError(f"{variable.name} holds {length} bytes for {size} numbers")
        flat = np.frombuffer(element, dtype, size, start)
        return flat.reshape(variable.shape, order="F")

    def _variables(self, path: Path, most: int) -> list[Variable]:
        found: list[Variable] = []
        place = PREAMBLE
        while place + 8 <= len(self.content):
            kind, start, length, following = self._element(self.content, place)
            # The element of a compressed variable is not padded.
            end = start + length if kind == COMPRESSED else following
            if start + length > len(self.content):
                raise ValueError("it ends within a variable")
            if kind in (MATRIX, COMPRESSED):
                name, shape, numbers, _ = self._head(self._unpacked((place, end), HEAD))
                found.append(Variable(name, shape, numbers, (place, end)))
            if len(found) > most:
                raise NucleiganError(
                    f"{path}: holds more variables than the {most} of ingestion.max_variables; "
                    "raise the limit, or save the label map alone."
                )
            place = end
        return found

    def _unpacked(self, place: tuple[int, int], length: int) -> bytes:
        """The first bytes of an element, without the tag around a compressed one."""
        kind, start, size, _ = self._element(self.content, place[0])
        if kind != COMPRESSED:
            return self.content[place[0] : min(place[1], place[0] + length)]
        unpacker = zlib.decompressobj()
        # As much and no more, however large the rest may become.
        return unpacker.decompress(self.content[start : start + size], length)

    def _head(self, element: bytes) -> tuple[str, tuple[int, ...], bool, int]:
        """Name, shape and whether it holds numbers, and the place where those begin."""
        kind, place, _, _ = self._element(element, 0)
        if kind != MATRIX:
            raise ValueError(f"it holds an element of type {kind}, expected {MATRIX}")
        _, start, _, place = self._element(element, place)
        (flags,) = struct.unpack_from(f"{self.order}I", element, start)
        _, start, length, place = self._element(element, place)
        count = length // 4
        if count > MOST_DIMENSIONS:
            raise ValueError(f"it holds an array of {count} dimensions")
        shape = struct.unpack_from(f"{self.order}{count}i", element, start)
        if min(shape, default=0) < 0:
            raise ValueError("it holds an array of negative size")
        _, start, length, place = self._element(element, place)
        name = element[start : start + length].decode("utf-8", "replace")
        return name, shape, flags & 0xFF in NUMBERS and not flags & COMPLEX, place

    def _element(self, content: bytes | mmap.mmap, place: int) -> tuple[int, int, int, int]:
        """Type, place and length of the data of an element, and the place after it."""
        (word,) = struct.unpack_from(f"{self.order}I", content, place)
        if word >> 16:
            # At most four bytes stand in the tag itself.
            return word & 0xFFFF, place + 4, min(word >> 16, 4), place + 8
        (length,) = struct.unpack_from(f"{self.order}I", content, place + 4)
        return word, place + 8, length, place + 8 + -(-length // 8) * 8
