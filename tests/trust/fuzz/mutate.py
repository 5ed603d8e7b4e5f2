"""Damage: to bytes, and to the structure of each format, its checksums put right again."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

Rng = np.random.Generator
NUMBERS = (
    0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 255, 256, 4095, 0x7FFF, 0x8000, 0xFFFF, 0x10000,
    0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF,
)  # fmt: skip
TEXTS = (
    "", " ", "\0", "a\0b", "../../../etc/passwd", "/etc/passwd", "C:\\x\\y", "~", "=1+1",
    "@SUM(A1)",
    "-1", "1e999", "nan", "inf", "1" * 5000, "x" * 100_000, "\x1b[31m", "\u202eabc", "\ud7ff",
    "<script>alert(1)</script>", "'; --", "{{7*7}}", "%s%n", "😀", "é", "e\u0301", "CON", ".", "..",
    "a/b", "a|b", "a;b", "null", "true", "[]", "{}", "2020-13-45", "0x10", "1_000",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e308, 1e-320, [], {},
    [[]], [None], {"a": {}}, "", "x", [0] * 1000, *TEXTS,
)  # fmt: skip


def mutate(family: str, content: bytes, rng: Rng) -> tuple[bytes, str]:
    """`content` with one to three damages; and in a word what was done last."""
    structural = STRUCTURES.get(family)
    word = ""
    for _ in range(1 + int(rng.random() < 0.3) + int(rng.random() < 0.1)):
        done = None
        if structural is not None and rng.random() < 0.6:
            done = structural(content, rng)
        if done is None:
            content, word = _damage_bytes(content, rng)
        else:
            content, word = done
    return content, word


def _damage_bytes(content: bytes, rng: Rng) -> tuple[bytes, str]:
    data = bytearray(content)
    if not data:
        return rng.bytes(int(rng.integers(1, 200))), "random"
    near = min(len(data), 600)
    at = int(rng.integers(len(data) if rng.random() < 0.5 else near))
    word, damage = DAMAGES[int(rng.integers(len(DAMAGES)))]
    damage(data, at, rng)
    return bytes(data), word


def _flip(data: bytearray, at: int, rng: Rng) -> None:
    for _ in range(int(rng.integers(1, 9))):
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))


def _truncate(data: bytearray, at: int, rng: Rng) -> None:
    del data[at:]


def _set_number(data: bytearray, at: int, rng: Rng) -> None:
    size: int = _pick((1, 2, 4, 8), rng)
    order: Literal["little", "big"] = _pick(("little", "big"), rng)
    data[at : at + size] = _number(rng, size).to_bytes(size, order)


def _delete(data: bytearray, at: int, rng: Rng) -> None:
    del data[at : at + int(rng.integers(1, 60))]


def _splice(data: bytearray, at: int, rng: Rng) -> None:
    start = int(rng.integers(len(data)))
    data[at:at] = data[start : start + int(rng.integers(1, 400))]


def _replace(data: bytearray, at: int, rng: Rng) -> None:
    data[at : at + int(rng.integers(1, 5))] = rng.bytes(int(rng.integers(1, 5)))


def _fill(data: bytearray, at: int, rng: Rng) -> None:
    end = at + int(rng.integers(1, 200))
    data[at:end] = bytes([int(rng.integers(256))]) * len(data[at:end])


def _append(data: bytearray, at: int, rng: Rng) -> None:
    data += rng.bytes(int(rng.integers(1, 300)))


def _copy_over(data: bytearray, at: int, rng: Rng) -> None:
    start, size = int(rng.integers(len(data))), int(rng.integers(1, 100))
    data[at : at + size] = data[start : start + size]


DAMAGES: tuple[tuple[str, Callable[[bytearray, int, Rng], None]], ...] = (
    ("flips", _flip), ("truncated", _truncate), ("number", _set_number), ("deleted", _delete),
    ("spliced", _splice), ("bytes", _replace), ("filled", _fill), ("appended", _append),
    ("copied over", _copy_over),
)  # fmt: skip


def _pick(items: Any, rng: Rng) -> Any:
    return items[int(rng.integers(len(items)))]


def _number(rng: Rng, size: int) -> int:
    return int(_pick(NUMBERS, rng)) & ((1 << (8 * size)) - 1)


def _reorder(parts: list[Any], rng: Rng) -> str:
    """Removes, doubles or moves one part; says which."""
    at = int(rng.integers(len(parts)))
    kind = int(rng.integers(3))
    if kind == 0:
        del parts[at]
        return "part removed"
    if kind == 1:
        count = 1 if rng.random() < 0.8 else 300
        parts[at:at] = [parts[at]] * count
        return "part doubled"
    parts.insert(int(rng.integers(len(parts))), parts.pop(at))
    return "part moved"


def _png(content: bytes, rng: Rng) -> tuple[bytes, str] | None:
    """Chunks, with their checksums put right: nothing shows that they were touched."""
    chunks, at = [], 8
    while at + 12 <= len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        if size > len(content):
            break
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks:
        return None
    kind = int(rng.integers(5))
    place = int(rng.integers(len(chunks)))
    name, body = chunks[place]
    word = "chunk"
    if kind == 0:
        word = _reorder(chunks, rng)
    elif kind == 1 and chunks[0][0] == b"IHDR" and len(chunks[0][1]) == 13:
        field = int(rng.integers(7))
        values = list(struct.unpack(">IIBBBBB", chunks[0][1]))
        values[field] = _number(rng, 4 if field < 2 else 1)
        chunks[0] = (b"IHDR", struct.pack(">IIBBBBB", *values))
        word = "IHDR"
    elif kind == 2:
        extra = _pick(
            ((b"tRNS", b"\0\1" * 3), (b"PLTE", bytes(range(30))), (b"gAMA", b"\0\0\0\0"),
             (b"eXIf", b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"),
             (b"iCCP", b"x\0\0" + zlib.compress(b"\0" * 2_000_000)), (b"sBIT", b"\5"),
             (b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 5_000_000)), (b"acTL", b"\0\0\0\2" * 2)),
            rng,
        )  # fmt: skip
        chunks.insert(min(1 + place, len(chunks)), extra)
        word = extra[0].decode()
    elif kind == 3 and name == b"IDAT":
        try:
            lines = zlib.decompress(body)
        except zlib.error:
            return None
        lines, word = _damage_bytes(lines, rng)
        chunks[place], word = (name, zlib.compress(lines)), f"pixels {word}"
    else:
        body, word = _damage_bytes(body, rng)
        chunks[place], word = (name, body), f"{name.decode('latin-1')} {word}"
    return content[:8] + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    ), word  # fmt: skip


def _jpeg(content: bytes, rng: Rng) -> tuple[bytes, str] | None:
    """Marker segments before the scan."""
    segments, at = [], 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != 0xDA:
        size = struct.unpack(">H", content[at + 2 : at + 4])[0] + 2
        segments.append(bytearray(content[at : at + size]))
        at += size
    if not segments:
        return None
    rest = content[at:]
    place = int(rng.integers(len(segments)))
    part = segments[place]
    kind = int(rng.integers(4))
    if kind == 0:
        word = _reorder(segments, rng)
    elif kind == 1:
        for part in segments:
            if 0xC0 <= part[1] <= 0xCF and part[1] not in (0xC4, 0xC8, 0xCC) and len(part) > 9:
                field, size = _pick(((4, 1), (5, 2), (7, 2), (9, 1), (10, 1), (11, 1)), rng)
                part[field : field + size] = _number(rng, size).to_bytes(size, "big")
        word = "SOF"
    elif kind == 2 and len(part) > 4:
        body, word = _damage_bytes(bytes(part[4:]), rng)
        segments[place] = part[:2] + struct.pack(">H", min(65535, len(body) + 2)) + body
        word = f"segment {word}"
    else:
        rest, word = _damage_bytes(rest, rng)
        word = f"scan {word}"
    return content[:2] + b"".join(map(bytes, segments)) + rest, word


def _tiff(content: bytes, rng: Rng) -> tuple[bytes, str] | None:
    """Entries of the first directory."""
    order = "<" if content[:2] == b"II" else ">"
    if len(content) < 8:
        return None
    (at,) = struct.unpack(f"{order}I", content[4:8])
    if at + 2 > len(content):
        return None
    (count,) = struct.unpack(f"{order}H", content[at : at + 2])
    if not 0 < count < 200 or at + 2 + 12 * count + 4 > len(content):
        return None
    data = bytearray(content)
    place = at + 2 + 12 * int(rng.integers(count))
    field, size = _pick(((0, 2), (2, 2), (4, 4), (8, 4), (8, 2), (8, 4)), rng)
    kind = int(rng.integers(4))
    if kind == 0:  # the next directory is this one
        data[at + 2 + 12 * count : at + 6 + 12 * count] = struct.pack(f"{order}I", at)
        return bytes(data), "directory loop"
    if kind == 1:
        other = at + 2 + 12 * int(rng.integers(count))
        data[place : place + 12] = data[other : other + 12]
        return bytes(data), "entry doubled"
    value = _number(rng, size) if rng.random() < 0.7 else int(rng.integers(0, len(content)))
    data[place + field : place + field + size] = (value & ((1 << (8 * size)) - 1)).to_bytes(
        size, "little" if order == "<" else "big"
    )
    (tag,) = struct.unpack(f"{order}H", data[place : place + 2])
    return bytes(data), f"tag {tag}"


DICOM_TEXTS = ("", " ", "0", "-1", "1e400", "NaN", "99999999999", "1\\2\\3", "A^B" * 200, "\0\0")
DICOM_TAGS = (
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "NumberOfFrames", "PlanarConfiguration",
    "WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "PixelPaddingValue",
    "SmallestImagePixelValue", "Modality", "SOPClassUID", "ImagerPixelSpacing", "PixelAspectRatio",
    "VOILUTFunction", "PresentationLUTShape", "PixelPaddingRangeLimit", "SpecificCharacterSet",
    "PatientID", "ViewPosition", "BodyPartExamined", "LossyImageCompression", "RescaleType",
)  # fmt: skip


def _dicom(content: bytes, rng: Rng) -> tuple[bytes, str] | None:
    """Data elements: other values, other lengths, more and fewer of them."""
    import warnings

    import pydicom

    if rng.random() < 0.3:
        return _dicom_lengths(content, rng)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(io.BytesIO(content), force=True)
            word = _edit(ds, rng)
            buffer = io.BytesIO()
            ds.save_as(buffer, enforce_file_format=False)
            return buffer.getvalue(), word
    except Exception:
        return None


def _edit(ds: Any, rng: Rng) -> str:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    kind = int(rng.integers(6))
    tags = list(ds.keys())
    if kind == 0 and tags:
        tag = _pick(tags, rng)
        del ds[tag]
        return f"without {tag}"
    if kind == 1:
        item = Dataset()
        for _ in range(_pick((1, 3, 60), rng)):
            outer = Dataset()
            outer.add_new(0x00081115, "SQ", Sequence([item]))
            item = outer
        ds.update(item)
        return "nested"
    if kind == 2:
        name = _pick(("VOILUTSequence", "ModalityLUTSequence", "ViewCodeSequence",
                      "AnatomicRegionSequence", "SharedFunctionalGroupsSequence"), rng)  # fmt: skip
        items = [] if rng.random() < 0.4 else [Dataset()] * _pick((1, 2, 50), rng)
        setattr(ds, name, Sequence(items))
        return f"empty {name}"
    if kind == 3 and "PixelData" in ds:
        ds._dict[ds["PixelData"].tag] = ds["PixelData"]
        data, word = _damage_bytes(bytes(ds.PixelData), rng)
        ds["PixelData"]._value = data + b"\0" * (len(data) % 2)
        return f"pixels {word}"
    name = _pick(DICOM_TAGS, rng)
    vr = pydicom_vr(name)
    if vr in ("US", "SS"):
        value: Any = _number(rng, 2) if vr == "US" else _number(rng, 2) - 0x8000
    else:
        value = _pick(DICOM_TEXTS, rng)
    ds.add_new(pydicom_tag(name), vr, None)
    ds[name]._value = value
    return name


def pydicom_vr(name: str) -> str:
    from pydicom.datadict import dictionary_VR

    vr = dictionary_VR(pydicom_tag(name))
    return "US" if " or " in vr else vr


def pydicom_tag(name: str) -> int:
    from pydicom.datadict import tag_for_keyword

    found = tag_for_keyword(name)
    assert found is not None
    return int(found)


def _dicom_lengths(content: bytes, rng: Rng) -> tuple[bytes, str] | None:
    """The length field or value of one element of the pixels' description."""
    name = _pick((*DICOM_TAGS[:12], "PixelData", "TransferSyntaxUID", "VOILUTSequence"), rng)
    tag = pydicom_tag(name)
    at = content.find(struct.pack("<HH", tag >> 16, tag & 0xFFFF), 132)
    if at < 0:
        return None
    data = bytearray(content)
    field, size = _pick(((4, 4), (6, 2), (8, 4), (8, 2), (0, 2), (4, 2)), rng)
    data[at + field : at + field + size] = _number(rng, size).to_bytes(size, "little")
    return bytes(data), f"length of {name}"


