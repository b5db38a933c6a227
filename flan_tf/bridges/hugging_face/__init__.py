"""Reads models from Hugging Face folders.

folder_source          opens a folder as a ModelSource
config_json            config.json, and which of its settings were read
config_models          config.json -> ModelConfig
safetensors_files      tensors of *.safetensors
safetensors_mappings   names of tensors -> weights
"""
