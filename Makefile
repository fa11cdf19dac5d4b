# `make demo` and `make test` are the commands of the README; the other targets are their steps, and those of CI.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PLUGINS := $(wildcard plugins/aeframe-*)
READY := $(VENV)/.installed
# Processes of the test run, with one thread each; each loads torch, about half a gigabyte. A file is run by one process,
# so that models that its tests share are trained once, and files start in the order of conftest.py: slow ones first.
JOBS ?= 2

.PHONY: install demo test lint types floors check wheels docs clean

install: $(READY)

$(READY): pyproject.toml constraints.txt $(PLUGINS:%=%/pyproject.toml)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]' $(PLUGINS:%=-e %)
	touch $@

demo: $(READY)
	$(BIN)/python train.py experiment=digits_quick

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy aeframe $(wildcard plugins/*/src) train.py benchmarks

floors: $(READY)
	$(BIN)/lint-imports

check: lint types floors test

wheels: $(READY)
	for each in . $(PLUGINS); do $(BIN)/python -m build -q --wheel --outdir dist $$each || exit 1; done

# The documentation as a site in site/, which works without a server. GALLERY=quick runs short experiments for its
# pictures first; otherwise it has those of the last time, if there are any.
docs: $(VENV)/.docs
	test "$(GALLERY)" != quick || $(BIN)/python docs/site/gallery.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

$(VENV)/.docs: $(READY)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) dist build site
