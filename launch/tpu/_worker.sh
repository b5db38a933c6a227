#!/usr/bin/env bash
# What launch/tpu/*.sh do on a VM of the slice. Not for people:
#
#   install       packages, on all VMs ($PYTHON_SETUP: how to come to Python)
#   serve         a new TensorFlow server, on all VMs; none if there is one VM
#   run COMMAND   on the first VM: starts it, or follows it where it is going on
#   is_running    on the first VM: yes or no
#   stop          on the first VM: the command saves and ends
#
# The command's output is in ~/.flan/log, and each minute in $FLAN_LOG.
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

# The addresses of all VMs, as TensorFlow's own TPU server finds them.
addresses() {
  local key="instance/attributes/worker-network-endpoints"
  curl -sf -H 'Metadata-Flavor: Google' \
    "http://metadata.google.internal/computeMetadata/v1/$key" |
    tr ',' '\n' | cut -d: -f3
}

# What TPUClusterResolver takes: "local", or "grpc://IP:8470,grpc://IP:8470".
# With addresses it need not ask the TPU API, for which it lacks the packages.
tpu_name() {
  local found address name=""
  found="$(addresses)"
  if [ "$(wc -w <<<"$found")" -le 1 ]; then
    printf 'local'
    return
  fi
  for address in $found; do
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

# The server takes the TPU chips of its VM, so each start of the command gets
# new ones: what the last one left in them is gone.
serve() {
  local pid="" second
  if [ "$(tpu_name)" = local ]; then
    say "the only VM: its TPUs need no server"
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
    say "something else listens on port $port, perhaps the server that comes" \
      "with a tpu-vm-tf image, of another TensorFlow. Take the plain image" \
      "(leave RUNTIME out), or: sudo systemctl stop tpu-runtime"
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
  say "the TensorFlow server does not start; $state/server.log ends with:"
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
  local from="+1" wanted
  wanted="$(printf '%q ' "$@")"
  # The command inherits the lock, and has it for as long as it lives.
  exec 8>>"$state/lock"
  if flock --nonblock 8; then
    printf '%s' "$wanted" >"$state/command"
    rm -f "$state/status"
    : >"$state/log"
    setsid nohup "$root/launch/tpu/_worker.sh" job "$@" \
      >>"$state/log" 2>&1 </dev/null &
    printf '%s\n' "$!" >"$state/pid"
  elif [ "$wanted" = "$(cat "$state/command")" ]; then
    say "it is going on; the last lines:"
    from=20
  else
    say "another command is going on: $(cat "$state/command")" \
      "End it with launch/tpu/run.sh --stop, or wait for it."
    return 3
  fi
  exec 8>&-
  tail -n "$from" -F --pid="$(cat "$state/pid")" "$state/log"
  return "$(cat "$state/status" 2>/dev/null || printf 1)"
}

# The command and its log, in a session of their own.
job() {
  local pid copier status=0
  activate
  TPU_NAME="$(tpu_name)"
  export TPU_NAME
  if [ "$TPU_NAME" != local ]; then
    # The servers have the chips, also on this VM.
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
  trap 'kill -TERM "$pid" 2>/dev/null || true' TERM
  # A signal ends `wait`, not what it waits for.
  while kill -0 "$pid" 2>/dev/null; do
    wait "$pid" || true
  done
  wait "$pid" || status="$?"
  kill "$copier" 2>/dev/null || true
  copy_log
  printf '%s\n' "$status" >"$state/status"
}

copy_log() {
  if [ -n "${FLAN_LOG:-}" ]; then
    gcloud storage cp --quiet "$state/log" "$FLAN_LOG" >/dev/null 2>&1 ||
      printf 'The log could not be copied to %s.\n' "$FLAN_LOG"
  fi
}

copy_log_each_minute() {
  while sleep 60; do
    copy_log
  done
}

stop() {
  if [ "$(is_running)" = no ]; then
    say "nothing is running"
    return
  fi
  kill -TERM "$(cat "$state/pid")"
  flock "$state/lock" true
  say "ended"
}

"$@"