def _text(content: bytes, rng: Rng) -> tuple[bytes, str] | None:
    """Lines and cells."""
    lines = content.split(b"\n")
    separator = next((one for one in (b"\t", b";", b",") if one in lines[0]), b",")
    place = int(rng.integers(len(lines)))
    kind = int(rng.integers(7))
    if kind == 0:
        word = _reorder(lines, rng)
    elif kind == 1:
        cells = lines[place].split(separator)
        cells[int(rng.integers(len(cells)))] = _pick(TEXTS, rng).encode("utf-8", "surrogatepass")
        lines[place], word = separator.join(cells), "cell"
    elif kind == 2:
        cells = lines[place].split(separator)
        word = _reorder(cells, rng)
        lines[place] = separator.join(cells)
    elif kind == 3:
        at = int(rng.integers(len(lines[place]) + 1))
        mark = _pick((b'"', b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"\n", b";", b"|"), rng)
        lines[place], word = lines[place][:at] + mark + lines[place][at:], "mark"
    elif kind == 4:
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return None
        name = _pick(("utf-16", "utf-32", "utf-16-be", "cp1252", "utf-8-sig"), rng)
        return text.encode(name, "replace"), name
    elif kind == 5:
        lines, word = lines * _pick((2, 50), rng), "repeated"
    else:
        return content.replace(separator, _pick((b";", b"\t", b"|", b" "), rng)), "delimiter"
    return b"\n".join(lines), word


