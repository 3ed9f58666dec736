# The commands of the README. `make` alone lists them.
.DEFAULT_GOAL := help

help:        ## lists the commands
	@sed -n 's/^\([a-zA-Z0-9-]*\): *## /make \1\t/p' Makefile | expand -t 20

demo:        ## simulates a day of an illustrative site, prints the table and writes heliotrope-demo.html
	@cargo run --quiet --release -- demo

test:        ## everything: format, lints, licences, drift, all tests; ends with `N passed, N failed`
	@bash tests/run.sh

model-check: ## the lease protocol's models at large sizes (some ten minutes, up to 8 GiB); writes docs/model-check.log.md
	@bash tests/model-check.sh

fuzz:        ## readers of signals on whatever may arrive, led by coverage, for ten minutes (SECONDS=...); a C++ compiler is needed; writes docs/fuzz.log.md
	@FUZZ_SECONDS=$(or $(SECONDS),600) bash tests/fuzz.sh

test-long:   ## 50 nodes of eight GPUs through every fault, at full length (some 40 minutes); writes docs/site-faults.log.md
	@HELIOTROPE_SITE=long HELIOTROPE_SITE_TABLE=docs/site-faults.log.md cargo test --locked --test site

test-gpu:    ## reads the GPUs of this machine for half a minute each, sets nothing; writes docs/results.md
	@HELIOTROPE_RESULTS=docs/results.md cargo test --locked --test gpu -- --ignored --nocapture

bench-curtail: ## seconds of a curtailment at 50 nodes, against benches/budgets.yaml (some 20 minutes); writes docs/bench-curtail.log.md
	@HELIOTROPE_BENCH_LOG=docs/bench-curtail.log.md cargo bench --locked --bench curtail

bench-divide:  ## milliseconds to divide the watts of 40,000 accelerators, against benches/budgets.yaml
	@cargo bench --locked --bench divide

bench-plan:    ## milliseconds to plan 100 to 100,000 workloads, and how near to the least cost, against benches/budgets.yaml; writes docs/results.md
	@HELIOTROPE_RESULTS=$(CURDIR)/docs/results.md HELIOTROPE_PICTURE=$(CURDIR)/docs/pictures/plan-growth.svg cargo bench --locked -p heliotrope-eval --bench plan

eval-E1:       ## follows the carbon of three zones under caps, beside the exact LP; needs ../shared/data; writes docs/results.md
	@cargo run --quiet --release --locked -p heliotrope-eval -- e1

eval-E2:       ## when and at how many watts: waiting, slowing, both, beside the joint LP; needs ../shared/data; writes docs/results.md
	@cargo run --quiet --release --locked -p heliotrope-eval -- e2

eval-E3:       ## holds the curtailment of the Phoenix trial, beside other ways and the optimum; needs ../shared/data; writes docs/results.md
	@cargo run --quiet --release --locked -p heliotrope-eval -- e3

eval-E4:       ## servers beyond nameplate under one feed, with faults; needs ../shared/data; writes docs/results.md
	@cargo run --quiet --release --locked -p heliotrope-eval -- e4

eval-E6:       ## follows carbon and price of three zones over a year by forecasts; needs ../shared/data; writes docs/results.md
	@cargo run --quiet --release --locked -p heliotrope-eval -- e6

eval-solar:    ## a year under a roof in Seoul and a cap: how much of it is used, beside the exact LP; needs ../shared/data; writes docs/results.md
	@cargo run --quiet --release --locked -p heliotrope-eval -- solar

eval-forecasts: ## errors of forecasts over a year, and how well their quantiles hold; needs ../shared/data; writes docs/results.md
	@cargo run --quiet --release --locked -p heliotrope-eval -- forecasts

crds:          ## writes the CustomResourceDefinitions anew, here and in the chart
	@cargo run --quiet -- crds --dir crds
	@cargo run --quiet -- crds --dir charts/heliotrope/crds

profiles:      ## writes the chart's AcceleratorProfiles anew; needs ../shared/data
	@cargo run --quiet --locked -p heliotrope-eval -- profiles

testbed-assets: ## finds or builds the programs of the testbed (Go is needed; the first time takes some 12 minutes)
	@bash tests/testbed/assets.sh

testbed-up:    ## a real control plane with 16 simulated GPU nodes on loopback, to play with; says how to use it
	@cargo run --quiet -p heliotrope-testbed -- up

testbed-down:  ## ends it
	@cargo run --quiet -p heliotrope-testbed -- down

.PHONY: help demo test test-long test-gpu bench-curtail bench-divide bench-plan eval-E1 eval-E2 eval-E3 eval-E4 eval-E6 eval-solar eval-forecasts model-check fuzz crds profiles testbed-assets testbed-up testbed-down
