"""Converts models from and to the formats of other libraries.

convert          one function for the whole conversion, and for each step of it
model_source     the value that every format opens: sizes, vocabulary, tensors
tensor_mapping   tensors of a file <-> weights of the model
settings         settings of a file, and those that are not supported
gguf/            reads GGUF files
hugging_face/    reads Hugging Face folders
keras_hub/       reads and writes KerasHub presets
native/          reads and writes checkpoints of this project
saved_model/     writes TensorFlow SavedModels
chat_templates   reads the chat template of a model
resize           changes the vocabulary of a model
model_card       writes the README.md of a model; with card_results
target_folder    keeps folders free of half-written models
write_progress   reports how far a writer has come
"""
