# make venv    .venv with the pinned packages (Python 3.11)
# make search  a search on embedded images, to see one; results in WORKDIR
# make test    all tests
# make lint    ruff, the import contracts, types
# make docs    the documentation's site, in site/

SHELL := /bin/bash
.SHELLFLAGS := -e -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV ?= .venv
WORKDIR ?= runs/digits

.PHONY: help venv search test lint docs clean

help:
	@sed -n 's/^# //p;/^$$/q' Makefile

venv: $(VENV)/.installed
	@true

# pip's own output is cut down to one line a package; its warnings and errors show.
$(VENV)/.installed: requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
	  echo "error: Python 3.11 is needed, $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo not there); name one with make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; \
	  exit 2; }
	@echo "Installing into $(VENV): about 3 GB, some minutes."
	@$(PYTHON) -m venv $(VENV)
	@PYTHONUNBUFFERED=1 $(VENV)/bin/python -m pip install --no-input \
	  --disable-pip-version-check --retries 10 --timeout 120 -r requirements.txt \
	  | { grep --line-buffered -oE '^(Collecting [^ ]+|Installing collected packages)' || true; }
	@touch $@
	@echo "$(VENV) is ready."

# Networks of this size differ on these images: the best by more than the test set's error.
search: venv
	@$(VENV)/bin/python -m layernas_tf.search --dataset=moved_digits \
	  --budget='madds<=1.2M' --trials=24 --epochs=2 \
	  --finalists=2 --final_epochs=12 --final_seeds=3 --workdir=$(WORKDIR)
	@echo "Results are in $(WORKDIR): report.html, trials.csv and winner/."

test: venv
	@$(VENV)/bin/python -m pytest -n 2 --dist loadfile --max-worker-restart=0

lint: venv
	@$(VENV)/bin/python -m ruff check .
	@$(VENV)/bin/python -m ruff format --check .
	@$(VENV)/bin/python -c "from importlinter.cli import lint_imports_command as main; main()" --no-cache --no-logo
	@$(VENV)/bin/python -m mypy

docs: venv
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --quiet --strict
	@echo "The site is in site/: open site/index.html."

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .mypy_cache site
