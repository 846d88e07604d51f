#!/bin/sh
# Runs what can hold on every Airflow on each of those that were tested, each in a venv of its own.
# Usage: test_matrix.sh [VERSION ...]; all of them by default.
#
# An older Airflow comes with the libraries of its time (constraints/), since it does not promise to work with
# later ones; the newest comes with constraints.txt. To add a version, freeze what uv resolves as of its release:
#   uv pip compile --no-header --no-annotate --exclude-newer DATE \
#       --exclude-newer-package apache-airflow-providers-common-compat=TODAY ...
set -eu

PYTHON=${PYTHON:-python3}
TESTS="tests/api tests/operators tests/waiting tests/hooks tests/harness/test_task_run.py
    tests/house/test_provider_info.py tests/engine/test_connections.py tests/engine/test_examples.py
    tests/engine/test_storage.py"

newest=$(sed -n 's/^apache-airflow==//p' constraints.txt)

constraints_of() {
    if [ "$1" = "$newest" ]; then echo constraints.txt; else echo "constraints/airflow-$1.txt"; fi
}

is_ready() { # VERSION
    [ -e ".venv-$1/.ready" ] &&
        [ -z "$(find pyproject.toml scripts/test_matrix.sh "$(constraints_of "$1")" -newer ".venv-$1/.ready")" ]
}

# As scripts/setup.sh does for .venv; see there.
set_up() { # VERSION
    venv=.venv-$1 constraints=$(constraints_of "$1")
    echo "Setting up $venv (once; a minute or so) ..." >&2
    [ -x "$venv/bin/pip" ] || "$PYTHON" -m venv --clear "$venv"
    pip="$venv/bin/python -m pip --disable-pip-version-check --quiet"
    $pip install -c "$constraints" uv

    index=${PIP_INDEX_URL:-$($pip config list | sed -n "s/^global\.index.url='\(.*\)'\$/\1/p")}
    [ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
    [ -z "${PIP_CERT:-}" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$PIP_CERT}"

    set -- --constraint "$constraints" --editable '.[sandbox]' hypothesis jsonschema pytest pytest-timeout
    "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --compile-bytecode "$@" || {
        echo "uv could not install; trying pip, which takes longer." >&2
        $pip install "$@"
        "$venv/bin/python" -m compileall -q -j 0 "$venv/lib" || true # some packages ship files that are not Python
    }
    touch "$venv/.ready"
}

run_tests() { # VERSION; prints one line, and everything when something failed
    log=.venv-$1/tests.log
    # shellcheck disable=SC2086 # the tests are several words
    if ".venv-$1/bin/python" -m pytest -q -o cache_dir=".venv-$1/.pytest_cache" $TESTS >"$log" 2>&1; then
        failed=0
    else
        failed=1
        cat "$log" >&2
    fi
    summary=$(tail -n 1 "$log" | sed -n 's/^\([0-9].*\) in [0-9].*/\1/p' | sed 's/, [0-9]* warnings\{0,1\}//')
    echo "airflow $1: ${summary:-the tests did not run}"
    return $failed
}

[ $# -gt 0 ] || set -- $(ls constraints | sed -n 's/^airflow-\(.*\)\.txt$/\1/p') "$newest"
status=0
for version in "$@"; do
    is_ready "$version" || set_up "$version"
    run_tests "$version" || status=1
done
exit $status
