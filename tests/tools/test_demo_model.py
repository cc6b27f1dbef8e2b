"""The demo model's data: true, split cleanly, and encoded as mistral-common encodes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from localmag.prompt import Codec, system_message
from localmag.types import Message, Text, Thinking
from tools.demo_model import reasoning, tokenizer
from tools.demo_model.bytepairs import decode, text_ids
from tools.demo_model.checking import right
from tools.demo_model.conversations import FAMILIES, SYSTEM_PROMPT, Conversation, conversation
from tools.demo_model.encoding import encode, prompt
from tools.demo_model.problems import Problem
from tools.demo_model.smalltalk import ABILITIES, OPENERS
from tools.demo_model.split import held_operation, held_out

DEMO = Path(__file__).parents[2] / "localmag" / "demo"


def some(count: int, *, held: bool = False, family: str | None = None) -> Iterator[Conversation]:
    rng = Random(f"test {count} {held} {family}")
    return (conversation(rng, family, held=held) for _ in range(count))


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec.load(DEMO / "tekken.json")


# ── The tokenizer ─────────────────────────────────────────────────────────────────────────────────


def test_shipped_tokenizer_is_the_one_that_is_built(tmp_path: Path) -> None:
    tokenizer.write_tekken(tmp_path / "tekken.json")
    assert (tmp_path / "tekken.json").read_bytes() == (DEMO / "tekken.json").read_bytes()


def test_control_tokens_have_magistrals_ids(codec: Codec) -> None:
    names = {
        1: "<s>",
        2: "</s>",
        3: "[INST]",
        17: "[SYSTEM_PROMPT]",
        32: "[ARGS]",
        34: "[THINK]",
        35: "[/THINK]",
    }
    assert {id: codec.control.names[id] for id in names} == names
    assert codec.version == "v13"


def test_ordinary_ids_are_those_of_full_tekken(codec: Codec) -> None:
    full = tokenizer.full_vocabulary()
    assert codec.pieces[tokenizer.SPECIALS :] == tuple(full[: tokenizer.RANKS])


def test_merges_build_every_token() -> None:
    kept = tokenizer.full_vocabulary()[: tokenizer.RANKS]
    assert [a + b for a, b in tokenizer.merges()] == [token for token in kept if len(token) > 1]


# ── The problems ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_replies_pass_their_own_check(family: str, held: bool) -> None:
    for drawn in some(60, held=held, family=family):
        final = drawn.turns[-1]
        assert final.family == family
        assert right(final, final.reply)
        assert not right(final, final.reply.replace("**", "** "))


_EQUATION = re.compile(r"(?<![\d.,])-?\d+(?:[+×-]\d+)+=-?\d+(?![\d.+×-])")


def _value(side: str) -> int:
    return int(eval(side.replace("×", "*")))  # digits and + - × only: the pattern says so


def test_every_step_of_arithmetic_is_true() -> None:
    checked = 0
    for drawn in some(600):
        for turn in drawn.turns:
            for equation in _EQUATION.findall(turn.steps):
                left, _, result = equation.partition("=")
                assert _value(left) == int(result), turn.steps
                checked += 1
    assert checked > 1000


def test_steps_end_with_the_result() -> None:
    for drawn in some(400):
        for turn in drawn.turns:
            if turn.family != "anything else":
                last = turn.steps.rpartition("\n= ")[2]
                assert last.replace(" ", ", ").replace(".", ",") == turn.result.replace(".", ",")


@pytest.mark.parametrize(
    ("steps", "last"),
    [
        (reasoning.add(478, 356, "en"), "= 834"),
        (reasoning.add(-33, 12, "en"), "= -21"),
        (reasoning.add(9999, 1, "fr"), "= 10000"),
        (reasoning.subtract(12, 45, "en"), "= -33"),
        (reasoning.subtract(1000, 1, "en"), "= 999"),
        (reasoning.subtract(-33, 12, "fr"), "= -45"),
        (reasoning.subtract(7, 7, "fr"), "= 0"),
        (reasoning.multiply(47, 36, "en"), "= 1692"),
        (reasoning.multiply(6, 47, "en"), "= 282"),
        (reasoning.multiply(40, 50, "fr"), "= 2000"),
        (reasoning.multiply(-33, 7, "fr"), "= -231"),
        (reasoning.multiply(0, 50, "en"), "= 0"),
        (reasoning.compare(["9.11", "9.9"], True, "en")[0], "= 9.9"),
        (reasoning.compare(["1478", "356", "99"], False, "en")[0], "= 99"),
        (reasoning.sort([45, 12, 478, 7], True, "fr"), "= 478 45 12 7"),
        (reasoning.sort([3, 3, 0], False, "en"), "= 0 3 3"),
    ],
)
def test_results(steps: list[str], last: str) -> None:
    assert steps[-1] == last


def test_every_comparison_of_digits_is_true() -> None:
    checked = 0
    for drawn in some(800):
        for turn in drawn.turns:
            for x, sign, y in re.findall(r"(?<!\S)(\d)([<=>])(\d)(?!\S)", turn.steps):
                assert {"<": x < y, "=": x == y, ">": x > y}[sign], turn.steps
                checked += 1
    assert checked > 1000


def test_sorting_keeps_the_best_so_far_and_goes_on_with_the_rest() -> None:
    for drawn in some(60, family="sorting"):
        _, listed, *lines, last = drawn.turns[-1].steps.splitlines()
        better = min if int(last.split()[1]) <= int(last.split()[-1]) else max
        rest = listed.split()
        for line in lines:
            seen = [step.partition(":")[0] for step in line.split()]
            assert seen == rest
            best = [re.findall(r":(\d+)/", step)[0] for step in line.split()[1:]]
            assert best == [better(seen[: i + 2]) for i in range(len(best))]
            rest = [step.partition("/")[2] for step in line.split()[1:]]
            assert sorted([*rest, best[-1]]) == sorted(seen)


def test_anything_else_is_answered_in_the_language_of_the_question() -> None:
    english, french = (Problem("anything else", lang, "?", "", "", "other") for lang in ("en", "fr"))
    neutral = replace(english, result="neutral")
    replies = {lang: OPENERS[lang, "other"] + ABILITIES[lang] for lang in ("en", "fr")}
    assert right(english, replies["en"])
    assert not right(english, replies["fr"])
    assert right(french, replies["fr"])
    assert right(neutral, replies["en"])
    assert right(neutral, replies["fr"])
    assert not right(neutral, replies["en"] + " And more.")


# ── The split ─────────────────────────────────────────────────────────────────────────────────────


def _operation(turn: Problem) -> tuple[str, int, int] | None:
    """The operation of a one-step reply, from its formula."""
    formula = re.search(r"\$\$(-?\d+) (\+|-|\\times) \(?(-?\d+)\)? = -?\d+\$\$", turn.reply)
    if formula is None:
        return None
    a, op, b = formula.groups()
    return op.replace("\\times", "×"), int(a), int(b)


def test_training_never_asks_what_is_held_out() -> None:
    asked = [(turn, _operation(turn)) for drawn in some(4000) for turn in drawn.turns]
    operations = [operation for turn, operation in asked if operation and turn.family != "follow-ups"]
    assert len(operations) > 500
    assert not any(held_operation(*operation) for operation in operations)


def _numbers(turn: Problem) -> tuple[str, float] | None:
    """The key that decides the split of a comparison or a sorting, and the share held out."""
    if turn.family == "sorting":
        return f"sort {sorted(int(n) for n in turn.steps.splitlines()[1].split())}", 0.1
    if turn.family == "comparison":
        return "compare " + " ".join(sorted(re.findall(r"^[ABC]=(\S+)", turn.steps, re.MULTILINE))), 0.1
    return None


def test_other_families_are_split_as_cleanly() -> None:
    for held in (False, True):
        for family in ("comparison", "sorting"):
            for drawn in some(60, held=held, family=family):
                key = _numbers(drawn.turns[-1])
                assert key is not None
                assert held_out(*key) == held


def test_evaluation_asks_only_what_is_held_out() -> None:
    for family in ("addition", "subtraction", "multiplication"):
        for drawn in some(40, held=True, family=family):
            operation = _operation(drawn.turns[-1])
            assert operation is not None
            assert held_operation(*operation)


def test_held_out_in_both_orders() -> None:
    rng = Random(0)
    for _ in range(200):
        a, b = rng.randrange(100), rng.randrange(100)
        assert held_operation("×", a, b) == held_operation("×", b, a)


# ── The encoding ──────────────────────────────────────────────────────────────────────────────────


def _messages(asked: Conversation) -> list[Message]:
    found = [system_message(asked.system)] if asked.system else []
    for turn in asked.turns:
        found.append(Message.of("user", turn.question))
        if turn is not asked.turns[-1]:
            found.append(Message("assistant", (Thinking(turn.steps), Text(turn.reply))))
    return found


def test_prompts_are_what_the_product_sends(codec: Codec) -> None:
    for drawn in some(150):
        sent = codec.encode(_messages(drawn), keep_reasoning=drawn.keep_reasoning)
        assert prompt(drawn) == sent


def test_only_replies_are_learnt() -> None:
    for drawn in some(100):
        encoded = encode(drawn)
        learnt = [id for id, mask in zip(encoded.ids, encoded.learnt, strict=True) if mask]
        text = decode(learnt)
        final = drawn.turns[-1]
        assert text.endswith(f"[THINK]{final.steps}[/THINK]{final.reply}</s>")
        assert "[INST]" not in text
        assert text.count("</s>") == (len(drawn.turns) if drawn.keep_reasoning else 1)


def test_typed_control_tokens_stay_text() -> None:
    assert min(text_ids("[THINK]</s>[INST]")) >= tokenizer.SPECIALS


def test_shipped_system_prompt_is_the_one_trained_with() -> None:
    assert (DEMO / "SYSTEM_PROMPT.txt").read_text(encoding="utf-8") == SYSTEM_PROMPT


def test_batches_depend_on_seed_and_pool_alone() -> None:
    pytest.importorskip("torch")
    from tools.demo_model.batches import pool

    first, again, other = pool(1, 0), pool(1, 0), pool(1, 1)
    assert all((a.ids == b.ids).all() for a, b in zip(first, again, strict=True))
    assert any(
        a.ids.shape != b.ids.shape or (a.ids != b.ids).any() for a, b in zip(first, other, strict=False)
    )


# ── What is shipped ───────────────────────────────────────────────────────────────────────────────


def test_shipped_files_are_small() -> None:
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file()) <= 8_000_000


def test_llama_cpp_reads_text_as_mistral_common_does(codec: Codec, tmp_path: Path) -> None:
    """The merges in the GGUF are right: its own tokenizer, which localmag never uses, gives the same ids."""
    from llama_cpp import llama_cpp as native

    from localmag.engines.nativelog import NativeLog

    NativeLog.to(None)  # a callback of this test's own would be gone when llama.cpp next has something to say
    params = native.llama_model_default_params()
    params.vocab_only = True
    model = native.llama_model_load_from_file(str(DEMO / "demo-Q8_0.gguf").encode(), params)
    vocab = native.llama_model_get_vocab(model)
    rng = Random(4)
    texts = [turn.question for drawn in some(150) for turn in drawn.turns]
    texts += [turn.reply for drawn in some(150) for turn in drawn.turns]
    texts += ["".join(rng.choices("aé ñß→文字🙂\n\t'.,-_0123 AÀœ", k=30)) for _ in range(100)]
    buffer = (native.llama_token * 4096)()
    try:
        for text in texts:
            raw = text.encode()
            count = native.llama_tokenize(vocab, raw, len(raw), buffer, 4096, False, False)
            assert buffer[:count] == text_ids(text), text
    finally:
        native.llama_model_free(model)
