#!/usr/bin/env bash
# Starts one command as several hosts of a cluster, on this machine.
# `launch/hosts.sh --help` says how.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: launch/hosts.sh --hosts=N [options] -- COMMAND [ARGUMENT ...]

Starts COMMAND N times on this machine, each as one host of a cluster: with
TF_CONFIG set, so that MultiWorkerMirroredStrategy joins them to one mesh, a
device a host. Their output comes with the host's number before each line.

  launch/hosts.sh --hosts=4 --restarts=3 -- python -m launch.train \
      --config=launch/configs/small_pretrain.py --workdir=runs/base \
      --config.mesh.shape='data:2;model:2'

Options:
  --hosts=N      how many hosts
  --restarts=N   how often all hosts start again after one was killed, or ended
                 with status 75 (try again); training resumes from its last
                 checkpoint (0)
  --port=PORT    the hosts listen on PORT, PORT+1, ... (ports that are free)
  --grace=SECS   how long the other hosts may take to end by themselves once
                 one has failed; then they are ended (30)
  --dry_run      prints the N commands and runs nothing
  --help         this text

The exit status is 0 once all hosts have ended with 0, else that of the host
that failed first. SIGTERM, SIGHUP and Ctrl-C reach all hosts as SIGTERM, after
which training saves and ends. Then no host is started again, and the exit
status is 130 after Ctrl-C and else 75 (try again), unless all hosts end with 0.

On machines of their own, hosts are started by hand or by a scheduler: the same
command everywhere, with TF_CONFIG as --dry_run prints it, but their addresses.
TEXT
}

fail() {
  printf 'hosts.sh: %s\n' "$*" >&2
  exit 2
}

say() {
  printf 'hosts.sh: %s\n' "$*" >&2
}

# Checks that a value is a whole number in a range.
check_number() {  # NAME VALUE LEAST MOST
  case "$2" in
    '' | *[!0-9]* | 0?*)
      fail "--$1: expected a whole number, without zeros before it, got '$2'."
      ;;
  esac
  # Bash cannot compare numbers of 20 digits.
  if [ "${#2}" -gt 9 ] || [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
    fail "--$1: expected $3 to $4, got $2."
  fi
}

hosts="" restarts=0 port="" grace=30 dry_run=""
while [ "$#" -gt 0 ]; do
  case "$1" in
    --hosts=*) hosts="${1#*=}" ;;
    --restarts=*) restarts="${1#*=}" ;;
    --port=*) port="${1#*=}" ;;
    --grace=*) grace="${1#*=}" ;;
    --dry_run) dry_run=yes ;;
    --help | -h)
      usage
      exit 0
      ;;
    --)
      shift
      break
      ;;
    *) fail "unknown option '$1'. Known: --hosts=N, --restarts=N," \
      "--port=PORT, --grace=SECS, --dry_run, --help. The command comes" \
      "behind --." ;;
  esac
  shift
done
[ -n "$hosts" ] || fail "--hosts=N is missing, e.g. --hosts=2. See --help."
check_number hosts "$hosts" 1 1000
check_number restarts "$restarts" 0 1000000
check_number grace "$grace" 0 1000000
if [ -n "$port" ]; then
  check_number port "$port" 1 65535
  [ "$((port + hosts - 1))" -le 65535 ] || fail "--port: the hosts would" \
    "listen on $port to $((port + hosts - 1)), but ports end at 65535. Name" \
    "$((65536 - hosts)) or less."
fi
[ "$#" -gt 0 ] || fail "there is no command. It comes behind --, e.g." \
  "launch/hosts.sh --hosts=2 -- python -m launch.train ..."

# Sets `addresses`: one a host, quoted and with commas, as JSON wants them.
find_addresses() {
  local ports="" index
  if [ -n "$port" ]; then
    for ((index = 0; index < hosts; index++)); do
      ports="$ports $((port + index))"
    done
  else
    # All are bound before one is let go: no two are the same.
    ports="$(python3 - "$hosts" <<'PYTHON'
import socket, sys
hosts = range(int(sys.argv[1]))
servers = [socket.create_server(("127.0.0.1", 0)) for _ in hosts]
print(*(server.getsockname()[1] for server in servers))
PYTHON
    )" || fail "python3, which looks for free ports, failed. Name some:" \
      "--port=PORT."
  fi
  addresses=""
  for index in $ports; do
    addresses="$addresses${addresses:+, }\"127.0.0.1:$index\""
  done
}

