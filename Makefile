# Every target sets up what it needs, alone, on a fresh machine; tools/bootstrap does the work.
# Where there is no make: python -m tools.bootstrap chat (test, check, ...) does the same.

# What chat, ask, test and bench are given besides: make chat ARGS="--continue", make test ARGS="-k codec".
ARGS ?=
# The question of `make ask Q="..."`, taken as it is typed.
export LOCALMAG_QUESTION := $(value Q)

# The first Python that really starts (a shim on PATH may not); the set-up finds one that is new enough.
PYTHON ?= $(shell for p in .venv/bin/python python3 python3.13 python3.12 python3.11 python3.14 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 8))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BOOTSTRAP = $(or $(PYTHON),$(error No Python was found. Install Python 3.11 or newer and run make again)) -m tools.bootstrap

.PHONY: help install chat ask test check bench bench-fit demo-model eval-demo clean

help:
	@echo 'make chat          talk to a model, its thinking beside its answer'
	@echo 'make ask Q="..."   one question, one answer'
	@echo 'make install       set up .venv/bin/localmag, built for the hardware that is found'
	@echo 'make test          run the tests'
	@echo 'make check         format, lint, types, floors, and the README'"'"'s examples'
	@echo 'make bench         measure speed on this machine'
	@echo 'make bench-fit     what fit predicts beside what is measured (ARGS=full: 24 billion parameters)'
	@echo 'make demo-model    train the demo model again (1½ hours on 2 cores)'
	@echo 'make eval-demo     how often each of its builds is right (ARGS="--problems 100"; ARGS=compare)'
	@echo 'make clean         remove what was set up here; conversations, weights and checkpoints stay'
	@echo
	@echo 'ARGS="..." hands more to chat, ask, test, bench and others: make chat ARGS="--continue"'
	@echo 'LOCALMAG_BACKEND=cpu|cuda|vulkan|metal|rocm make install   chooses the build of llama.cpp;'
	@echo '  on Apple silicon MLX runs the models, and metal adds llama.cpp, for GGUF builds'

chat test bench bench-fit demo-model eval-demo:
	@$(BOOTSTRAP) $@ $(ARGS)

ask:
	@$(BOOTSTRAP) ask $(ARGS) $(if $(LOCALMAG_QUESTION),"$$LOCALMAG_QUESTION")

install check clean:
	@$(BOOTSTRAP) $@
