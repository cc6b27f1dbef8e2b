"""What every TokenModel does alike. A new backend joins by one more `params` entry."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice

import pytest

from localmag.engines import EngineSpec, TokenModel
from localmag.engines.llamacpp import LlamaCpp
from localmag.engines.scripted import Scripted
from localmag.errors import ContextTooSmall, RunFailed
from localmag.types import Prefill, Sampling
from tests.engines.conftest import CONTEXT, mlx_runs
from tests.engines.hosting import AtLook

GREEDY = Sampling(temperature=0)
PROMPT = list(range(1_100, 1_300))
NEVER = threading.Event()

Make = Callable[..., TokenModel]


KINDS = [
    "scripted",
    "llama.cpp f16",
    "llama.cpp q4_0",
    pytest.param("mlx f16", marks=mlx_runs),
    pytest.param("mlx q4_0", marks=mlx_runs),
]
"""Backend and KV type."""


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, tiny: EngineSpec) -> Iterator[Make]:
    """A fresh model of CONTEXT tokens at each call, closed at the end. `on_load` may be given."""
    made: list[TokenModel] = []
    backend, _, kv_type = request.param.partition(" ")

    def fresh(**given: Callable[[float], None]) -> TokenModel:
        match backend:
            case "scripted":
                made.append(Scripted([list(range(1_000, 4_000))], context=CONTEXT, **given))
            case "llama.cpp":
                made.append(LlamaCpp(replace(tiny, kv_type=kv_type), **given))
            case "mlx":
                from localmag.engines.mlx import Mlx

                made.append(Mlx(replace(request.getfixturevalue("tiny_mlx"), kv_type=kv_type), **given))
        return made[-1]

    yield fresh
    for model in made:
        model.close()


def run(
    model: TokenModel, ids: Sequence[int], count: int, sampling: Sampling = GREEDY
) -> tuple[list[Prefill], list[int]]:
    """Progress, and at most `count` ids."""
    progress: list[Prefill] = []
    drawn: list[int] = []
    with closing(model.generate(ids, sampling, NEVER)) as steps:
        for step in steps:
            if isinstance(step, Prefill):
                progress.append(step)
            else:
                drawn.append(step)
                if len(drawn) == count:
                    break
    return progress, drawn


def test_loading_tells_its_progress_up_to_one(make: Make) -> None:
    fractions: list[float] = []
    make(on_load=fractions.append)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_what_the_callback_raises_stops_the_loading(make: Make) -> None:
    class Enough(Exception):
        pass

    calls = 0

    def on_load(fraction: float) -> None:
        nonlocal calls
        calls += 1
        raise Enough

    with pytest.raises(Enough):
        make(on_load=on_load)
    assert calls == 1


def test_progress_runs_from_what_the_cache_held_to_the_whole_prompt(make: Make) -> None:
    progress, drawn = run(make(), PROMPT, 3)
    done = [step.done for step in progress]
    assert done[0] == 0
    assert done[-1] == len(PROMPT)
    assert done == sorted(set(done))
    assert {step.total for step in progress} == {len(PROMPT)}
    assert len(drawn) == 3


def test_all_progress_comes_before_the_first_id(make: Make) -> None:
    steps = list(islice(make().generate(PROMPT, GREEDY, NEVER), 20))
    kinds = [isinstance(step, Prefill) for step in steps]
    assert kinds == sorted(kinds, reverse=True)


def test_the_next_turn_reads_only_what_is_new(make: Make) -> None:
    model = make()
    _, drawn = run(model, PROMPT, 50)
    progress, _ = run(model, [*PROMPT, *drawn, 1_005, 1_006], 1)
    # The last id drawn may not have been read yet.
    assert progress[0].done >= len(PROMPT) + 49


def test_the_same_prompt_again_reads_its_last_id_alone(make: Make) -> None:
    model = make()
    _, before = run(model, PROMPT, 5)
    progress, again = run(model, PROMPT, 5)
    assert progress[0].done == len(PROMPT) - 1
    if not isinstance(model, Scripted):
        assert again == before


def test_a_prompt_that_differs_is_reused_up_to_there(make: Make) -> None:
    model = make()
    run(model, PROMPT, 5)
    progress, _ = run(model, [*PROMPT[:70], 2_000, *PROMPT[71:]], 1)
    assert progress[0].done == 70


def test_a_shorter_prompt_forgets_the_rest(make: Make) -> None:
    model = make()
    run(model, PROMPT, 20)
    progress, drawn = run(model, PROMPT[:90], 5)
    assert progress[0].done == 89
    if not isinstance(model, Scripted):
        assert drawn == run(make(), PROMPT[:90], 5)[1]


def test_a_full_context_ends_the_reply(make: Make) -> None:
    _, drawn = run(make(), PROMPT, 10 * CONTEXT)
    assert len(PROMPT) + len(drawn) == CONTEXT


def test_a_prompt_may_leave_room_for_a_single_id(make: Make) -> None:
    ids = (PROMPT * 3)[: CONTEXT - 1]
    assert len(run(make(), ids, 10)[1]) == 1


@pytest.mark.parametrize("length", [CONTEXT, CONTEXT + 1, 10 * CONTEXT])
def test_a_prompt_without_room_for_a_reply_is_refused_with_the_numbers(make: Make, length: int) -> None:
    model = make()
    with pytest.raises(ContextTooSmall, match=f"{CONTEXT:,}"):
        run(model, [1_100] * length, 1)
    assert run(model, PROMPT, 2)[1]


def test_equal_seeds_give_equal_replies(make: Make) -> None:
    sampling = Sampling(seed=7)
    assert run(make(), PROMPT, 40, sampling)[1] == run(make(), PROMPT, 40, sampling)[1]


def test_cancelled_before_it_began_it_draws_nothing(make: Make) -> None:
    cancel = threading.Event()
    cancel.set()
    steps = list(make().generate(PROMPT, GREEDY, cancel))
    assert all(isinstance(step, Prefill) for step in steps)


def test_cancelled_while_reading_it_ends_and_can_go_on_later(make: Make) -> None:
    model, cancel = make(), threading.Event()
    for step in model.generate(PROMPT, GREEDY, cancel):
        assert isinstance(step, Prefill)
        cancel.set()
    assert run(model, PROMPT, 5)[1] == run(make(), PROMPT, 5)[1]


@pytest.mark.parametrize("looks", range(2, 8))
def test_cancelled_at_any_look_it_keeps_what_it_told_of(make: Make, looks: int) -> None:
    model = make()
    *_, last = (step for step in model.generate(PROMPT, GREEDY, AtLook(looks)) if isinstance(step, Prefill))
    progress, drawn = run(model, PROMPT, 5)
    assert progress[0].done == min(last.done, len(PROMPT) - 1)
    if not isinstance(model, Scripted):
        assert drawn == run(make(), PROMPT, 5)[1]


def test_cancelled_while_drawing_it_ends_and_can_go_on_later(make: Make) -> None:
    model, cancel = make(), threading.Event()
    drawn: list[int] = []
    for step in model.generate(PROMPT, GREEDY, cancel):
        if not isinstance(step, Prefill):
            drawn.append(step)
            if len(drawn) == 10:
                cancel.set()
    assert len(drawn) == 10
    if not isinstance(model, Scripted):
        assert run(model, PROMPT + drawn, 5)[1] == run(make(), PROMPT + drawn, 5)[1]


def test_an_abandoned_reply_leaves_the_model_usable(make: Make) -> None:
    model = make()
    abandoned = model.generate(PROMPT, GREEDY, NEVER)
    assert len(list(islice(abandoned, 10))) == 10
    abandoned.close()
    assert len(run(model, PROMPT, 5)[1]) == 5


def test_a_closed_model_says_so(make: Make) -> None:
    model = make()
    model.close()
    with pytest.raises(RunFailed, match="closed"):
        next(model.generate(PROMPT, GREEDY, NEVER))


def test_close_in_the_middle_of_a_reply(make: Make) -> None:
    model = make()
    steps = model.generate(PROMPT, GREEDY, NEVER)
    assert len(list(islice(steps, 8))) == 8
    steps.close()
    model.close()


def test_closing_twice_is_closing_once(make: Make) -> None:
    model = make()
    run(model, PROMPT, 1)
    model.close()
    model.close()


def test_a_short_end_of_a_prompt_says_nothing_of_how_fast_it_reads(make: Make) -> None:
    model = make()
    run(model, PROMPT, 1)
    model.rate = 1e9
    run(model, [*PROMPT, 5, 6, 7], 1)
    assert model.rate == 1e9
