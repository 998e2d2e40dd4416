# The virtual environment is made on first use; every target works on a fresh clone with Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Containers often forbid compiled modules: each process would then compile those of torch anew, for 10 seconds.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help demo recipes test test-all test-cpus fuzz check bench site lock clean

help:
	@echo "make demo      install, and run the whole line on generated data (about 5 minutes)"
	@echo "make recipes   run the five recipes with small budgets (about 15 minutes)"
	@echo "make test      install, check and test (about 20 minutes)"
	@echo "make test-all  the long campaigns too: kills, fuzzing (hours)"
	@echo "make test-cpus the numeric tests as lesser processors would compute them (about 20 minutes)"
	@echo "make fuzz      mutated files for every reader, random masks through every writer, with counts"
	@echo "make check     style, types, import rules"
	@echo "make bench     speed, beside the peers"
	@echo "make site      the documents as pages, in site/"
	@echo "make lock      lock the requirements again"

$(VENV)/installed: requirements/test.txt pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/test.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

demo: $(VENV)/installed
	$(BIN)/maskwright demo

recipes: $(VENV)/installed
	$(BIN)/python tools/recipes.py

check: $(VENV)/installed
	$(BIN)/ruff format --check src tests bench tools
	$(BIN)/ruff check src tests bench tools
	$(BIN)/mypy
	$(BIN)/lint-imports

# A process for each core, four at most: each takes about a gigabyte. The tests of a file share what they have made.
test: check
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test-all: check
	$(BIN)/python -m pytest -m "slow or not slow"

test-cpus: $(VENV)/installed
	$(BIN)/python tools/cpus.py

fuzz: $(VENV)/installed
	cd tests && ../$(BIN)/python -m fuzz.readers && ../$(BIN)/python -m fuzz.trips

bench: $(VENV)/installed
	$(BIN)/python bench/metrics.py
	$(BIN)/python bench/throughput.py

site: $(VENV)/installed
	$(BIN)/mkdocs build --strict --quiet

lock:
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		--extra train --no-header --output-file requirements/train.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		--extra train --group test --no-header --output-file requirements/test.txt pyproject.toml

clean:
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
