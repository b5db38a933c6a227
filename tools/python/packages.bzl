"""The distributions that BUILD files name as @pypi//NAME."""

# Written by tools/update_build.py from the tree: run it, do not edit.
PACKAGES = [
    "absl-py",
    "gguf",
    "h5py",
    "jinja2",
    "keras",
    "keras-nlp",
    "matplotlib",
    "mesh-tensorflow",
    "ml-collections",
    "ml-dtypes",
    "numpy",
    "rapidfuzz",
    "rouge-score",
    "sacrebleu",
    "safetensors",
    "scikit-learn",
    "scipy",
    "sentencepiece",
    "tensorboard",
    "tensorflow",
    "tensorflow-datasets",
    "tensorflow-text",
    "tokenizers",
]
