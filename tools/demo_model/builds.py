"""The demo model's builds: which there are, how an MLX one is made of the GGUF, and what runs each.

Needs the product's environment (`make install`), not torch.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from localmag.engines import EngineSpec, TokenModel
from localmag.engines.select import host
from tools.demo_model.shape import Shape

SOURCE = "demo-F16.gguf"
"""What MLX builds are made of."""
TOKENIZER = "tekken.json"
SHIPPED_MLX = "demo-8bit"
"""The folder in the package. 8 bits because fewer make mistakes that the model itself does not."""


@dataclass(frozen=True)
class Build:
    """One build: a GGUF of that name, or an MLX build whose numbers are of `dtype`, or have `bits` each.

    What is not of 4, 6 or 8 bits (scales, norms) is of `dtype`, and so is what is computed. With bits that is
    float32: on a CPU an id then costs 6.5 ms, where it costs 26 ms in bfloat16 and 95 ms in float16.
    """

    name: str
    dtype: Literal["", "bfloat16", "float16", "float32"] = ""
    bits: int | None = None

    @property
    def backend(self) -> Literal["llama.cpp", "mlx"]:
        return "mlx" if self.dtype else "llama.cpp"

    @property
    def file(self) -> str:
        """Where its weights are, in the folder of builds: a file, or a folder for MLX."""
        return self.name if self.dtype else f"demo-{self.name}.gguf"

    @property
    def title(self) -> str:
        return self.name.replace("mlx-", "MLX ")

    @cached_property
    def obstacle(self) -> str:
        """Why it cannot run on this machine; empty if it can."""
        return host().obstacles.get(self.backend, "")

    def prepare(self, folder: Path) -> None:
        """Make an MLX build of the GGUF that is there now."""
        if self.dtype:
            make_mlx(folder / SOURCE, folder / self.file, self.dtype, self.bits)

    def digest(self, folder: Path) -> str:
        """The start of its weights' SHA-256; empty if there are none."""
        weights = folder / self.file / ("model.safetensors" if self.dtype else "")
        return hashlib.sha256(weights.read_bytes()).hexdigest()[:16] if weights.is_file() else ""

    def load(self, folder: Path, threads: int = 1) -> TokenModel:
        """Loaded as the engine's process would, with the demo's whole context."""
        spec = EngineSpec(
            self.backend, folder / self.file, folder / TOKENIZER, Shape().context, threads=threads
        )
        if self.backend == "mlx":
            from localmag.engines.mlx import Mlx

            return Mlx(spec)
        from localmag.engines.llamacpp import LlamaCpp

        return LlamaCpp(spec)


BUILDS = {
    build.name: build
    for build in (
        Build("F16"),
        Build("Q8_0"),
        Build("mlx-bf16", "bfloat16"),
        Build("mlx-8bit", "float32", 8),
        Build("mlx-6bit", "float32", 6),
        Build("mlx-4bit", "float32", 4),
        Build("mlx-f16", "float16"),
        Build("mlx-f32", "float32"),
    )
}
EVALUATED = ("F16", "Q8_0", "mlx-bf16", "mlx-8bit", "mlx-6bit", "mlx-4bit")
"""Side by side in the table; the rest are to compare with."""


def make_mlx(source: Path, folder: Path, dtype: str = "float32", bits: int | None = 8) -> None:
    """Write an MLX build of a GGUF into `folder`, file by file: others may be reading the one before."""
    from tools import mlx_build

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
        mlx_build.write(source, Path(aside), dtype, bits)
        for file in Path(aside).iterdir():
            os.replace(file, folder / file.name)  # noqa: PTH105 - over what is there, on Windows too
