# make demo: the whole workflow on slides that the package draws itself.
# make test: every test. make docs: the documentation. All make .venv from envs/requirements.lock
# when it is missing. make lock: that lock anew from pyproject.toml.

PYTHON ?= python3
CORES ?= 2
BIN := .venv/bin
STAMP := .venv/.installed
DEMO := --configfile configs/demo.yaml

.PHONY: demo report experiments test docs lint lock clean

demo: $(STAMP)
	@echo "In another terminal, $(BIN)/nucleigan status --watch results/demo shows how far it is."
	$(BIN)/snakemake --cores $(CORES) $(DEMO) --quiet rules
	@cat results/demo/evaluation/table.md
	@echo
	@echo "Look into results/demo: slides, stain, patches, polygons, cyclegan, synthesis,"
	@echo "segmentation, predictions, evaluation, report (report/start.html opens in a browser);"
	@echo "'make report' puts it all into one HTML file."

report: demo
	$(BIN)/snakemake $(DEMO) --report results/demo/report.html

# make experiments BASE=configs/kumar-cpu.yaml SETTINGS=slides=slides.csv EXPERIMENTS="reference ..."
BASE ?= configs/demo.yaml
EXPERIMENTS ?= $(basename $(notdir $(wildcard configs/experiments/*.yaml)))

experiments: $(STAMP)
	@for name in $(EXPERIMENTS); do \
	  $(BIN)/snakemake --cores $(CORES) --configfile $(BASE) configs/experiments/$$name.yaml \
	    --config results=results/experiments/$$name $(SETTINGS) --quiet rules -- evaluation \
	    || exit 1; \
	done
	$(BIN)/nucleigan compare $(EXPERIMENTS:%=results/experiments/%) \
	  --output results/experiments/comparison

# The tests of a file share runs of the workflow, so that files go to cores as a whole.
test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses $(CORES) --dist loadfile --no-loadscope-reorder

docs: $(STAMP)
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo "build/docs/index.html"

lint: $(STAMP)
	$(BIN)/pip check --disable-pip-version-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint $(DEMO)

# Pins stay where they fit; make lock UPGRADE=--upgrade takes the newest releases. Every file of a
# release is listed, so that the lock serves Python 3.11 to 3.13; a patch release of Python, as of
# Debian 12, may be older than what the newest packages want.
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --disable-pip-version-check --quiet uv==0.13.9
	build/lock/bin/uv pip compile pyproject.toml --all-extras \
	  --python-platform linux --python-version 3.11.0 \
	  --generate-hashes --no-annotate --custom-compile-command "make lock" --quiet $(UPGRADE) \
	  --output-file envs/requirements.lock

$(STAMP): envs/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "$$($(PYTHON) --version) found; nucleigan needs Python 3.11 to 3.13: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@[ "$$(uname -s)" = Linux ] || \
	  { echo "This is $$(uname -s); the lock holds packages for Linux alone."; exit 1; }
	@echo "Making .venv from envs/requirements.lock (about 6 GB, some minutes) ..."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --require-hashes -r envs/requirements.lock
	$(BIN)/pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf .venv .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis
