# All the set-up there is. `make quickstart` and `make test` each work on a fresh machine with
# Python >= 3.11 and make; nothing has to be installed before.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Numeric libraries use one thread in each process; processes use the cores. The tests start hundreds
# of processes, and each would compile the checkout anew where Python may keep nothing of it.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=
WORKERS ?= auto

.PHONY: help quickstart test lint types contracts unit wheel test-long gpu pages docs leaderboard clean

help:
	@echo "make quickstart  environment, install, the embedded benchmark; prints table and figures"
	@echo "make test        environment, install, lint, types, import contract, tests, the wheel"
	@echo "make test-long   the longer checks (marker slow)"
	@echo "make gpu         on a GPU machine: its tests, speed tables, parity; again, what is left"
	@echo "make docs        the documentation as pages, into site/"
	@echo "make leaderboard the published runs as a leaderboard, into site/leaderboard/"
	@echo "make pages       tables of commands, codecs, corpora, metrics and keys within docs/*.md, anew"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "rdbench needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[lyra,train,lightning,diffusers,transformers,pitch,snac,speechtokenizer,music2latent,codicodec,mos,speaker,asr,cluster,test]'
	@touch $@ $(VENV)/.base $(VENV)/.docs

$(VENV)/.docs: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@ $(VENV)/.base

quickstart: $(VENV)/.base
	$(BIN)/rdbench run quick

# What takes one core runs beside the tests, which take what there is.
test: lint
	$(MAKE) --jobs=2 unit types contracts wheel

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/mypy

contracts: $(VENV)/.test
	$(BIN)/lint-imports

unit: $(VENV)/.test
	$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow and not cuda and not wheel"

wheel: $(VENV)/.test
	$(TEST_ENV) $(BIN)/python -m pytest tests/test_wheel.py -m wheel

test-long: $(VENV)/.test
	$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "slow"

gpu: $(VENV)/.test
	$(BIN)/python benchmarks/gpu.py

pages: $(VENV)/.docs
	$(BIN)/python docs/hooks.py

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@$(MAKE) --no-print-directory leaderboard
	@echo "site/index.html"

leaderboard: $(VENV)/.base
	rm -rf build/submissions
	for run in speech_16k music_44k; do \
	  $(BIN)/rdbench submit results/$$run -o build/submissions/$$run || exit 1; \
	  [ ! -f results/$$run/reproduction.json ] || cp results/$$run/reproduction.json build/submissions/$$run || exit 1; \
	done
	cp results/leaderboard.yaml build/submissions
	$(BIN)/rdbench leaderboard build/submissions -o site/leaderboard

clean:
	rm -rf $(VENV) site build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
