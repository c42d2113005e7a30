# `make demo` and `make test` work from a clean clone: they make their own environment in .venv.
# PIP_FLAGS reaches pip, for example an --extra-index-url with PyTorch's CPU build.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RESULTS ?= results
PIP_FLAGS ?=
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: demo data-small pictures test test-all test-peers lint bench clean

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(VENV)/ready
	$(BIN)/anchorbench fetch turbulence2d sevir
	$(BIN)/anchorbench train --method baseline --method multires --method frl --with-references --results $(RESULTS)
	$(BIN)/anchorbench train --dataset sevir --method baseline --method multires --results $(RESULTS)
	$(BIN)/anchorbench train --dataset sevir --method multires --set method.hold_out=true --results $(RESULTS)
	$(BIN)/anchorbench report --results $(RESULTS)

# Every dataset at `small`, each from its generator or its real sample.
data-small: $(VENV)/ready
	$(BIN)/anchorbench fetch --size small

# What docs/datasets.md shows, from the ladders of `make data-small`.
pictures: data-small
	$(BIN)/python docs/draw_pictures.py --size small
	$(BIN)/python docs/dataset_tables.py

test: $(VENV)/ready
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2

test-all: $(VENV)/ready test-peers
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -m 'slow or not slow'

# Our FNO against neuraloperator's, with its weights; sweeps on a Ray cluster of two nodes.
test-peers: .venv-bench/ready
	$(ONE_THREAD) .venv-bench/bin/python -m pytest tests/models/test_neuralop.py
	$(ONE_THREAD) .venv-bench/bin/python -m pytest tests/runs/test_launch.py -m 'slow or not slow'

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The peers live in an environment of their own: some pin what we do not.
bench: $(VENV)/ready .venv-bench/ready
	for f in benchmarks/bench_*.py; do $(ONE_THREAD) .venv-bench/bin/python $$f; done

.venv-bench/ready: benchmarks/requirements.txt constraints.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet $(PIP_FLAGS) --requirement benchmarks/requirements.txt
	.venv-bench/bin/python -m pip install --quiet pytest hypothesis --editable .
	touch $@

clean:
	rm -rf $(VENV) .venv-bench .pytest_cache .mypy_cache .ruff_cache .hypothesis
