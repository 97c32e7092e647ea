# One target for each thing one does here; `make help` lists them. Needs Python 3.11 or newer with pip, and make.
#
# All that is installed goes to .venv/, all that is written goes to var/.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# The oldest that the project supports comes first: it is what the lock was made with.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
# Downloads are kept beside the data, so that a second installation is quick; an own PIP_CACHE_DIR is respected.
export PIP_CACHE_DIR ?= $(CURDIR)/var/cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_PYTHON_VERSION_WARNING := 1
export RUFF_CACHE_DIR := $(CURDIR)/var/cache/ruff
PIP_INSTALL = TMPDIR="$(CURDIR)/var/tmp" $(BIN)/python -m pip install --quiet --require-hashes --no-deps

RUN_STAMP := $(VENV)/.run-installed
DEV_STAMP := $(VENV)/.dev-installed
# Most of a run is waiting; each process of tests has servers of its own.
TEST_PROCESSES ?= 2
BENCH := var/bench/venv
BENCH_STAMP := $(BENCH)/.installed

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 16

# --- installing ------------------------------------------------------------------------------------------------------

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found. Install it, or: make PYTHON=/path/to/python" >&2; exit 1; }
	@mkdir -p var/tmp
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null \
		&& "$(PYTHON)" -m venv $(VENV) \
		|| { rm -rf $(VENV); "$(PYTHON)" -m virtualenv --quiet $(VENV) 2>/dev/null; } \
		|| { rm -rf $(VENV); "$(PYTHON)" -m venv --without-pip $(VENV) 2>/dev/null \
			&& "$(PYTHON)" -m pip --python $(BIN)/python install --quiet --target "$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')" pip; } \
		|| { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment: its modules venv, ensurepip and pip are missing." >&2; \
			echo "Install them (on Debian and Ubuntu: apt-get install python3-venv python3-pip) and try again." >&2; exit 1; }

$(RUN_STAMP): requirements/run.lock | $(BIN)/python
	@mkdir -p var/tmp
	@# an up-to-date installation for the tests has all of it already
	@test $(DEV_STAMP) -nt requirements/dev.lock || { echo "installing what the system needs into $(VENV) …"; \
		$(PIP_INSTALL) -r requirements/run.lock; }
	@$(MAKE) --silent --no-print-directory $(BIN)/batuta
	@touch $@

$(DEV_STAMP): requirements/dev.lock | $(BIN)/python
	@mkdir -p var/tmp
	@echo "installing what the system and its tests need into $(VENV) …"
	@$(PIP_INSTALL) -r requirements/dev.lock
	@# the lock was made by one version of Python; another may ask for a package more
	@$(BIN)/python -m pip check --quiet
	@$(MAKE) --silent --no-print-directory $(BIN)/batuta
	@touch $@ $(RUN_STAMP)

# Not `pip install -e .`: it would leave files of its own in the clone and build with what no lock names.
$(BIN)/batuta: | $(BIN)/python
	@echo "$(CURDIR)" > "$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')/batuta.pth"
	@printf '#!/bin/sh\nexec "$$(dirname "$$0")/python" -m app.cli "$$@"\n' > $@
	@chmod +x $@

.PHONY: install
install: $(RUN_STAMP) ## install what the system needs

# --- running ---------------------------------------------------------------------------------------------------------

.PHONY: run
run: $(RUN_STAMP) ## start everything, show the first daily batch, and serve until Ctrl-C
	@exec $(BIN)/python -m app.cli up --first-batch

.PHONY: try
try: $(RUN_STAMP) ## the same without any key: simulated vendors, answers that echo what was asked; data in var/try
	@exec $(BIN)/python -m simulator.trial

# --- proving ---------------------------------------------------------------------------------------------------------

.PHONY: test
test: lint types imports tests ## lint, types, import rules and all tests but the long rounds

.PHONY: lint
lint: $(DEV_STAMP) ## ruff: rules and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: $(DEV_STAMP) ## mypy, strict
	$(BIN)/mypy

.PHONY: imports
imports: $(DEV_STAMP) ## who may import whom
	PYTHONPATH=. $(BIN)/lint-imports --cache-dir var/cache/imports

.PHONY: tests
tests: $(DEV_STAMP) ## the tests, without the long rounds; ARGS="..." goes to pytest
	$(BIN)/python -m pytest -m "not prove" --numprocesses $(TEST_PROCESSES) --dist loadfile $(ARGS)

.PHONY: coverage
coverage: $(DEV_STAMP) ## the tests, and which lines none of them reached
	$(BIN)/coverage run -m pytest -m "not prove" $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

.PHONY: prove
prove: $(DEV_STAMP) ## the long rounds: chaos, queues, kills
	$(BIN)/python -m pytest -m prove --timeout 3600 --numprocesses $(TEST_PROCESSES) --dist load $(ARGS)

# The peers bring much along; they stay apart, so that nothing of ours comes to lean on them.
$(BENCH_STAMP): requirements/run.lock bench/requirements.txt | $(BIN)/python
	@mkdir -p var/tmp
	@echo "installing what is measured into $(BENCH) …"
	@$(BIN)/python -m venv $(BENCH)
	@$(subst $(BIN)/,$(BENCH)/bin/,$(PIP_INSTALL)) -r requirements/run.lock
	@TMPDIR="$(CURDIR)/var/tmp" $(BENCH)/bin/python -m pip install --quiet -r bench/requirements.txt
	@touch $@

.PHONY: bench
bench: $(BENCH_STAMP) ## measure against the peers; ARGS="--n 1000 --latency 10" for the official size
	$(BENCH)/bin/python -m bench $(ARGS)

.PHONY: bench-latency
bench-latency: $(BENCH_STAMP) ## measure what one caller feels
	$(BENCH)/bin/python -m bench.latency $(ARGS)

# --- keeping ---------------------------------------------------------------------------------------------------------

.PHONY: format
format: $(DEV_STAMP) ## lay the code out, and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: docs
docs: $(RUN_STAMP) ## write what is generated: docs/settings.md
	$(BIN)/batuta settings

COMPILE = $(BIN)/python -m piptools compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host $(ARGS)

.PHONY: lock
lock: $(DEV_STAMP) ## write the locks anew from requirements/*.in; ARGS=--upgrade takes the newest
	CUSTOM_COMPILE_COMMAND="make lock" $(COMPILE) --output-file requirements/run.lock requirements/run.in
	CUSTOM_COMPILE_COMMAND="make lock" $(COMPILE) --constraint requirements/run.lock --output-file requirements/dev.lock requirements/dev.in

.PHONY: clean
clean: ## remove .venv and caches; the data in var/ stay
	rm -rf $(VENV) $(BENCH) var/cache var/tmp build dist *.egg-info
	find app tasks tests simulator migrations bench -name __pycache__ -type d -prune -exec rm -rf {} +
