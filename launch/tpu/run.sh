#!/usr/bin/env bash
# Runs a command on a slice. `launch/tpu/run.sh --help` says how.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: launch/tpu/run.sh [options] -- COMMAND [ARGUMENT ...]
       launch/tpu/run.sh [--settings=FILE] --stop

Runs COMMAND on the first VM of the slice, in the project's folder, and shows
what it says. One Python process drives the cores of all VMs: the others run a
TensorFlow server only, which is started first.

  launch/tpu/run.sh -- python -m launch.train \
      --config=launch/configs/flan_8b.py --workdir=gs://my-bucket/flan_8b

It goes on where the connection is lost, and where this script is stopped; the
same command again follows it. TPU_NAME says to it which TPUs there are, and
launch.train gets it as --tpu.

COMMAND starts again when it ended with status 75 (try again: devices went away)
or the slice was taken away, as soon as the slice is back. Training then goes on
from its last checkpoint.

  --settings=FILE  see launch/tpu/example.env (tpu.env)
  --restarts=N     how often (100)
  --recreate       asks for another slice in the place of one that was taken
                   away, and installs the project there; --recreate=spot for a
                   cheaper one, which may be taken away again
  --poll=SECS      between two looks at the queue (30)
  --stop           a run that is going on saves and ends
  --dry_run        prints the commands and runs nothing
  --help           this text

Ends with the status of COMMAND.
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
  *) fail "--recreate: expected nothing or 'spot', got '$flag_recreate'." ;;
esac
read_settings
worker="$remote/launch/tpu/_worker.sh"

if [ -n "$flag_stop" ]; then
  on_workers 0 "$worker stop"
  exit
fi
[ "${#rest[@]}" -gt 0 ] || fail "there is no command. It comes behind --," \
  "e.g. launch/tpu/run.sh -- python -m launch.train --config=... --workdir=..."

start="$(quoted "FLAN_LOG=$BUCKET/logs/$NAME.txt" "$worker" run "${rest[@]}")"

# Another slice in the place of one that is gone.
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

# Starts the command, or follows it where it is going on; its status.
go() {
  local answer
  if [ -n "$dry_run" ]; then
    on_workers 0 "$worker is_running"
  else
    answer="$(on_workers 0 "$worker is_running")" || return 255
  fi
  # A server that starts again would end the run.
  if [ "${answer:-no}" != yes ]; then
    on_workers all "$worker serve" || return
  fi
  on_workers 0 "$start"
}

for ((again = 0; ; again++)); do
  if ! wait_until_active "$flag_poll"; then
    [ -n "$flag_recreate" ] || fail "the slice is not there, and will not" \
      "come by itself. Make another: launch/tpu/delete.sh, then create.sh and" \
      "install.sh; with --recreate, this script does."
    recreate
  fi
  status=0
  go || status="$?"
  if [ "$status" = 0 ] || [ -n "$dry_run" ]; then
    exit "$status"
  fi
  say "ended with status $status"
  # What was taken away is not seen as such at once.
  sleep "$flag_poll"
  if [ "$status" != 75 ] && [ "$status" != 255 ] &&
      [ "$(queue_state)" = ACTIVE ]; then
    say "an error of its own, which another start would not mend (see above)"
    exit "$status"
  fi
  if [ "$again" -ge "$flag_restarts" ]; then
    say "no restarts are left (--restarts=$flag_restarts)"
    exit "$status"
  fi
  say "restart $((again + 1)) of $flag_restarts"
done
