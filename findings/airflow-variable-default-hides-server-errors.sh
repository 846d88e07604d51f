#!/bin/sh
# apache-airflow 3.3.2: Variable.get(key, default=...) in a task returns the default when the API server fails.
#
# A worker asks for a Variable through its supervisor, which passes on what came of the request. That the server failed
# (API_SERVER_ERROR, status 500) and that there is no such Variable (VARIABLE_NOT_FOUND) are two answers there. To a task both
# are "VARIABLE_NOT_FOUND: Variable ... not found", and with a default both return it, without a word in the log. So a switch
# that is kept in a Variable, such as one that holds all phone calls, reads as "off" while the API server or its database is
# away.
#
# Prints what it saw; fails if that has changed. Needs python3 with venv, and a package index. The supervisor's answers are
# those of airflow.sdk.execution_time.comms; no server runs.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet apache-airflow==3.3.2
AIRFLOW_HOME="$folder" "$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null
from airflow.sdk import Variable
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse, VariableResult


class Supervisor:
    """Answers each question of a task as told."""

    def __init__(self, answer):
        self.answer = answer

    def send(self, msg):
        return self.answer


def read(answer, **options):
    task_runner.SUPERVISOR_COMMS = Supervisor(answer)
    try:
        return Variable.get("hold_calls", **options)
    except Exception as error:
        return str(error).partition(":")[0]


there = VariableResult(key="hold_calls", value="on")
missing = ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND)
failed = ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 500})
seen = {
    "the variable is on": read(there, default="off"),
    "no such variable": read(missing, default="off"),
    "the server fails": read(failed, default="off"),
    "the server fails, and no default": read(failed),
}
for what, value in seen.items():
    print(f"{what}: {value}")
assert list(seen.values()) == ["on", "off", "off", "VARIABLE_NOT_FOUND"], "this has changed"
PYTHON
