#!/bin/sh
# Runs what can hold on every Airflow on each of those that were tested, each in a venv of its own.
# Usage: test_matrix.sh [--set-up] [VERSION ...]; all of them by default. With --set-up only the venvs are made.
# The log of each is .venv-VERSION/tests.log. A pre-release has to pass as the others do.
#
# An older Airflow comes with the libraries of its time (constraints/), since it does not promise to work with
# later ones; the newest comes with constraints.txt. To add a version, freeze what uv resolves as of its release:
#   uv pip compile --no-header --no-annotate --exclude-newer DATE \
#       --exclude-newer-package apache-airflow-providers-common-compat=TODAY ...
set -eu

PYTHON=${PYTHON:-python3}
# The call store needs no Airflow, but SQLAlchemy comes with it: of its tests, those run that another version may break.
TESTS="tests/engine/test_loop.py tests/engine/test_examples.py tests/engine/test_approval.py
    tests/engine/test_assets.py tests/engine/test_connections.py tests/engine/test_gates.py tests/engine/test_storage.py
    tests/engine/test_yaml_dag.py tests/operators tests/waiting tests/batches tests/triggers tests/notifications
    tests/decorators tests/hooks tests/tasks tests/transcriptions
    tests/call_lists/test_result_files.py tests/call_lists/test_result_records.py
    tests/calls_page/test_plugin.py tests/calls_page/test_what_is_shown.py tests/calls_page/test_who_sees_what.py
    tests/harness/test_task_run.py tests/house/test_provider_info.py
    tests/store/test_engines.py tests/store/test_opening.py tests/store/test_webhook_events.py
    tests/store/test_upgrades.py::test_migrations_make_the_tables_that_the_code_knows
    tests/webhooks/test_plugin.py tests/webhooks/test_receiving.py"

newest=$(sed -n 's/^apache-airflow==//p' constraints.txt)

constraints_of() {
    if [ "$1" = "$newest" ]; then echo constraints.txt; else echo "constraints/airflow-$1.txt"; fi
}

is_ready() { # VERSION
    [ -e ".venv-$1/.ready" ] &&
        [ -z "$(find pyproject.toml scripts/install.sh scripts/test_matrix.sh "$(constraints_of "$1")" \
            -newer ".venv-$1/.ready")" ]
}

set_up() { # VERSION
    echo "Setting up .venv-$1 (once; a minute or so) ..." >&2
    sh scripts/install.sh ".venv-$1" "$(constraints_of "$1")" \
        --editable '.[sandbox,store,postgres]' datadog hypothesis jsonschema pytest pytest-timeout pytest-xdist statsd
    touch ".venv-$1/.ready"
}

run_tests() { # VERSION; prints one line, and everything when something failed
    log=.venv-$1/tests.log
    # Eight on two cores: for two thirds of their time tests wait. The longest files come first.
    # shellcheck disable=SC2086 # the tests are several words
    if PYTHONHASHSEED=0 ".venv-$1/bin/python" -m pytest -n 8 --dist loadfile --no-loadscope-reorder -q -o cache_dir=".venv-$1/.pytest_cache" $TESTS >"$log" 2>&1; then
        failed=0
    else
        failed=1
        cat "$log" >&2
    fi
    summary=$(sed -n 's/^\([0-9].*\) in [0-9.]*s.*/\1/p' "$log" | tail -n 1 | sed 's/, [0-9]* warnings\{0,1\}//')
    echo "airflow $1: ${summary:-the tests did not run}"
    return $failed
}

set_up_only=
[ "${1:-}" != --set-up ] || { set_up_only=yes; shift; }
[ $# -gt 0 ] || set -- $(ls constraints | sed -n 's/^airflow-\(.*\)\.txt$/\1/p') "$newest"
status=0
for version in "$@"; do
    is_ready "$version" || set_up "$version"
    [ -z "$set_up_only" ] || continue
    run_tests "$version" || status=1
done
exit $status