YAML_PARTS = (
    b"&a [*a, *a]", b"!!python/object/apply:os.system ['touch pwned']", b"!!binary aGk=",
    b"!!set {}",
    b"&x [" + b"x," * 5 + b"]", b"[" * 400, b"{a: " * 400, b"9" * 5000, b".inf", b".nan", b"~",
    b"*nothing", b"? ", b"|", b">-", b"%TAG ! tag:x", b"---", b"...", b"<<: *a", b"0o17",
    b"1:30:00",
    b"2001-01-01", b"yes", b"'", b'"\\x', b"\t", b"\xff", b"\0",
    b"!!timestamp x", b"{}", b"[]", b"-1", b"1e309", b"a" * 70_000,
)  # fmt: skip


def _yaml(content: bytes, rng: Rng) -> tuple[bytes, str] | None:
    """Scalars, and YAML's own tricks."""
    lines = content.split(b"\n")
    place = int(rng.integers(len(lines)))
    kind = int(rng.integers(4))
    if kind == 0:
        word = _reorder(lines, rng)
        return b"\n".join(lines), word
    key, mark, _ = lines[place].partition(b": ")
    if kind == 1 and mark:
        lines[place] = key + mark + _pick(YAML_PARTS, rng)
        return b"\n".join(lines), "value"
    if kind == 2 and mark:
        text = _pick(TEXTS, rng)
        lines[place] = key + mark + json.dumps(text).encode("utf-8", "surrogatepass")
        return b"\n".join(lines), "text"
    lines[place] = b" " * int(rng.integers(0, 6)) + lines[place].strip()
    return b"\n".join(lines), "indent"


