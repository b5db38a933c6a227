#!/usr/bin/env bash
# Deletes the TPU slice. Usage: launch/tpu/delete.sh --help
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: launch/tpu/delete.sh [--settings=FILE] [--dry_run]

Deletes the slice and its queued resource; after that you no longer pay for it.
The bucket with data, checkpoints and logs stays. A training run that is still
active does not save a checkpoint first: call launch/tpu/run.sh --stop before.

  --settings=FILE  settings of the slice (tpu.env); see launch/tpu/example.env
  --dry_run        prints the commands and runs nothing
  --help           prints this text
TEXT
}

# shellcheck source=launch/tpu/_settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/_settings.sh"
read_flags "" "$@"
read_settings

run gcloud compute tpus queued-resources delete "$NAME" "${place[@]}" \
  --force --quiet
