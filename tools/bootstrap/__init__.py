"""Sets up localmag and runs one of its jobs: `python -m tools.bootstrap chat` is what `make chat` calls.

    __main__     the jobs
    install      what is put into .venv, and whether that is done already
    accelerator  which build of llama.cpp suits this machine
    environment  virtual environments, and finding a Python for them
    pip          running pip, and saying what it is doing

Standard library only, and Python 3.8's syntax: an old Python must get as far as saying what is missing.
Everything said here goes to stderr; stdin and stdout belong to the job.
"""
