from __future__ import annotations

import pytest

from localmag.engines.prefix import reusable
from localmag.errors import ContextTooSmall


@pytest.mark.parametrize(
    ("held", "ids", "expected"),
    [
        ([], [1, 2, 3], 0),
        ([1, 2], [1, 2, 3], 2),
        ([1, 2, 3], [1, 2, 3], 2),
        ([1, 2, 3, 4, 5], [1, 2, 3], 2),
        ([1, 9, 3], [1, 2, 3], 1),
        ([9], [1], 0),
        ([1], [1], 0),
    ],
)
def test_the_longest_common_start_but_never_the_last_id(
    held: list[int], ids: list[int], expected: int
) -> None:
    assert reusable(held, ids, context=100) == expected


def test_a_full_context_says_both_numbers_and_the_way_out() -> None:
    with pytest.raises(ContextTooSmall) as raised:
        reusable([], [1] * 2_000, context=1_500)
    assert "2,000" in raised.value.what
    assert "1,500" in raised.value.what
    assert "--ctx" in raised.value.todo
