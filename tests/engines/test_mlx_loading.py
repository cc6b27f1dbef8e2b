"""What MLX builds say of themselves: other forms are read, damage and wiles are refused in two sentences."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localmag.engines import EngineSpec
from localmag.engines.local import LocalEngine
from localmag.engines.vocabulary import require_as_many, require_same
from localmag.errors import BadFile, LocalmagError, NotFound, WrongUsage
from localmag.prompt import Codec
from tests.conftest import Demo
from tests.engines.hosting import ASKED, Hosted, reply
from tests.engines.test_mlx import GREEDY, NEVER, PROMPT, ids_of
from tests.tekken import tekken, write

pytest.importorskip("mlx_lm", reason="MLX is for Apple silicon, and for Linux with glibc 2.35 or newer")

import mlx.core as mx

from localmag.engines.mlx import Mlx
from localmag.engines.mlx_caches import KVCache
from tools import mlx_build

Config = dict[str, Any]
Weights = dict[str, mx.array]
Change = Callable[[Config, Weights], tuple[Config, Weights] | None]


@pytest.fixture
def changed(tiny_mlx: EngineSpec, tmp_path: Path) -> Callable[[Change], EngineSpec]:
    """`tiny_mlx` after a change of its config.json and its weights, in place or as what is returned."""

    def make(change: Change) -> EngineSpec:
        config = json.loads((tiny_mlx.weights / "config.json").read_text("utf-8"))
        weights = dict(mx.load(str(tiny_mlx.weights / "model.safetensors")))
        config, weights = change(config, weights) or (config, weights)
        folder = tmp_path / "changed"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config), "utf-8")
        mx.save_safetensors(str(folder / "model.safetensors"), weights)
        return replace(tiny_mlx, weights=folder)

    return make


def refused(spec: EngineSpec) -> LocalmagError:
    """The error of a build that must not load, held to the house's form."""
    with pytest.raises(LocalmagError) as raised:
        Mlx(spec).close()
    for sentence in (raised.value.what, raised.value.todo):
        assert sentence.endswith(".")
        assert "\n" not in sentence
        assert len(sentence) < 400
    return raised.value


@pytest.fixture(scope="module")
def expected(tiny_mlx: EngineSpec) -> list[int]:
    with closing(Mlx(tiny_mlx)) as model:
        return ids_of(model, PROMPT, 20)


# ── Reading ───────────────────────────────────────────────────────────────────────────────────────


def test_progress_is_told_from_the_start_and_in_many_steps(tiny_mlx: EngineSpec) -> None:
    fractions: list[float] = []
    Mlx(tiny_mlx, fractions.append).close()
    assert fractions[0] == 0
    assert len(fractions) > 5


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_quantized_builds_load(tiny: EngineSpec, tiny_mlx: EngineSpec, tmp_path: Path, bits: int) -> None:
    folder = mlx_build.write(tiny.weights, tmp_path / "build", bits=bits)
    with closing(Mlx(replace(tiny_mlx, weights=folder))) as model:
        assert len(ids_of(model, PROMPT, 5)) == 5
        assert model._model.lm_head.bits == bits


def test_a_path_with_any_letters(tiny: EngineSpec, tiny_mlx: EngineSpec, tmp_path: Path) -> None:
    folder = mlx_build.write(tiny.weights, tmp_path / "un modèle [模型]")
    with closing(Mlx(replace(tiny_mlx, weights=folder))) as model:
        assert ids_of(model, PROMPT, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="others have no such names")
def test_a_path_that_is_not_utf_8(tiny: EngineSpec, tiny_mlx: EngineSpec, tmp_path: Path) -> None:
    folder = mlx_build.write(tiny.weights, tmp_path / "plain").rename(tmp_path / os.fsdecode(b"mod\xe8le"))
    with closing(Mlx(replace(tiny_mlx, weights=folder))) as model:
        assert ids_of(model, PROMPT, 1)


def seeing(config: Config, weights: Weights, kind: str = "mistral") -> tuple[Config, Weights]:
    """The form of Magistral 1.2's MLX builds: the model that reads inside one that sees."""
    told: Config = {"model_type": "mistral3", "text_config": config | {"model_type": kind}}
    inside = {f"language_model.{name}": array for name, array in weights.items()}
    inside["vision_tower.patch_conv.weight"] = mx.ones((64, 14, 14, 3))
    inside["multi_modal_projector.linear_1.weight"] = mx.ones((64, 64))
    return told | {"vision_config": {"model_type": "pixtral"}}, inside


