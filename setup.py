"""Packaging of flan-tf.

tools/python/environment.sh also reads the lists below. It installs the
requirements but not the project, because a checkout runs from its own folder.
"""

import pathlib
import re

PYTHON = ">=3.11,<3.14"

# Lower bounds are the versions that the tests run with. All tested versions are
# in tools/python/constraints.txt. TensorFlow 2.20 is allowed because it is the
# newest version with a TPU build.
REQUIREMENTS = [
  "absl-py>=2.5",
  "gguf>=0.19",
  "h5py>=3.14",
  # TFDS 4.9.10 imports it when it prepares data, but does not require it.
  "importlib-resources>=6",
  "jinja2>=3.1.6",
  "keras>=3.15",
  "keras-nlp>=0.32",
  "matplotlib>=3.11",
  "mesh-tensorflow==0.1.21",
  "ml-collections>=1.1",
  "ml-dtypes>=0.5",
  "numpy>=2.0",
  "rapidfuzz>=3.14",
  "rouge-score>=0.1.2",
  "sacrebleu>=2.6",
  "safetensors>=0.8",
  "scikit-learn>=1.9",
  "scipy>=1.17",
  "sentencepiece>=0.2.1",
  "tensorboard>=2.20,<2.22",
  "tensorflow>=2.20,<2.22",
  "tensorflow-datasets>=4.9.10",
  "tensorflow-text>=2.20.1,<2.22",
  "tokenizers>=0.22",
]

EXTRAS = {
  # Tests, formatter, linter and type checker.
  "dev": ["pytest>=9", "ruff>=0.17", "pyright>=1.1.414"],
  # The peers that flan-bench measures against.
  "bench": [
    "lm-eval[hf]>=0.4.13",
    "psutil>=7",
    "seqio>=0.0.20",
    "torch>=2.9",
    "transformers>=5",
  ],
  # Needed by flan-prepare for single data sets: wsc273 needs the first two, and
  # xsum from the Hugging Face hub the third.
  "prepare": ["beautifulsoup4>=4.12", "lxml>=5", "datasets>=5"],
  # For compiling for TPUs (flan-plan), and for running on them. tensorflow-tpu
  # replaces tensorflow, so it needs an environment of its own, which
  # `tools/python/environment.sh tpu` makes. libtpu 0.0.17 to 0.0.21 work with
  # it; 0.0.52 aborts.
  "tpu-plan": [
    "jax==0.7.0",
    "jaxlib==0.7.0",
    "libtpu==0.0.19",
    "tensorflow-text==2.20.1",
    "tensorflow-tpu==2.20.0",
  ],
}

# Each name is a module launch/NAME.py with a function run().
BINARIES = [
  "bench",
  "contamination",
  "control",
  "convert",
  "evaluate",
  "generate",
  "inspect_tasks",
  "plan",
  "prepare",
  "quickstart",
  "train",
  "train_vocabulary",
]

# Files beside the modules that an installed copy needs.
PACKAGE_DATA = {
  "flan_tf": ["py.typed", "report/*.css", "report/*.j2"],
  "launch": ["*.sh", "tpu/*.env", "tpu/*.md", "tpu/*.sh"],
  "tasks": ["rows/*.jsonl"],
}

_ROOT = pathlib.Path(__file__).parent


def _version() -> str:
  text = (_ROOT / "flan_tf/version.py").read_text(encoding="utf-8")
  return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE).group(1)


def _long_description() -> str:
  readme = _ROOT / "README.md"
  return readme.read_text(encoding="utf-8") if readme.exists() else ""


def _script(binary: str) -> str:
  return f"flan-{binary.replace('_', '-')} = launch.{binary}:run"


if __name__ == "__main__":
  import setuptools

  setuptools.setup(
    name="flan-tf",
    version=_version(),
    description="FLAN on TensorFlow: instruction tuning of language models.",
    long_description=_long_description(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=PYTHON,
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
    packages=setuptools.find_packages(
      # Without this list, `tests` and `tools` would be installed too.
      include=["flan_tf", "flan_tf.*", "launch", "launch.*", "tasks", "tasks.*"]
    ),
    package_data=PACKAGE_DATA,
    entry_points={"console_scripts": [_script(name) for name in BINARIES]},
  )
