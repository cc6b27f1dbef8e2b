"""Weights: which are on this machine, and getting, checking and removing them.

    local      name → what it means, and the weights on this machine, as `installed` describes them
    ready      the same for all but the demo, made sure of; a missing tokenizer is made by `rebuild`
    inventory  all weights on this machine: `places` finds them, `look` reads their headers, `recognise` tells
               which model they are
    adopt      makes weights anywhere known, by a record in `imports`
    cache      the Hugging Face cache's layout, which every tool shares
    records    what localmag itself fetched and verified
    hub        the hub as localmag asks it: a listing, a stream of bytes, errors in our words (over transport)
    needs      which files of which repositories a build is made of
    pull       what a build needs → fetched (by download), verified (by digest)
    remove     what may be removed, and removing it

Only what runs a model is offered here. The rest is imported from its own file; `hub`, `pull` and `remove`
bring huggingface_hub with them (0.3 s) and nothing else does, nor opens a socket.
"""

from __future__ import annotations

from localmag.store.installed import Installed, Meant, NotHere
from localmag.store.local import locate, meant, newest

__all__ = ["Installed", "Meant", "NotHere", "locate", "meant", "newest"]
