"""Writes a llama of random weights with a vocabulary of its own: every byte, printable ASCII, a few words."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

WIDTH, LAYERS, HEADS, FEED_FORWARD, TRAINED_WINDOW = 64, 2, 4, 128, 2048
WORDS = ("the", "of", "and", "to", "in", "is", "it", "that", "for", "you", "was", "on", "are", "this", "have", "not")
TEMPLATE = (
    "{% for m in messages %}{{ '[' + m['role'] + '] ' + m['content'] + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant] ' }}{% endif %}"
)
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6  # llama.cpp's token types


def vocabulary() -> tuple[list[bytes], list[int], list[float]]:
    """Tokens, types and scores of a SentencePiece vocabulary that can spell any text."""
    tokens = [b"<unk>", b"<s>", b"</s>"] + [b"<0x%02X>" % byte for byte in range(256)]
    types = [_UNKNOWN, _CONTROL, _CONTROL] + [_BYTE] * 256
    scores = [0.0] * len(tokens)
    pieces = ["▁", *(chr(code) for code in range(33, 127)), *(f"▁{word}" for word in WORDS)]
    for rank, piece in enumerate(pieces):
        tokens.append(piece.encode())
        types.append(_NORMAL)
        scores.append(-float(rank) if len(piece) == 1 else -0.01 * rank)
    return tokens, types, scores


def write_tiny_gguf(path: Path, seed: int = 0, trained_window: int = TRAINED_WINDOW) -> Path:
    """Write the model to `path`. The same seed gives the same file. llama.cpp serves no more than `trained_window`."""
    random = np.random.default_rng(seed)
    tokens, types, scores = vocabulary()
    writer = gguf.GGUFWriter(str(path), "llama")
    _describe(writer, len(tokens), trained_window)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_chat_template(TEMPLATE)
    _add_weights(writer, len(tokens), random)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _describe(writer: gguf.GGUFWriter, vocabulary_size: int, window: int) -> None:
    writer.add_name("tiny-random")
    writer.add_context_length(window)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(vocabulary_size)
    writer.add_file_type(0)


def _add_weights(writer: gguf.GGUFWriter, vocabulary_size: int, random: np.random.Generator) -> None:
    def matrix(*shape: int) -> np.ndarray:
        return (random.normal(size=shape) * 0.05).astype(np.float32)

    output = matrix(vocabulary_size, WIDTH)
    output[:259] = 0  # bytes and marks stay unlikely, so that the answers are printable
    writer.add_tensor("token_embd.weight", matrix(vocabulary_size, WIDTH))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    writer.add_tensor("output.weight", output)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{block}{name}.weight", np.ones(WIDTH, np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"{block}{name}.weight", matrix(WIDTH, WIDTH))
        for name in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"{block}{name}.weight", matrix(FEED_FORWARD, WIDTH))
        writer.add_tensor(f"{block}ffn_down.weight", matrix(WIDTH, FEED_FORWARD))
