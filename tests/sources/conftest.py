import pytest

from src.sources import download


@pytest.fixture(autouse=True)
def a_plain_line(monkeypatch):
    """No try is waited for."""
    monkeypatch.setattr(download, "PAUSES_S", (0, 0))
