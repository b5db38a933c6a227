"""Reads and writes presets of KerasHub.

preset_source       opens a preset as a ModelSource
preset_writer       writes a ModelSource as a preset
preset_files        names of a preset's files, and its JSON files
h5_reader           tensors of a preset
backbone_configs    config.json -> ModelConfig
backbone_choice     ModelConfig -> the class of KerasHub that computes it
backbone_mappings   names of tensors <-> weights
preset_json         ModelConfig -> config.json, task.json, ...
preset_vocabulary   tokenizer of a preset -> Vocabulary
preset_tokenizer    Vocabulary -> tokenizer of a preset
preset_card         code in the model card that asks the model
"""
