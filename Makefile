# Everything on a fresh machine with Python 3.11 and make: `make run`, `make test`.
PYTHON ?= python3.11
TRIALS ?= 50
FINALISTS ?= 0
VENV := .venv
BIN := $(VENV)/bin
NATIVE := mnist_arch/lanes/native
BUILT_FROM := pyproject.toml setup.py $(wildcard $(NATIVE)/*.h $(NATIVE)/*.cpp)

.PHONY: run test bench check clean help

help: ## List the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/'

run: $(VENV)/.installed ## Install, then search until TRIALS designs are trained, confirm FINALISTS
	$(BIN)/python -m search.run --trials $(TRIALS) --finalists $(FINALISTS)

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
LANES_FLAGS := -std=c++17 -O1 -g -fno-omit-frame-pointer -fno-math-errno -fno-trapping-math \
	-ffp-contract=fast -fPIC -shared -pthread \
	-DLANES_SOURCES='"$(shell $(PYTHON) mnist_arch/lanes/sources.py)"'
NOT_SANITIZED := not memory and not processes and not threads_do_not and not copies

define build_sanitized
	rm -rf $(SANITIZED) && mkdir -p $(SANITIZED)
	cp -r mnist_arch $(SANITIZED)/ && rm -f $(LANES)/_*.so
	$(CXX) $(LANES_FLAGS) $(1) $(LANES)/native/lanes.cpp -o $(LANES)/_baseline.so
	if [ "$$(uname -m)" = x86_64 ]; then \
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


