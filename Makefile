# The front door. `make demo` and `make test` need nothing but Python 3.10+ with venv, and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test lab bench lint format notebooks clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/'

$(READY): pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (once; a few minutes) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[notebooks,tests]"
	@touch $@

demo: $(READY)  ## run the six notebooks on the synthetic data
	@$(BIN)/python -m upm_lib demo

test: $(READY)  ## run all tests, the notebooks included
	@$(BIN)/python -m pytest --nbval -n 2 --dist loadfile

lab: $(READY)  ## open JupyterLab on the notebooks
	@GOMP_SPINCOUNT=1000 $(BIN)/jupyter lab --notebook-dir=notebooks

bench: $(READY)  ## measure speed and memory; write benchmarks/RESULTS.md
	@$(BIN)/python -m benchmarks

lint: $(READY)  ## check style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: $(READY)  ## apply style
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

notebooks: $(READY)  ## execute the notebooks in place with their defaults, and refresh figures/
	@$(BIN)/python data_scripts/refresh_notebooks.py

clean:  ## remove the environment and every result
	rm -rf $(VENV) runs figures/*/ .pytest_cache .ruff_cache .mypy_cache