def test_weights_for_images_are_left_out_and_the_log_says_so(
    changed: Callable[[Change], EngineSpec], expected: list[int], tmp_path: Path
) -> None:
    spec = replace(changed(seeing), log=tmp_path / "log")
    with closing(Mlx(spec)) as model:
        assert ids_of(model, PROMPT, 20) == expected
    size = 4 * (64 * 14 * 14 * 3 + 64 * 64)
    assert f"{size:,} bytes of the weights are for images" in (tmp_path / "log").read_text("utf-8")


ROPE = {
    "rope_type": "yarn",
    "rope_theta": 1e9,
    "factor": 16.0,
    "original_max_position_embeddings": 16_384,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "llama_4_scaling_beta": 0.1,
}


LATENT = {
    "model_type": "mistral4", "rope_parameters": ROPE, "tie_word_embeddings": False,
    "kv_lora_rank": 32, "q_lora_rank": 32, "qk_rope_head_dim": 32, "qk_nope_head_dim": 32, "v_head_dim": 32,
    "head_dim": 64, "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2,
    "moe_intermediate_size": 64, "first_k_dense_replace": 0, "routed_scaling_factor": 1.0,
    "norm_topk_prob": True, "topk_group": 1, "n_group": 1,
}  # fmt: skip


def ministral(config: Config, weights: Weights) -> tuple[Config, Weights]:
    """The form of Ministral 3's builds."""
    told = {key: value for key, value in config.items() if not key.startswith("rope")}
    return seeing(told | {"rope_parameters": ROPE}, weights, "ministral3")


def mixture(config: Config, weights: Weights) -> tuple[Config, Weights]:
    """The form of Mistral Small 4's: experts, and one latent vector for all keys and values."""
    from mlx.utils import tree_flatten
    from mlx_lm.models import mistral3

    text = {key: value for key, value in config.items() if not key.startswith("rope")} | LATENT
    told = {"model_type": "mistral3", "text_config": text}
    model = mistral3.Model(mistral3.ModelArgs.from_dict(told))
    return told, dict(tree_flatten(model.parameters()))


@pytest.mark.parametrize("form", [ministral, mixture])
def test_other_models_of_the_family_load_and_keep_their_prefix(
    changed: Callable[[Change], EngineSpec], form: Change
) -> None:
    spec = changed(form)
    with closing(Mlx(spec)) as model, closing(Mlx(spec)) as fresh:
        longer = [*PROMPT, *ids_of(model, PROMPT, 20), 1_500]
        again = model.generate(longer, GREEDY, NEVER)
        assert next(again).done >= len(PROMPT)  # type: ignore[union-attr]
        again.close()
        assert ids_of(model, longer, 5) == ids_of(fresh, longer, 5)


def test_a_latent_cache_cannot_be_quantized(changed: Callable[[Change], EngineSpec]) -> None:
    assert isinstance(refused(replace(changed(mixture), kv_type="q8_0")), WrongUsage)


def as_transformers_5_writes_it(config: Config, weights: Weights) -> None:
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": config.pop("rope_theta")}


def a_large_base(config: Config, weights: Weights) -> None:
    config["rope_theta"] = 1e9


def a_large_base_written_so(config: Config, weights: Weights) -> None:
    a_large_base(config, weights)
    as_transformers_5_writes_it(config, weights)


def test_the_base_of_the_rotary_embedding_is_found_where_transformers_5_writes_it(
    changed: Callable[[Change], EngineSpec], tiny_mlx: EngineSpec, tmp_path: Path
) -> None:
    with closing(Mlx(changed(a_large_base_written_so))) as model:
        assert model._model.layers[0].self_attn.rope.base == 1e9


def test_it_is_found_inside_a_model_that_sees_too(changed: Callable[[Change], EngineSpec]) -> None:
    def change(config: Config, weights: Weights) -> tuple[Config, Weights]:
        a_large_base_written_so(config, weights)
        return seeing(config, weights)

    with closing(Mlx(changed(change))) as model:
        assert model._model.layers[0].self_attn.rope.base == 1e9


def sliding(config: Config, weights: Weights) -> None:
    config["layer_types"] = ["full_attention", "sliding_attention"]
    config["sliding_window"] = 32


def test_a_cache_that_has_overwritten_its_past_starts_again(changed: Callable[[Change], EngineSpec]) -> None:
    spec = changed(sliding)
    with closing(Mlx(spec)) as model, closing(Mlx(spec)) as fresh:
        assert type(model._caches.layers[1]) is not KVCache  # type: ignore[union-attr]
        ids_of(model, PROMPT, 60)
        turned = [*PROMPT[:70], 2_000, *PROMPT[71:]]
        again = model.generate(turned, GREEDY, NEVER)
        assert next(again).done == 0  # type: ignore[union-attr]
        again.close()
        assert ids_of(model, turned, 10) == ids_of(fresh, turned, 10)


