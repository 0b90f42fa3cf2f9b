"""ONNX's protobuf messages as bytes, as far as one transformer needs them: no `onnx` package at run time.

Field numbers are those of onnx.proto3 (github.com/onnx/onnx, `onnx/onnx.proto3`). A message is the concatenation of its
fields, a field is a tag and a value; an embedded message, a string and packed numbers carry their length in front.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

FLOAT, UINT8, INT64 = 1, 2, 7
"""TensorProto.DataType."""
_ATTRIBUTE_FLOAT, _ATTRIBUTE_INT, _ATTRIBUTE_INTS = 1, 2, 7
_EXTERNAL = 1


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers are written as their two's complement in 64 bits
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _head(field: int, length: int) -> bytes:
    """What stands before `length` bytes."""
    return _varint(field << 3 | 2) + _varint(length)


def _bytes(field: int, value: bytes) -> bytes:
    return _head(field, len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _numbers(field: int, values: Iterable[int]) -> bytes:
    return _bytes(field, b"".join(map(_varint, values)))


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _attribute(name: str, value: float | int | Sequence[int]) -> bytes:
    if isinstance(value, float):
        return _text(1, name) + _float(2, value) + _number(20, _ATTRIBUTE_FLOAT)
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, _ATTRIBUTE_INT)
    return _text(1, name) + _numbers(8, value) + _number(20, _ATTRIBUTE_INTS)


def node(
    op: str,
    inputs: Sequence[str],
    output: str,
    attributes: Mapping[str, float | int | Sequence[int]],
    domain: str = "",
) -> bytes:
    """A NodeProto with one output, which also names it. An empty input is one that is left out."""
    parts = [_text(1, name) for name in inputs]
    parts += [_text(2, output), _text(3, f"node_{output}"), _text(4, op), _text(7, domain)]
    parts += [_bytes(5, _attribute(name, value)) for name, value in attributes.items()]
    return b"".join(parts)


def constant(name: str, kind: int, dims: Sequence[int], raw: bytes) -> bytes:
    """A TensorProto that carries its own little-endian values."""
    return _numbers(1, dims) + _number(2, kind) + _text(8, name) + _bytes(9, raw)


def external(name: str, kind: int, dims: Sequence[int], location: str, offset: int, length: int) -> bytes:
    """A TensorProto whose values are `length` bytes at `offset` of the file `location`, beside the model."""
    place = {"location": location, "offset": str(offset), "length": str(length)}
    entries = [_bytes(13, _text(1, key) + _text(2, value)) for key, value in place.items()]
    return _numbers(1, dims) + _number(2, kind) + _text(8, name) + b"".join(entries) + _number(14, _EXTERNAL)


def value_info(name: str, kind: int, dims: Sequence[int | str]) -> bytes:
    """A ValueInfoProto: an input or output of the graph. A string names a size that may vary."""
    shape = b"".join(_bytes(1, _number(1, d) if isinstance(d, int) else _text(2, d)) for d in dims)
    return _text(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, shape)))


def model(
    nodes: Iterable[bytes],
    tensors: Iterable[bytes],
    inputs: Iterable[bytes],
    outputs: Iterable[bytes],
    opsets: Mapping[str, int],
) -> bytes:
    """A ModelProto (IR version 8) of one graph over `opsets`: domain ("" is ONNX's own) -> version.

    Put together once, at the end: a graph may carry ten megabytes.
    """
    fields = [(1, nodes), (2, [b"graph"]), (5, tensors), (11, inputs), (12, outputs)]
    graph = [part for field, found in fields for message in found for part in (_head(field, len(message)), message)]
    imports = b"".join(_bytes(8, _text(1, domain) + _number(2, version)) for domain, version in opsets.items())
    return b"".join([_number(1, 8), imports, _head(7, sum(map(len, graph))), *graph])
