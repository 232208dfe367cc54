"""The command ends quietly, also while it is still starting."""

from pathlib import Path

import pytest

from src.app.command import main
from src.predict import classifier


def ended(*arguments: str) -> object:
    with pytest.raises(SystemExit) as end:
        main(["--port", "0", *arguments])
    return end.value.code


def test_ctrl_c_ends_it_while_the_network_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(classifier, "load_classifier", interrupted)
    assert ended() == 130
    assert capsys.readouterr() == ("", "")


def test_a_fault_is_one_sentence(tmp_path: Path) -> None:
    sentence = ended("--weights", str(tmp_path / "no\nne.safetensors"))
    assert str(sentence).startswith(f"error: {tmp_path}/no\\nne.safetensors: cannot be read")
