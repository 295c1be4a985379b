# Python 3.11 or later, pip and make are all this needs. VENV and PYTHON may be set: make test VENV=/tmp/venv

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PACKAGES := './vpcore[dev]' ./vpcore_signals_stat ./vpcore_signals_ml $(patsubst %,./%,$(sort $(wildcard plugins/*)))
PYPROJECTS := pyproject.toml docs/requirements.txt $(wildcard vpcore*/pyproject.toml plugins/*/pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help install demo lint test test-fast test-core coverage fuzz faults docs field-tables closures constraints clean

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 16

install: $(STAMP)  ## Make .venv with all packages, editable, and every tool.

# A new entry point or dependency is only seen after another install, so the stamp depends on what declares them.
$(STAMP): $(PYPROJECTS) constraints.txt
	@echo "Installing about $$(grep -c == constraints.txt) packages into $(VENV), once: some minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r docs/requirements.txt $(foreach package,$(PACKAGES),-e $(package))
	touch $(STAMP)

demo: $(STAMP)  ## The whole chain on a synthetic market, in build/demo; writes nothing else.
	$(BIN)/vp demo build/demo --nested

lint: $(STAMP)  ## Style, types and the import contract.
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports --no-cache

# Compiled tests are kept, whatever the shell says: without them collection takes three times as long.
unexport PYTHONDONTWRITEBYTECODE

# One hash seed, so that runs repeat exactly; `make fuzz` takes others. Threads of libraries only wait for a core here.
test test-fast coverage: export PYTHONHASHSEED = 0
test test-fast coverage: export POLARS_MAX_THREADS = 1
test test-fast coverage: export OPENBLAS_NUM_THREADS = 1
test test-fast coverage: export OMP_WAIT_POLICY = passive

# Three processes keep two cores busy: some wait for servers and commands that they started. A worker takes file after
# file, in the order of `testpaths` or of the paths given: what a file's tests share is made once.
XDIST = -n 3 --dist loadfile --no-loadscope-reorder

# The second run has a cache of its own: numba's does not tell code with bounds checks from code without. It is about
# indices alone, so it leaves out slow tests, as the comparison with the slow engine is, and the tests of the cache. Few
# files are left: two processes share tests one by one.

test: $(STAMP)  ## All tests, on three processes, then those of kernels and engine with bounds checks; PYTEST_ARGS are passed on.
	$(BIN)/python -m pytest $(XDIST) $(PYTEST_ARGS)
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=$(CURDIR)/build/numba-boundscheck $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" tests/core/kernels tests/core/engine --deselect tests/core/kernels/test_jit.py $(PYTEST_ARGS)

test-fast: $(STAMP)  ## Every test that is not marked slow, on three processes.
	$(BIN)/python -m pytest $(XDIST) -m "not slow" $(PYTEST_ARGS)

build/core/.installed: vpcore/pyproject.toml constraints.txt
	$(PYTHON) -m venv build/core
	build/core/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e './vpcore[dev]'
	touch $@

test-core: build/core/.installed  ## The tests of the core, in an environment without signals and plugins.
	build/core/bin/python -m pytest $(XDIST) tests/core $(PYTEST_ARGS)

# Tests that reach lines which no others reach: those of reports and of single models, and a few more chains, add none.
LEARNING = $(addprefix tests/signals_ml/test_,background.py diagnostics.py learning.py serving.py)
COVERING = $(addprefix tests/,core e2e plugins/vpcore_cli plugins/vpcore_dbn plugins/vpcore_object_store plugins/vpcore_serving) $(LEARNING)
CHAINS = $(addprefix tests/,plugins/vpcore_serving plugins/vpcore_cli/test_serving.py e2e/test_maker.py)
UNCOMPILED = $(addprefix tests/core/,kernels engine backtest scoring statistics) tests/plugins/vpcore_serving/test_projection.py

# Lines and branches of vpcore, vpcore_cli, vpcore_dbn and vpcore_serving. The coverage of compiled code is that of a last run without compilation, on small inputs. The
# first run has an empty cache: what numba calls while it compiles is in these tests.
COMPILING = $(addprefix tests/core/kernels/,test_bin_loop.py test_decay.py test_jit.py test_linked.py)

# Under load, Python 3.11 may refuse to trace a thread that starts while another one does: it ends, with this warning.
UNTRACED = -W "ignore:Exception ignored in thread started by:pytest.PytestUnraisableExceptionWarning"

coverage: $(STAMP)  ## Coverage of the core and vpcore_serving by the fast tests and a few chains: at least 95 %, 100 % of the kernels.
	rm -rf .coverage .coverage.* build/numba-coverage
	NUMBA_CACHE_DIR=$(CURDIR)/build/numba-coverage $(BIN)/python -m coverage run -m pytest $(UNTRACED) -m "not slow" $(COMPILING)
	$(BIN)/python -m coverage run -m pytest $(XDIST) $(UNTRACED) -m "not slow" $(COVERING) $(addprefix --deselect ,$(COMPILING))
	$(BIN)/python -m coverage run -m pytest $(XDIST) $(UNTRACED) -m slow $(CHAINS)
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m coverage run -m pytest $(XDIST) $(UNTRACED) -m "not slow and not compiled" $(UNCOMPILED)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered --fail-under=95
	$(BIN)/python -m coverage report --include='*/vpcore/kernels/*,*/vpcore_serving/kernels/*' --fail-under=100

ROUNDS ?= 10
MINUTES ?= 60

fuzz: $(STAMP)  ## Random tests with a fresh seed in each of ROUNDS (10), none begun after MINUTES (60); SEED=... repeats one; PYTEST_ARGS are passed on.
	@end=$$(( $$(date +%s) + 60 * $(MINUTES) )); \
	for round in $$(seq $(if $(SEED),1,$(ROUNDS))); do \
		[ $$(date +%s) -lt $$end ] || { echo "$(MINUTES) minutes are over"; break; }; \
		seed=$(or $(SEED),$$($(BIN)/python -c "import secrets; print(secrets.randbits(32))")); \
		echo "== round $$round, seed $$seed"; \
		PYTHONHASHSEED=$$seed $(BIN)/python -m pytest -q -n 3 --dist worksteal -m hypothesis --hypothesis-profile=fuzz --hypothesis-seed=$$seed $(PYTEST_ARGS) \
			|| { echo "To repeat: make fuzz SEED=$$seed PYTEST_ARGS=PATH::TEST"; exit 1; }; \
	done

faults: $(STAMP)  ## Kills, damage, full disks, two processes at once: at most 60 minutes; FAULTS names faults or options.
	nice $(BIN)/python tests/faults/fault_suite.py $(FAULTS)

docs: $(STAMP)  ## Build the documentation into build/docs/html; a warning is an error. SPHINX_ARGS are passed on.
	$(BIN)/python -m sphinx --jobs 2 --fail-on-warning --doctree-dir build/docs/doctrees --quiet $(SPHINX_ARGS) docs build/docs/html
	@echo "The documentation: build/docs/html/index.html"

field-tables: $(STAMP)  ## Write the tables of docs/reference/configuration.md anew from the models.
	mkdir -p build
	{ sed '/<!-- fields -->/q' docs/reference/configuration.md; $(BIN)/python docs/field_tables.py; } > build/configuration.md
	mv build/configuration.md docs/reference/configuration.md

closures:  ## Write the table of holidays and early closes anew, in an environment of its own, build/closures.
	$(PYTHON) -m venv build/closures
	build/closures/bin/python -m pip install --quiet --disable-pip-version-check ./vpcore pandas_market_calendars==5.5.0 exchange_calendars==4.13.2
	build/closures/bin/python docs/closures.py $(CLOSURES_ARGS)

constraints:  ## Resolve all packages with every extra anew and write constraints.txt.
	rm -rf build/constraints
	$(PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip install --quiet --disable-pip-version-check -r docs/requirements.txt $(PACKAGES)
	{ echo '# One resolution of all packages with every extra. Written by: make constraints'; \
	  build/constraints/bin/python -m pip freeze --all | grep -Ev '^(vpcore|pip==|wheel==)'; } > constraints.txt

clean:  ## Remove the environment, what was built, and caches; the lake stays.
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

.PHONY: bench bench-peers bench-report

bench: $(STAMP)  ## Every job beside its alternative: a table, and build/bench/results.json; BENCH names groups or options.
	$(BIN)/python benchmarks/run.py $(BENCH)

bench-peers: $(STAMP)  ## Other libraries on the same data, in an environment of their own, build/peers.
	$(BIN)/python benchmarks/peers/run.py

bench-report: $(STAMP)  ## Write what was measured into docs/background/performance.md.
	$(BIN)/python benchmarks/report.py
