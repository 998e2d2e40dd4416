import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Threads only get into each other's way on images this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
