# Every target sets itself up; the second time that takes no time. `make` alone prints this list.
.DEFAULT_GOAL := help
# Where this is set, as in many container images, each process that starts compiles all its modules anew: half of what a short
# one takes, and Medic, Ansible and the tests start hundreds.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help install demo infra-demo demo-fleet demo-model test check bench lab crash eval

help: ## Print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)$$/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

install: ## Make .venv with Medic and the test tools, from the locks
	@scripts/setup.sh dev

demo: ## Break six services for real and watch Medic mend them (under 3 minutes once set up)
	@scripts/setup.sh demo
	@scripts/docker.sh .venv/bin/python -m tests.lab.demo

demo-fleet: ## Three hosts over real SSH, one thing broken on each, and Medic at work (root; about 2 minutes once set up)
	@scripts/setup.sh dev
	@scripts/sshd.sh
	@scripts/docker.sh .venv/bin/python -m tests.lab.demo_fleet

demo-model: ## Let a scripted model explain a fault that no rule knows, ask a person, mend it and leave the dialogue as a page (seconds, no Docker)
	@scripts/setup.sh dev
	@.venv/bin/python -m tests.lab.demo_model

test: ## Run every test, the live ones too (under 15 minutes)
	@scripts/test.sh

check: ## Run every rule of style that a tool can check
	@scripts/setup.sh dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

infra-demo: ## The life of a stack on stand-ins: up, inventory, a spot host taken back and replaced, destroy (under a minute)
	@scripts/setup.sh dev
	@.venv/bin/python -W ignore -m tests.infra.demo

bench: ## Measure Medic against its budgets, beside blackbox_exporter (bench.json)
	@scripts/setup.sh dev
	@scripts/docker.sh .venv/bin/python -m bench --json bench.json

ONLY ?= *
JOBS ?= 4
lab: ## Break things in every way we know, and score Medic beside a restart policy, an autoheal loop and Monit (ONLY=GLOBS JOBS=4)
	@scripts/setup.sh dev
	@scripts/docker.sh .venv/bin/python -m tests.lab --compare --jobs $(JOBS) --json lab.json --only '$(ONLY)'

KILLS ?= 60
SEED ?= 1
STORE ?=
crash: ## Kill, end and stop Medic at every step of a heal; count what was lost, repeated or left (KILLS=60 SEED=1 STORE=sqlite|postgres)
	@scripts/setup.sh dev
	@scripts/docker.sh .venv/bin/python -m tests.lab.crash --kills $(KILLS) --seed $(SEED) $(if $(STORE),--store $(STORE))

eval: ## Measure decisions on the golden set; then a hijacked model, and one that misbehaves in 2 000 ways (about 5 minutes)
	@scripts/setup.sh dev
	.venv/bin/medic eval
	.venv/bin/python -m tests.lab.injection
	.venv/bin/python -m tests.lab.fuzz
