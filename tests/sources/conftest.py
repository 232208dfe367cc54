import pytest

from src.sources import download


@pytest.fixture(autouse=True)
def a_plain_line(monkeypatch):
    """No proxy stands between the tests and their server, and no try is waited for."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(download, "PAUSES_S", (0, 0))