def test_a_sliding_window_is_not_kept(
    changed: Callable[[Change], EngineSpec], codec: Codec, tmp_path: Path
) -> None:
    """It has overwritten what came before it, and cannot be cut where the next prompt parts from this one."""
    spec = changed(sliding)
    with closing(Mlx(spec)) as model:
        engine = LocalEngine(model, codec, spec=spec)
        assert list(engine.reply(replace(ASKED, max_tokens=5), NEVER))
        assert model.held
        assert engine.keep(tmp_path / "kept", ASKED, 10**9, NEVER) is None


# ── Refusing ──────────────────────────────────────────────────────────────────────────────────────


def test_a_missing_folder_is_not_found(tiny_mlx: EngineSpec, tmp_path: Path) -> None:
    error = refused(replace(tiny_mlx, weights=tmp_path / "absent"))
    assert isinstance(error, NotFound)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"[" * 100_000, b"\xff", b"{}"])
def test_a_config_of_another_form(tiny_mlx: EngineSpec, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    assert isinstance(refused(replace(tiny_mlx, weights=tmp_path)), BadFile)


def test_a_folder_without_weights(tiny_mlx: EngineSpec, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((tiny_mlx.weights / "config.json").read_bytes())
    error = refused(replace(tiny_mlx, weights=tmp_path))
    assert isinstance(error, BadFile)
    assert "no weights" in error.what


@pytest.mark.parametrize("odd", [{"hidden_size": 1}, {"intermediate_size": 2}, {"vocab_size": 2**31}])
def test_sizes_that_are_not_those_of_the_weights(
    demo: Demo, hosted: Hosted, tmp_path: Path, odd: dict[str, int]
) -> None:
    """In a process of its own, for MLX divides by what it makes of them."""
    build = demo.weights.parent / "demo-8bit"
    for file in build.iterdir():
        (tmp_path / file.name).symlink_to(file)
    told = json.loads((build / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(told | odd), "utf-8")
    with pytest.raises(BadFile):
        reply(hosted(EngineSpec("mlx", tmp_path, demo.tokenizer, 512)))


def test_a_pipe_is_not_waited_for(changed: Callable[[Change], EngineSpec]) -> None:
    spec = changed(put())
    os.mkfifo(spec.weights / "model-2.safetensors")
    error = refused(spec)
    assert isinstance(error, BadFile)
    assert "no regular file" in error.what


@pytest.mark.parametrize("kept", [0.0, 0.00001, 0.001, 0.5, 0.999])
def test_a_truncated_file(tiny_mlx: EngineSpec, tmp_path: Path, kept: float) -> None:
    (tmp_path / "config.json").write_bytes((tiny_mlx.weights / "config.json").read_bytes())
    whole = (tiny_mlx.weights / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: int(len(whole) * kept)])
    assert isinstance(refused(replace(tiny_mlx, weights=tmp_path)), BadFile)


def put(**values: object) -> Change:
    return lambda config, weights: config.update(values)


WILES: dict[str, tuple[Change, str]] = {
    "a program": (put(model_file="run_me.py"), "program"),
    "an unknown architecture": (put(model_type="lhama"), "architecture 'lhama'"),
    "a path for an architecture": (put(model_type="../../evil"), "architecture"),
    "a module for an architecture": (put(model_type="os.path"), "architecture"),
    "a number for an architecture": (put(model_type=5), "architecture"),
    "no architecture": (put(model_type=None), "architecture"),
    "a path for the text's": (
        put(model_type="mistral3", text_config={"model_type": "a.b", "num_hidden_layers": 2}),
        "architecture",
    ),
    "layers without end": (put(num_hidden_layers=10**12), "layers"),
    "no layers": (put(num_hidden_layers=0), "layers"),
    "half a layer": (put(num_hidden_layers=0.5), "layers"),
    "a width that is true": (put(hidden_size=True), "hidden_size"),
    "a negative width": (put(intermediate_size=-64), "intermediate_size"),
    "more heads than can be": (put(num_attention_heads=2**40), "num_attention_heads"),
    "layers it does not have": (put(num_hidden_layers=3), "cannot load"),
    "no heads": (put(num_attention_heads=0), "cannot load"),
    "no heads for keys": (put(num_key_value_heads=0), "cannot load"),
    "a width in words": (put(hidden_size="wide"), "hidden_size"),
    "another width": (put(hidden_size=128), "cannot load"),
    "a width below nothing": (put(hidden_size=-64), "hidden_size"),
    "no size of its vocabulary": (put(vocab_size=None), "cannot load"),
    "another vocabulary": (put(vocab_size=5), "cannot load"),
    "a rope of a kind nobody knows": (put(rope_scaling={"rope_type": "hemp"}), "cannot load"),
    "quantization of no kind": (put(quantization={"bits": 3.5}), "cannot load"),
    "quantization that it has not": (put(quantization_config={"quant_method": "gptq"}), "cannot load"),
    "a weight too few": (lambda config, weights: weights.__delitem__("model.norm.weight"), "cannot load"),
    "a weight too many": (lambda config, weights: weights.update({"evil": mx.ones(4)}), "cannot load"),
    "a weight of another shape": (
        lambda config, weights: weights.update({"model.norm.weight": mx.ones((4, 4))}),
        "cannot load",
    ),
}


@pytest.mark.parametrize("wile", WILES)
def test_what_is_amiss_is_a_bad_file(changed: Callable[[Change], EngineSpec], wile: str) -> None:
    change, said = WILES[wile]
    error = refused(changed(change))
    assert isinstance(error, BadFile)
    assert error.exit_code == 6
    assert said in error.what


def test_heads_that_cannot_be_quantized(
    tiny_mlx: EngineSpec, changed: Callable[[Change], EngineSpec]
) -> None:
    """Groups of 64 or 32 numbers share a scale; heads of 16 have no such group."""
    spec = changed(put(num_attention_heads=4, num_key_value_heads=2, head_dim=16))
    error = refused(replace(spec, kv_type="q8_0"))
    assert isinstance(error, WrongUsage)
    assert "--kv-type" in error.todo
    with closing(Mlx(spec)) as model:
        assert ids_of(model, PROMPT, 2)


def test_a_sliding_window_cannot_be_quantized(changed: Callable[[Change], EngineSpec]) -> None:
    assert isinstance(refused(replace(changed(sliding), kv_type="q4_0")), WrongUsage)


# ── Ids ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_right_vocabulary_passes(tiny_mlx: EngineSpec, codec: Codec) -> None:
    with closing(Mlx(tiny_mlx)) as model:
        theirs = model.vocabulary()
        assert theirs
        require_as_many(model.vocabulary_size, codec, tiny_mlx)
        require_same(theirs, codec, tiny_mlx)


def test_another_size_is_told_without_a_tokenizer(tiny_mlx: EngineSpec, tmp_path: Path) -> None:
    smaller = Codec.load(write(tekken("v13", ranks=2_000), tmp_path))
    with closing(Mlx(tiny_mlx)) as model, pytest.raises(BadFile, match="4,096 ids"):
        require_as_many(model.vocabulary_size, smaller, tiny_mlx)


def spelling(spec: EngineSpec, content: Any, folder: Path) -> EngineSpec:
    """The build with a tokenizer.json of that content."""
    for name in ("config.json", "model.safetensors"):
        (folder / name).symlink_to(spec.weights / name)
    (folder / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    return replace(spec, weights=folder)


def test_what_was_added_to_a_tokenizer_counts(tiny_mlx: EngineSpec, codec: Codec, tmp_path: Path) -> None:
    told = json.loads((tiny_mlx.weights / "tokenizer.json").read_text("utf-8"))
    told["added_tokens"] = [{"id": 34, "content": "[WHINK]"}]
    with closing(Mlx(spelling(tiny_mlx, told, tmp_path))) as model:
        theirs = model.vocabulary()
    assert theirs
    with pytest.raises(BadFile, match=r"\[WHINK\]"):
        require_same(theirs, codec, tiny_mlx)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"model": {"vocab": {"a": 0, "b": 2}}},
        {"model": {"vocab": [1]}},
        {"model": {"vocab": {"\ud800": 0}}},
        [],
    ],
)
def test_a_tokenizer_of_another_form(tiny_mlx: EngineSpec, tmp_path: Path, content: Any) -> None:
    with closing(Mlx(spelling(tiny_mlx, content, tmp_path))) as model, pytest.raises(BadFile):
        model.vocabulary()


def test_a_build_without_a_tokenizer_says_nothing(changed: Callable[[Change], EngineSpec]) -> None:
    with closing(Mlx(changed(lambda config, weights: None))) as model:
        assert model.vocabulary() is None
