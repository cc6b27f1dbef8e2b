"""`python -m localmag` is the same program as `localmag`."""

from localmag.cli import main

if __name__ == "__main__":  # the engine's process imports this module again, and must not run it
    main()
