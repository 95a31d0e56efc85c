# make setup | demo | quick | test | lint | bench …
# While you work: make quick (unit and integration tests without servers, about a minute). Before you hand in a change: make test.
# Needs Python >= 3.11 with pip and venv; everything else is installed into .venv.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROJECTS := pyproject.toml core/pyproject.toml $(wildcard plugins/*/pyproject.toml)

.PHONY: setup demo quick test engines docs browser promtool pictures lint race soak soak-year bench bench-micro growth sparse flat questions published remote cold-start prices clean

setup: $(STAMP)

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit("TITANS needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@echo "· creating $(VENV) and installing uv into it"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'

# uv finds the environment by the folder, so a copy of the tree elsewhere gets an environment of its own.
$(STAMP): $(BIN)/uv $(PROJECTS)
	@echo "· installing the workspace and its tools"
	@UV_PROJECT_ENVIRONMENT="$(CURDIR)/$(VENV)" $(BIN)/uv sync --quiet --inexact --python "$(CURDIR)/$(BIN)/python"
	@touch $@

demo: $(STAMP)
	@$(BIN)/titans demo

# Unit and integration tests without the markers server and slow: about a minute on two idle cores.
quick: $(STAMP)
	@$(BIN)/pytest -q -n 2 --dist loadgroup -m "not server and not slow" tests/unit tests/integration

# Two workers: the suite is written for two cores. Tests that share a server or processes stay in one worker.
test: $(STAMP) lint browser promtool
	@$(BIN)/pytest -n 2 --dist loadgroup --ignore=tests/engines

# Other engines on what TITANS publishes for them. They are installed into an environment of their own.
ENGINES := .venv-engines
ENGINES_STAMP := $(ENGINES)/.installed

$(ENGINES_STAMP): $(STAMP) tests/engines/requirements.txt
	@echo "· installing the engines into $(ENGINES)"
	@$(BIN)/uv venv --quiet --clear --python "$(CURDIR)/$(BIN)/python" $(ENGINES)
	@$(BIN)/uv pip install --quiet --python $(ENGINES)/bin/python -r tests/engines/requirements.txt
	@touch $@

# Spark itself, 479 MB, needs a Java machine: what titans-spark is tested for on Sail is then tested on it too.
SPARK := .venv-spark
SPARK_STAMP := $(SPARK)/.installed

$(SPARK_STAMP): $(STAMP)
	@command -v java >/dev/null || { echo "Spark needs Java 17 or newer: apt-get install default-jre-headless" >&2; exit 1; }
	@echo "· installing Spark into $(SPARK)"
	@$(BIN)/uv venv --quiet --clear --python "$(CURDIR)/$(BIN)/python" $(SPARK)
	@$(BIN)/uv pip install --quiet --python $(SPARK)/bin/python 'pyspark>=4.1' -e core -e plugins/aws -e plugins/spark
	@touch $@

engines: $(ENGINES_STAMP) $(SPARK_STAMP)
	@$(BIN)/pytest tests/engines tests/integration/test_spark.py

# The documentation site, into site/. SOURCE is where the repository can be looked at.
docs: $(STAMP)
	@$(BIN)/python docs/site/build.py site $(if $(SOURCE),--source $(SOURCE))

# Chromium, for the tests of the explorer: installed where that may be done, else they are skipped.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "· installing chromium" && \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium fonts-dejavu-core >/dev/null; } || \
	  echo "· no chromium here: the tests that need a browser are skipped"

# Prometheus' promtool, for the alert rules of the examples: as the browser.
promtool:
	@command -v promtool >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "· installing promtool" && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus >/dev/null; } || \
	  echo "· no promtool here: the tests of alert rules that need it are skipped"

# The screenshots of docs/explorer.md, of made-up data. Needs a font with Hangul for one of them (fonts-noto-cjk).
pictures: $(STAMP) browser
	@$(BIN)/python plugins/explorer/pictures.py

