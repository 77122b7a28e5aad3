# Two commands matter: `make run` and `make test`. Each makes .venv by itself.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help run demo setup compile test check lint types imports migrations-check pytest pytest-compiled fuzz bench soak screenshots format clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk 'BEGIN {FS = ":.*?## "} {printf "  make %-10s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Aegis needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

$(VENV)/.runtime: requirements.txt | $(BIN)/python
	@echo "Installing requirements.txt into $(VENV) ..."
	@$(PIP) install -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt | $(BIN)/python
	@echo "Installing requirements-dev.txt into $(VENV) ..."
	@$(PIP) install -r requirements-dev.txt
	@touch $(VENV)/.runtime $@

run: $(VENV)/.runtime ## start everything in this terminal (data in ./var, Ctrl-C stops)
	@exec $(BIN)/python manage.py up

demo: $(VENV)/.runtime ## as run, with an upstream that demands a client certificate
	@exec $(BIN)/python manage.py demo

setup: $(VENV)/.dev compile ## install what the tests need, and compile

compile: $(VENV)/.dev ## compile the hot part of the proxy worker, where there is a C compiler
	@$(BIN)/python -m proxyworker.compiling

test: ## lint, types, import rules and all tests
	@# mypy takes one core for a minute and compiling the other; the tests take both.
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target check compile
	@$(MAKE) --no-print-directory pytest

check: lint types imports migrations-check

lint: $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(VENV)/.dev
	@# mypy's Django plugin reads the settings, which need a secret; a clean checkout has none.
	@AEGIS_SECRET_KEY=for-mypy-only $(BIN)/mypy

imports: $(VENV)/.dev
	@$(BIN)/lint-imports

migrations-check: $(VENV)/.dev
	@DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python manage.py makemigrations --check --dry-run

pytest: setup
	@.ci/ensure-chromium
	@# Two processes for two cores; a file stays in one of them, so that its tests share what they start.
	@# Kept bytecode saves each of them ten seconds; many containers say by a variable to keep none.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Where something could be compiled, the workers of `make test` run it (`tests/e2e`), and a test compares both forms on the
# corpus; this is all of the data plane's own tests again. What is not compiled, and no worker runs, cannot differ.
COMPILED_TESTS := $(addprefix tests/proxyworker/,access_log net policy protocol $(addprefix test_,$(addsuffix .py, \
  access_log balancing client_connections compiled errors identity_isolation service slow_peers websocket)))

pytest-compiled: setup ## the data plane's tests on its compiled form
	@if [ -d build/compiled ]; then TESTS_COMPILED=1 $(BIN)/python -m pytest -n 2 --dist loadfile \
	  --no-loadscope-reorder -p no:schemathesis $(COMPILED_TESTS); fi

# EXAMPLES: random requests for each operation, role and kind of data. SEED: others than the last time.
fuzz: setup ## send the API what its OpenAPI document admits, and what not, for long (EXAMPLES=100)
	@EXAMPLES=$(or $(EXAMPLES),100) $(BIN)/python -m pytest tests/aegis_site/api_conformance

# BENCH=quick: one short round; BENCH="--proxies aegis nginx --rounds 5": any options of python -m tests.bench.
bench: setup ## compare CPU and speed with other proxies (minutes; BENCH=quick: one)
	@$(BIN)/python -m tests.bench $(patsubst quick,--quick,$(BENCH))

soak: setup ## load, changes, restarts and rotations at once (SECONDS=60)
	@TESTS_COMPILED=$$([ -d build/compiled ] && echo 1 || echo 0) SOAK_SECONDS=$(or $(SECONDS),60) $(BIN)/python -m pytest -m soak tests

screenshots: setup ## photograph the main pages for the README
	@.ci/ensure-chromium
	@$(BIN)/python -m tests.screenshots

format: setup ## rewrite the code in the project's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## remove .venv, builds and caches, keep ./var
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
