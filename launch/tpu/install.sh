#!/usr/bin/env bash
# Brings the project to the VMs. `launch/tpu/install.sh --help` says how.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: launch/tpu/install.sh [--settings=FILE] [--dry_run]

Brings this project and the packages that it needs to all VMs of the slice, and
checks that they import: to ~/flan and ~/.venv-flan. What is there already is
replaced (so not while a run is going on); packages only if they changed.

  --settings=FILE  see launch/tpu/example.env (tpu.env); SOURCE says where the
                   project comes from, by default this checkout
  --dry_run        prints the commands and runs nothing
  --help           this text
TEXT
}

# shellcheck source=launch/tpu/_settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/_settings.sh"
read_flags "" "$@"
read_settings

wait_until_active 30 || fail "there is no slice $NAME. First:" \
  "launch/tpu/create.sh --settings=$settings_file"
if [ -n "$SOURCE" ]; then
  on_workers all "rm -rf $remote && $(quoted git clone --depth=1 "$SOURCE" \
    "$remote")"
else
  root="$(cd "$tpu_folder/../.." && pwd)"
  [ -f "$root/tools/python/environment.sh" ] || fail "$root is an installed" \
    "copy, without tools/. Set SOURCE to a git repository in $settings_file."
  archive="flan.tar.gz" folder=""
  if [ -z "$dry_run" ]; then
    folder="$(mktemp -d)"
    trap 'rm -rf "$folder"' EXIT
    archive="$folder/$archive"
  fi
  run tar --exclude=__pycache__ -C "$root" -czf "$archive" \
    flan_tf launch tasks tools setup.py
  run gcloud compute tpus tpu-vm scp "$archive" "$NAME:flan.tar.gz" \
    "${place[@]}" --worker=all
  on_workers all "rm -rf $remote && mkdir $remote &&\
 tar -xzf flan.tar.gz -C $remote"
fi
setup=()
if [ -n "$PYTHON_SETUP" ]; then
  setup=("PYTHON_SETUP=$PYTHON_SETUP")
fi
on_workers all "$(quoted ${setup[@]+"${setup[@]}"} \
  "$remote/launch/tpu/_worker.sh" install)"
