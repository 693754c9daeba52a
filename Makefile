# What a person or CI does with this checkout. `make help` lists it.

export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/backstay/target

# cargo-nextest when it is there (a process for each test, a limit on hangs), else plain cargo test.
NEXTEST := $(shell command -v cargo-nextest 2>/dev/null)
RUN_TESTS := $(if $(NEXTEST),cargo nextest run,cargo test)
SOAK_BUILD := $(if $(NEXTEST),--cargo-profile,--profile) soak
# More arguments for the benchmark program, as in: make bench BENCH="--quick --only backup"
BENCH ?= --large
# Executions of each target.
export FUZZ_RUNS ?= 10000000

.PHONY: help demo test versions bench soak fuzz lint

help: ## this list (the default)
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  builds go to $(CARGO_TARGET_DIR)"

demo: ## rescue one tenant of a real MongoDB, step by step, in under 3 minutes
	scripts/fetch-servers mongodb
	cargo build --release -p backstay-cli -p backstay-demo
	cargo run --release -p backstay-demo

# Doc tests come first, so that the last line sums up the tests that matter most.
test: ## all tests, against real servers
	scripts/fetch-servers
	cargo test --workspace --doc --quiet
	$(RUN_TESTS) --workspace

# The releases that scripts/fetch-servers has beside the one that `make test` runs; see docs/reference/versions.md.
versions: ## the tests of the program and of the MongoDB adapter, against other releases of MongoDB
	scripts/fetch-servers versions
	set -e; for mongod in .servers/versions/*/bin/mongod; do \
	    echo "== $$mongod"; BACKSTAY_REQUIRE_SERVERS=1 BACKSTAY_MONGOD=$$PWD/$$mongod $(RUN_TESTS) -p backstay-cli -p backstay-mongodb; \
	done

bench: ## time and memory against the bare driver, on 1,000,000 documents and on 5 GB (BENCH="--quick" for less)
	scripts/fetch-servers mongodb seaweedfs
	cargo build --release -p backstay-cli -p backstay-bench
	cargo run --release -p backstay-bench -- $(BENCH)

soak: ## the simulations and property tests, for a long time
	scripts/fetch-servers
	BACKSTAY_SOAK=1 $(RUN_TESTS) $(SOAK_BUILD) --workspace

fuzz: ## every decoder against bytes that a fuzzer makes up, on two cores for hours (FUZZ_RUNS=100000 for less)
	fuzz/run

lint: ## format, clippy, licences, bans, and which crate may know which
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	scripts/check-deps
	scripts/check-licences
