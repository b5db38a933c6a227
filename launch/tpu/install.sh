#!/usr/bin/env bash
# Installs the project on all VMs. Usage: launch/tpu/install.sh --help
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: launch/tpu/install.sh [--settings=FILE] [--dry_run]

Copies this project to ~/flan on all VMs of the slice, installs the packages
that it needs in ~/.venv-flan, and checks that they can be imported. ~/flan is
replaced if it exists, so do not call this script during a run. Packages are
installed again only if their list has changed.

  --settings=FILE  settings of the slice (tpu.env); see launch/tpu/example.env.
                   SOURCE names a git repository to install in place of this
                   checkout
  --dry_run        prints the commands and runs nothing
  --help           prints this text
TEXT
}

# shellcheck source=launch/tpu/_settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/_settings.sh"
read_flags "" "$@"
read_settings

wait_until_active 30 || fail "there is no slice $NAME. Create it first:" \
  "launch/tpu/create.sh $(quoted --settings="$settings_file")"
if [ -n "$SOURCE" ]; then
  on_workers all "rm -rf $remote && $(quoted git clone --depth=1 "$SOURCE" \
    "$remote")"
else
  root="$(cd "$tpu_folder/../.." && pwd)"
  [ -f "$root/tools/python/environment.sh" ] || fail "$root is not a" \
    "checkout: it has no folder tools/. Set SOURCE in $settings_file to a git" \
    "repository of the project."
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
