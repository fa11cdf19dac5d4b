# `make demo` and `make test` are the commands of the README; the other targets are their steps, and those of CI.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PLUGINS := $(wildcard plugins/aeframe-*)
READY := $(VENV)/.installed
# Processes of the test run, with one thread each; each loads torch, about half a gigabyte. A file is run by one process,
# so that models that its tests share are trained once, and files start in the order of conftest.py: slow ones first.
JOBS ?= 2
# Bytecode is kept even where the environment forbids it: otherwise pytest rewrites the assertions of all tests in each of
# its processes, and each process that a test starts compiles the package.
TEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS)

# The unit tests of `make test-fast`, without the files that train models or start other processes many times.
FAST := tests/parts tests/types tests/model tests/runs tests/data tests/test_factory.py tests/test_registry.py \
	tests/test_tensors.py tests/test_devices.py tests/test_noise.py tests/test_batch_noise.py \
	--ignore=tests/parts/test_own.py --ignore=tests/parts/networks/test_pretrained.py \
	--ignore=tests/parts/latents/test_manifolds.py --ignore=tests/data/test_label_names.py \
	--ignore=tests/data/test_array_memory.py

.PHONY: install demo test test-fast lint types floors check wheels docs clean

install: $(READY)

$(READY): pyproject.toml constraints.txt $(PLUGINS:%=%/pyproject.toml)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]' $(PLUGINS:%=-e %)
	touch $@

demo: $(READY)
	$(BIN)/python train.py experiment=glyphs_quick

test: $(READY)
	$(TEST) --dist loadfile --no-loadscope-reorder

# A first answer within 90 seconds on two cores, before the whole run.
test-fast: $(READY)
	$(TEST) -m "not slow" $(FAST)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy aeframe $(wildcard plugins/*/src) train.py benchmarks zoo

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
