"""Reading matrices of numbers from MATLAB files of version 5, and nothing else that may be in them.

MARS publishes its lists so. SciPy's reader crashes the whole process on some damaged files; this
one checks every length before it follows it, executes nothing, and knows numbers only.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

MATRIX, COMPRESSED = 14, 15  # kinds of elements
# Kinds of elements that hold numbers, with numpy's letter.
NUMBERS = dict(zip((1, 2, 3, 4, 5, 6, 7, 9, 12, 13), "bBhHiIfdqQ", strict=True))
CLASSES = range(6, 16)  # of arrays: double, single, and whole numbers of 8 to 64 bits
COMPLEX_OR_LOGICAL = 0x0A00  # bits of an array's flags
LARGEST = 2**26  # bytes of a compressed variable when unpacked; MARS has less than 2**20


def matrices(content: bytes) -> dict[str, np.ndarray]:
    """Return the variables in a MATLAB file of version 5, each real numbers [rows, columns].

    Raises ValueError if the file is damaged or of another kind, or holds anything else.
    """
    orders = {b"IM": "<", b"MI": ">"}
    if len(content) < 128 or content[126:128] not in orders:
        raise ValueError("no header of a MATLAB file of version 5")
    order = orders[content[126:128]]
    if struct.unpack_from(order + "H", content, 124) != (0x0100,):
        raise ValueError("a MATLAB file of another version")
    found = {}
    for kind, data in _elements(content[128:], order):
        if kind == COMPRESSED:
            kind, data = _unpacked(data, order)
        if kind != MATRIX:
            raise ValueError("something that is no array")
        name, matrix = _array(data, order)
        found[name] = matrix
    return found


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield kind and data of the elements that stand one after the other."""
    place = 0
    while place < len(content):
        if len(content) - place < 8:
            raise ValueError("an element cut in its head")
        kind, size = struct.unpack_from(order + "II", content, place)
        start, end = place + 8, place + 8 + size
        if kind >> 16:  # up to four bytes stand in the head itself
            kind, size = kind & 0xFFFF, kind >> 16
            start, end = place + 4, place + 4 + size
            if size > 4:
                raise ValueError("a short element that is too long")
            place += 8
        else:
            place = end if kind == COMPRESSED else end + -size % 8
        if end > len(content):
            raise ValueError("an element longer than the file")
        yield kind, content[start:end]


def _unpacked(data: bytes, order: str) -> tuple[int, bytes]:
    """Return kind and data of the one element that is compressed."""
    try:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(data, LARGEST)
    except zlib.error as error:
        raise ValueError("a damaged compressed element") from error
    if not unpacker.eof:
        raise ValueError("a compressed element that is cut or too large")
    inside = [*_elements(content, order)]
    if len(inside) != 1:
        raise ValueError("a compressed element that holds several")
    return inside[0]


def _array(data: bytes, order: str) -> tuple[str, np.ndarray]:
    """Return name and values of an array of real numbers."""
    parts = [*_elements(data, order)]
    if len(parts) != 4:  # flags, shape, name, real part; no imaginary part
        raise ValueError("an array that is no matrix of real numbers")
    flags, shape, values = (_numbers(*parts[i], order) for i in (0, 1, 3))
    if not flags.size or int(flags[0]) & 0xFF not in CLASSES or int(flags[0]) & COMPLEX_OR_LOGICAL:
        raise ValueError("an array that is no matrix of real numbers")
    rows, columns = (int(n) for n in shape) if shape.size == 2 else (-1, -1)
    if rows < 0 or columns < 0 or rows * columns != values.size:
        raise ValueError("a matrix whose shape does not fit its numbers")
    return parts[2][1].decode("ascii", "replace"), values.reshape(columns, rows).T


def _numbers(kind: int, data: bytes, order: str) -> np.ndarray:
    """Return the numbers in an element."""
    if kind not in NUMBERS:
        raise ValueError("an element that holds no numbers")
    dtype = np.dtype(order + NUMBERS[kind])
    if len(data) % dtype.itemsize:
        raise ValueError("an element that ends within a number")
    return np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))
