# Two commands matter: `make run` and `make test`. Each makes .venv by itself.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help run demo setup test check lint types imports migrations-check pytest bench soak format clean

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

setup: $(VENV)/.dev ## install what the tests need

test: check pytest ## lint, types, import rules and all tests

check: lint types imports migrations-check

lint: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: setup
	@# mypy's Django plugin reads the settings, which need a secret; a clean checkout has none.
	@AEGIS_SECRET_KEY=for-mypy-only $(BIN)/mypy

imports: setup
	@$(BIN)/lint-imports

migrations-check: setup
	@DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python manage.py makemigrations --check --dry-run

pytest: setup
	@.ci/ensure-chromium
	@# Two processes for two cores; a file stays in one of them, so that its tests share what they start.
	@$(BIN)/python -m pytest -n 2 --dist loadfile

# BENCH=quick: one short round; BENCH="--proxies aegis nginx --rounds 5": any options of python -m tests.bench.
bench: setup ## compare CPU and speed with other proxies (minutes; BENCH=quick: one)
	@$(BIN)/python -m tests.bench $(patsubst quick,--quick,$(BENCH))

soak: setup ## load, changes, restarts and rotations at once (SECONDS=60)
	@SOAK_SECONDS=$(or $(SECONDS),60) $(BIN)/python -m pytest -m soak tests

format: setup ## rewrite the code in the project's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## remove .venv and caches, keep ./var
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
