# One verb per task, the same here and in CI. `make demo` and `make test` work on a fresh clone.
.PHONY: setup demo demo-kserve test test-exhaustive check bench render mutation

BIN := .venv/bin

setup:
	@scripts/setup.sh

demo: setup  ## the whole loop: features, training, serving, a promotion, a page and a rollback
	@$(BIN)/obs demo $(ARGS)

demo-kserve:  ## the same story on KServe: Rollout and InferenceService on a real Kubernetes API server
	@scripts/setup.sh kserve
	@$(BIN)/obs demo --on kserve --out out/demo-kserve $(ARGS)

test:  ## all tests, on real Prometheus, Ray, KServe and a Kubernetes API server where the machine has them
	@scripts/setup.sh test
	@$(BIN)/python scripts/run_tests.py $(ARGS)

test-exhaustive: setup  ## 100,000 ways in which a rollout's world can fail, then mistakes that this search must find
	@$(BIN)/python tests/rollout/exhaustive_search.py --schedules 110000
	@$(BIN)/python tests/rollout/exhaustive_mutants.py

check: setup  ## style, types, architecture, generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/obs slo render slo/*.yaml --out slo/generated --check
	@$(BIN)/obs dashboards render --check
	@$(BIN)/obs runbooks render slo/*.yaml --check
	@$(BIN)/obs slo reference --check
	@$(BIN)/obs rollout schema --check
	@$(BIN)/obs collect tables --check
	@$(BIN)/python -m pytest tests/layout

render: setup  ## write every generated file anew
	@$(BIN)/obs slo render slo/*.yaml --out slo/generated
	@$(BIN)/obs dashboards render
	@$(BIN)/obs runbooks render slo/*.yaml
	@$(BIN)/obs slo reference
	@$(BIN)/obs rollout schema --write
	@$(BIN)/obs collect tables

bench: setup  ## what instrumentation and drift detection cost, SLO rules beside Sloth's and Pyrra's, canaries judged beside Argo, Flagger and Kayenta
	@$(BIN)/python benchmarks/bench_instrumentation.py
	@$(BIN)/python benchmarks/bench_slo.py
	@$(BIN)/python benchmarks/bench_controller.py
	@$(BIN)/python benchmarks/bench_rollout.py $(ARGS)
	@$(BIN)/python benchmarks/bench_drift.py
	@$(BIN)/python benchmarks/false_pages.py --months 40 --out benchmarks/results/false-pages.md

mutation: setup  ## wrong rule files against the generated tests: at least 95 % must be noticed (ARGS=--all for every one)
	@$(BIN)/python scripts/mutation.py $(ARGS)
