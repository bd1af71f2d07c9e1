# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
CORES ?= $(shell nproc)
# Processes that share the tests, file by file; each computes with one thread.
WORKERS ?= 2
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"
# Containers often set it. Python then compiles torch, pandas and Snakemake anew whenever it starts: twice the time of a small job.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-slurm test-faults soak test-all lint format docs rulegraph clean
.DEFAULT_GOAL := help

help:
	@echo "make demo      reconstruct the embedded demo volume, end with its figures and where to look"
	@echo "make test      the default tests, real Snakemake runs among them (about 15 minutes on 2 cores)"
	@echo "make test-slurm  the workflow on a SLURM of two nodes that the tests start (about 10 minutes on 2 cores)"
	@echo "make test-faults  kills, damages and starves the stages, and writes what came of it into docs/reliability.md"
	@echo "make soak      200 blocks under random kills for 20 minutes, compared with an undisturbed run"
	@echo "make test-all  the slow tests too"
	@echo "make lint      ruff, snakefmt, snakemake --lint"
	@echo "make docs      regenerate config/config.yaml, config/schema.json, config/README.md"
	@echo "make rulegraph redraw the README's picture of the rules (needs graphviz)"

# The environment is made anew when what it is made from changes.
$(BIN)/.installed: pyproject.toml envs/constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --no-compile -c envs/constraints.txt -e '.[test]'
	@touch $@

demo: $(BIN)/.installed
	$(RUN) snakemake --cores $(CORES) --configfile config/demo.yaml
	@$(BIN)/python -c "import json; m = json.load(open('results/demo/metrics.json')); \
	print('\n'.join(f'{k:10} {m[k][\"psnr_db\"]:6.2f} dB  SSIM {m[k][\"ssim\"]:.3f}' for k in ('nearest', 'linear', 'cubic', 'isotropic')))"
	@echo "report: results/demo/report/index.html    viewer: $(BIN)/isofield view results/demo"

test: $(BIN)/.installed
	$(RUN) OMP_NUM_THREADS=1 pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-slurm: $(BIN)/.installed
	$(RUN) pytest -m slurm tests/slurm

test-faults: $(BIN)/.installed
	$(RUN) ISOFIELD_FAULT_MATRIX=docs/reliability.md pytest -m "faults or not faults" --timeout 3000 tests/faults

soak: $(BIN)/.installed
	$(RUN) python tests/faults/soak.py --minutes 20 --blocks 200 --folder build/soak

test-all: $(BIN)/.installed
	$(RUN) pytest -m "not gpu and not slurm"

lint: $(BIN)/.installed
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) snakefmt --check Snakefile workflow
	$(RUN) snakemake --lint

format: $(BIN)/.installed
	$(RUN) ruff check --fix -q .
	$(RUN) ruff format -q .
	$(RUN) snakefmt Snakefile workflow

docs: $(BIN)/.installed
	$(BIN)/isofield config > config/config.yaml
	$(BIN)/isofield config --schema > config/schema.json
	$(BIN)/isofield config --table > config/README.md

# Rule `all`, which everything points at, is left out.
rulegraph: $(BIN)/.installed
	$(RUN) snakemake --quiet all --forceall --rulegraph dot --configfile config/demo.yaml \
	  | sed -e 's/bgcolor=white/bgcolor=white, rankdir=LR/' -e '/-> 0$$/d' -e '/label = "all"/d' \
	  | dot -Tsvg -o docs/images/rulegraph.svg

clean:
	rm -rf .venv .snakemake build .pytest_cache .ruff_cache .hypothesis
