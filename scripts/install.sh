#!/bin/sh
# Installs packages into a venv, which it makes if need be, and byte-compiles them.
# Usage: install.sh VENV CONSTRAINTS WHAT ...
set -eu

venv=$1 constraints=$2
shift 2
PYTHON=${PYTHON:-python3}
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Python 3.11 or newer is needed; $PYTHON is $("$PYTHON" --version 2>&1). Try: make PYTHON=python3.12 ..." >&2
    exit 1
}

[ -x "$venv/bin/pip" ] || "$PYTHON" -m venv --clear "$venv"
pip="$venv/bin/python -m pip --disable-pip-version-check --quiet"
[ -x "$venv/bin/uv" ] || $pip install -c "$constraints" uv

# uv does not read pip's settings, so hand on where packages come from and which certificates to trust.
index=${PIP_INDEX_URL:-$($pip config list | sed -n "s/^global\.index.url='\(.*\)'\$/\1/p")}
[ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
[ -z "${PIP_CERT:-}" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$PIP_CERT}"

"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --compile-bytecode --constraint "$constraints" "$@" || {
    echo "uv could not install; trying pip, which takes longer." >&2
    $pip install --constraint "$constraints" "$@"
    "$venv/bin/python" -m compileall -q -j 0 "$venv/lib" || true # some packages ship files that are not Python
}
