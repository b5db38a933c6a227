#!/usr/bin/env bash
# Shows the state and the log of a run. Usage: launch/tpu/follow.sh --help
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: launch/tpu/follow.sh [--settings=FILE] [--lines=N] [--once] [--dry_run]

Prints the state of the slice, then the log of the run, and continues to print
new lines of the log. If the slice no longer exists, prints the end of the log
from the bucket, to which the log is copied once a minute. Ctrl-C ends this
script, not the run.

  --settings=FILE  settings of the slice (tpu.env); see launch/tpu/example.env
  --lines=N        starts with the last N lines of the log (50)
  --once           prints these lines and ends
  --dry_run        prints the commands and runs nothing
  --help           prints this text
TEXT
}

# shellcheck source=launch/tpu/_settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/_settings.sh"
flag_lines=50 flag_once=""
read_flags "--lines= --once" "$@"
check_number lines "$flag_lines"
read_settings

run gcloud compute tpus queued-resources describe "$NAME" "${place[@]}" \
  --format='value(state.state)' || true
from_bucket() {
  if [ -n "$dry_run" ]; then
    run gcloud storage cat "$BUCKET/logs/$NAME.txt"
  else
    gcloud storage cat "$BUCKET/logs/$NAME.txt" | tail -n "$flag_lines"
  fi
}
show="tail -n $flag_lines"
if [ -z "$flag_once" ]; then
  show="$show -F"
fi
if [ -n "$dry_run" ]; then
  on_workers 0 "$show .flan/log"
  from_bucket
else
  on_workers 0 "$show .flan/log" || from_bucket
fi
