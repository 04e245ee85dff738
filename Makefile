# `make demo` and `make test` need only Python >= 3.11 and make: the environment in .venv is made on first use.
PYTHON ?= python3
BIN := .venv/bin
RESULTS ?= results/demo
# The versions that `make test` passed on; `make test CONSTRAINTS=` takes the newest instead.
CONSTRAINTS ?= constraints.txt
export RAY_AUTH_MODE ?= disabled
export MLFLOW_DISABLE_TELEMETRY ?= true
# Hundreds of processes read the same modules: compiled once, whatever the caller's environment says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-oldest constraints lint format types layers pytest pytest-fast pytest-ray test-elsewhere shape browser cluster-test metrics-test autoscaler-test slow-test chaos fuzz zoo overhead bench frontier arena arena-check dispute vc paper-bench docs generate clean

help:  ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

demo: .venv/.ready  ## the whole loop on the embedded dataset: proof, spoofs, verdicts, tables, figures (2 to 4 minutes)
	$(BIN)/raypol demo --results $(RESULTS)

test: .venv/.ready  ## everything CI runs: format, lint, types, layer rules, tests
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory -j 4 layers types pytest-ray pytest-fast  # Ray's tests wait half the time

lint: .venv/.ready  ## ruff: format check and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: .venv/.ready  ## ruff: rewrite to the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test-oldest: .venv-oldest/.ready  ## the tests on the oldest versions that pyproject.toml allows, in .venv-oldest (up to 6 GB of disk)
	OMP_NUM_THREADS=1 .venv-oldest/bin/pytest -m "not ray and not slow and not machine and not browser" -n 2 --dist worksteal
	OMP_NUM_THREADS=1 .venv-oldest/bin/pytest -m "ray and not slow and not machine" tests/cluster tests/runs

constraints: .venv/.docs-ready  ## write constraints.txt from .venv, after `make clean; make test CONSTRAINTS=` has passed
	@{ echo "# The versions that the tests passed on, with all they need; written by \`make constraints\`. PyTorch and its CUDA packages:"; \
	  echo "# no newer ones, whatever the build (CPU, CUDA, ROCm)."; \
	  $(BIN)/pip list --format=freeze --exclude-editable --disable-pip-version-check \
	    | grep -viE '^(pip|triton|cuda-.*|nvidia-.*)=' | sed -E 's/^(torch|torchvision)==([0-9.]+).*/\1<=\2/'; } > constraints.txt

types: .venv/.ready  ## mypy --strict over package, sweeps, tests and benchmarks
	$(BIN)/mypy

layers: .venv/.ready  ## import-linter: imports point down only
	$(BIN)/lint-imports

pytest: pytest-fast pytest-ray  ## the test suite alone

pytest-fast: .venv/.ready  ## tests that start no Ray, in two processes of one thread
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/pytest -m "not ray and not slow and not machine and not browser" -n 2 --dist worksteal

# Their files alone: reading all others would take half a minute.
pytest-ray: .venv/.ready  ## tests that start a local Ray, one after the other
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "ray and not slow and not machine and not browser" \
	  $$(grep -rl 'mark\.ray' tests --include='test_*.py' | LC_ALL=C sort)

# Other instruction sets round differently, and so do two threads: no outcome of a test may depend on it.
NUMERICAL := tests/core tests/runs/trials tests/runs/success_range tests/cluster/test_jobs.py tests/cluster/test_interrupted_proofs.py
test-elsewhere: .venv/.ready  ## the numerical tests as other processors would round: instruction sets and threads (about 20 minutes)
	@for arithmetic in "ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41" "ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX" \
	  "ONEDNN_MAX_CPU_ISA=AVX2 RAYPOL_TEST_THREADS=2" "ATEN_CPU_CAPABILITY=default RAYPOL_TEST_THREADS=2"; do \
	  echo "== $$arithmetic"; \
	  env OMP_NUM_THREADS=1 $$arithmetic $(BIN)/pytest -q -m "not ray and not slow and not machine and not browser" $(NUMERICAL) || exit 1; \
	done

shape: .venv/.ready  ## measures of the code's shape beside their bars: folders, modules, lines, imports, names
	$(BIN)/python -m benchmarks.shape

browser: .venv/.ready  ## the pages in headless Chromium (Debian: chromium); screenshots go to tests/browser/artifacts
	$(BIN)/pytest -m browser

cluster-test: .venv/.ready  ## ray up, ray submit, ray job submit for real, through an sshd on loopback (Debian: openssh-server rsync)
	$(BIN)/pytest -m machine tests/system/test_join.py tests/system/test_submit.py

metrics-test: .venv/.ready  ## every panel of the Grafana dashboard on a real Prometheus and a real sweep (Debian: prometheus; 2 minutes)
	$(BIN)/pytest -m machine tests/system/test_prometheus.py

autoscaler-test: .venv/.ready  ## Ray's autoscaler starts the node types of cluster.yaml, simulated on this machine
	$(BIN)/pytest -m machine tests/system/test_autoscaler.py

slow-test: .venv/.ready  ## tests that take too long for `make test`: interrupted sweeps, every smoke sweep (about 20 minutes)
	$(BIN)/pytest -m "slow and not machine"

