from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Networks as small as those of the tests gain nothing from more, and wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests with these markers one after another: they use every core, or assert times."""
    for item in items:
        if any(item.get_closest_marker(name) for name in ("slow", "timing", "gpu")):
            item.add_marker(pytest.mark.xdist_group("alone"))