tf_config() {  # HOST
  printf '{"cluster": {"worker": [%s]}, ' "$addresses"
  printf '"task": {"type": "worker", "index": %d}}' "$1"
}

# What signals end the hosts leave this: they have something to say still.
number_lines() {  # HOST
  local line
  trap '' TERM INT HUP
  while IFS= read -r line || [ -n "$line" ]; do
    printf '[%d] %s\n' "$1" "$line"
  done
}

start() {
  local host
  find_addresses
  pids=()
  for ((host = 0; host < hosts; host++)); do
    [ -z "$stopped" ] || return 0
    exec 9> >(number_lines "$host")
    TF_CONFIG="$(tf_config "$host")" "$@" >&9 2>&1 9>&- &
    pids+=("$!")
    exec 9>&-
    say "host $host of $hosts is process $!"
  done
}

tell() {  # SIGNAL: to the hosts that are still there
  local pid
  for pid in ${pids[@]+"${pids[@]}"}; do
    kill -"$1" "$pid" 2>/dev/null || true
  done
}

# Waits until all hosts have ended, or one has failed; sets `failed` to its
# number, and `status` to how it ended. Hosts that ended leave `left`.
watch_hosts() {
  local host still
  failed="" status=0
  left=("${!pids[@]}")
  while [ "${#left[@]}" -gt 0 ] && [ -z "$failed" ]; do
    still=()
    for host in "${left[@]}"; do
      if kill -0 "${pids[$host]}" 2>/dev/null; then
        still+=("$host")
      else
        wait "${pids[$host]}" 2>/dev/null || {
          status="$?"
          failed="$host"
        }
      fi
    done
    left=(${still[@]+"${still[@]}"})
    # Behind `wait`, so that a signal to this script is seen at once.
    [ -n "$failed" ] || [ "${#left[@]}" = 0 ] || pause
  done
}

pause() {
  sleep 0.2 &
  wait "$!" 2>/dev/null || true
}

all_ended() {
  local pid
  for pid in ${pids[@]+"${pids[@]}"}; do
    ! kill -0 "$pid" 2>/dev/null || return 1
  done
}

# One host has failed: the others notice and end; if not, they are ended.
end_the_others() {
  local signal deadline="$((SECONDS + grace))"
  for signal in "" TERM KILL; do
    if [ -n "$signal" ] && ! all_ended; then
      say "hosts are still there after ${grace}s: SIG$signal"
      tell "$signal"
      deadline="$((SECONDS + 10))"
    fi
    while ! all_ended && [ "$SECONDS" -lt "$deadline" ]; do
      pause
    done
  done
}

if [ -n "$dry_run" ]; then
  find_addresses
  for ((host = 0; host < hosts; host++)); do
    printf "TF_CONFIG='%s'" "$(tf_config "$host")"
    printf ' %q' "$@"
    printf '\n'
  done
  exit 0
fi

# A signal to this script. Hosts run in the background, where Bash lets them
# ignore SIGINT.
stop() {  # STATUS
  stopped="$1"
  tell TERM
}

# Ends this script after a signal to it.
end_stopped() {  # STATUS of the host that ended first
  case "$1" in
    0 | 75 | 129 | 130 | 137 | 143)
      say "stopped by a signal; no host is started again"
      exit "$stopped"
      ;;
    *) exit "$1" ;;  # An error, such as a full disk.
  esac
}

pids=() stopped=""
trap 'stop 75' TERM HUP
trap 'stop 130' INT
for ((again = 0; ; again++)); do
  start "$@"
  # A signal may have come before the process of a host was noted.
  [ -z "$stopped" ] || tell TERM
  watch_hosts
  if [ -z "$failed" ] && [ "${#pids[@]}" = "$hosts" ]; then
    exit 0
  fi
  if [ -n "$failed" ]; then
    how="status $status"
    if [ "$status" -gt 128 ]; then
      how="signal $((status - 128))"
    fi
    say "host $failed of $hosts ended with $how"
    end_the_others
  fi
  if [ -n "$stopped" ]; then
    end_stopped "$status"
  fi
  if [ "$status" = 130 ]; then
    say "Ctrl-C stopped it, so it is not started again"
    exit "$status"
  fi
  if [ "$status" != 75 ] && [ "$status" -le 128 ]; then
    say "its own error, which another start would not mend (see above)"
    exit "$status"
  fi
  if [ "$again" -ge "$restarts" ]; then
    say "no restarts are left (--restarts=$restarts)"
    exit "$status"
  fi
  say "all hosts start again: restart $((again + 1)) of $restarts"
done