chaos: .venv/.ready  ## a sweep while actors, workers, nodes and its driver are killed: nothing lost, doubled or changed (about 15 minutes)
	$(BIN)/python -m benchmarks.chaos

# Findings are files in tests/cases/fuzz, which `make test` replays.
FUZZ_SECONDS ?= 60
FUZZ ?=
fuzz: .venv/.fuzz-ready  ## readers of hostile files, coverage-guided, a minute each (16 minutes); FUZZ_SECONDS=600 FUZZ="pickle rows"
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(FUZZ)

zoo: .venv/.ready  ## bad proofs by the hundred, each judged by every policy: none accepted, unhandled, slow or large (8 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.zoo

overhead: .venv/.ready  ## time that Tune, actors, Parquet and MLflow add to a trial (about 3 minutes)
	$(BIN)/python -m benchmarks.overhead

bench: .venv/.ready  ## the ratios of docs/benchmarks.md: loops, forgeries and their costs (about 25 minutes)
	$(BIN)/python -m benchmarks

frontier: .venv/.ready  ## the fronts of error against cost, small: every attack and declaration, a figure and a table (95 trials)
	$(BIN)/python sweeps/frontier.py --size smoke --results results/frontier --yes

vc: .venv/.ready  ## proofs by verifiable computation: costs against constraints, fitted, into results/vc (10 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.vc --measure --rows results/vc/constraints.csv --picture results/vc/vc

arena: .venv/.ready  ## every attack against every verifier, small, into results/arena (8 minutes)
	$(BIN)/raypol arena --size smoke --results results/arena

arena-check: .venv/.ready  ## a random tenth of the standing results on digits, run again and compared (5 minutes)
	$(BIN)/raypol arena check docs/arena --arena arena-standard --results results/arena-check

dispute: .venv/.ready  ## disputes between two proofs of one training, a table of who lied, rounds, bytes, seconds (2 to 3 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.dispute

paper-bench: .venv/.ready  ## full-size models against the classic pipeline and safetensors, in ratios (about 30 minutes, 20 GB of disk)
	$(BIN)/python -m benchmarks.paper_scale

generate: .venv/.ready  ## write the pages made from code and rows: commands, results, verifier, attacks, standings, findings, the arena's page
	$(BIN)/python docs/generate_commands.py
	$(BIN)/python docs/generate_verifier.py
	$(BIN)/python docs/generate_attacks.py
	$(BIN)/python docs/generate_findings.py
	$(BIN)/python -m raypol.store.results.describe > docs/results.md

docs: .venv/.docs-ready  ## the pages of docs/ as HTML in site/; a broken link or anchor is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:  ## remove the environment and caches; results stay
	rm -rf .venv .venv-oldest site .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# An environment that make itself began and that was interrupted is made anew: pip cannot repair half a package. Downloads are kept.
.venv/.ready: pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "raypol needs Python >= 3.11; set PYTHON=..."; exit 2; }
	@if [ -e .venv/.unfinished ]; then echo "the installation in .venv was interrupted: starting anew"; rm -rf .venv; fi
	@if [ ! -e .venv ]; then \
	  echo "installing raypol and what it needs into .venv: up to 3 GB to download and 7 GB on disk, PyTorch for the most part; takes some minutes, once"; \
	  mkdir .venv && touch .venv/.unfinished && $(PYTHON) -m venv .venv; \
	else echo "bringing .venv up to date"; fi
	@$(INSTALL) '.[dev]'
	@rm -f .venv/.unfinished && touch $@
	@echo "installed: $$(du -sh .venv | cut -f1) in .venv"

.venv/.docs-ready: .venv/.ready
	@$(INSTALL) '.[docs]'
	@touch $@

.venv/.fuzz-ready: .venv/.ready
	@$(INSTALL) '.[fuzz]'
	@touch $@

# On a terminal pip shows a bar for each download.
INSTALL = $(BIN)/pip install --disable-pip-version-check $(if $(wildcard .venv/.ready),--quiet) \
  $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable

# uv can resolve to the lowest versions, and pip installs torch for it, from wherever pip gets torch on this machine.
OLDEST_TORCH ?= $(foreach name,torch torchvision,$(shell sed -n 's/^    "\($(name)\)>=\([0-9.]*\)",.*/\1==\2/p' pyproject.toml))
TORCH_BROUGHT := filelock jinja2 markupsafe numpy pillow
.venv-oldest/.ready: pyproject.toml
	@echo "installing the oldest versions that pyproject.toml allows into .venv-oldest, with $(OLDEST_TORCH); takes some minutes"
	@rm -rf .venv-oldest && $(PYTHON) -m venv .venv-oldest
	@.venv-oldest/bin/pip install --disable-pip-version-check uv $(OLDEST_TORCH)
	@.venv-oldest/bin/pip list --format=freeze | grep -E '^torch' > .venv-oldest/torch.txt
	@.venv-oldest/bin/uv pip install --python .venv-oldest --resolution lowest-direct --constraint .venv-oldest/torch.txt \
	  $(TORCH_BROUGHT:%=--upgrade-package %) --editable '.[dev]'
	@touch $@
