.DEFAULT_GOAL := help
.PHONY: help demo airflow test lint docs bench clean

PYTHON ?= python3
BIN := .venv/bin

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.ready ## run a DAG in a real Airflow against the sandbox, and show the calls
	@$(BIN)/python scripts/demo.py

airflow: .venv/.ready ## start Airflow with the example DAGs and the sandbox; Ctrl-C stops it
	@$(BIN)/python scripts/airflow_local.py

test: .venv/.ready ## run the tests
	@$(BIN)/python -m pytest

lint: .venv/.ready ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

docs: .venv/.ready ## build the documentation into docs/_build/html; warnings are errors
	@$(BIN)/python -m sphinx -q -W -n --keep-going -b html docs docs/_build/html

bench: .venv/.ready ## measure what importing the operator costs
	@$(BIN)/python scripts/bench_import.py

clean: ## remove everything that the other targets made
	rm -rf .venv .airflow docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The marker is written last, so a set-up that broke off is done again.
.venv/.ready: pyproject.toml constraints.txt scripts/setup.sh
	@PYTHON="$(PYTHON)" sh scripts/setup.sh
	@touch $@
