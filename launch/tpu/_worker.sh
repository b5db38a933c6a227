#!/usr/bin/env bash
# The part of launch/tpu/*.sh that runs on the VMs of the slice. These scripts
# call it; do not call it by hand.
#
#   install       on all VMs: installs packages, after $PYTHON_SETUP if there is
#                 no Python 3.11
#   serve         on all VMs: restarts the TensorFlow server; does nothing if
#                 the slice has one VM
#   run COMMAND   on the first VM: starts COMMAND, or follows it if it is
#                 running
#   is_running    on the first VM: prints yes or no
#   stop          on the first VM: lets COMMAND save and end, after which `run`
#                 ends with 130, so that nobody starts COMMAND again
#
# The output of COMMAND is in ~/.flan/log. Once a minute it is copied to
# $FLAN_LOG.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
state="$HOME/.flan"
export FLAN_VENV="$HOME/.venv-flan"
export TPU_TASK_PORT="${TPU_TASK_PORT:-8470}"
port="$TPU_TASK_PORT"
python_setup="sudo apt-get update &&
  sudo apt-get install -y python3.11 python3.11-venv"
mkdir -p "$state"

say() {
  printf '%s: %s\n' "$(hostname)" "$*" >&2
}

# Prints the addresses of all VMs, as TensorFlow's TPU server finds them.
addresses() {
  local key="instance/attributes/worker-network-endpoints"
  curl -sf -H 'Metadata-Flavor: Google' \
    "http://metadata.google.internal/computeMetadata/v1/$key" |
    tr ',' '\n' | cut -d: -f3
}

# Prints the argument of TPUClusterResolver: "local", or
# "grpc://IP:8470,grpc://IP:8470". With addresses, TensorFlow does not call the
# TPU API, whose packages are not installed.
tpu_name() {
  local all address name=""
  all="$(addresses)"
  if [ "$(wc -w <<<"$all")" -le 1 ]; then
    printf 'local'
    return
  fi
  for address in $all; do
    name="$name${name:+,}grpc://$address:$port"
  done
  printf '%s' "$name"
}

activate() {
  # shellcheck source=tools/python/environment.sh
  source "$root/tools/python/environment.sh" tpu
}

install() {
  command -v python3.11 >/dev/null || bash -c "${PYTHON_SETUP:-$python_setup}"
  activate
  python - <<'PYTHON'
import tensorflow as tf
import tensorflow_text

print("tensorflow", tf.__version__)
print("tensorflow-text", tensorflow_text.__version__)
PYTHON
}

listens() {
  (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null
}

# Restarts the server, which holds the TPU chips of its VM. Each start of the
# command gets new servers, so that no state of an earlier run is left.
serve() {
  local pid="" second
  if [ "$(tpu_name)" = local ]; then
    say "the slice has one VM, so its TPUs need no server"
    return
  fi
  pid="$(cat "$state/server.pid" 2>/dev/null)" || true
  if [ -n "$pid" ] && grep -q start_grpc_tpu_worker "/proc/$pid/cmdline" \
      2>/dev/null; then
    kill "$pid"
    for second in {1..30}; do
      kill -0 "$pid" 2>/dev/null || break
      sleep 1
    done
    kill -9 "$pid" 2>/dev/null || true
  fi
  if listens; then
    say "another program listens on port $port, probably the server of a" \
      "tpu-vm-tf image, which has another version of TensorFlow. Use the" \
      "plain image (do not set RUNTIME), or run: sudo systemctl stop" \
      "tpu-runtime"
    return 1
  fi
  activate
  setsid nohup start_grpc_tpu_worker >"$state/server.log" 2>&1 </dev/null &
  pid="$!"
  printf '%s\n' "$pid" >"$state/server.pid"
  for second in {1..120}; do
    if listens; then
      return
    fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 1
  done
  say "the TensorFlow server did not start. The end of $state/server.log:"
  tail -n 20 "$state/server.log" >&2
  return 1
}

is_running() {
  if flock --nonblock "$state/lock" true; then
    printf 'no\n'
  else
    printf 'yes\n'
  fi
}

run() {
  local from="+1" command
  command="$(printf '%q ' "$@")"
  # The command inherits the lock, and holds it until it ends.
  exec 8>>"$state/lock"
  if flock --nonblock 8; then
    printf '%s' "$command" >"$state/command"
    rm -f "$state/status" "$state/stopped"
    : >"$state/log"
    setsid nohup "$root/launch/tpu/_worker.sh" job "$@" \
      >>"$state/log" 2>&1 </dev/null &
    printf '%s\n' "$!" >"$state/pid"
  elif [ "$command" = "$(cat "$state/command")" ]; then
    say "the command is running. Its last lines:"
    from=20
  else
    say "another command is running: $(cat "$state/command")" \
      "Wait until it ends, or stop it with launch/tpu/run.sh --stop."
    return 3
  fi
  exec 8>&-
  tail -n "$from" -F --pid="$(cat "$state/pid")" "$state/log"
  return "$(cat "$state/status" 2>/dev/null || printf 1)"
}

# Runs the command and copies its log, in a session of their own.
job() {
  local pid="" copier status=0
  trap '[ -z "$pid" ] || kill -TERM "$pid" 2>/dev/null || true' TERM
  activate
  TPU_NAME="$(tpu_name)"
  export TPU_NAME
  if [ "$TPU_NAME" != local ]; then
    # The servers hold the chips, also on this VM.
    export TPU_LOAD_LIBRARY=0
  fi
  cd "$root"
  case " $* " in
    *" --tpu"[\ =]* | *"--config.mesh.platform="*) ;;
    *" -m launch.train "*) set -- "$@" --tpu="$TPU_NAME" ;;
  esac
  copy_log_each_minute 8>&- &
  copier="$!"
  "$@" &
  pid="$!"
  # It may have been told to stop before it began.
  [ ! -e "$state/stopped" ] || kill -TERM "$pid" 2>/dev/null || true
  # A signal ends `wait`, but not the command.
  while kill -0 "$pid" 2>/dev/null; do
    wait "$pid" || true
  done
  wait "$pid" || status="$?"
  if [ -e "$state/stopped" ]; then
    status="$(status_of_stopped "$status")"
  fi
  kill "$copier" 2>/dev/null || true
  copy_log
  printf '%s\n' "$status" >"$state/status"
}

# Prints 130 for a command that ended because it was stopped, else its status.
status_of_stopped() {  # STATUS
  case "$1" in
    75 | 143) printf 130 ;;
    *) printf '%s' "$1" ;;
  esac
}

copy_log() {
  if [ -n "${FLAN_LOG:-}" ]; then
    gcloud storage cp --quiet "$state/log" "$FLAN_LOG" >/dev/null 2>&1 ||
      printf 'Cannot copy the log to %s.\n' "$FLAN_LOG"
  fi
}

copy_log_each_minute() {
  while sleep 60; do
    copy_log
  done
}

stop() {
  if [ "$(is_running)" = no ]; then
    say "no command is running. If run.sh is about to restart one, end run.sh" \
      "with Ctrl-C."
    return
  fi
  : >"$state/stopped"
  kill -TERM "$(cat "$state/pid")"
  flock "$state/lock" true
  say "the command has ended with status" \
    "$(cat "$state/status" 2>/dev/null || printf unknown)"
}

"$@"
