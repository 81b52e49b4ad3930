# Everything there is to do here; "make" alone lists it. "make run" and
# "make test" need nothing but Go and make.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

export CGO_ENABLED := 0

# Virtual time is known to work with these versions of Go (rig/host/durable_go*.go).
# Where the installed Go is another, one that is known is fetched.
KNOWN_GO := go1.26% go1.27%
ifeq ($(filter $(KNOWN_GO),$(shell go env GOVERSION)),)
export GOTOOLCHAIN := go1.27.4
endif

GOLANGCI_LINT_VERSION := v2.15.0
GOLANGCI_LINT := bin/tools/golangci-lint-$(GOLANGCI_LINT_VERSION)

# More arguments for the command that a target runs.
ARGS ?=
# The bench file and the specs of "make nightly".
BENCH ?=
FILTER ?=
# Where "make golden" writes.
GOLDEN ?= fixtures/golden
# What each fuzz target gets; blank shares three minutes among all of them.
FUZZTIME ?=
# The packages that are tested; the one that takes longest comes first, so that
# the others run beside it.
TESTED := ./scenarios ./...
# Those that "make race" tests.
RACE ?= $(TESTED)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

.PHONY: run
run: build ## judge six simulated handsets on a wire in memory (ARGS="--filter RBT-04")
	@bin/ip88rig run $(ARGS)

.PHONY: build
build: ## build bin/ip88rig, one static binary
	@go build -o bin/ip88rig ./rig/cmd/ip88rig

.PHONY: test
test: ## run the tests; those that need root or foreign programs skip without them
	@go test $(ARGS) $(TESTED)

.PHONY: race
race: ## run the tests under the race detector (needs gcc)
	@CGO_ENABLED=1 go test -race -short -timeout 20m $(ARGS) $(RACE)

.PHONY: lint
lint: $(GOLANGCI_LINT) ## run golangci-lint, go vet, and check formatting and go.mod
	@go vet -tags interop ./...
	$(GOLANGCI_LINT) fmt --diff ./...
	$(GOLANGCI_LINT) run --allow-parallel-runners --build-tags interop ./...
	go mod tidy -diff

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## format the code
	@$(GOLANGCI_LINT) fmt ./...

$(GOLANGCI_LINT):
	@mkdir -p bin/tools
	GOBIN="$$PWD/bin/tools" go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv bin/tools/golangci-lint $@

.PHONY: interop
interop: ## try the rig with foreign programs in network namespaces (Linux, root; installs their packages; ARGS=-test.short is a part)
	@.ci/packages fixtures/interop/packages.txt
	go test -c -tags interop -o bin/interop.test ./scenarios/interop
	# No go between make and the tests: terminated, it would leave them and a folder.
	cd scenarios/interop
	exec ../../bin/interop.test -test.timeout 3h $(ARGS)

.PHONY: fuzz
fuzz: ## fuzz each parser in turn, three minutes in all (FUZZTIME=30s is for each)
	@.ci/fuzz '$(FUZZTIME)' $(if $(UNGUIDED),unguided)

.PHONY: plan
plan: ## write the test plan and README's table of what is covered anew
	@go test ./scenarios -count=1 -run 'Plan|README' -args -update

.PHONY: golden
golden: build ## measure the simulated handsets anew into fixtures/golden; read the diff before you commit it
	@mkdir -p $(GOLDEN)
	# The run is judged by the records as they were, so that drift is no error here.
	bin/ip88rig run --quiet --seed 1 --update-golden --golden-records $(GOLDEN) $(ARGS) || (($$? == 1))
	git --no-pager diff --stat -- $(GOLDEN) || true

.PHONY: mutants
mutants: build ## prove that the scenarios can fail: one run for each defect (ARGS="--shard 3/10", ARGS=--update)
	@bin/ip88rig mutants $(ARGS)

.PHONY: same
same: ## prove that the same seed gives the same run: three seeds, ten runs with each GOMAXPROCS, beside busy loops
	@go test ./rig/cmd/ip88rig -count=1 -run TestTheSameSeedGivesTheSameRun -timeout 6h -v $(ARGS) -args -same 10

.PHONY: bench
bench: ## measure: packets, timeline against tshark, time and memory of "make run"
	@go test -run '^$$' -bench . -benchmem -timeout 30m $(ARGS) ./...

.PHONY: nightly
nightly: build ## judge the handsets of a bench file (BENCH=lab.yaml FILTER=TLS)
	@bin/ip88rig run $(if $(BENCH),--bench '$(BENCH)') $(if $(FILTER),--filter '$(FILTER)') $(ARGS)

.PHONY: clean
clean: ## remove what was built and what runs left; the authorities in out/state too
	@rm -rf bin out
