#!/usr/bin/env bash
# Runs a command on the slice. Usage: launch/tpu/run.sh --help
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: launch/tpu/run.sh [options] -- COMMAND [ARGUMENT ...]
       launch/tpu/run.sh [--settings=FILE] --stop

Runs COMMAND on the first VM of the slice, in the project's folder, and prints
its output. One Python process drives the TPU cores of all VMs. The other VMs
only run a TensorFlow server, which is started first.

  launch/tpu/run.sh -- python -m launch.train \
      --config=launch/configs/flan_8b.py --workdir=gs://my-bucket/flan_8b

COMMAND continues if the connection is lost or this script is stopped. Call this
script again with the same COMMAND to see its output again. The environment
variable TPU_NAME tells COMMAND the addresses of the TPUs; launch.train also
gets them as --tpu.

COMMAND is restarted if it ends with status 75 (devices were lost, try again) or
if the slice was taken away, as soon as the slice is ACTIVE again. Training then
resumes from its last checkpoint.

  --settings=FILE  settings of the slice (tpu.env); see launch/tpu/example.env
  --restarts=N     number of restarts at most (100)
  --recreate       if the slice was taken away, creates another one and installs
                   the project there; --recreate=spot creates a spot slice,
                   which is cheaper but may be taken away again
  --poll=SECS      seconds between two checks of the slice's state (30)
  --stop           lets the current run save a checkpoint and end; it is not
                   restarted
  --dry_run        prints the commands and runs nothing
  --help           prints this text

The exit status is that of COMMAND, and 130 if --stop ended it.
TEXT
}

# shellcheck source=launch/tpu/_settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/_settings.sh"
flag_restarts=100 flag_recreate="" flag_poll=30 flag_stop=""
read_flags "--restarts= --recreate --recreate= --poll= --stop --" "$@"
check_number restarts "$flag_restarts"
check_number poll "$flag_poll"
case "$flag_recreate" in
  '' | yes | spot) ;;
  *) fail "--recreate: expected no value or 'spot', got '$flag_recreate'." ;;
esac
read_settings
worker="$remote/launch/tpu/_worker.sh"

if [ -n "$flag_stop" ]; then
  on_workers 0 "$worker stop"
  exit
fi
[ "${#rest[@]}" -gt 0 ] || fail "there is no command. Write it after --," \
  "e.g. launch/tpu/run.sh -- python -m launch.train --config=... --workdir=..."

start="$(quoted "FLAN_LOG=$BUCKET/logs/$NAME.txt" "$worker" run "${rest[@]}")"

# Creates another slice in place of one that was taken away.
recreate() {
  local create=("$tpu_folder/create.sh" --settings="$settings_file" --wait)
  if [ "$flag_recreate" = spot ]; then
    create+=(--spot)
  fi
  [ "$(queue_state)" = NONE ] ||
    "$tpu_folder/delete.sh" --settings="$settings_file"
  "${create[@]}"
  "$tpu_folder/install.sh" --settings="$settings_file"
}

# Starts the command, or follows it if it is running; returns its status.
start_or_follow() {
  local is_running
  if [ -n "$dry_run" ]; then
    on_workers 0 "$worker is_running"
  else
    is_running="$(on_workers 0 "$worker is_running")" || return 255
  fi
  # Restarting the servers would end a run.
  if [ "${is_running:-no}" != yes ]; then
    on_workers all "$worker serve" || return
  fi
  on_workers 0 "$start"
}

for ((restarts = 0; ; restarts++)); do
  if ! wait_until_active "$flag_poll"; then
    [ -n "$flag_recreate" ] || fail "the slice is not ACTIVE and will not" \
      "become so by itself. Create another one: launch/tpu/delete.sh, then" \
      "create.sh and install.sh. With --recreate, this script does so."
    recreate
  fi
  status=0
  start_or_follow || status="$?"
  if [ "$status" = 0 ] || [ -n "$dry_run" ]; then
    exit "$status"
  fi
  say "the command ended with status $status"
  if [ "$status" = 130 ]; then
    say "it was stopped by --stop or by Ctrl-C, so it is not restarted. The" \
      "same command resumes it."
    exit "$status"
  fi
  # The state of a slice that was taken away changes after some seconds.
  sleep "$flag_poll"
  if [ "$status" != 75 ] && [ "$status" != 255 ] &&
      [ "$(queue_state)" = ACTIVE ]; then
    say "the slice is ACTIVE, so this is an error of the command (see above)." \
      "It is not restarted."
    exit "$status"
  fi
  if [ "$restarts" -ge "$flag_restarts" ]; then
    say "no restarts are left (--restarts=$flag_restarts)."
    exit "$status"
  fi
  say "restart $((restarts + 1)) of $flag_restarts"
done
