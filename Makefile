# Everything here needs Go and make. Tools are pinned by go.mod's tool lines.

GO       ?= go
FUZZTIME ?= 5s
TIMEOUT  ?= 30m
PROGRAMS ?= 2000
SEEDS    ?= 1000
BENCH    ?= .

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help check deps fmt vet lint tidy generated cross imports test fuzz bench-module bench demo

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: deps fmt vet lint tidy generated cross imports test fuzz bench-module ## everything that CI runs
	@echo "make check: all good"

deps: ## install what the checks need beside Go, if it is missing
	@./scripts/ensure-deps.sh

fmt: ## fail on files that gofmt would change
	@bad=$$(find . -name '*.go' -not -path '*/testdata/*' -exec "$$($(GO) env GOROOT)/bin/gofmt" -l {} +) && \
	if [ -n "$$bad" ]; then echo "not formatted (gofmt -w):"; echo "$$bad"; exit 1; fi

vet: ## go vet
	$(GO) vet ./...

lint: ## staticcheck
	$(GO) tool staticcheck ./...

tidy: ## fail if go mod tidy would change go.mod or go.sum
	$(GO) mod tidy -diff

generated: ## fail if go generate changes a file
	@./scripts/check-generated.sh

cross: ## build for the other platforms
	GOOS=windows CGO_ENABLED=0 $(GO) build ./...
	GOOS=darwin CGO_ENABLED=0 $(GO) build ./...

imports: ## the rules for imports and files
	$(GO) test -run '^(TestImports|TestLayerRules|TestFiles|TestCheckFile)$$' .

test: ## all tests, with the race detector; without it what a step allocates, large inputs, PROGRAMS (2000) generated programs that crash, SEEDS (1000) of the cluster
	CGO_ENABLED=1 $(GO) test -race -timeout $(TIMEOUT) ./...
	$(GO) test -run '^(TestAllocationsOfAStep|TestAttemptAllocations|TestLargeInputs)$$' .
	$(GO) test -timeout $(TIMEOUT) -run '^TestConformance/^Limits$$' ./provider/sqlite ./provider/postgres
	$(GO) test -timeout $(TIMEOUT) -run '^TestGeneratedCrashes$$' . -crashed $(PROGRAMS)
	$(GO) test -timeout $(TIMEOUT) -run '^TestClusterSurvives$$' ./internal/engine -cluster.seeds $(SEEDS)

fuzz: ## every fuzz target for FUZZTIME (5s)
	@GO="$(GO)" FUZZTIME="$(FUZZTIME)" ./scripts/fuzz.sh

bench-module: ## build, vet and test the comparison in bench/, a module of its own
	@if [ -f bench/go.mod ]; then set -ex; cd bench; \
	$(GO) mod tidy -diff; $(GO) build ./...; $(GO) vet ./...; $(GO) test -timeout $(TIMEOUT) ./...; fi

bench: ## this module's benchmarks; BENCH selects
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

demo: ## run the demonstration
	$(GO) run ./cmd/durango demo
