# Makes the project's Python environment, or finds it made, and activates it.
# To be sourced by bash:
#
#   source tools/python/environment.sh          what flan_tf needs
#   source tools/python/environment.sh dev      and what its tests need
#
# Any extra of setup.py may be named: dev, bench, tpu. The first call
# makes .venv and installs the versions of constraints.txt, once and from the
# network; later calls compare a stamp and use no network. The project itself is
# not installed: it runs from the checkout by way of PYTHONPATH, so that an edit
# counts at once and Bazel's deps are really checked.
#
#   FLAN_VENV    where the environment lies (.venv in the project)
#   FLAN_PYTHON  the Python to make it with (the first of 3.11, 3.12, 3.13)
#
# `tpu` is an environment of its own, .venv-tpu, with the versions of
# requirements-tpu.txt: tensorflow-tpu takes the place of tensorflow.

_flan_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

_flan_suits() {
  "$1" -c 'import sys, venv, ensurepip
sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1
}

_flan_find_python() {
  local candidate
  set -- python3.11 python3.12 python3.13 python3 python \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[123].*/bin/python3
  if [ -n "${FLAN_PYTHON:-}" ]; then
    set -- "$FLAN_PYTHON"
  fi
  for candidate in "$@"; do
    if _flan_suits "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  cat >&2 <<MESSAGE
flan_tf needs Python 3.11, 3.12 or 3.13 with its modules venv and ensurepip.
Tried: ${FLAN_PYTHON:-python3.11, python3.12, python3.13, python3, python, pyenv}.
Found: $("${FLAN_PYTHON:-python3}" --version 2>/dev/null || echo none).
What works: \`apt-get install python3.11 python3.11-venv\`, or \`pyenv install
3.11\`, or any other Python, named as FLAN_PYTHON=PATH.
MESSAGE
  return 1
}

_flan_fail() {
  printf 'environment.sh: %s\n' "$*" >&2
  return 1
}

# The requirements of setup.py, one a line: `base` or an extra.
_flan_requirements() {
  "$1/bin/python" - "$_flan_root/setup.py" "$2" <<'PYTHON'
import runpy, sys
setup = runpy.run_path(sys.argv[1])
lists = {"base": setup["REQUIREMENTS"], **setup["EXTRAS"]}
print(*lists[sys.argv[2]], sep="\n")
PYTHON
}

# Installs a list into an environment, unless a stamp says that it is there.
_flan_install() {
  local venv="$1" constraints="$2" list="$3" stamp="$1/.flan-$3" want
  want="$(cat "$_flan_root/setup.py" "$constraints" | cksum)"
  if [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then
    return
  fi
  printf 'Installing requirements (%s) into %s: minutes, once.\n' \
    "$list" "$venv" >&2
  set -- "$venv/bin/python" -m pip install -qq --disable-pip-version-check
  if [ "$list" = tpu ]; then
    # A whole set, not bounds: tensorflow-text would bring tensorflow back.
    # Of its thousands of modules the compiler's process imports few, so Python
    # compiles them when they are imported.
    "$@" --no-compile --no-deps --requirement "$constraints" >&2
  else
    "$@" --constraint "$constraints" \
      --requirement <(_flan_requirements "$venv" "$list") >&2
  fi || {
    _flan_fail "pip failed (see above). A first start needs the network."
    return
  }
  printf '%s\n' "$want" >"$stamp"
}

_flan_environment() {
  local argument lists="base" name=".venv" constraints="constraints.txt" venv
  for argument in "$@"; do
    case "$argument" in
      dev | bench) lists="$lists $argument" ;;
      tpu)
        lists="tpu${lists#base}"
        name=".venv-tpu"
        constraints="requirements-tpu.txt"
        ;;
      -* | *=*) ;;  # A script that sources us bare lends us its own flags.
      *)
        _flan_fail "unknown extra '$argument'. Known: dev, bench, tpu."
        return
        ;;
    esac
  done
  venv="${FLAN_VENV:-$_flan_root/$name}"
  constraints="$_flan_root/tools/python/$constraints"

  if ! "$venv/bin/python" -c 'import pip' >/dev/null 2>&1; then
    local python
    python="$(_flan_find_python)" || return
    printf 'Making %s with %s.\n' "$venv" "$("$python" --version)" >&2
    "$python" -m venv --clear "$venv" || return
  elif ! _flan_suits "$venv/bin/python"; then
    _flan_fail "$venv has $("$venv/bin/python" --version), not 3.11 to 3.13." \
      "Remove it, or name another place with FLAN_VENV."
    return
  fi

  for argument in $lists; do
    _flan_install "$venv" "$constraints" "$argument" || return
  done

  export VIRTUAL_ENV="$venv"
  export PATH="$venv/bin:$PATH"
  export PYTHONPATH="$_flan_root${PYTHONPATH:+:$PYTHONPATH}"
  unset PYTHONHOME
}

_flan_environment "$@"
