# Everything on a fresh machine with Python (3.11 or newer) and make: `make run`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUILT_FROM := pyproject.toml setup.py $(wildcard mnist_arch/lanes/native/*)

# only what is given: `make run TRIALS=100`; the defaults are those of search.run
CHOICES = $(if $(TRIALS),--trials $(TRIALS)) $(if $(FINALISTS),--finalists $(FINALISTS)) \
	$(if $(SEEDS),--seeds $(SEEDS))

.PHONY: run test slow bench scale soak check clean help

help: ## List the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/'

# Status 1 is an answer, not a failure of make: the search is done, and the answer is no.
run: $(VENV)/.installed ## Install, search (TRIALS designs), confirm the best (FINALISTS, SEEDS)
	@$(BIN)/python -m search.run $(CHOICES); status=$$?; if [ $$status -eq 1 ]; then \
	  echo "The answer is no: no finalist is confirmed, or no design passed (exit status 1)."; \
	  echo "The tables say why. A larger TRIALS searches on: make run TRIALS=100"; \
	else exit $$status; fi

test: $(VENV)/.installed-test ## Install with the test extra, then run the fast tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4

slow: $(VENV)/.installed-test ## Run the slow tests: whole searches, kills, a browser
	$(BIN)/python -m pytest -m slow -n 2

bench: $(VENV)/.installed-test ## Measure epoch throughput against the published loop
	$(BIN)/python -m pytest benchmarks --benchmark-json benchmark.json
	$(BIN)/python -m benchmarks.table benchmark.json

scale: $(VENV)/.installed-test ## Measure what the search itself costs a trial, at up to 10,000
	$(BIN)/python -m benchmarks.scale

soak: $(VENV)/.installed-test ## Kill searches at 100 random instants; nothing may be lost (an hour)
	$(BIN)/python -m benchmarks.soak

check: $(VENV)/.installed-develop ## Lint, format and type checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy examples/own_*.py

clean: ## Remove the virtual environment and caches; results stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks

$(VENV)/bin/python:
	@$(PYTHON) -c '' 2> /dev/null || { echo "error: there is no $(PYTHON) here. Install Python \
	3.11 or newer, or name yours: make run PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) \
	is $$($(PYTHON) --version 2>&1); this needs 3.11 or newer. Install it, or name the one you have: \
	make run PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python $(BUILT_FROM)
	$(BIN)/python -m pip install -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/bin/python $(BUILT_FROM)
	$(BIN)/python -m pip install -e '.[test]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-develop: $(VENV)/bin/python $(BUILT_FROM)
	$(BIN)/python -m pip install -e '.[develop]'
	touch $@ $(VENV)/.installed $(VENV)/.installed-test

# Sanitizers for the native library of mnist_arch.lanes. The library is built with a sanitizer in a
# copy of the package, and the Python tests run there with the sanitizer's run-time preloaded.
# Memory limits and leak checks of the tests do not apply under them (a sanitizer keeps memory of
# its own), nor do processes within processes.
comma := ,
CXX ?= g++
SANITIZED := build/sanitize
LANES := $(SANITIZED)/mnist_arch/lanes
LANES_TESTS := tests/mnist_arch/lanes
LANES_FLAGS = -std=c++17 -O1 -g -fno-omit-frame-pointer -fno-math-errno -fno-trapping-math \
	-ffp-contract=fast -fPIC -shared -pthread \
	-DLANES_SOURCES='"$(shell $(PYTHON) mnist_arch/lanes/sources.py)"'
NOT_SANITIZED := not memory and not processes and not threads_do_not and not copies

define build_sanitized
	rm -rf $(SANITIZED) && mkdir -p $(SANITIZED)
	cp -r mnist_arch $(SANITIZED)/ && rm -f $(LANES)/_*.so
	$(CXX) $(LANES_FLAGS) $(1) $(LANES)/native/lanes.cpp -o $(LANES)/_baseline.so
	if [ "$$(uname -m)" = x86_64 ]; then \
	  $(CXX) $(LANES_FLAGS) $(1) -mavx2 -mfma $(LANES)/native/lanes.cpp -o $(LANES)/_avx2.so; \
	  $(CXX) $(LANES_FLAGS) $(1) -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma \
	    $(LANES)/native/lanes.cpp -o $(LANES)/_avx512.so; fi
endef

.PHONY: sanitize sanitize-memory sanitize-threads
sanitize: sanitize-memory sanitize-threads ## Run the tests of lanes under the sanitizers

sanitize-memory: $(VENV)/.installed-test
	$(call build_sanitized,-fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined)
	cp -r tests $(SANITIZED)/
	cd $(SANITIZED) && PYTHONPATH=. ASAN_OPTIONS=detect_leaks=0 \
	  LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	  $(abspath $(BIN))/python -m pytest -q -p no:cacheprovider $(LANES_TESTS) -k "$(NOT_SANITIZED)"

# data races, in a driver of its own: Python itself is not built for this
sanitize-threads:
	mkdir -p $(SANITIZED)
	$(CXX) $(filter-out -shared -fPIC,$(LANES_FLAGS)) -fsanitize=thread \
	  $(LANES_TESTS)/race.cpp mnist_arch/lanes/native/lanes.cpp -o $(SANITIZED)/race
	$(SANITIZED)/race


