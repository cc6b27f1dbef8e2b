"""Tests of the screen are coroutines."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that Textual runs on."""
    return "asyncio"
