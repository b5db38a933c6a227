#!/usr/bin/env bash
# Gives the slice back. `launch/tpu/delete.sh --help` says how.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: launch/tpu/delete.sh [--settings=FILE] [--dry_run]

Deletes the slice and its place in the queue, so that it costs nothing any more.
The bucket stays, with data, checkpoints and logs. A run that is going on does
not save first: launch/tpu/run.sh --stop before.

  --settings=FILE  see launch/tpu/example.env (tpu.env)
  --dry_run        prints the commands and runs nothing
  --help           this text
TEXT
}

# shellcheck source=launch/tpu/_settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/_settings.sh"
read_flags "" "$@"
read_settings

run gcloud compute tpus queued-resources delete "$NAME" "${place[@]}" \
  --force --quiet
