"""The subset of MessagePack used by frame headers, so that torch is the only dependency.

Supports maps, lists, strings, integers, floats, booleans and None; decodes bytes too. https://msgpack.org, specification.
"""

import struct

# First byte -> (format of the following number, type). For strings, lists and maps the number is the length.
_FIXED = {
    0xCA: (">f", "number"),
    0xCB: (">d", "number"),
    0xCC: (">B", "number"),
    0xCD: (">H", "number"),
    0xCE: (">I", "number"),
    0xCF: (">Q", "number"),
    0xD0: (">b", "number"),
    0xD1: (">h", "number"),
    0xD2: (">i", "number"),
    0xD3: (">q", "number"),
    0xC4: (">B", "bytes"),
    0xC5: (">H", "bytes"),
    0xC6: (">I", "bytes"),
    0xD9: (">B", "text"),
    0xDA: (">H", "text"),
    0xDB: (">I", "text"),
    0xDC: (">H", "list"),
    0xDD: (">I", "list"),
    0xDE: (">H", "map"),
    0xDF: (">I", "map"),
}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


def unpack(data: bytes):
    """Decodes one value, which must span all of `data`."""
    value, end = _unpack(data, 0)
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes after the value")
    return value


def _unpack(data: bytes, at: int):
    first = data[at]
    at += 1
    if first < 0x80:
        return first, at
    if first >= 0xE0:
        return first - 0x100, at
    if first in _CONSTANTS:
        return _CONSTANTS[first], at
    if first < 0x90:
        kind, length = "map", first & 0x0F
    elif first < 0xA0:
        kind, length = "list", first & 0x0F
    elif first < 0xC0:
        kind, length = "text", first & 0x1F
    elif first in _FIXED:
        layout, kind = _FIXED[first]
        (length,) = struct.unpack_from(layout, data, at)
        at += struct.calcsize(layout)
    else:
        raise ValueError(f"unknown type 0x{first:02x} at byte {at - 1}")
    if kind == "number":
        return length, at
    if kind in ("text", "bytes"):
        content = data[at : at + length]
        return (content.decode() if kind == "text" else content), at + length
    items = []
    for _ in range(length if kind == "list" else 2 * length):
        item, at = _unpack(data, at)
        items.append(item)
    return (items if kind == "list" else dict(zip(items[::2], items[1::2]))), at


def pack(value) -> bytes:
    """Encodes a value, always with a full-width length, which is valid for any size."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int) and -(1 << 31) <= value < 1 << 31:
        return b"\xd2" + struct.pack(">i", value)
    # Larger integers too: JavaScript would decode a 64-bit integer as a BigInt.
    if isinstance(value, (int, float)):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        content = value.encode()
        return b"\xdb" + struct.pack(">I", len(content)) + content
    if isinstance(value, (list, tuple)):
        return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(pack, value))
    if isinstance(value, dict):
        items = b"".join(pack(key) + pack(item) for key, item in value.items())
        return b"\xdf" + struct.pack(">I", len(value)) + items
    raise TypeError(f"{type(value).__name__} has no encoding")
