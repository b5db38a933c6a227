"""Writes small random models with `transformers`, and their logits.

  python tests/helpers/transformers_models.py FOLDER

For each model it writes FOLDER/NAME/ (config.json and safetensors) and the
logits FOLDER/NAME.npy; FOLDER/ids.npy has the token ids. It runs as a separate
process because PyTorch and TensorFlow cannot always be loaded into one.
"""

import os
import sys

import numpy as np

ROWS = 50  # of the vocabulary
LENGTH = 12

_SIZES = {
  "vocab_size": ROWS,
  "hidden_size": 16,
  "intermediate_size": 24,
  "num_hidden_layers": 3,
  "num_attention_heads": 4,
  "num_key_value_heads": 2,
  "max_position_embeddings": 64,
}
_STRETCHED = {
  "rope_type": "llama3",
  "factor": 8.0,
  "low_freq_factor": 1.0,
  "high_freq_factor": 4.0,
  "original_max_position_embeddings": 32,
}
# Name -> configuration class and its settings. Every option has a value that
# changes the logits, so that a converter that ignores it fails the test.
MODELS = {
  "gpt2": (
    "GPT2Config",
    {
      "vocab_size": ROWS,
      "n_positions": LENGTH,
      "n_embd": 16,
      "n_layer": 3,
      "n_head": 4,
      "n_inner": 24,
      "layer_norm_epsilon": 1e-3,
    },
  ),
  "llama": ("LlamaConfig", {**_SIZES, "rms_norm_eps": 1e-2}),
  "llama_3": (
    "LlamaConfig",
    {
      **_SIZES,
      "attention_bias": True,
      "mlp_bias": True,
      "head_dim": 6,
      "tie_word_embeddings": True,
      "rope_theta": 500.0,
      "rope_scaling": _STRETCHED,
    },
  ),
  "llama_linear": (
    "LlamaConfig",
    {
      **_SIZES,
      "rope_theta": 777.0,
      "rope_scaling": {"rope_type": "linear", "factor": 3.0},
    },
  ),
  "mistral": ("MistralConfig", {**_SIZES, "sliding_window": 4, "head_dim": 8}),
  "gemma": ("GemmaConfig", {**_SIZES, "head_dim": 6}),
  "gemma2": (
    "Gemma2Config",
    {
      **_SIZES,
      "head_dim": 6,
      "query_pre_attn_scalar": 7,
      "attn_logit_softcapping": 1.0,
      "final_logit_softcapping": 2.0,
      "sliding_window": 4,
    },
  ),
  "qwen2": ("Qwen2Config", {**_SIZES, "tie_word_embeddings": True}),
  "qwen2_window": (
    "Qwen2Config",
    {
      **_SIZES,
      "use_sliding_window": True,
      "sliding_window": 4,
      "max_window_layers": 0,
    },
  ),
}


def main(folder: str) -> None:
  import torch
  import transformers

  torch.manual_seed(0)
  ids = np.random.default_rng(0).integers(0, ROWS, (2, LENGTH))
  np.save(os.path.join(folder, "ids.npy"), ids)
  for name, (cls, settings) in MODELS.items():
    model = transformers.AutoModelForCausalLM.from_config(
      getattr(transformers, cls)(**settings), attn_implementation="eager"
    )
    model = model.float().eval()
    with torch.no_grad():
      for weight in model.parameters():
        weight.add_(0.3 * torch.randn_like(weight))
      logits = model(torch.tensor(ids)).logits.numpy()
    np.save(os.path.join(folder, f"{name}.npy"), logits)
    # This model is saved in several files, with an index.
    size = {"max_shard_size": "4KB"} if name == "llama" else {}
    model.save_pretrained(os.path.join(folder, name), **size)


if __name__ == "__main__":
  main(sys.argv[1])
