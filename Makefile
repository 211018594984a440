# Two commands for a fresh Debian 12 or Ubuntu 24.04 machine: `make demo` and `make test`.
# `make help` lists the others.

BUILD   ?= build
JOBS    ?= $(shell nproc)
# For the sanitizer targets: further arguments of cmake, such as -DPTYCHOSERVE_SERVER=OFF, and of
# ctest, such as -R FrameStore.
CMAKE_ARGS ?=
CTEST_ARGS ?=
# For make fuzz: how long each target runs, and which ones do (all by default).
FUZZ_MINUTES ?= 20
FUZZ_TARGETS ?=
# For make soak.
SOAK_MINUTES ?= 10
# The three parts of the list: for what is built, for tests, and programs that tests use uninstalled.
PACKAGES      := $(shell sed -e '/^\# For tests/,$$d' -e 's/\#.*//' docker/packages.txt)
TEST_PACKAGES := $(shell sed -e '1,/^\# For tests$$/d' -e '/^\# For tests, not/,$$d' docker/packages.txt)
TEST_PROGRAMS := $(shell sed -e '1,/^\# For tests, not/d' docker/packages.txt)
# For the dashboard's page and its tests, and not in that list: some packages of Node.js bring an npm of
# their own, which Debian's would break, and Ubuntu has Chromium as a snap only.
PAGE_PACKAGES := $(if $(shell command -v npm),,npm) $(if $(shell command -v chromium),,chromium)
PAGE    := client/dashboard
SUDO    := $(if $(filter 0,$(shell id -u)),,sudo)

.DEFAULT_GOAL := help
.PHONY: help packages test-packages configure build dashboard page package demo test check-all asan fuzz mutants soak tsan format lint gpu-bundle clean

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

packages: WANTED = $(PACKAGES)
packages:  ## Install the Debian packages that building needs (uses sudo unless root)
	@$(INSTALL_MISSING)

test-packages: WANTED = $(TEST_PACKAGES)
test-packages: packages  ## Install what tests need as well; starts no service
	@$(INSTALL_MISSING)
	@tests/unpack_programs.sh build/programs $(TEST_PROGRAMS)

define INSTALL_MISSING
missing=$$(dpkg-query -W -f='$${db:Status-Status} $${Package}\n' $(WANTED) 2>/dev/null \
	    | sed -n 's/^installed //p' | sort > /tmp/ptychoserve-installed.$$$$; \
	    printf '%s\n' $(WANTED) | sort | comm -23 - /tmp/ptychoserve-installed.$$$$; \
	    rm -f /tmp/ptychoserve-installed.$$$$); \
	if [ -n "$$missing" ]; then \
	  echo "installing:" $$missing; \
	  $(SUDO) apt-get update -qq && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    -o DPkg::Lock::Timeout=300 $$missing; \
	fi
endef

configure: packages
	@cmake --preset release -B $(BUILD)

build: configure  ## Build server, client, dashboard and tests (release) into build/
	@cmake --build $(BUILD) -j $(JOBS)
	@$(MAKE) --no-print-directory dashboard || \
	  echo "There is no dashboard, as its page could not be built: see above. All else is there."

dashboard: packages  ## Build the dashboard's page into build/dashboard (needs npm and its registry)
	@[ -z "$(strip $(PAGE_PACKAGES))" ] || { echo "installing: $(PAGE_PACKAGES)"; \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    -o DPkg::Lock::Timeout=300 $(PAGE_PACKAGES); }
	@$(MAKE) --no-print-directory page

page: $(PAGE)/node_modules/.package-lock.json
	@cd $(PAGE) && npx vite build --logLevel warn --outDir $(abspath $(BUILD))/dashboard

$(PAGE)/node_modules/.package-lock.json: $(PAGE)/package-lock.json
	@cd $(PAGE) && npm ci --silent && touch node_modules/.package-lock.json

package: configure  ## Build, and make .deb and .tar.gz packages in build/package
	@cmake --build $(BUILD) -j $(JOBS) --target ptychoserved ptychoctl ptychoserve_python
	@$(MAKE) --no-print-directory dashboard
	@/usr/bin/python3 -B deploy/package/make_packages.py $(BUILD) $(BUILD)/package

# The page is built beside it where there is npm: nothing waits for it.
demo: packages  ## Simulate a scan, stream it, watch it appear, fetch the result
	@mkdir -p $(BUILD); \
	 if command -v npm > /dev/null; then $(MAKE) -s page > $(BUILD)/page.log 2>&1 & fi; \
	 cmake --preset release -B $(BUILD) > /dev/null && \
	 cmake --build $(BUILD) -j $(JOBS) --target ptychoserved ptychoctl ptychoserve_python
	@deploy/demo/demo.sh $(BUILD)

test: test-packages build  ## Build and run all tests
	@tests/run_tests.sh $(BUILD)

asan: test-packages  ## All CPU tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@cmake --preset asan $(CMAKE_ARGS) && cmake --build --preset asan -j $(JOBS) && \
	 { [ ! -d build/asan/python ] || $(MAKE) --no-print-directory dashboard BUILD=build/asan; } && \
	 tests/run_tests.sh build/asan $(CTEST_ARGS)

fuzz: packages  ## Run each fuzzer for FUZZ_MINUTES (20); stops at the first finding
	@command -v clang++ > /dev/null || { echo 'make fuzz needs: apt-get install clang'; exit 1; }
	@cmake --preset fuzz $(CMAKE_ARGS) > /dev/null && cmake --build --preset fuzz -j $(JOBS) --target fuzzers
	@tests/fuzz/run_fuzzers.sh build/fuzz $(FUZZ_MINUTES) $(FUZZ_TARGETS)

mutants: test-packages  ## Change constants of the solver one at a time: a test must notice each
	@/usr/bin/python3 tests/mutation/run_mutants.py $(BUILD)

soak: build  ## 200 kills of servers and of clients, and SOAK_MINUTES (10) with 1000 sessions
	@PTYCHOSERVE_KILL_ROUNDS=200 $(BUILD)/bin/integration_tests --gtest_filter='*KillTest.*'
	@$(BUILD)/bin/session_soak $(SOAK_MINUTES)

tsan: test-packages  ## The tests without gRPC under ThreadSanitizer
	@cmake --preset tsan $(CMAKE_ARGS) && cmake --build --preset tsan -j $(JOBS) && tests/run_tests.sh build/tsan $(CTEST_ARGS)

check-all: test asan tsan lint  ## Everything: tests, sanitizers, format, static analysis

SOURCES := $(shell git ls-files '*.cc' '*.h' '*.cu' '*.cuh' 2>/dev/null)

format:  ## Format all sources
	@clang-format -i $(SOURCES)

lint: packages  ## Check the format, Clang's thread-safety analysis, and clang-tidy
	@command -v clang-tidy clang++ clang-format > /dev/null || \
	  { echo 'make lint needs: apt-get install clang clang-format clang-tidy'; exit 1; }
	@clang-format --dry-run -Werror $(SOURCES)
	@cmake --preset lint > /dev/null && cmake --build --preset lint -j $(JOBS)
	@git ls-files 'engine/*.cc' 'server/*.cc' 'client/*.cc' | grep -v backend/cuda \
	  | xargs -P $(JOBS) -n 4 clang-tidy -p build/lint --quiet

gpu-bundle: build  ## One self-contained folder that runs all GPU tests on another machine
	@tests/gpu/make_bundle.sh $(BUILD) $(BUILD)/gpu-bundle

clean:  ## Remove the build folder
	@rm -rf $(BUILD)