lint: $(STAMP)
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright # not asking whether there is a newer one: nothing is downloaded
	@$(BIN)/lint-imports --config pyproject.toml | tail -n 3

# The same as some of the tests, but longer: the races with 200 slots a writer, and seeds of the simulation for SECONDS.
race: $(STAMP)
	@TITANS_RACE_SLOTS=200 TITANS_RACE_KILLS=60 $(BIN)/pytest -q -s tests/integration/test_races.py

SECONDS ?= 600
soak: $(STAMP)
	@$(BIN)/python tests/simulation/soak.py --seconds $(SECONDS)

# A year of a small key set, slot by slot: nothing may grow with the age of the archive.
soak-year: $(STAMP)
	@$(BIN)/python benchmarks/year.py

# Measurements. The results go to benchmarks/results/ and docs/performance.md. `make test` runs all of them once with tiny data and checks no times.
BENCH := .venv-bench
BENCH_STAMP := $(BENCH)/.installed
SIZE ?= small

$(BENCH_STAMP): $(STAMP) benchmarks/requirements.txt
	@echo "· installing the peers into $(BENCH)"
	@$(BIN)/uv venv --quiet --clear --python "$(CURDIR)/$(BIN)/python" $(BENCH)
	@$(BIN)/uv pip install --quiet --python $(BENCH)/bin/python -r benchmarks/requirements.txt -e core -e plugins/aws
	@touch $@

published: $(ENGINES_STAMP)
	@$(BIN)/python benchmarks/published.py

bench: $(BENCH_STAMP)
	@$(BENCH)/bin/python benchmarks/compare.py --size $(SIZE)
	@$(BENCH)/bin/python benchmarks/report.py

bench-micro: $(BENCH_STAMP)
	@mkdir -p .benchmarks
	@$(BIN)/pytest benchmarks/test_micro.py -q --benchmark-columns=min,median,max,rounds --benchmark-sort=name --benchmark-json=.benchmarks/micro.json
	@$(BIN)/python benchmarks/report.py --micro .benchmarks/micro.json
	@$(BENCH)/bin/python benchmarks/report.py

growth: $(BENCH_STAMP)
	@$(BENCH)/bin/python benchmarks/growth.py
	@$(BENCH)/bin/python benchmarks/report.py

# Needs no peers: exact numbers of archives of few keys and rare changes.
sparse: $(STAMP)
	@$(BIN)/python benchmarks/sparse.py

# Needs no peers: exact numbers of what a question takes while an archive grows older.
flat: $(STAMP)
	@$(BIN)/python benchmarks/flat.py

# Needs no peers but DuckDB, and the AWS history beside the project.
questions: $(STAMP)
	@$(BIN)/python benchmarks/questions.py

# Stores on S3 behind a delay. DuckDB's extension for S3 is packaged for an earlier DuckDB than the one above.
DUCKDB := .venv-duckdb
DUCKDB_STAMP := $(DUCKDB)/.installed

$(DUCKDB_STAMP): $(STAMP)
	@$(BIN)/uv venv --quiet --clear --python "$(CURDIR)/$(BIN)/python" $(DUCKDB)
	@$(BIN)/uv pip install --quiet --python $(DUCKDB)/bin/python duckdb==1.5.5 duckdb-extension-httpfs==1.5.5 pyarrow
	@touch $@

remote: $(BENCH_STAMP) $(DUCKDB_STAMP)
	@$(BENCH)/bin/python benchmarks/remote.py --duckdb $(DUCKDB)/bin/python
	@$(BENCH)/bin/python benchmarks/report.py

cold-start: $(BENCH_STAMP)
	@$(BIN)/python benchmarks/cold_start.py
	@$(BENCH)/bin/python benchmarks/report.py

prices: $(BENCH_STAMP)
	@$(BIN)/python benchmarks/prices.py
	@$(BENCH)/bin/python benchmarks/report.py

clean:
	rm -rf $(VENV) $(BENCH) $(ENGINES) $(SPARK) $(DUCKDB) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .benchmarks titans-data dist
