# Two doors.  `make` runs the demo; `make test` runs the tests.
# Either one first builds .venv, and rebuilds it when the requirements change.
PYTHON ?= python3
BIN    := .venv/bin
# Let uv trust the machine's own certificates, as pip does.
export UV_SYSTEM_CERTS := 1
# Where bytecode is not kept, every process compiles the library and its tests anew.
export PYTHONDONTWRITEBYTECODE :=

# A sample of the paper's public release is read too, if it lies beside the checkout.
demo: .venv/.ready
	$(BIN)/python -m animeshooter_hf demo --out out $(addprefix --sample ,$(wildcard ../shared/release-sample))

test: .venv/.ready
	$(BIN)/python -m pytest

# The cheap checks that .ci/run makes before the tests.
check: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# uv installs the heavy wheels several times faster; pip alone is the fallback.
.venv/.ready: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "animeshooter_hf needs Python 3.11 or newer; name one with: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv \
	  && $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable '.[dev]' \
	  || $(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info

.PHONY: demo test check clean
.DEFAULT_GOAL := demo
