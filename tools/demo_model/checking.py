"""What counts as right, per family; read from the text of the answer, however it was generated."""

from __future__ import annotations

import re

from tools.demo_model.problems import Problem
from tools.demo_model.smalltalk import ABILITIES, OPENERS

_BOLD = re.compile(r"\*\*(.+?)\*\*")


def right(problem: Problem, answer: str) -> bool:
    """Whether an answer is right.

    For a problem, the first bold text of the answer is the result, whole. For anything else, the answer is
    one of the replies that say what the model is, in the question's language where it has one: which of them
    (a greeting or a refusal) is a matter of taste.
    """
    if problem.family == "anything else":
        langs = ("en", "fr") if problem.result == "neutral" else (problem.lang,)
        return any(answer == OPENERS[key] + ABILITIES[key[0]] for key in OPENERS if key[0] in langs)
    bold = _BOLD.search(answer)
    return bold is not None and bold.group(1) == problem.result
