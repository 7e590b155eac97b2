# Everything runs in .venv, which is made on first use. `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# OUT=... and ARGS=... reach the study: make study ARGS="epochs=2 --seeds 1"
OUT ?= runs/study
ARGS ?=
# Two workers, with memory in pages of 2 MiB, as cnnjax has it (a tenth less time); the run ends with the first one that
# dies, for pytest-xdist would wait for ever for its tests. Files go to them in their order: sorted by their numbers of
# tests, a few long ones would be last.
PYTEST := GLIBC_TUNABLES=glibc.malloc.hugetlb=1 $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder \
	--max-worker-restart=0
FAST := not slow and not benchmark and not torch and not browser and not loggers and not slurm and not ray and not docs
# In make test-all, those that train or are not quick are compiled as users compile; formulas need no optimization, nor
# does what is slow because much is compiled.
QUICKLY := ($(FAST) and not compiled) or brief

.PHONY: help install-dev install-docs install-all study test times test-all test-torch test-browser test-loggers test-slurm test-ray docs lint format benchmark clean

help:
	@echo "make study         a real ablation study on handwritten digits, with a report (under two minutes)"
	@echo "make test          the quick tests, which need nothing but the project's own dependencies"
	@echo "make times         the same, and what took long is left to make test-all from then on (tests/long.txt)"
	@echo "make test-all      every test, trainings compiled as users compile them (installs what they need)"
	@echo "make test-torch    parity with PyTorch, torchvision and timm (installs them)"
	@echo "make test-browser  the report page in Chromium (needs chromium on the PATH)"
	@echo "make test-loggers  TensorBoard, W&B and MLflow, offline (installs them)"
	@echo "make test-slurm    a study on a real SLURM of this machine: start it first, as root, by .ci/slurm start"
	@echo "make test-ray      a study on a Ray cluster of two nodes on this machine (installs Ray)"
	@echo "make docs          the documentation's site in build/site, warnings as errors, links checked (installs what it needs)"
	@echo "make lint          ruff, pyright and the citation file"
	@echo "make format        let ruff rewrite the code"
	@echo "make benchmark     the study against one plain Flax process a trial (about 15 minutes)"
	@echo "make clean         remove .venv and caches (never runs/)"

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "cnnjax needs Python 3.11 or newer; try make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(VENV)/installed-torch: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch transformers pycocotools sacrebleu scikit-image
	# torchvision asks for the PyTorch it was built with; its models need none of what differs.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps torchvision timm
	@touch $@

$(VENV)/installed-loggers: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,tensorboard,wandb,mlflow]'
	@touch $@

$(VENV)/installed-clusters: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,slurm,ray]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@

install-dev: $(VENV)/installed-dev

install-docs: $(VENV)/installed-docs

install-all: $(VENV)/installed-torch $(VENV)/installed-loggers $(VENV)/installed-clusters $(VENV)/installed-docs

study: $(VENV)/installed
	$(BIN)/cnnjax sweep experiments/digits/study.py --out $(OUT) $(ARGS)

test: $(VENV)/installed-dev
	$(PYTEST) -m "$(FAST) and not long"

times: $(VENV)/installed-dev
	file=$$(mktemp) && CNNJAX_TIMES=$$file $(PYTEST) -m "$(FAST) and not long" && $(BIN)/python tests/long.py $$file

# Both parts are run, whatever the first one finds. A third worker, for tests wait for processes and for the clock.
test-all: install-all
	status=0; $(PYTEST) -n 3 -m "$(QUICKLY)" || status=1; \
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(PYTEST) -n 3 -m "not ($(QUICKLY))" || status=1; exit $$status

test-torch: $(VENV)/installed-torch
	$(BIN)/python -m pytest -m torch

test-browser: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m browser

test-loggers: $(VENV)/installed-loggers
	$(BIN)/python -m pytest -m loggers

test-slurm: $(VENV)/installed-clusters
	$(BIN)/python -m pytest -m slurm

test-ray: $(VENV)/installed-clusters
	$(BIN)/python -m pytest -m ray

docs: $(VENV)/installed-docs
	$(BIN)/python -m docs.make build
	$(BIN)/zensical build --strict --config-file build/mkdocs.yml
	$(BIN)/python -m docs.make.checks build/site

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python .ci/types
	$(BIN)/cffconvert --validate

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(VENV)/installed-dev
	$(BIN)/python benchmarks/study_vs_processes.py
	$(BIN)/python benchmarks/loop_overhead.py

clean:
	rm -rf $(VENV) build .pytest_cache .ruff_cache .hypothesis
