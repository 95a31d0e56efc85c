# make setup | demo | test | lint | bench …   Needs Python >= 3.11 with pip and venv; everything else is installed into .venv.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROJECTS := pyproject.toml core/pyproject.toml $(wildcard plugins/*/pyproject.toml)

.PHONY: setup demo test lint clean

setup: $(STAMP)

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit("TITANS needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@echo "· creating $(VENV) and installing uv into it"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'

# uv finds the environment by the folder, so a copy of the tree elsewhere gets an environment of its own.
$(STAMP): $(BIN)/uv $(PROJECTS)
	@echo "· installing the workspace and its tools"
	@UV_PROJECT_ENVIRONMENT="$(CURDIR)/$(VENV)" $(BIN)/uv sync --quiet --inexact --python "$(CURDIR)/$(BIN)/python"
	@touch $@
