# Functions for flags, settings and the state of the slice, for the scripts of
# this folder. A script defines `usage` and then sources this file.

tpu_folder="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
_required="PROJECT ZONE NAME TYPE BUCKET"
_optional="SERVICE_ACCOUNT RUNTIME SOURCE PYTHON_SETUP"
# The project's folder on the VMs, in the home folder.
remote="flan"

say() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
}

fail() {
  say "$*"
  exit 2
}

# Reads the flags that all scripts have, and those in $1, e.g. "--spot --poll=",
# where = stands for a value. Sets `flag_NAME` for each flag, and `rest` to the
# words after --.
read_flags() {
  local known=" --settings= --dry_run --help $1 " name
  shift
  settings_file="tpu.env" dry_run="" rest=()
  while [ "$#" -gt 0 ]; do
    name="${1%%=*}"
    case "$1" in
      --help | -h)
        usage
        exit 0
        ;;
      --dry_run) dry_run=yes ;;
      --settings=*) settings_file="${1#*=}" ;;
      --)
        case "$known" in
          *" -- "*) ;;
          *) fail "expected no words after --. See --help." ;;
        esac
        shift
        rest=("$@")
        return
        ;;
      --*=*)
        case "$known" in
          *" $name= "*) printf -v "flag_${name#--}" '%s' "${1#*=}" ;;
          *) _unknown "$1" "$known" ;;
        esac
        ;;
      *)
        case "$known" in
          *" $1 "*) printf -v "flag_${1#--}" 'yes' ;;
          *) _unknown "$1" "$known" ;;
        esac
        ;;
    esac
    shift
  done
}

_unknown() {
  fail "unknown option '$1'. Known: $(printf '%s ' $2)(see --help)."
}

# Checks that a flag's value is a whole number of at most nine digits, which
# Bash can compare.
check_number() {  # NAME VALUE
  case "$2" in
    '' | *[!0-9]* | 0?*)
      fail "--$1: expected a whole number, without zeros before it, got '$2'."
      ;;
    ??????????*) fail "--$1: expected at most 999999999, got $2." ;;
  esac
}

# Reads the settings file; sets a variable for each setting.
read_settings() {
  local line name number=0 missing=""
  for name in $_required $_optional; do
    printf -v "$name" '%s' ""
  done
  [ -f "$settings_file" ] || fail "there is no settings file" \
    "'$settings_file'. Copy $tpu_folder/example.env, fill it in, and pass it" \
    "as --settings=FILE (default: tpu.env)."
  while IFS= read -r line || [ -n "$line" ]; do
    number="$((number + 1))"
    case "$line" in
      '' | '#'*) continue ;;
    esac
    name="${line%%=*}"
    case " $_required $_optional " in
      *" $name "*) ;;
      *) fail "$settings_file, line $number: unknown setting '$name'. Known:" \
        "$_required $_optional." ;;
    esac
    printf -v "$name" '%s' "${line#*=}"
  done <"$settings_file"
  for name in $_required; do
    [ -n "${!name}" ] || missing="$missing $name"
  done
  [ -z "$missing" ] || fail "$settings_file lacks:$missing." \
    "$tpu_folder/example.env explains all settings."
  case "$BUCKET" in
    gs://?*) BUCKET="${BUCKET%/}" ;;
    *) fail "$settings_file: BUCKET must start with gs://, got '$BUCKET'." ;;
  esac
  [ -n "$RUNTIME" ] || _find_runtime
  place=(--project="$PROJECT" --zone="$ZONE")
}

# Sets RUNTIME to the plain image of the generation. It has no TensorFlow, so
# the TensorFlow and the server that install.sh installs are the only ones.
_find_runtime() {
  case "$TYPE" in
    v2-* | v3-* | v4-*) RUNTIME="tpu-ubuntu2204-base" ;;
    v5litepod-*) RUNTIME="v2-alpha-tpuv5-lite" ;;
    v5p-*) RUNTIME="v2-alpha-tpuv5" ;;
    v6e-*) RUNTIME="v2-alpha-tpuv6e" ;;
    *) fail "$settings_file: no image is known for TYPE '$TYPE'. Known: v2-N," \
      "v3-N, v4-N, v5litepod-N (v5e), v5p-N, v6e-N. For another type, set" \
      "RUNTIME to the name of an image." ;;
  esac
  case "$TYPE" in
    v6e-[148] | v[2345]*) ;;
    v6e-*) fail "$settings_file: TYPE '$TYPE' has several VMs, and the server" \
      "of tensorflow-tpu 2.20 does not know v6e. Expected v6e-1, v6e-4," \
      "v6e-8, or another generation." ;;
  esac
}

# Runs a command. With --dry_run, prints it, with one line for each flag.
run() {
  local word
  if [ -z "$dry_run" ]; then
    "$@"
    return
  fi
  printf '%s' "$1"
  shift
  for word in "$@"; do
    case "$word" in
      --*) printf ' \\\n    %s' "$(quoted "$word")" ;;
      *) printf ' %s' "$(quoted "$word")" ;;
    esac
  done
  printf '\n'
}

# Prints words, quoted so that a shell reads the same words.
quoted() {
  local word line="" end="'\\''"
  for word in "$@"; do
    case "$word" in
      '' | *[!A-Za-z0-9_./:=,@%+-]*)
        # Prints --flag='two words' rather than '--flag=two words'.
        if [[ "$word" =~ ^(--[a-z_.-]+=|[A-Z_]+=)(.*)$ ]]; then
          line="$line ${BASH_REMATCH[1]}'${BASH_REMATCH[2]//\'/$end}'"
        else
          line="$line '${word//\'/$end}'"
        fi
        ;;
      *) line="$line $word" ;;
    esac
  done
  printf '%s' "${line# }"
}

# Runs a command line on VMs ("0" or "all").
on_workers() {  # WORKER COMMAND
  run gcloud compute tpus tpu-vm ssh "$NAME" "${place[@]}" --worker="$1" \
    --command="$2"
}

# Prints the state of the queued resource, e.g. ACTIVE or
# WAITING_FOR_RESOURCES, or NONE if there is no queued resource.
queue_state() {
  local state
  state="$(gcloud compute tpus queued-resources describe "$NAME" \
    "${place[@]}" --format='value(state.state)' 2>/dev/null)" || true
  printf '%s' "${state:-NONE}"
}

# Waits until the slice is ACTIVE; returns 1 if it will not become so by itself.
wait_until_active() {  # SECONDS between two checks
  local state before=""
  if [ -n "$dry_run" ]; then
    run gcloud compute tpus queued-resources describe "$NAME" "${place[@]}" \
      --format='value(state.state)'
    return
  fi
  while :; do
    state="$(queue_state)"
    [ "$state" = "$before" ] || say "$NAME is $state"
    case "$state" in
      ACTIVE) return 0 ;;
      NONE | SUSPENDED | FAILED) return 1 ;;
    esac
    before="$state"
    sleep "$1"
  done
}
