"""Ways in for models that others have trained, and ways out.

source              what every way in gives: a model, a vocabulary, its tensors
hugging_face        a Hugging Face folder: config.json and safetensors; with
                    hugging_face_config and safetensors_files
keras_hub_preset    a KerasHub preset: config.json and h5; with keras_hub_files
gguf_file           a GGUF file, quantized or not; with gguf_vocabulary
chat                how a model is talked to: its template, or a name
resize              another number of rows, new pieces
native_source       a checkpoint of ours, its adapters merged
native              writes a source as a checkpoint, one tensor after another
keras_hub_export    writes a source as a KerasHub preset; with
                    keras_hub_tokenizer
saved_model         writes a source as a SavedModel, texts in, texts out; with
                    text_model and row_programs
model_card          what goes with a model: data, mixture, held out, results;
                    with card_results
"""
