"""Every failure localmag knows, each saying what happened and what to do.

    LocalmagError            exit  HTTP
    ├── RunFailed               1   500   the engine or the program failed while running
    │   └── EngineDied          1   500   the engine's process ended by itself; the partial reply is kept
    ├── WrongUsage              2   400   flags or input that make no sense together
    │   └── ContextTooSmall     2   400   the prompt alone does not fit the context
    ├── NotFound                3   404   no such model, build, session or file
    ├── DoesNotFit              4   507   this machine cannot hold it
    ├── HubFailed               5   502   network, hub or login
    ├── BadFile                 6   422   damaged, truncated, foreign or untrusted file
    └── Cancelled             130   499   the user stopped it

Foreign exceptions are turned into these once, where they enter, with `raise … from exc`.
"""

from __future__ import annotations

_LONGEST = 1_000  # characters: a path fits, and what a user typed may be echoed whole


class LocalmagError(Exception):
    """`what` happened and what `todo` about it: one sentence each, both shown to the user."""

    exit_code = 1
    http_status = 500

    def __init__(self, what: str, todo: str) -> None:
        self.what = cut(what)
        self.todo = cut(todo)
        super().__init__(self.what, self.todo)

    def __str__(self) -> str:
        return f"{self.what} {self.todo}"


class RunFailed(LocalmagError):
    pass


class EngineDied(RunFailed):
    pass


class WrongUsage(LocalmagError):
    exit_code = 2
    http_status = 400


class ContextTooSmall(WrongUsage):
    pass


class NotFound(LocalmagError):
    exit_code = 3
    http_status = 404


class DoesNotFit(LocalmagError):
    exit_code = 4
    http_status = 507


class HubFailed(LocalmagError):
    exit_code = 5
    http_status = 502


class BadFile(LocalmagError):
    exit_code = 6
    http_status = 422


class Cancelled(LocalmagError):
    exit_code = 130
    http_status = 499


def bad_hub_setting(exc: ValueError) -> WrongUsage:
    """Of huggingface_hub, which reads the environment when it is imported, as mistral_common does, too."""
    return WrongUsage(
        f"The hub's client cannot read a setting of the environment ({exc}).",
        "Look at the HF_… variables, mend that one or unset it.",
    )


def cut(text: str) -> str:
    """`text`, without its middle where it is longer than anybody would read."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST - 303]} … {text[-300:]}"
