# Every target does its own set-up, once, in .venv: it needs Python 3.11 or later and nothing else.
#
#   make demo ARGS="--seconds 20 --seed 7"      arguments for `orderledger demo`
#   make test ARGS="-k late_fill"               arguments for pytest
#   make test PYTHON=python3.12                which Python the environment is made from

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.SUFFIXES:

# What a caller's environment must not decide: which modules are found, and where packages go.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONSAFEPATH VIRTUAL_ENV __PYVENV_LAUNCHER__
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_REQUIRE_VIRTUALENV PIP_CONSTRAINT
export PIP_DISABLE_PIP_VERSION_CHECK := 1

VENV := .venv
RUN := $(VENV)/bin/python
ARGS ?=

# What is installed follows from these; another content, or another place on the disk, and it is installed again.
KEY := $(shell { pwd; cat pyproject.toml constraints.txt; } | cksum | cut -d ' ' -f 1)
RUNTIME := $(VENV)/runtime-$(KEY)
TESTING := $(VENV)/testing-$(KEY)

INSTALL := $(RUN) -m pip install --quiet --no-input --progress-bar off --constraint constraints.txt
PYTEST := $(RUN) -m pytest -p no:cacheprovider -n auto --maxprocesses 8 --dist worksteal

.PHONY: help demo test check lint types bench soak clean

help:
	@echo "make demo    a live connector against a simulated venue, with faults; ends by comparing the books"
	@echo "make test    the test suite"
	@echo "make check   lint, format, types, then the test suite"
	@echo "make bench   the promised speeds, measured on this machine"
	@echo "make soak    long seeded runs"
	@echo "make clean   remove the environment and everything generated"

demo: $(RUNTIME)
	@$(RUN) -m adapters.cli.main demo $(ARGS)

test: $(TESTING)
	@$(PYTEST) $(ARGS)

check: lint types test

lint: $(TESTING)
	@$(RUN) -m ruff check --no-cache .
	@$(RUN) -m ruff format --no-cache --check .

types: $(TESTING)
	@$(RUN) -m mypy

bench: $(TESTING)
	@$(RUN) -m tests.benchmarks.run $(ARGS)

soak: $(TESTING)
	@$(PYTEST) -m soak $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis bench.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What it takes to run, and nothing that only tests need: the demo does not wait for those.
$(RUNTIME): $(RUN)
	@echo "Installing what it takes to run, once ..."
	@$(INSTALL) --editable '.[fast]'
	@rm -f $(VENV)/runtime-* && touch $@

$(TESTING): $(RUNTIME)
	@echo "Installing what the tests need, once ..."
	@$(INSTALL) --editable '.[fast,test]'
	@rm -f $(VENV)/testing-* && touch $@

# A candidate counts only if it runs: version managers leave names on PATH that do not.
$(RUN):
	@for candidate in $(PYTHON) python3.11 python3.12 python3.13 python3.14 python3 python; do \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	        if ! "$$candidate" -c 'import venv, ensurepip' >/dev/null 2>&1; then \
	            lacking="$$candidate"; continue; \
	        fi; \
	        echo "Making $(VENV) with $$("$$candidate" --version) ..."; \
	        exec "$$candidate" -m venv --clear $(VENV); \
	    fi; \
	done; \
	if [ -n "$$lacking" ]; then \
	    echo "$$lacking cannot make virtual environments: install its venv module (on Debian: python3-venv)." >&2; \
	else \
	    echo "Python 3.11 or later is needed, and none is on PATH. Install one, or: make PYTHON=/path/to/python" >&2; \
	fi; \
	exit 1
