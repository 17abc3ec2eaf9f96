# make demo    set up, install, and run the main job end to end on the embedded sample
# make test    set up, install what the tests need, lint, and run the whole suite
# make install | lint | docs | campaign | clean

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One more than there are cores: many tests wait for servers.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(os.cpu_count() + 1)')
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test install lint docs campaign system-packages clean
.DELETE_ON_ERROR:

demo: install
	$(BIN)/certforecast demo

test: $(VENV)/.test $(VENV)/acme2certifier/.done system-packages lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not campaign" --numprocesses $(WORKERS) \
		--dist loadfile --no-loadscope-reorder

install: $(VENV)/.install

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.test
	$(BIN)/python docs/build.py

campaign: $(VENV)/.test $(VENV)/acme2certifier/.done system-packages
	$(BIN)/python -m pytest -m campaign --timeout 7200

# Real servers for tests/system; installed where that needs no question, named where it does.
system-packages:
	@sh tests/system/packages.sh

clean:
	rm -rf $(VENV) .certforecast .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt --upgrade pip

$(VENV)/.install: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --constraint constraints.txt --editable ".[test,lint]"
	@touch $@ $(VENV)/.install

# A real ACME server that speaks ARI, for tests alone, in an environment of its own: it is GPL-3.
$(VENV)/acme2certifier/.done: tests/system/acme2certifier.txt | $(VENV)/bin/python
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check --quiet install --requirement $<
	@touch $@
