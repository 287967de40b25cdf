# Everything on a fresh machine with Python 3.11 and make: `make run`, `make test`.
PYTHON ?= python3.11
TRIALS ?= 50
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test bench check clean help

help: ## List the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/'

run: $(VENV)/.installed ## Install, then search until TRIALS designs are trained
	$(BIN)/python -m search.run --trials $(TRIALS)

test: $(VENV)/.installed-test ## Install with the test extra, then run the fast tests
	$(BIN)/python -m pytest

bench: $(VENV)/.installed-test ## Measure epoch throughput against the published loop
	$(BIN)/python -m pytest benchmarks --benchmark-json benchmark.json
	$(BIN)/python -m benchmarks.table benchmark.json

check: $(VENV)/.installed-develop ## Lint, format and type checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## Remove the virtual environment and caches; results stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install -e '.[test]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-develop: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install -e '.[develop]'
	touch $@ $(VENV)/.installed $(VENV)/.installed-test
