"""What this machine has to compute with: memory, cores, accelerators, and what is built to use them.

    machine  Machine, Device, Note: plain data, which tests write down by hand
    probes   what the system and its tools say, as they say it; every question has a time limit
    reading  probes → Machine
    cores    how many cores there are to compute on
    limits   what a container may use of the memory
    rebuild  the command that builds llama.cpp for the hardware that is here

llama.cpp's own device list comes from a process of its own: `engines/devices.py`, whose `machine()` asks all
of it.
"""

from __future__ import annotations

from localmag.hardware.machine import Device, Kind, Machine, Note

__all__ = ["Device", "Kind", "Machine", "Note"]
