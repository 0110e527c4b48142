#!/usr/bin/env bash
# Make the Python environment that a make target needs. Running it again costs nothing when nothing changed.
#
#   scripts/setup.sh demo     .venv with what `sizewise demo` needs
#   scripts/setup.sh dev      .venv with that, the tests and the checks
#   scripts/setup.sh heavy    .venv with that and PyTorch (CPU build)
#   scripts/setup.sh kserve   .venv-kserve with KServe's own client, which cannot live beside the rest
#
# PYTHON names the interpreter to use (default: the one of an existing environment, else python3).
# VENV names the folder of the environment (default: .venv; .venv-kserve).
# All messages go to stderr. No root, no index or host of its own: pip's settings decide where packages come from.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'set-up: %s\n' "$*" >&2; }

stop() {
    say "$*"
    exit 1
}

# The command that installs a system package here: Debian's and Ubuntu's name, then Fedora's
install_command() {
    local sudo="sudo "
    if [[ "$(id -u)" == 0 ]]; then sudo=""; fi
    if command -v apt-get >/dev/null; then
        echo "${sudo}apt-get install $1"
    elif command -v dnf >/dev/null; then
        echo "${sudo}dnf install $2"
    else
        echo "install $1 (Debian's name) with your package manager"
    fi
}

choose_python() {
    if [[ -z "${PYTHON:-}" ]]; then
        if "$venv/bin/python" -c '' 2>/dev/null; then PYTHON="$venv/bin/python"; else PYTHON=python3; fi
    fi
    command -v "$PYTHON" >/dev/null \
        || stop "no $PYTHON here: $(install_command 'python3 python3-venv' python3), or name one: make PYTHON=... TARGET"
    version="$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    "$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
        || stop "Python 3.11 to 3.13 is needed and $PYTHON is $version: name another one: make PYTHON=python3.12 TARGET"
}

check_system() {
    [[ "$(uname -s)" == Linux ]] || stop "Sizewise runs on Linux only for now, and this is $(uname -s)"
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null \
        || stop "Python's venv module is missing: $(install_command "python$version-venv" python3)"
    [[ "$what" == kserve ]] || "$PYTHON" -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null \
        || stop "LightGBM needs the system library libgomp.so.1: $(install_command libgomp1 libgomp)"
}

# An environment made by another Python version, or moved or broken, is made anew
make_venv() {
    local have
    have="$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true)"
    if [[ "$have" == "$version" && -x "$venv/bin/pip" ]]; then return; fi
    [[ -z "$have" ]] || say "$venv holds Python $have: making it anew"
    say "creating $venv with Python $version"
    "$PYTHON" -m venv --clear "$venv" || stop "could not create $venv: its message is above"
}

pip_install() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "$@" \
        || stop "installing failed; pip's message is above. Running the same command again goes on from here"
}

# once NAME 'what for' FILES... -- PIP ARGUMENTS: install unless the stamp says that just this is installed
once() {
    local name=$1 purpose=$2 key stamp files=()
    shift 2
    while [[ "$1" != -- ]]; do
        files+=("$1")
        shift
    done
    shift
    stamp="$venv/.setup-$name"
    key="$(printf '%s %s\n' "$PWD" "$version" | cat - "${files[@]}" | sha256sum)"
    if [[ "$(cat "$stamp" 2>/dev/null || true)" == "$key" ]]; then return; fi
    say "installing $purpose into $venv"
    pip_install "$@"
    printf '%s\n' "$key" >"$stamp"
    changed=yes
}

install_pinned() {
    local name=$1 purpose
    purpose="$(grep -c '==' "requirements/$name.txt") pinned packages of requirements/$name.txt ($2)"
    once "$name" "$purpose" "requirements/$name.txt" -- --require-hashes -r "requirements/$name.txt"
}

install_sizewise() {
    once sizewise "Sizewise itself, editable" pyproject.toml -- --no-deps --no-build-isolation --editable .
}

what=${1:-}
changed=no
case "$what" in
    demo | dev | heavy) venv=${VENV:-.venv} ;;
    kserve) venv=${VENV:-.venv-kserve} ;;
    *) stop "say what to set up: demo, dev, heavy or kserve" ;;
esac

choose_python
check_system

# Two targets started side by side must not write into one environment
exec 9<"$PWD"
if command -v flock >/dev/null; then flock 9; fi
make_venv
case "$what" in
    kserve) install_pinned kserve "KServe's client" ;;
    *)
        install_pinned demo "runtimes and server"
        install_sizewise
        if [[ "$what" != demo ]]; then install_pinned dev "tests and checks"; fi
        if [[ "$what" == heavy ]]; then
            install_pinned heavy "what PyTorch asks for"
            once torch "PyTorch, CPU build" requirements/torch.txt -- --no-deps -r requirements/torch.txt
        fi
        ;;
esac
if [[ "$changed" == yes ]]; then say "done: $venv is ready"; fi
