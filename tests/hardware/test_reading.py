"""Machines of several kinds, from what their tools print to what is known of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localmag.hardware import Machine
from localmag.hardware.probes import Output, Probes
from localmag.hardware.reading import read, working_set
from tests.hardware import machines
from tests.hardware.machines import GIB, MIB, ggml, metal, sysctl
from tests.macs import DEVICES, WORKING_SETS, Facts, Recorded


def notes(machine: Machine) -> str:
    return "\n".join(f"{note.what} {note.todo}" for note in machine.notes)


# ── NVIDIA ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("probes", [machines.RTX_4090, machines.RTX_4090_WINDOWS], ids=["Linux", "Windows"])
def test_an_rtx_4090_that_llama_cpp_uses(probes: Probes) -> None:
    machine = read(probes)
    (device,) = machine.usable("llama.cpp")
    assert machine.devices == (device,)
    assert (device.name, device.kind, device.id) == ("NVIDIA GeForce RTX 4090", "cuda", "CUDA0")
    assert (device.total, device.free) == (24081 * MIB, 23818 * MIB)
    assert not device.unified
    assert machine.arch == "x86_64"
    assert machine.llama_cpp == ("cuda", "cpu")
    assert not machine.notes


def test_an_rtx_4090_under_a_build_for_the_cpu_lies_idle_and_the_command_is_named() -> None:
    machine = read(machines.RTX_4090_ON_CPU_BUILD)
    (device,) = machine.devices
    assert not machine.usable("llama.cpp")
    assert (device.name, device.backends) == ("NVIDIA GeForce RTX 4090", ())
    assert (device.total, device.free) == (24564 * MIB, 24101 * MIB)
    assert "RTX 4090 lies idle" in notes(machine)
    assert "install" in machine.notes[0].todo


def test_two_gpus_in_llama_cpps_order() -> None:
    machine = read(machines.TWO_GPUS)
    assert [device.id for device in machine.usable("llama.cpp")] == ["CUDA0", "CUDA1"]
    assert len(machine.devices) == 2
    assert not machine.notes


def test_a_card_that_is_hidden_from_llama_cpp_is_told() -> None:
    only_one = ggml("CUDA CPU", machines.CUDA_4090)
    machine = read(replace(machines.TWO_GPUS, ggml=only_one))
    assert [device.name for device in machine.usable("llama.cpp")] == ["NVIDIA GeForce RTX 4090"]
    assert machine.devices[1].name == "NVIDIA GeForce RTX 3090"
    assert "CUDA_VISIBLE_DEVICES" in notes(machine)


def test_of_two_alike_one_hidden() -> None:
    one = ggml("CUDA CPU", ("CUDA0", "NVIDIA GeForce RTX 3090", "CUDA", 23980, 24124))
    machine = read(replace(machines.LINUX, ggml=one, nvidia_smi=machines.SMI_PAIR))
    assert [bool(device.backends) for device in machine.devices] == [True, False]


def test_a_card_reached_by_two_interfaces_counts_once() -> None:
    vulkan = ("Vulkan0", "NVIDIA GeForce RTX 4090", "Vulkan", 24000, 24564)
    machine = read(replace(machines.RTX_4090, ggml=ggml("CUDA Vulkan CPU", machines.CUDA_4090, vulkan)))
    assert [device.id for device in machine.devices] == ["CUDA0"]


def test_a_card_used_through_vulkan_is_not_idle() -> None:
    vulkan = ("Vulkan0", "NVIDIA GeForce RTX 4090", "Vulkan", 24000, 24564)
    machine = read(replace(machines.RTX_4090, ggml=ggml("Vulkan CPU", vulkan)))
    assert [device.kind for device in machine.devices] == ["vulkan"]
    assert not machine.notes


def test_a_part_of_a_card_is_that_card() -> None:
    part = ("CUDA0", "NVIDIA H100 80GB HBM3 MIG 3g.40gb", "CUDA", 40000, 40448)
    smi = Output("NVIDIA H100 80GB HBM3, 81559, 81000, 570.133.20\n")
    machine = read(replace(machines.LINUX, ggml=ggml("CUDA CPU", part), nvidia_smi=smi))
    assert [device.total for device in machine.devices] == [40448 * MIB]
    assert not machine.notes


def test_one_card_is_not_mistaken_for_its_bigger_sister() -> None:
    smi = Output(
        "NVIDIA GeForce RTX 3060, 12288, 12000, 550.54\nNVIDIA GeForce RTX 3060 Ti, 8192, 8000, 550.54\n"
    )
    one = ggml("CUDA CPU", ("CUDA0", "NVIDIA GeForce RTX 3060 Ti", "CUDA", 7900, 8000))
    machine = read(replace(machines.LINUX, ggml=one, nvidia_smi=smi))
    assert [(d.name, bool(d.backends)) for d in machine.devices] == [
        ("NVIDIA GeForce RTX 3060 Ti", True),
        ("NVIDIA GeForce RTX 3060", False),
    ]


def test_a_gpu_that_shares_the_machines_memory_has_no_more_than_is_free() -> None:
    machine = read(machines.SPARK)
    (device,) = machine.usable("llama.cpp")
    assert device.unified
    assert machine.unified
    assert device.free == machine.memory_free == 110 * GIB
    assert machine.arch == "arm64"


def test_a_driver_out_of_order_is_told() -> None:
    machine = read(replace(machines.LINUX, nvidia_smi=machines.SMI_NO_DRIVER))
    assert not machine.devices
    assert "couldn't communicate" in notes(machine)
    assert "driver" in machine.notes[0].todo


def test_a_build_for_cuda_that_finds_no_card_is_told() -> None:
    machine = read(replace(machines.LAPTOP, ggml=ggml("CUDA CPU", ("CPU", "some CPU", "CPU", 0, 0))))
    assert not machine.devices
    assert "built for cuda, but finds no GPU" in notes(machine)


def test_two_idle_cards_lie() -> None:
    machine = read(replace(machines.LINUX, nvidia_smi=machines.SMI_TWO))
    assert "RTX 4090 and NVIDIA GeForce RTX 3090 lie idle" in notes(machine)
    assert len(machine.notes) == 1


# ── Other cards ───────────────────────────────────────────────────────────────────────────────────


def test_a_radeon_through_vulkan() -> None:
    machine = read(machines.RADEON)
    (device,) = machine.usable("llama.cpp")
    assert (device.kind, device.total, device.unified) == ("vulkan", 24560 * MIB, False)
    assert not machine.notes


def test_a_radeon_through_rocm() -> None:
    rocm = ggml("ROCm CPU", ("ROCm0", "AMD Radeon RX 7900 XTX", "ROCm", 24400, 24560))
    (device,) = read(replace(machines.RADEON, ggml=rocm)).usable("llama.cpp")
    assert device.kind == "rocm"


def test_a_radeon_under_a_build_for_the_cpu_lies_idle() -> None:
    machine = read(machines.RADEON_ON_CPU_BUILD)
    assert not machine.devices
    assert "Radeon RX 7900 XTX" in notes(machine)
    assert "llvmpipe" not in notes(machine)


def test_an_integrated_gpu_is_used_where_it_is_the_only_one() -> None:
    (device,) = read(machines.IRIS).usable("llama.cpp")
    assert device.unified
    assert device.free == 5 * GIB


def test_beside_a_card_an_integrated_gpu_is_left_alone() -> None:
    both = ggml("Vulkan CPU", machines.VULKAN_7900, ("Vulkan1", "Intel UHD", "Vulkan", 5700, 5813))
    text = both.text.rpartition('"gpu"')
    machine = read(replace(machines.RADEON, ggml=Output(text[0] + '"igpu"' + text[2])))
    assert [d.id for d in machine.usable("llama.cpp")] == ["Vulkan0"]
    assert len(machine.devices) == 2


def test_no_gpu() -> None:
    machine = read(machines.LAPTOP)
    assert not machine.devices
    assert not machine.notes
    assert not machine.unified
    assert (machine.memory_total, machine.memory_free) == (8 * GIB, 5 * GIB)
    assert (machine.cores, machine.threads) == (4, 8)


def test_a_container_has_what_its_limit_leaves() -> None:
    machine = read(machines.CONTAINER)
    assert (machine.memory_total, machine.memory_free) == (16 * GIB, 12 * GIB)


# ── Apple ─────────────────────────────────────────────────────────────────────────────────────────


def test_an_m2_with_32_gb() -> None:
    machine = read(machines.M2)
    (device,) = machine.devices
    assert machine.apple_silicon
    assert machine.unified
    assert machine.cpu == "Apple M2"
    assert machine.llama_cpp == ("metal", "blas", "cpu")
    assert (device.kind, device.name, device.backends) == ("metal", "Apple M2", ("llama.cpp",))
    assert device.working_set == device.total == device.free == 21845 * MIB


def test_an_m4_max_with_128_gb_and_mlx() -> None:
    machine = read(machines.M4_MAX)
    (device,) = machine.usable("mlx")
    assert device.working_set == 110100 * MIB
    assert machine.usable("llama.cpp") == (device,)


def test_a_busy_mac_offers_no_more_than_is_free() -> None:
    (device,) = read(replace(machines.M2, memory_free=9 * GIB)).devices
    assert (device.free, device.working_set) == (9 * GIB, 21845 * MIB)


def test_without_metal_the_working_set_is_estimated_and_the_gpu_lies_idle() -> None:
    machine = read(replace(machines.M2, ggml=machines.CPU_ONLY))
    (device,) = machine.devices
    assert device.working_set == 32 * GIB * 2 // 3
    assert device.backends == ()
    assert "Apple M2 lies idle" in notes(machine)


def test_a_mac_in_a_virtual_machine_has_no_gpu() -> None:
    machine = read(replace(machines.M2, ggml=ggml("MTL CPU", ("CPU", "Apple M2", "CPU", 0, 0))))
    assert not machine.devices
    assert "finds no GPU" in notes(machine)


def test_a_limit_that_the_owner_set_counts() -> None:
    probes = replace(machines.M2, ggml=machines.CPU_ONLY, sysctl=sysctl("Apple M2", wired=28672))
    (device,) = read(probes).devices
    assert device.working_set == 28 * GIB


def test_metals_own_word_comes_first() -> None:
    probes = replace(machines.M2, ggml=metal("Apple M2", 28672), sysctl=sysctl("Apple M2", wired=28672))
    assert read(probes).devices[0].working_set == 28672 * MIB


@pytest.mark.parametrize(
    ("memory", "printed"), [(16, 10922), (24, 16384), (32, 21845), (64, 49152), (96, 73728)]
)
def test_the_estimate_is_what_macos_14_gives(memory: int, printed: int) -> None:
    assert working_set(memory * GIB) // MIB == printed


@pytest.mark.parametrize(("memory", "printed"), [(16, 12123), (128, 110100)])
def test_the_estimate_is_not_above_what_newer_ones_give(memory: int, printed: int) -> None:
    assert working_set(memory * GIB) // MIB <= printed


@pytest.mark.parametrize("mac", WORKING_SETS, ids=lambda mac: f"{mac.chip}, {mac.memory // GIB} GB")
def test_the_estimate_is_above_nothing_on_record(mac: Recorded) -> None:
    assert 0.85 * mac.working_set <= working_set(mac.memory) <= mac.working_set


@pytest.mark.parametrize("facts", DEVICES.values(), ids=DEVICES)
def test_nor_above_what_mlx_was_told(facts: Facts) -> None:
    told = int(facts["max_recommended_working_set_size"])
    assert 0.83 * told <= working_set(int(facts["memory_size"])) <= told


def test_an_intel_python_on_apple_silicon_is_told() -> None:
    machine = read(machines.ROSETTA)
    assert not machine.apple_silicon
    assert "arm64" in notes(machine)


# ── Nonsense ──────────────────────────────────────────────────────────────────────────────────────

ODD = st.sampled_from(
    [
        "",
        "null",
        "[]",
        "{}",
        '{"backends": 3, "devices": 4}',
        '{"backends": ["CUDA"], "devices": [{"type": "gpu"}]}',
        '{"backends": ["CUDA"], "devices": [{"type": "gpu", "name": 1, "description": null, "backend":'
        ' "CUDA", "free": -5, "total": "many"}]}',
        ", , , ,",
        "NVIDIA GeForce, 1e9, inf, nan",
        "NVIDIA GeForce, " + "9" * 5000 + ", 5, 550",
        "iogpu.wired_limit_mb: ٣\nmachdep.cpu.brand_string",
        "TYPE_DISCRETE_GPU deviceName = ",
        "\x1b]0;title\x07",
    ]
)


@given(
    ODD | st.text(),
    ODD | st.text(),
    ODD | st.text(),
    ODD | st.text(),
    st.sampled_from([machines.LINUX, machines.M2]),
)
def test_whatever_is_said_a_machine_comes_out(
    devices: str, nvidia: str, vulkan: str, names: str, machine: Probes
) -> None:
    probes = replace(
        machine,
        ggml=Output(devices),
        nvidia_smi=Output(nvidia),
        vulkaninfo=Output(vulkan),
        sysctl=Output(names),
    )
    for device in read(probes).devices:
        assert device.free >= 0
        assert device.total >= 0


def test_a_llama_cpp_that_does_not_load_is_told_with_the_command() -> None:
    broken = Output('{"problem": "it does not load: libcudart.so.12: cannot open shared object file"}')
    machine = read(replace(machines.LINUX, ggml=broken))
    assert machine.llama_cpp == ()
    assert "libcudart" in notes(machine)
    assert machine.notes[0].broken
    assert "llama-cpp-python" in machine.notes[0].todo


def test_a_mac_without_llama_cpp_is_known_by_mlx() -> None:
    told = Output('{"missing": true, "metal": {"name": "Apple M4 Max", "working_set": 115448725504}}')
    machine = read(replace(machines.M4_MAX, ggml=told))
    (device,) = machine.devices
    assert (device.name, device.backends) == ("Apple M4 Max", ("mlx",))
    assert device.working_set == 115_448_725_504
    assert machine.llama_cpp == ()
    assert not machine.notes


def test_where_mlx_cannot_tell_the_working_set_is_estimated() -> None:
    machine = read(replace(machines.M4_MAX, ggml=Output('{"missing": true, "metal": {}}')))
    assert machine.devices[0].working_set == working_set(128 * GIB)
    assert machine.devices[0].name == "Apple M4 Max"


def test_llama_cpp_that_is_missing_is_no_fault_of_the_machine() -> None:
    machine = read(replace(machines.LINUX, ggml=Output('{"missing": true, "metal": {}}')))
    assert not machine.notes
    machine = read(replace(machines.RTX_4090_ON_CPU_BUILD, ggml=Output('{"missing": true, "metal": {}}')))
    (note,) = machine.notes
    assert "RTX 4090 lies idle: there is no llama.cpp that loads" in note.what
    assert not note.broken


def test_a_probe_that_took_too_long_is_told() -> None:
    machine = read(replace(machines.LINUX, ggml=Output(problem="it did not end within 30 s")))
    assert "within 30 s" in notes(machine)
