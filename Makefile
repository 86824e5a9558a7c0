# Two commands matter: `make demo` and `make test`. Both build .venv once; the second call is instant.
# On another Python, beside it: make test PYTHON=python3.13 VENV=.venv-3.13
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.xgw-ready
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test unit soak bench lint types format clean

demo: $(READY)
	@$(BIN)/xgw demo

# Twice: four at a time what mostly waits, and then what measures time, with nothing beside it.
test: $(READY)
	@$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not alone" tests
	@$(BIN)/python -m pytest -m alone tests

unit: $(READY)
	@$(BIN)/python -m pytest tests/unit

# Not part of `make test`: an hour. SOAK="tenants --requests 100000" takes a part of it.
soak: $(READY)
	@$(BIN)/python -m tests.soak $(SOAK)

lint: $(READY)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

bench: $(READY)
	@$(BIN)/python -m benchmarks.gateway $(BENCH)

types: $(READY)
	@$(BIN)/mypy

format: $(READY)
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

clean:
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

# uv when it is there (fast), else venv + pip. The stamp is written last, so a broken install is never taken for a good one.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"xgw needs Python 3.11 or newer; this is {v[0]}.{v[1]}. Try: make demo PYTHON=python3.12")'
	@echo "setting up $(VENV) (once) ..." >&2
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
	  uv pip install --quiet --compile-bytecode --python $(BIN)/python -e . --group dev; \
	else \
	  { $(PYTHON) -m venv $(VENV) || { echo "fix: apt install python3-venv" >&2; exit 1; }; } && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -e . --group dev; \
	fi
	@touch $@
