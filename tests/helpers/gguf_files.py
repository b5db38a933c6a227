"""Writes small GGUF files for tests, of the architectures llama and gpt2."""

import gguf
import numpy as np

WIDTH, HEADS, KV_HEADS, D_FF, LAYERS = 32, 4, 2, 64, 2
D_KV = WIDTH // HEADS


def permuted(x: np.ndarray, heads: int) -> np.ndarray:
  """Interleaves the halves of each head, as llama.cpp stores q and k."""
  return (
    x.reshape(heads, 2, x.shape[0] // heads // 2, *x.shape[1:])
    .swapaxes(1, 2)
    .reshape(x.shape)
  )


def llama_tensors(rows: int, rng, tied: bool = True) -> dict[str, np.ndarray]:
  """Returns random weights in the layout of transformers, by GGUF's names."""
  shapes = {"token_embd.weight": (rows, WIDTH), "output_norm.weight": (WIDTH,)}
  if not tied:
    shapes["output.weight"] = (rows, WIDTH)
  for layer in range(LAYERS):
    for name, shape in {
      "attn_norm": (WIDTH,),
      "ffn_norm": (WIDTH,),
      "attn_q": (WIDTH, WIDTH),
      "attn_k": (KV_HEADS * D_KV, WIDTH),
      "attn_v": (KV_HEADS * D_KV, WIDTH),
      "attn_output": (WIDTH, WIDTH),
      "ffn_gate": (D_FF, WIDTH),
      "ffn_up": (D_FF, WIDTH),
      "ffn_down": (WIDTH, D_FF),
    }.items():
      shapes[f"blk.{layer}.{name}.weight"] = shape
  return {
    name: rng.standard_normal(shape).astype(np.float32)
    for name, shape in shapes.items()
  }


def gpt2_tensors(rows: int, rng) -> dict[str, np.ndarray]:
  """Returns random weights of a GPT-2, by GGUF's names."""
  shapes = {
    "token_embd.weight": (rows, WIDTH),
    "position_embd.weight": (64, WIDTH),
    "output_norm.weight": (WIDTH,),
    "output_norm.bias": (WIDTH,),
  }
  for layer in range(LAYERS):
    for name, shape in {
      "attn_norm": (WIDTH,),
      "ffn_norm": (WIDTH,),
      "attn_qkv": (3 * WIDTH, WIDTH),
      "attn_output": (WIDTH, WIDTH),
      "ffn_up": (D_FF, WIDTH),
      "ffn_down": (WIDTH, D_FF),
    }.items():
      shapes[f"blk.{layer}.{name}.weight"] = shape
      shapes[f"blk.{layer}.{name}.bias"] = shape[:1]
  return {
    name: rng.standard_normal(shape).astype(np.float32)
    for name, shape in shapes.items()
  }


def write(
  path,
  architecture,
  tensors,
  made,
  kinds=None,
  tokenizer=True,
  template="",
  parts=1,
  **metadata,
):
  """Writes a GGUF file.

  Args:
    path: the file.
    architecture: "llama" or "gpt2".
    tensors: float32 arrays by name.
    made: the vocabulary, byte pairs.
    kinds: GGUF's types of the tensors that are not stored as float32, by name.
    tokenizer: whether the file gets the vocabulary.
    template: the chat template; empty for none.
    parts: number of files of the model, of which this one claims to be the
      first.
    **metadata: further metadata of the architecture; a__b stands for a.b.
  """
  writer = gguf.GGUFWriter(path, architecture)
  writer.add_name("toy")
  writer.add_block_count(LAYERS)
  writer.add_context_length(64)
  writer.add_embedding_length(WIDTH)
  writer.add_feed_forward_length(D_FF)
  writer.add_head_count(HEADS)
  if architecture == "gpt2":
    writer.add_layer_norm_eps(1e-5)
  else:
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(50_000.0)
  for name, value in metadata.items():
    name = f"{architecture}.{name.replace('__', '.')}"
    add = writer.add_string if isinstance(value, str) else writer.add_float32
    if isinstance(value, int):
      add = writer.add_uint32
    add(name, value)
  if tokenizer:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(
      {"gpt2": "gpt-2", "llama3": "llama-bpe"}.get(made.pattern, made.pattern)
    )
    writer.add_token_list(made.tokens)
    writer.add_token_types([3] * 3 + [1] * (made.size - 3))
    writer.add_token_merges(made.merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)
    writer.add_pad_token_id(2)
  if template:
    writer.add_chat_template(template)
  if parts > 1:
    writer.add_uint16("split.count", parts)
  for name, value in tensors.items():
    kind = (kinds or {}).get(name)
    if kind is None:
      writer.add_tensor(name, value)
    else:
      stored = gguf.quants.quantize(value, kind)
      writer.add_tensor(name, stored, raw_dtype=kind)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
