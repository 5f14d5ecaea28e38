# Everything runs in a virtual environment of the project's own: python, pip, make and a C compiler are enough.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
FULL   := $(VENV)/.installed-in-full
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-all check format install clean

install: $(FULL)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	touch $@

# What tests and checks need on top: the tools, torch for the diffusion engines and Ray, which the demo does without.
$(FULL): $(STAMP)
	$(PIP) -e '.[dev,diffusion,cluster]'
	touch $@

demo: $(STAMP)
	$(BIN)/facex demo -o demo

test: $(FULL)
	$(BIN)/python -m pytest -n auto -m "not slow"

test-all: $(FULL)
	$(BIN)/python -m pytest -n auto

check: $(FULL)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(FULL)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis demo test-output
