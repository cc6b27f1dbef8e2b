"""localmag: a reasoning model on your own machine, its thinking beside its answer."""

__version__ = "0.1.0"
