.DEFAULT_GOAL := help
.PHONY: help demo airflow test coverage test-long test-store test-list test-celery test-storage test-matrix test-browser lint docs dist test-dist bench bench-batch bench-faults bench-latency bench-list bench-report bench-store bench-wait bench-webhooks scale clean

PYTHON ?= python3
BIN := .venv/bin
PYTEST := PYTHONHASHSEED=0 $(BIN)/python -m pytest
# More than the two cores of a small machine: for more than half of their time tests wait.
AT_ONCE := -n 3 --dist loadfile --no-loadscope-reorder

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.ready ## run example DAGs in a real Airflow against the sandbox, and show the calls
	@$(BIN)/python scripts/demo.py

airflow: .venv/.ready ## start Airflow with the example DAGs and the sandbox; Ctrl-C stops it; ARGS=--dags=FOLDER for your own
	@$(BIN)/python scripts/airflow_local.py $(ARGS)

test: .venv/.ready ## run the tests
	@$(PYTEST) $(AT_ONCE)

coverage: .venv/.ready ## run the tests and list what they leave out; fails below the floor in pyproject.toml
	@$(PYTEST) $(AT_ONCE) --cov --cov-report=term --cov-report=html:htmlcov

test-long: .venv/.ready ## 200,000 random steps of runs, retries, faults and deaths against a model; STEPS=N
	@$(BIN)/python scripts/test_long.py

test-store: .venv/.ready ## twenty processes place ten thousand calls over one PostgreSQL, and are killed; SEED=N
	@$(BIN)/python scripts/store_stress.py

test-list: .venv/.ready ## call lists whose workers are killed, over an API and a database that fail; SEED=N
	@PYTHONHASHSEED=0 $(BIN)/python scripts/list_stress.py

test-celery: ## an Airflow of many processes, whose workers, triggerers, Redis and PostgreSQL are killed; fifteen minutes
	@PYTHON="$(PYTHON)" sh scripts/test_celery.sh $(ARGS)

test-storage: ## read and write files in S3, Azure Blob Storage and GCS, whose connections break and whose workers die; needs npm
	@PYTHON="$(PYTHON)" sh scripts/test_storage.sh

test-matrix: ## run the tests that fit on Airflow 3.1, 3.2, 3.3 and the next, each in its own venv; AIRFLOW=3.1.8 picks one
	@PYTHON="$(PYTHON)" sh scripts/test_matrix.sh $(AIRFLOW)

test-browser: .venv/.ready ## the connection form, the summary page and the calls page in a real browser; AIRFLOW=3.1.8 picks a version
	@PYTHON="$(PYTHON)" sh scripts/test_browser.sh $(AIRFLOW)

lint: .venv/.ready ## check style, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo

docs: .venv/.ready ## build the documentation into docs/_build/html; warnings are errors
	@$(BIN)/python scripts/generate_docs.py --check && $(BIN)/python -m sphinx -q -W -n --keep-going -b html docs docs/_build/html

dist: .venv/.ready ## build the sdist, and from it the wheel, into dist/
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation

test-dist: .venv/.ready ## test what is in dist/ as it is: its metadata, and the wheel in a venv of its own
	@DIST="$(CURDIR)/dist" $(PYTEST) tests/house/test_packaging.py tests/house/test_wheel.py

bench: .venv/.ready ## measure what importing the operator costs
	@$(BIN)/python scripts/bench_import.py

bench-batch: .venv/.ready ## measure what validating a million contacts costs, beside copying the file
	@$(BIN)/python scripts/bench_batch.py

bench-faults: .venv/.ready ## compare with other recipes: rings and lost calls under the same faults
	@$(BIN)/python scripts/bench_faults.py

bench-latency: .venv/.ready ## measure how soon a task starts after a call: by webhooks, and by polling
	@$(BIN)/python scripts/bench_latency.py

bench-list: .venv/.ready ## measure what a call of a list costs, beside mapped tasks; ten minutes; ARGS=--store=sqlite
	@$(BIN)/python scripts/bench_list.py $(ARGS)

bench-report: .venv/.ready ## count what a report on 40,000 people costs with and without webhooks
	@$(BIN)/python scripts/bench_report.py

bench-store: .venv/.ready ## measure what a call costs with a call store, beside Airflow's task state store
	@$(BIN)/python scripts/bench_store.py

bench-wait: .venv/.ready ## measure what waiting for a thousand calls costs, in a real triggerer too, and what webhooks save
	@$(BIN)/python scripts/bench_wait.py
	@$(BIN)/python scripts/bench_wake.py
	@$(BIN)/python scripts/bench_triggerer.py

bench-webhooks: .venv/.ready ## measure 200 webhooks a second into PostgreSQL; KILL=--kill kills both in between
	@$(BIN)/python scripts/bench_webhooks.py $(KILL)

scale: .venv/.ready ## work off a million calls in a hundred lists and count them all; hours; ARGS=--lists=10
	@PYTHONHASHSEED=0 $(BIN)/python scripts/scale.py $(ARGS)

clean: ## remove everything that the other targets made
	rm -rf .venv .venv-* .airflow dist docs/_build htmlcov .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The marker is written last, so a set-up that broke off is done again.
.venv/.ready: pyproject.toml constraints.txt scripts/setup.sh
	@PYTHON="$(PYTHON)" sh scripts/setup.sh
	@touch $@
