# make demo: a shop's whole life, then the API and the console.   make test: the quick tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Each command and test is many processes: where this is set, each of them would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

# Tests sync thousands of small files, and none is about a power cut: in memory where there are 4 GB for them.
IN_MEMORY := $(shell [ -w /dev/shm ] && ! grep -q ' /dev/shm .*noexec' /proc/mounts \
  && [ "$$(df --output=avail /dev/shm | tail -1)" -gt 4000000 ] && echo PYTEST_DEBUG_TEMPROOT=/dev/shm)
PYTEST := $(IN_MEMORY) $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test lint bench slow lock clean

demo: $(READY)
	@$(BIN)/tidemill demo $(ARGS)

test: $(READY)
	@$(PYTEST) -m "not slow and not spark and not browser" $(ARGS)

slow: $(READY)
	@$(PYTEST) -m "slow or spark or browser" $(ARGS) $$(grep -rlE 'mark\.(slow|spark|browser)' tests --include='test_*.py')

lint: $(READY)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: $(READY)
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

# One environment from the lock, with hashes; made again when the lock or the project file changes.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("tidemill needs Python 3.11 or newer; name one with PYTHON=python3.x" if sys.version_info < (3, 11) else 0)'
	@echo "setting up $(VENV): about half a minute, once" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

lock: $(READY)
	@$(BIN)/uv pip compile --quiet pyproject.toml $(addprefix --extra=,excel iceberg learn mlflow notebook onnx s3 spark sql dev) --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --output-file requirements.lock
	@sed -i '1i # Every dependency and extra, pinned with hashes. Made by `make lock`.' requirements.lock

clean:
	rm -rf $(VENV) tidemill-demo
