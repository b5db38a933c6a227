#!/usr/bin/env bash
# Asks for a slice. `launch/tpu/create.sh --help` says how.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: launch/tpu/create.sh [--settings=FILE] [--spot] [--wait] [--dry_run]

Puts a request for a slice of TPUs in the queue (queued resources). The slice is
paid for from the moment that it is ACTIVE until launch/tpu/delete.sh.

  --settings=FILE  see launch/tpu/example.env (tpu.env)
  --spot           cheaper, and taken away at any time
  --wait           returns once the slice is there
  --dry_run        prints the commands and runs nothing
  --help           this text
TEXT
}

# shellcheck source=launch/tpu/_settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/_settings.sh"
flag_spot="" flag_wait=""
read_flags "--spot --wait" "$@"
read_settings

command=(
  gcloud compute tpus queued-resources create "$NAME" "${place[@]}"
  --node-id="$NAME" --accelerator-type="$TYPE" --runtime-version="$RUNTIME"
)
if [ -n "$SERVICE_ACCOUNT" ]; then
  command+=(--service-account="$SERVICE_ACCOUNT")
fi
if [ -n "$flag_spot" ]; then
  command+=(--spot)
fi
run "${command[@]}" --async
if [ -n "$flag_wait" ] && ! wait_until_active 30; then
  fail "the slice will not come. \`gcloud compute tpus queued-resources" \
    "describe $NAME ${place[*]}\` says why; launch/tpu/delete.sh removes the" \
    "request."
fi
