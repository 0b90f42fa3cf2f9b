"""all-MiniLM-L6-v2 as an ONNX graph over its untouched safetensors file: BERT, mean pooling, unit length.

The graph is written from `config.json` and the header of the weights each time the model is loaded (a few
milliseconds), so that nothing is converted and no second copy of 90 MB is kept: its tensors point into the file.
Architecture: Devlin et al., BERT (2019); pooling as sentence-transformers' `all-MiniLM-L6-v2` does it. The largest
difference to sentence-transformers on the same text is below 1e-6.

The same graph can have its linear layers in int8: weights are rounded when it is built, activations while it runs, both
with a scale for every `_BLOCK` numbers (onnxruntime's MatMulNBits). Half the time of a short text, for vectors whose
cosine to the exact ones is 0.999: good for asking, not for keeping. One scale per tensor (DynamicQuantizeMatMul) takes
two fifths, but its cosine is 0.994, and of the code that was looked for 1 % fewer was among the first five.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from app.memory import onnx_proto as proto

WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"
TOKENIZER: Final = "tokenizer.json"
INPUTS: Final = ("input_ids", "attention_mask")
"""int64 arrays (batch, sequence)."""
OUTPUT: Final = "sentence_embedding"
"""float32 (batch, hidden size), unit length."""
_OPSETS: Final = {"": 20}
_CONTRIBUTED: Final = "com.microsoft"
"""onnxruntime's own operators: builds that leave them out refuse the int8 graph."""
_BLOCK: Final = 64
"""Weights that share a scale, where the width allows. With 128, a tenth less time for 0.0003 less of the cosine."""
_ZERO, _LARGEST = 128, 127
"""How MatMulNBits writes 0 in a byte without a sign, and the furthest from it that a weight is rounded to."""
_INT8_ACTIVATIONS = 4
"""`accuracy_level`: activations are rounded as well. With less, weights are made float again at each run."""
_MASKED = -1e9
"""Added to the attention scores of padding."""


