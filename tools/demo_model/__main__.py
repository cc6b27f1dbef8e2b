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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.demo_model", description=__doc__)
    steps = ("all", "data", "train", "export", "eval")
    parser.add_argument("step", nargs="?", choices=steps, default="all", help="default: train, export, eval")
    parser.add_argument("--build", type=Path, default=BUILD, help="checkpoints and builds (%(default)s)")
    parser.add_argument(
        "--problems", type=int, default=500, help="held out, per family and language (%(default)s)"
    )
    options = parser.parse_args()
    if options.step == "data":
        data()
    if options.step in ("all", "train"):
        train(options.build)
    if options.step in ("all", "export"):
        export(options.build)
    if options.step in ("all", "eval"):
        evaluate(options.build, options.problems)


# Each step imports its own: torch takes seconds, and is not where the evaluation runs.


def data() -> None:
    from tools.demo_model import sample

    sample.show()


def train(build: Path) -> None:
    from tools.demo_model import training
    from tools.demo_model.shape import Shape

    training.keep_memory()
    training.train(training.Recipe(), Shape(), build / "checkpoint.pt")


def export(build: Path) -> None:
    """Every build into `build`, and what is shipped into the package."""
    from tools.demo_model import exporting
    from tools.demo_model.conversations import SYSTEM_PROMPT
    from tools.demo_model.training import load_model

    model = load_model(build / "checkpoint.pt")
    exporting.export(model, build, SYSTEM_PROMPT)
    exporting.write_hugging_face(model.shape, model.weights(), build / "hf")
    exporting.export(model, SHIPPED, SYSTEM_PROMPT, quants=("Q8_0",))


def evaluate(build: Path, problems: int) -> None:
    """Measured in the product's environment, which has llama.cpp; the training's does not."""
    if find_spec("llama_cpp"):
        from tools.demo_model import evaluation

        evaluation.report(build, problems)
        return
    if not PRODUCT.exists():
        sys.exit("The evaluation runs localmag itself. Run `make install`, then this again.")
    command = [
        str(PRODUCT),
        "-m",
        "tools.demo_model",
        "eval",
        "--build",
        str(build),
        "--problems",
        str(problems),
    ]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
