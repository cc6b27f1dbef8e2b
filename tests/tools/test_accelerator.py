"""The build of llama.cpp chosen for machines as they describe themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tools.bootstrap.accelerator import Choice, Output, Probe, choose, nvidia_cards, probe, toolkit

RTX_4090 = Output("NVIDIA GeForce RTX 4090, 8.9, 550.54.14\n")
RTX_5090 = Output("NVIDIA GeForce RTX 5090, 12.0, 580.95.05\n")
H100 = Output("NVIDIA H100 80GB HBM3, 9.0, 570.133.20\n")
GTX_1080 = Output("NVIDIA GeForce GTX 1080, 6.1, 580.65.06\n")
TWO_CARDS = Output("NVIDIA GeForce RTX 4090, 8.9, 550.54.14\nNVIDIA GeForce RTX 3090, 8.6, 550.54.14\n")
OLD_DRIVER = Output('Field "compute_cap" is not a valid field to query.\n', 2)
NO_CONTACT = Output(
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    " Make sure that the latest NVIDIA driver is installed and running.\n\n",
    9,
)
NO_DEVICES = Output("No devices were found\n", 6)


def nvcc(release: str) -> Output:
    return Output(
        "nvcc: NVIDIA (R) Cuda compiler driver\nCopyright (c) 2005-2024 NVIDIA Corporation\n"
        f"Cuda compilation tools, release {release}, V{release}.99\n"
    )


GLSLC = Output("shaderc v2023.8 v2024.1\nTarget: SPIR-V 1.0\n")
RADEON = Output(
    "Devices:\n========\nGPU0:\n\tapiVersion         = 1.3.289\n\tvendorID           = 0x1002\n"
    "\tdeviceType         = PHYSICAL_DEVICE_TYPE_DISCRETE_GPU\n"
    "\tdeviceName         = AMD Radeon RX 7900 XTX (RADV NAVI31)\n"
    "GPU1:\n\tdeviceType         = PHYSICAL_DEVICE_TYPE_CPU\n\tdeviceName         = llvmpipe (LLVM 17.0.6)\n"
)
LAVAPIPE = Output("GPU0:\n\tdeviceType = PHYSICAL_DEVICE_TYPE_CPU\n\tdeviceName = llvmpipe (LLVM 17.0.6)\n")

LINUX = Probe("Linux", "x86_64", "6.8.0-45-generic")
WSL2 = Probe("Linux", "x86_64", "5.15.153.1-microsoft-standard-WSL2", nvidia_smi=RTX_4090)
WINDOWS = Probe("Windows", "AMD64", "10", nvidia_smi=RTX_4090)
M2 = Probe("Darwin", "arm64", "23.6.0", clang=Output("/usr/bin/clang\n"), translated=Output("0\n"))
ROSETTA = replace(M2, machine="x86_64", translated=Output("1\n"))
INTEL_MAC = Probe(
    "Darwin",
    "x86_64",
    "22.6.0",
    clang=Output("/usr/bin/clang\n"),
    translated=Output("sysctl: unknown oid 'sysctl.proc_translated'\n", 1),
)

CUDA_89 = ("-DGGML_CUDA=on", "-DCMAKE_CUDA_ARCHITECTURES=89")


@pytest.mark.parametrize(
    ("machine", "backend", "cmake_args"),
    [
        pytest.param(LINUX, "cpu", (), id="no GPU"),
        pytest.param(replace(LINUX, nvcc=nvcc("12.4")), "cpu", (), id="nvcc without a card"),
        pytest.param(replace(LINUX, nvidia_smi=RTX_4090, nvcc=nvcc("12.4")), "cuda", CUDA_89, id="RTX 4090"),
        pytest.param(replace(LINUX, nvidia_smi=RTX_4090), "cpu", (), id="RTX 4090, no nvcc"),
        pytest.param(
            replace(LINUX, nvidia_smi=RTX_4090, glslc=GLSLC),
            "vulkan",
            ("-DGGML_VULKAN=on",),
            id="RTX 4090, no nvcc, Vulkan SDK",
        ),
        pytest.param(
            replace(LINUX, nvidia_smi=TWO_CARDS, nvcc=nvcc("12.4")),
            "cuda",
            ("-DGGML_CUDA=on", "-DCMAKE_CUDA_ARCHITECTURES=86;89"),
            id="two cards",
        ),
        pytest.param(
            replace(LINUX, nvidia_smi=TWO_CARDS, nvcc=nvcc("11.5")),
            "cuda",
            ("-DGGML_CUDA=on", "-DCMAKE_CUDA_ARCHITECTURES=86"),
            id="two cards, a toolkit that knows one",
        ),
        pytest.param(replace(LINUX, nvidia_smi=RTX_4090, nvcc=nvcc("11.5")), "cpu", (), id="old toolkit"),
        pytest.param(replace(LINUX, nvidia_smi=RTX_5090, nvcc=nvcc("12.4")), "cpu", (), id="new card"),
        pytest.param(replace(LINUX, nvidia_smi=GTX_1080, nvcc=nvcc("13.0")), "cpu", (), id="dropped card"),
        pytest.param(replace(LINUX, nvidia_smi=RTX_4090, nvcc=nvcc("13.0")), "cpu", (), id="old driver"),
        pytest.param(
            replace(LINUX, nvidia_smi=H100, nvcc=nvcc("12.8"), nvcc_path="/usr/local/cuda/bin/nvcc"),
            "cuda",
            (
                "-DGGML_CUDA=on",
                "-DCMAKE_CUDA_ARCHITECTURES=90",
                "-DCMAKE_CUDA_COMPILER=/usr/local/cuda/bin/nvcc",
            ),
            id="H100, nvcc off PATH",
        ),
        pytest.param(replace(LINUX, nvidia_smi=NO_CONTACT, nvcc=nvcc("12.4")), "cpu", (), id="broken driver"),
        pytest.param(replace(LINUX, nvidia_smi=NO_DEVICES, nvcc=nvcc("12.4")), "cpu", (), id="no devices"),
        pytest.param(replace(WSL2, nvcc=nvcc("12.4")), "cuda", CUDA_89, id="WSL2"),
        pytest.param(replace(WSL2, glslc=GLSLC), "cpu", (), id="WSL2 has no Vulkan"),
        pytest.param(replace(WINDOWS, nvcc=nvcc("12.4")), "cuda", CUDA_89, id="Windows"),
        pytest.param(
            replace(LINUX, vulkaninfo=RADEON, glslc=GLSLC), "vulkan", ("-DGGML_VULKAN=on",), id="Radeon"
        ),
        pytest.param(replace(LINUX, vulkaninfo=RADEON), "cpu", (), id="Radeon, no SDK"),
        pytest.param(replace(LINUX, vulkaninfo=LAVAPIPE, glslc=GLSLC), "cpu", (), id="software Vulkan"),
        pytest.param(M2, "mlx", (), id="M2"),
        pytest.param(replace(M2, clang=None), "mlx", (), id="M2 without a compiler"),
        pytest.param(ROSETTA, "cpu", ("-DGGML_METAL=off",), id="M2 under Rosetta"),
        pytest.param(INTEL_MAC, "cpu", ("-DGGML_METAL=off",), id="Intel Mac"),
    ],
)
def test_each_machine_gets_its_build(machine: Probe, backend: str, cmake_args: tuple[str, ...]) -> None:
    choice = choose(machine)
    assert (choice.backend, choice.cmake_args) == (backend, cmake_args)
    assert choice.why


@pytest.mark.parametrize(
    ("machine", "why", "advice"),
    [
        (replace(LINUX, nvidia_smi=RTX_4090), "RTX 4090, but not CUDA's compiler", "toolkit 11.8 or newer"),
        (replace(LINUX, nvidia_smi=RTX_4090, nvcc=nvcc("11.5")), "11.5 is too old", "toolkit 11.8 or newer"),
        (replace(LINUX, nvidia_smi=RTX_5090, nvcc=nvcc("12.4")), "12.4 is too old", "toolkit 12.8 or newer"),
        (replace(LINUX, nvidia_smi=GTX_1080, nvcc=nvcc("13.0")), "13.0 has dropped it", "a CUDA 12 toolkit"),
        (replace(LINUX, nvidia_smi=RTX_4090, nvcc=nvcc("13.0")), "driver 550 is too old", "driver 580"),
        (replace(LINUX, nvidia_smi=NO_CONTACT), "couldn't communicate", "Mend the NVIDIA driver"),
        (replace(LINUX, vulkaninfo=RADEON), "RX 7900 XTX", "Vulkan SDK"),
        (ROSETTA, "translated", "arm64 Python"),
        (M2, "needs no compiler", "LOCALMAG_BACKEND=metal make install"),
    ],
)
def test_what_stands_in_the_way_is_said_with_its_remedy(machine: Probe, why: str, advice: str) -> None:
    choice = choose(machine)
    assert why in choice.why
    assert advice in choice.advice


@pytest.mark.parametrize("backend", ["cpu", "cuda", "vulkan", "metal", "rocm"])
def test_the_user_may_ask_for_any(backend: str) -> None:
    assert choose(replace(LINUX, nvidia_smi=RTX_4090, nvcc=nvcc("12.4")), backend).backend == backend


NO_CLANG = Output("xcrun: error: unable to find utility", 72)


def test_llama_cpp_comes_to_a_mac_where_it_must_be() -> None:
    for choice in (choose(M2, llama=True), choose(M2, "metal")):
        assert (choice.backend, choice.cmake_args, choice.advice) == ("metal", (), "")
    for choice in (
        choose(replace(M2, clang=NO_CLANG), llama=True),
        choose(replace(M2, clang=NO_CLANG), "metal"),
    ):
        assert "xcode-select --install" in choice.advice


def test_mlx_may_be_asked_for_where_it_is_at_home() -> None:
    assert choose(M2, "mlx").backend == "mlx"
    for machine in (LINUX, WINDOWS, INTEL_MAC, ROSETTA):
        with pytest.raises(ValueError, match="is for Apple silicon"):
            choose(machine, "mlx")


def test_cuda_asked_for_without_a_card_leaves_the_architectures_to_cmake() -> None:
    assert choose(LINUX, "cuda").cmake_args == ("-DGGML_CUDA=on",)


def test_the_cpu_asked_for_on_a_mac_has_no_metal() -> None:
    assert choose(M2, "cpu").cmake_args == ("-DGGML_METAL=off",)


def test_an_unknown_backend_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'cudda'; it may be cpu, cuda"):
        choose(LINUX, "cudda")


def test_an_index_of_prebuilt_wheels_needs_no_compiler() -> None:
    choice = choose(replace(LINUX, nvidia_smi=RTX_4090), index="file:///wheels")
    assert choice == Choice("cuda", choice.why, index="file:///wheels")


def test_cmake_arguments_of_the_user_come_last() -> None:
    assert choose(INTEL_MAC, cmake_args=("-DGGML_METAL=on",)).cmake_args[-1] == "-DGGML_METAL=on"


def test_different_builds_have_different_slugs() -> None:
    machines = (LINUX, M2, INTEL_MAC, replace(LINUX, nvidia_smi=TWO_CARDS, nvcc=nvcc("12.4")))
    assert len({choose(machine).slug for machine in machines}) == len(machines)


def test_a_driver_too_old_to_tell_the_capability_is_a_broken_one() -> None:
    machine = replace(LINUX, nvidia_smi=OLD_DRIVER, nvcc=nvcc("12.4"))
    assert choose(machine).backend == "cpu"
    assert "not a valid field" in choose(machine).why


@pytest.mark.parametrize("text", ["", "\n\n", "garbage", "a,b", ",,\n", "Tesla, [N/A], [N/A]\n"])
def test_odd_outputs_of_nvidia_smi_break_nothing(text: str) -> None:
    choose(replace(LINUX, nvidia_smi=Output(text), nvcc=Output("what?")))


def test_a_card_named_with_a_comma() -> None:
    (card,) = nvidia_cards(replace(LINUX, nvidia_smi=Output("Quadro, the 2nd, 7.5, 535.161.07\n")))
    assert (card.name, card.capability, card.driver) == ("Quadro, the 2nd", (7, 5), 535)


def test_this_machine_answers() -> None:
    here = probe()
    assert here.system
    assert toolkit(here) is None or toolkit(here) > (1, 0)
    assert choose(here).backend in ("cpu", "cuda", "vulkan", "mlx")