class _Graph:
    """Nodes and tensors under construction; every method that adds a node returns the name of its output."""

    opsets: Mapping[str, int] = _OPSETS

    def __init__(self, weights: Mapping[str, Any], data_start: int) -> None:
        self._weights = weights
        self._data_start = data_start
        self.nodes: list[bytes] = []
        self.tensors: dict[str, bytes] = {}

    def node(self, op: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(proto.node(op, inputs, name, attributes))
        return name

    def weight(self, name: str) -> str:
        """A tensor of the safetensors file."""
        if name not in self.tensors:
            shape, offset, length = self._place(name)
            self.tensors[name] = proto.external(name, proto.FLOAT, shape, WEIGHTS, offset, length)
        return name

    def _place(self, name: str) -> tuple[list[int], int, int]:
        """A tensor's shape, and where in the file it begins and how long it is, in bytes."""
        entry = self._weights[name]
        if entry["dtype"] != "F32":
            raise ValueError(f"tensor {name} has type {entry['dtype']}, expected F32")
        start, end = entry["data_offsets"]
        return entry["shape"], self._data_start + start, end - start

    def ints(self, *values: int) -> str:
        name = "ints_" + "_".join(map(str, values))
        self.tensors[name] = proto.constant(name, proto.INT64, [len(values)], struct.pack(f"<{len(values)}q", *values))
        return name

    def scalar(self, value: float) -> str:
        name = f"scalar_{value!r}"
        self.tensors[name] = proto.constant(name, proto.FLOAT, [], struct.pack("<f", value))
        return name

    def linear(self, x: str, prefix: str) -> str:
        """x · Wᵀ + b: the file holds W as (out, in)."""
        turned = self.node("Transpose", self.weight(f"{prefix}.weight"), perm=[1, 0])
        return self.node("Add", self.node("MatMul", x, turned), self.weight(f"{prefix}.bias"))

    def norm(self, x: str, prefix: str, epsilon: float) -> str:
        inputs = x, self.weight(f"{prefix}.weight"), self.weight(f"{prefix}.bias")
        return self.node("LayerNormalization", *inputs, axis=-1, epsilon=epsilon)


class _Int8Graph(_Graph):
    """Linear layers in int8. Their rounded weights, a quarter of the size, are in the graph, the rest in the file."""

    opsets: Mapping[str, int] = MappingProxyType({**_OPSETS, _CONTRIBUTED: 1})

    def __init__(self, weights: Mapping[str, Any], data_start: int, path: Path) -> None:
        super().__init__(weights, data_start)
        self._path = path

    def linear(self, x: str, prefix: str) -> str:
        import numpy as np  # here: it is loaded with the model, not with this module

        name = f"{prefix}.weight"
        shape, offset, length = self._place(name)
        wide, deep = shape
        block = math.gcd(_BLOCK, deep)
        values = np.fromfile(self._path, "<f4", length // 4, offset=offset).reshape(wide, deep // block, block)
        scale = np.abs(values).max(axis=2, keepdims=True) / _LARGEST
        scale[scale == 0] = 1  # a block of zeros stays one
        values /= scale  # in place, as the next two: what is made and thrown away here stays in the process
        np.rint(values, out=values)
        values += _ZERO
        rounded = values.astype(np.uint8)
        self.tensors[name] = proto.constant(name, proto.UINT8, rounded.shape, rounded.tobytes())
        scales = f"{name}.scale"
        self.tensors[scales] = proto.constant(scales, proto.FLOAT, [scale.size], scale.tobytes())
        inputs = x, name, scales, "", "", self.weight(f"{prefix}.bias")  # neither zero points nor an order of their own
        sizes = {"K": deep, "N": wide, "bits": 8, "block_size": block, "accuracy_level": _INT8_ACTIVATIONS}
        output = f"linear_{len(self.nodes)}"
        self.nodes.append(proto.node("MatMulNBits", inputs, output, sizes, _CONTRIBUTED))
        return output


def build(folder: Path, *, int8: bool = False) -> bytes:
    """The model in `folder` as a serialised ONNX ModelProto, to be loaded with `folder` as the place of its data.

    With `int8` it carries its linear layers, 11 MB, and is built in 0.1 s; otherwise it is a few kilobytes. Raises
    `OSError` for a file that cannot be read, and `ValueError` or `KeyError` for one that is not this model's.
    """
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    header, data_start = _read_header(folder / WEIGHTS)
    graph = _Int8Graph(header, data_start, folder / WEIGHTS) if int8 else _Graph(header, data_start)
    epsilon = float(config["layer_norm_eps"])
    mask = graph.node("Cast", INPUTS[1], to=proto.FLOAT)
    hidden = _embed(graph, epsilon)
    padding = graph.node("Unsqueeze", mask, graph.ints(1, 2))
    bias = graph.node("Mul", graph.node("Sub", graph.scalar(1.0), padding), graph.scalar(_MASKED))
    for layer in range(config["num_hidden_layers"]):
        prefix = f"encoder.layer.{layer}"
        hidden = _attend(graph, hidden, bias, prefix, config["num_attention_heads"], config["hidden_size"], epsilon)
        hidden = _feed_forward(graph, hidden, prefix, epsilon)
    _pool(graph, hidden, mask)
    return proto.model(
        graph.nodes,
        graph.tensors.values(),
        [proto.value_info(name, proto.INT64, ["batch", "sequence"]) for name in INPUTS],
        [proto.value_info(OUTPUT, proto.FLOAT, ["batch", config["hidden_size"]])],
        graph.opsets,
    )


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The safetensors header (name -> dtype, shape, data_offsets) and where the data begins in the file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > 1 << 20:
            raise ValueError(f"{path.name} is not a safetensors file")
        return json.loads(file.read(length)), 8 + length


def _embed(graph: _Graph, epsilon: float) -> str:
    """Words, positions and the first token type: sentences are never given in pairs."""
    words = graph.node("Gather", graph.weight("embeddings.word_embeddings.weight"), INPUTS[0])
    length = graph.node("Slice", graph.node("Shape", INPUTS[0]), graph.ints(1), graph.ints(2))
    positions = graph.weight("embeddings.position_embeddings.weight")
    place = graph.node("Slice", positions, graph.ints(0), length, graph.ints(0))
    types = graph.weight("embeddings.token_type_embeddings.weight")
    first = graph.node("Slice", types, graph.ints(0), graph.ints(1), graph.ints(0))
    summed = graph.node("Add", words, graph.node("Add", place, first))
    return graph.norm(summed, "embeddings.LayerNorm", epsilon)


def _attend(graph: _Graph, x: str, bias: str, prefix: str, heads: int, size: int, epsilon: float) -> str:
    split, joined = graph.ints(0, 0, heads, size // heads), graph.ints(0, 0, size)

    def project(name: str, perm: list[int]) -> str:
        projected = graph.linear(x, f"{prefix}.attention.self.{name}")
        return graph.node("Transpose", graph.node("Reshape", projected, split), perm=perm)

    query, key, value = (
        project(name, perm) for name, perm in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3]))
    )
    scores = graph.node("Mul", graph.node("MatMul", query, key), graph.scalar(1 / math.sqrt(size // heads)))
    shares = graph.node("Softmax", graph.node("Add", scores, bias), axis=-1)
    mixed = graph.node("Transpose", graph.node("MatMul", shares, value), perm=[0, 2, 1, 3])
    out = graph.linear(graph.node("Reshape", mixed, joined), f"{prefix}.attention.output.dense")
    return graph.norm(graph.node("Add", out, x), f"{prefix}.attention.output.LayerNorm", epsilon)


def _feed_forward(graph: _Graph, x: str, prefix: str, epsilon: float) -> str:
    wide = graph.node("Gelu", graph.linear(x, f"{prefix}.intermediate.dense"))
    out = graph.linear(wide, f"{prefix}.output.dense")
    return graph.norm(graph.node("Add", out, x), f"{prefix}.output.LayerNorm", epsilon)


def _pool(graph: _Graph, x: str, mask: str) -> None:
    """The mean over what is not padding, scaled to unit length."""
    weighted = graph.node("Mul", x, graph.node("Unsqueeze", mask, graph.ints(2)))
    total = graph.node("ReduceSum", weighted, graph.ints(1), keepdims=0)
    mean = graph.node("Div", total, graph.node("ReduceSum", mask, graph.ints(1), keepdims=1))
    graph.node("Div", mean, graph.node("ReduceL2", mean, graph.ints(1), keepdims=1), output=OUTPUT)
