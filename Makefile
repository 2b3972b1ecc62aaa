# Sitrep: `make demo` shows it, `make test` proves it, `make up` keeps it running.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.installed
# Everything a run needs; CPU build of PyTorch first, because a looser range elsewhere would pull CUDA.
TORCH  := $(shell grep -E '^torch==' requirements.lock)

.PHONY: demo test up check lint types install clean bench notebooks

demo: $(READY)
	@$(BIN)/sitrep demo

up: $(READY)
	@$(BIN)/sitrep up

test: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest

check: $(VENV)/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python .ci/check_tree.py
	@$(BIN)/sitrep prompts check

install: $(READY)

$(READY): requirements.lock requirements-parts.lock pyproject.toml
	@$(PYTHON) .ci/install.py --venv $(VENV)
	@touch $@

$(VENV)/.installed-dev: $(READY) requirements-dev.lock
	@$(PYTHON) .ci/install.py --venv $(VENV) --dev
	@touch $@

clean:
	rm -rf out .sitrep $(VENV)