def _json(content: bytes, rng: Rng) -> tuple[bytes, str] | None:
    """Values and keys anywhere in the tree."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if rng.random() < 0.05:
        text = _pick((b"[" * 100_000, b'{"a":' * 5000, b"NaN", b"1e999", b"9" * 6000, b"null"), rng)
        return text, "whole"
    places = list(_places(tree)) if isinstance(tree, (dict, list)) else []
    if not places:
        return None
    parent, key = _pick(places, rng)
    kind = int(rng.integers(4))
    if kind == 0:
        del parent[key]
        word = "removed"
    elif kind == 1 and isinstance(parent, dict):
        parent[_pick((*TEXTS, "schema", "sha256", "a" * 300), rng)] = parent.pop(key)
        word = "key"
    else:
        parent[key] = _pick(VALUES, rng)
        word = "value"
    if isinstance(key, str):
        word = f"{word} {key}"
    return json.dumps(tree).encode("utf-8", "surrogatepass"), word


def _places(tree: Any) -> Any:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(items):
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


def _safetensors(content: bytes, rng: Rng) -> tuple[bytes, str] | None:
    """The JSON header, its length put right."""
    if len(content) < 8:
        return None
    (size,) = struct.unpack("<Q", content[:8])
    found = _json(content[8 : 8 + size], rng) if size < len(content) else None
    if found is None:
        return None
    header, word = found
    length = len(header) if rng.random() < 0.9 else _number(rng, 8)
    return struct.pack("<Q", length) + header + content[8 + size :], f"header {word}"


def _checkpoint(content: bytes, rng: Rng) -> tuple[bytes, str] | None:
    """The saved tree with another value somewhere; or members of the archive."""
    import torch

    try:
        tree = torch.load(io.BytesIO(content), weights_only=True)
    except Exception:
        return None
    places = list(_places(tree)) if isinstance(tree, (dict, list)) else []
    if not places:
        return None
    parent, key = _pick(places, rng)
    values = (*VALUES, torch.zeros(()), torch.full((2, 2), float("nan")), torch.zeros(0, 3))
    if rng.random() < 0.25:
        del parent[key]
    else:
        parent[key] = _pick(values, rng)
    buffer = io.BytesIO()
    torch.save(tree, buffer)
    return buffer.getvalue(), f"value {key}"


Structure = Callable[[bytes, Rng], tuple[bytes, str] | None]
STRUCTURES: dict[str, Structure] = {
    "png": _png, "jpeg": _jpeg, "tiff": _tiff, "dicom": _dicom, "text": _text, "yaml": _yaml,
    "json": _json, "safetensors": _safetensors, "checkpoint": _checkpoint,
}  # fmt: skip
