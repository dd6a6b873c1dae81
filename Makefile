# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo deployment-demo chain-demo anvil test test-all lint bench lock clean

demo: $(READY)  ## the main job on real data, on this machine
	@$(BIN)/lunaria simulate $(ARGS)

deployment-demo: $(READY)  ## a server, a witness and three clients as processes of their own, with TLS and node keys; some are killed
	@$(BIN)/python -m server.deployment.demo

chain-demo: $(READY) anvil  ## four clients, one of which cheats, anchored, settled and paid for on a real Ethereum node
	@$(BIN)/python -m tests.chain.demo

anvil:  ## a real Ethereum node for tests and demo, from npm where there is one; tests that need it skip without
	@test -d .anvil || command -v anvil >/dev/null || ! command -v npm >/dev/null || \
	  npm install --silent --no-save --no-package-lock --ignore-scripts --prefix .anvil @foundry-rs/anvil@1.7.1 || rm -rf .anvil

test: $(READY) anvil lint  ## what CI runs
	@$(BIN)/python -m pytest -n auto --dist loadfile

test-all: $(READY) anvil lint  ## with the slow ones
	@$(BIN)/python -m pytest -n auto --dist loadfile -m "slow or not slow"

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(READY)  ## writes reports with the machine in them
	@mkdir -p bench/reports
	@$(BIN)/python -m bench.overhead --json bench/reports/overhead.json
	@$(BIN)/python -m bench.ledger --json bench/reports/ledger.json
	@$(BIN)/python -m bench.training_proof --quick --json bench/reports/training_proof.json

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || { echo "error: Python 3.11 or 3.12 is needed; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "installing into $(VENV) (once; a few minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[federation,chain,dev]'
	@touch $@

lock:  ## renew constraints.txt from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --extra federation --extra postgres --extra chain --extra dev --universal --python-version 3.11 --no-header --no-annotate --upgrade -q -o constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
