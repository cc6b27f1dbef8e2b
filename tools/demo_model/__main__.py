"""`python -m tools.demo_model`: train, export and measure the demo model; each step can also be run alone."""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

BUILD = Path("build/demo-model")
SHIPPED = Path("localmag/demo")
PRODUCT = Path(".venv/bin/python")

STEPS = {
    "data": "show some of what it learns from",
    "train": "from nothing, or on from the last checkpoint",
    "export": "the checkpoint to GGUF, what ships into the package",
    "mlx": "the GGUF to the MLX build that ships",
    "eval": "share of right replies, per family and language; what was measured before is not again",
    "compare": "greedy replies of MLX beside llama.cpp's, id by id",
}
ALL = ("train", "export", "mlx", "eval")
IN_PRODUCT = ("mlx", "eval", "compare")
"""The steps that run localmag's own engines."""
GGUF = ("Q8_0", "F16")


def main() -> None:
    options = parsed(sys.argv[1:])
    for step in ALL if options.step == "all" else (options.step,):
        if step in IN_PRODUCT and not find_spec("llama_cpp"):
            in_product(step)
        else:
            run(step, options)


def parsed(words: list[str]) -> argparse.Namespace:
    steps = "\n".join(f"  {step:<8} {meaning}" for step, meaning in STEPS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tools.demo_model",
        description=f"{__doc__}\n\n{steps}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "step", nargs="?", choices=("all", *STEPS), default="all", help=f"default: {', '.join(ALL)}"
    )
    parser.add_argument("--build", type=Path, default=BUILD, help="checkpoints and builds (%(default)s)")
    parser.add_argument(
        "--problems",
        type=int,
        default=500,
        help="held out; of each family and language, or compared in all (%(default)s)",
    )
    parser.add_argument(
        "--builds", nargs="+", default=list(GGUF), metavar="BUILD", help="of eval, or all: F16 mlx-8bit …"
    )
    parser.add_argument(
        "--modes", nargs="+", choices=("greedy", "sampled"), default=["greedy", "sampled"], help="of eval"
    )
    parser.add_argument("--again", action="store_true", help="measure anew what was measured")
    return parser.parse_args(words)


def run(step: str, options: argparse.Namespace) -> None:
    """Each step imports its own: torch takes seconds, and is not where the engines are."""
    match step:
        case "data":
            from tools.demo_model import sample

            sample.show()
        case "train":
            train(options.build)
        case "export":
            export(options.build)
        case "mlx":
            ship_mlx(options.build)
        case "eval":
            evaluate(options)
        case "compare":
            from tools.demo_model import comparing

            require_mlx()
            comparing.compare(options.build, options.problems)


def in_product(step: str) -> None:
    """The same words, in the product's environment, which has the engines; the training's does not."""
    if not PRODUCT.exists():
        sys.exit(f"The step {step!r} runs localmag itself. Run `make install`, then this again.")
    words = [word for word in sys.argv[1:] if word not in ("all", step)]
    subprocess.run([str(PRODUCT), "-m", "tools.demo_model", step, *words], check=True)


def train(build: Path) -> None:
    from tools.demo_model import training
    from tools.demo_model.shape import Shape

    training.keep_memory()
    training.train(training.Recipe(), Shape(), build / "checkpoint.pt")


def export(build: Path) -> None:
    """Every GGUF into `build`, and what is shipped into the package."""
    from tools.demo_model import exporting
    from tools.demo_model.conversations import SYSTEM_PROMPT
    from tools.demo_model.training import load_model

    model = load_model(build / "checkpoint.pt")
    exporting.export(model, build, SYSTEM_PROMPT)
    exporting.write_hugging_face(model.shape, model.weights(), build / "hf")
    exporting.export(model, SHIPPED, SYSTEM_PROMPT, quants=("Q8_0",))


def ship_mlx(build: Path) -> None:
    """Of the GGUF that `export` wrote; the two that ship are of the same weights."""
    from tools.demo_model import builds

    require_mlx()
    builds.make_mlx(build / builds.SOURCE, SHIPPED / builds.SHIPPED_MLX)
    print(SHIPPED / builds.SHIPPED_MLX)


def evaluate(options: argparse.Namespace) -> None:
    from tools.demo_model import builds, evaluation

    names = list(builds.EVALUATED) if options.builds == ["all"] else options.builds
    if unknown := [name for name in names if name not in builds.BUILDS]:
        sys.exit(f"There is no build {unknown[0]!r}. Name some of: {', '.join(builds.BUILDS)}, or all.")
    for name in names:
        if why := builds.BUILDS[name].obstacle:
            print(f"{name} is left out: {why}.", file=sys.stderr)
    names = [name for name in names if not builds.BUILDS[name].obstacle]
    modes = [m for m in evaluation.SAMPLING if ("greedy" if m == "greedy" else "sampled") in options.modes]
    evaluation.report(options.build, names, modes, options.problems, again=options.again)


def require_mlx() -> None:
    from tools.demo_model import builds

    if why := builds.BUILDS["mlx-8bit"].obstacle:
        sys.exit(f"MLX cannot run here: {why}. Run this step on a Mac with Apple silicon, or on Linux.")


if __name__ == "__main__":
    main()
