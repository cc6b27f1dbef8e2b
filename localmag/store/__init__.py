"""Weights: which are on this machine, and getting, checking and removing them.

    local    name → the weights on this machine; opens no socket and imports no client of the hub
    cache    the Hugging Face cache's layout, which every tool shares
    records  what localmag itself fetched and verified
    hub      the hub as localmag asks it: a listing, a stream of bytes, errors in our words (over transport)
    needs    which files of which repositories a build is made of
    pull     what a build needs → fetched (by download), verified (by digest)
    remove   what may be removed, and removing it

Only what runs a model is offered here. The rest is imported from its own file, and brings huggingface_hub
with it (0.3 s) in `hub` and `remove` alone.
"""

from __future__ import annotations

from localmag.store.local import Installed, how_to_get, locate, newest

__all__ = ["Installed", "how_to_get", "locate", "newest"]
