# A thin wrapping of the CMake presets. `make help` lists the targets.
#   WERROR=1  warnings are errors      JOBS=N  compile jobs (default: one per core)
PRESET ?= release
BUILD := build/$(PRESET)
CONFIGURE_OPTIONS := -DWEIR_WERROR=$(if $(WERROR),ON,OFF)
.DEFAULT_GOAL := build
.NOTPARALLEL:
.PHONY: help configure build demo test test-netbox soak bench format install install-packages clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null || grep '##' $(MAKEFILE_LIST)

install-packages: ## Debian packages that are missing (apt, with sudo where needed)
	@scripts/install-packages build
	@scripts/install-packages --optional optional

configure: install-packages
	cmake --preset $(PRESET) $(CONFIGURE_OPTIONS)

build: configure ## everything, into build/release (PRESET=debug, asan-ubsan, tsan for others)
	cmake --build --preset $(PRESET) $(if $(JOBS),-j $(JOBS))

demo: configure ## a simulated Proxmox VE cluster into a simulated NetBox; builds the program and its stages only
	cmake --build --preset $(PRESET) $(if $(JOBS),-j $(JOBS)) --target weir shipped-stages
	$(BUILD)/weir demo

test: build ## all tests that need nothing but Debian's packages
	@scripts/install-packages --optional test
	ctest --preset $(PRESET) --no-tests=error -j $(or $(JOBS),$(shell nproc))

test-netbox: build ## the tests against a real NetBox (PostgreSQL, Redis, NetBox from PyPI), brought up and down on loopback
	tests/netbox/netbox-lab install
	ctest --preset netbox --no-tests=error --verbose

soak: build ## SEEDS=5000 simulated bad days, from a seed of today on (FIRST_SEED=N: from that one); WEIR_SEED=N replays one
	@first=$${FIRST_SEED:-$$(date +%s)}; echo "WEIR_FIRST_SEED=$$first"; \
	WEIR_FIRST_SEED=$$first WEIR_SEEDS=$(or $(SEEDS),5000) $(BUILD)/tests/sim_virtual --gtest_filter='virtual_days.nothing*'

bench: build ## requests, time and memory of syncs against the simulators; what the journal and isolation cost
	cmake --preset $(PRESET) -DWEIR_BUILD_BENCH=ON
	cmake --build --preset $(PRESET) --target bench_journal bench_emitter
	python3 tests/bench/sync.py --weir $(BUILD)/weir --sim $(BUILD)/weir-sim --journal-bench $(BUILD)/tests/bench_journal
	python3 tests/bench/isolation.py --weir $(BUILD)/weir --sim $(BUILD)/weir-sim --emitter $(BUILD)/tests/bench_emitter.so

format: ## clang-format over all sources
	@scripts/install-packages format
	git ls-files -z -- '*.hpp' '*.cpp' '*.h' '*.c' | xargs -0 clang-format-14 -i

install: build ## into PREFIX (default /usr/local); DESTDIR is honoured
	cmake --install $(BUILD) --prefix $(or $(PREFIX),/usr/local)

clean: ## forget the build of PRESET
	rm -rf $(BUILD)
