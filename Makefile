# Everything a user or a developer runs. `make` alone prints the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# RocksDB takes long to compile, so that all clones and all targets share one target folder and one profile.
export EMBERLOG_CACHE ?= $(HOME)/.cache/emberlog
export CARGO_TARGET_DIR ?= $(EMBERLOG_CACHE)/target

EMBERLOG_URL ?= http://127.0.0.1:5000
SPARK ?= 4
APP ?= pi
APPS ?= pi sql_shuffle_skew failing streaming
TIME ?= 60
TARGETS ?=
PREFIX ?= /usr/local
DESTDIR ?=
INSTALL ?= install
ARGS ?=

BINARIES := $(CARGO_TARGET_DIR)/release
BINARY := $(BINARIES)/emberlog
PROGRAMS := emberlog emberlog-collector emberlog-materializer emberlog-api
JAR := listener/target/emberlog-listener.jar
SCRIPTS := .ci/run examples/run $(wildcard scripts/*)
# The same package selection everywhere: another one unifies features differently and compiles RocksDB again.
CARGO_BUILD := scripts/cargo build --release --locked --workspace

help: ## print the targets
	@echo "usage: make TARGET [NAME=VALUE]..."
	@sed -nE 's/^([a-z_-]+):.*## (.*)/\1\t\2/p' Makefile | while IFS=$$'\t' read -r name text; do printf '  %-20s %s\n' "$$name" "$$text"; done

serve: build-one ## build and run the server; ARGS='--listen 0.0.0.0:5000' adds flags
	@exec "$(BINARY)" serve $(ARGS)

run_one_app: $(JAR) ## run APP (pi) with real Spark SPARK (3.5 or 4) against EMBERLOG_URL (http://127.0.0.1:5000)
	@scripts/setup spark
	@scripts/check-server "$(EMBERLOG_URL)"
	@examples/run --spark "$(SPARK)" --url "$(EMBERLOG_URL)" $(APP:%.py=%)

run_concurrent_apps: $(JAR) ## run APPS (pi sql_shuffle_skew failing streaming) at the same time
	@scripts/setup spark
	@scripts/check-server "$(EMBERLOG_URL)"
	@examples/run --spark "$(SPARK)" --url "$(EMBERLOG_URL)" --concurrent $(APPS:%.py=%)

build-one:
	@scripts/setup build
	@$(CARGO_BUILD) --bin emberlog

build: ## build all programs
	@scripts/setup build
	@$(CARGO_BUILD) $(PROGRAMS:%=--bin %)

kafka: ## start a real Apache Kafka on 127.0.0.1:9092 for development, without Docker
	@scripts/setup kafka
	@scripts/kafka start

kafka-stop: ## stop it; its data stay
	@scripts/kafka stop

serve-kafka: build ## run collector, materializer and API as three processes on `make kafka`
	@scripts/setup kafka
	@exec scripts/serve-kafka "$(BINARIES)"

listener: $(JAR) ## build the listener's jar

$(JAR): listener/pom.xml $(shell find listener/src/main -type f 2>/dev/null)
	@scripts/setup listener
	@echo "Building the listener"
	@mvn -q -B -f listener/pom.xml -DskipTests package
	@touch "$@"

test: ## run all tests, those with real Spark 3.5 and 4 included
	@scripts/setup build listener spark
	@scripts/test

test_kafka_faults: ## kill, freeze and damage real Kafka brokers and the programs: some ten minutes; `test` has a part of it
	@scripts/setup build listener
	@$(CARGO_BUILD) --bins
	@EMBERLOG_E2E_FAULTS=50 scripts/cargo test --release --locked --workspace --features journal/faults,e2e/faults \
		--test kafka_faults --test kafka_controls --test faults

test-nightly: lint test_kafka_faults test-helm test-monitoring ## what takes too long for every change: lint, faults, chart, alerts, and ten minutes of comparing a secondary
	@EMBERLOG_TEST_TRUTH_SECONDS=600 scripts/cargo test --release --locked --workspace --lib -- \
		a_secondary_in_another_process_tells_the_truth

test-helm: ## check the Helm chart: schemas of several Kubernetes versions, and the real programs started as it says
	@scripts/setup build
	@$(CARGO_BUILD) --bins
	@helm=$$(scripts/tool helm) && python=$$(scripts/tool python) && cd helm/tests && \
		HELM="$$helm" EMBERLOG_BINARIES="$(CARGO_TARGET_DIR)/release" PYTHONDONTWRITEBYTECODE=1 "$$python" -m unittest

test-compose: ## build the image and try docker-compose.yml, with services killed, and with tokens and TLS
	@scripts/test-compose

test-monitoring: ## check Prometheus' configuration, the alerts, and the dashboard's expressions
	@promtool=$$(scripts/tool promtool) && "$$promtool" check config monitoring/prometheus.yml && \
		"$$promtool" check config --syntax-only monitoring/prometheus-security.yml && \
		"$$promtool" test rules monitoring/alerts_test.yml && PROMTOOL="$$promtool" monitoring/check-dashboard

fuzz: ## fuzz every decoder for TIME (60) seconds each, or the TARGETS that are named; needs a nightly compiler and cargo-fuzz
	@scripts/fuzz "$(TIME)" $(TARGETS)

lint: ## check format, clippy and shell scripts
	@scripts/setup build lint
	@scripts/cargo fmt --all --check
	@scripts/cargo clippy --release --locked --workspace --all-targets -- -D warnings
	@if command -v shellcheck >/dev/null; then shellcheck --severity=warning $(SCRIPTS); else echo "lint: no shellcheck, shell scripts are not checked" >&2; fi

bench: ## measure every stage, each figure beside its limit; ARGS=--help tells more
	@scripts/setup build
	@$(CARGO_BUILD) --bin bench
	@exec "$(CARGO_TARGET_DIR)/release/bench" $(ARGS)

install: build $(JAR) ## install into PREFIX (/usr/local), below DESTDIR if given
	$(INSTALL) -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/share/emberlog"
	$(INSTALL) -m 755 $(PROGRAMS:%="$(BINARIES)/%") "$(DESTDIR)$(PREFIX)/bin"
	$(INSTALL) -m 644 "$(JAR)" "$(DESTDIR)$(PREFIX)/share/emberlog/emberlog-listener.jar"

clean: ## remove what was built, except RocksDB and the other dependencies
	@rm -rf listener/target
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@members=$$(sed -nE '/^members = \[/,/^\]/s/^ *"(.*)",/\1/p' Cargo.toml) && \
		names=$$(for it in $$members; do sed -nE '/^\[package\]/,/^$$/s/^name = "(.*)"/-p \1/p' "$$it/Cargo.toml"; done) && \
		scripts/cargo clean --release $$names

.PHONY: help fuzz test_kafka_faults test-nightly test-helm test-compose test-monitoring serve serve-kafka kafka kafka-stop run_one_app run_concurrent_apps build build-one listener test lint bench install clean
