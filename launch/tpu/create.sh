#!/usr/bin/env bash
# Requests a TPU slice. Usage: launch/tpu/create.sh --help
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: launch/tpu/create.sh [--settings=FILE] [--spot] [--wait] [--dry_run]

Requests a TPU slice as a queued resource of Google Cloud. You pay for the slice
from the moment that it is ACTIVE until launch/tpu/delete.sh.

  --settings=FILE  settings of the slice (tpu.env); see launch/tpu/example.env
  --spot           a cheaper slice, which may be taken away at any time
  --wait           waits until the slice is ACTIVE
  --dry_run        prints the commands and runs nothing
  --help           prints this text
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
  fail "the slice will not become ACTIVE. For the reason, run: gcloud compute" \
    "tpus queued-resources describe $NAME ${place[*]}. To remove the request," \
    "run: launch/tpu/delete.sh"
fi
