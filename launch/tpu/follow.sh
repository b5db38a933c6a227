#!/usr/bin/env bash
# Shows how a run is doing. `launch/tpu/follow.sh --help` says how.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: launch/tpu/follow.sh [--settings=FILE] [--lines=N] [--once] [--dry_run]

Prints where the slice is in the queue, and what the run says, as it comes.
Where the slice is gone, what it last said: the log is copied to the bucket
each minute. Ctrl-C ends this, not the run.

  --settings=FILE  see launch/tpu/example.env (tpu.env)
  --lines=N        begins with the last N lines (50)
  --once           prints them and stops
  --dry_run        prints the commands and runs nothing
  --help           this text
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
