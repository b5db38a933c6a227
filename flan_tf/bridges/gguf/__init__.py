"""Reads models from GGUF files, the format of llama.cpp.

gguf_source      opens a file as a ModelSource
gguf_reader      tensors and metadata of a file
gguf_config      metadata -> ModelConfig
gguf_mappings    names of tensors -> weights
gguf_tokenizer   metadata -> Vocabulary
"""
