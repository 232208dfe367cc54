"""The command predicts what can be read, tells what cannot, and ends with a status that says so."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from src.data.dataset import read_classes, read_split
from src.explanation.answers import load_answers
from src.network.resnet import build_model
from src.network.weights import save_weights
from src.pictures import read_picture, to_square
from src.predict import command, explain
from src.predict.classifier import Classifier
from src.predict.command import main
from tests.predict.conftest import ABOUT


@pytest.fixture
def predict(weights: Path, capsys: pytest.CaptureFixture[str]):
    """Runs the command; its status, stdout and stderr."""

    def call(*arguments: object) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["--weights", str(weights), *map(str, arguments)])
        return end.value.code, *capsys.readouterr()

    return call


def test_pictures_become_a_table(predict, photos: Path) -> None:
    status, out, err = predict(photos)
    assert status == 0
    lines = out.splitlines()
    assert [line.split("  ")[0] for line in lines[:4]] == [
        "picture",
        *(str(photos / name) for name in ("a.png", "b [1].JPG", "old/c.webp")),
    ]
    assert lines[4] == ""
    assert lines[5].startswith("These probabilities are scaled by the temperature 2.5, ")
    assert "error" not in err


def test_what_cannot_be_read_is_told_and_the_rest_goes_on(predict, photos: Path) -> None:
    bad = [photos / "notes.txt", photos / "gone.png", photos / "damaged.txt", photos / "*.bmp"]
    status, out, err = predict(*bad, photos / "a.png")
    assert status == 1
    errors = sorted(line for line in err.splitlines() if line.startswith("error: "))
    assert [line.split(": ")[1] for line in errors] == sorted(map(str, bad))
    assert out.splitlines()[1].startswith(str(photos / "a.png"))


def test_without_a_stderr_stdout_has_the_json_alone(
    predict, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `2>&-`, though a picture cannot be read."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", None)
        status, out, _ = predict("--json", photos / "a.png", photos / "notes.txt", photos / "old")
    assert status == 1
    assert len(json.loads(out)["pictures"]) == 2


def test_nothing_to_tell_is_no_table(predict, photos: Path) -> None:
    assert predict(photos / "notes.txt")[:2] == (1, "")


def test_json_is_all_that_stdout_has(predict, photos: Path) -> None:
    status, out, err = predict("--json", photos / "a.png", photos / "notes.txt")
    values = json.loads(out)
    assert status == 1
    assert [picture["file"] for picture in values["pictures"]] == [str(photos / "a.png")]
    assert [error["file"] for error in values["errors"]] == [str(photos / "notes.txt")]
    assert f"error: {values['errors'][0]['error']}" in err
    assert ", torch " in err


@pytest.fixture
def ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Press it while the second picture is read."""
    predict_one = command.predict_one

    def interrupted(classifier: Classifier, file: Path, target: Path | None):
        if file.name == "b [1].JPG":
            raise KeyboardInterrupt
        return predict_one(classifier, file, target)

    monkeypatch.setattr(command, "predict_one", interrupted)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_keeps_what_is_done(predict, photos: Path) -> None:
    status, out, err = predict(photos)
    assert status == 130
    assert [line.split("  ")[0] for line in out.splitlines()[:3]] == [
        "picture",
        str(photos / "a.png"),
        "",
    ]
    assert "error: stopped by Ctrl-C after 1 of 3 pictures" in err.splitlines()


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_leaves_whole_json_that_names_what_is_left_out(predict, photos: Path) -> None:
    status, out, _ = predict("--json", photos)
    assert status == 130
    answer = json.loads(out)
    assert [picture["file"] for picture in answer["pictures"]] == [str(photos / "a.png")]
    left = [str(photos / name) for name in ("b [1].JPG", "old/c.webp")]
    assert answer["errors"] == [
        {"file": name, "error": f"{name}: is left out, because Ctrl-C came first"} for name in left
    ]


def test_explanations_are_drawn(predict, photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "new/out.png"
    status, out, _ = predict("--explain", target, "--json", photos / "a.png")
    assert status == 0
    assert json.loads(out)["pictures"][0]["explanation"] == str(target)
    sheet, picture = read_picture(target), read_picture(photos / "a.png")
    # The picture of 90×60 pixels stands at its own size on the left, under four lines of words.
    assert np.array_equal(sheet[96:156, 8:98], picture)
    assert predict("--explain", tmp_path / "all", photos)[0] == 0
    names = {path.name for path in (tmp_path / "all").iterdir()}
    assert names == {"a.png.png", "b [1].JPG.png", "c.webp.png"}


def test_an_answer_stays_where_its_explanation_cannot_be_written(
    predict, photos: Path, tmp_path: Path
) -> None:
    """A folder stands in the way of one of them."""
    (tmp_path / "a.png.png").mkdir()
    status, out, err = predict("--explain", tmp_path, "--json", photos)
    values = json.loads(out)
    assert status == 1
    assert len(values["pictures"]) == 3
    assert ["explanation" in picture for picture in values["pictures"]] == [False, True, True]
    assert all(len(picture["classes"]) == 3 for picture in values["pictures"])
    (fault,) = values["errors"]
    assert fault["file"] == str(photos / "a.png")
    assert fault["error"].startswith(f"{tmp_path / 'a.png.png'}: cannot be written (")
    assert f"error: {fault['error']}" in err


@pytest.mark.parametrize(
    "lack",
    [MemoryError(), cv2.error("(-4:Insufficient memory)"), RuntimeError("CUDA out of memory")],
)
def test_too_little_memory_for_an_explanation_is_that_picture_s_fault(
    lack: Exception, predict, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise lack

    if isinstance(lack, cv2.error):
        lack.code = cv2.Error.STS_NO_MEM
    monkeypatch.setattr(explain, "draw_explanation", fail)
    status, out, err = predict("--explain", tmp_path / "out.png", photos / "a.png")
    assert status == 1
    assert out.splitlines()[1].startswith(str(photos / "a.png"))
    assert f"error: {photos / 'a.png'}: its explanation does not fit " in err


def test_too_little_memory_for_a_picture_is_that_picture_s_fault(
    predict, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def fail_at_first(picture: np.ndarray) -> np.ndarray:
        seen.append(picture)
        if len(seen) == 1:
            raise MemoryError
        return to_square(picture)

    monkeypatch.setattr("src.predict.classifier.to_square", fail_at_first)
    status, out, err = predict(photos)
    assert status == 1
    assert len(re.findall("^/.*%", out, re.MULTILINE)) == 2
    assert f"error: {photos / 'a.png'}: the picture does not fit this machine's memory; " in err


@pytest.mark.parametrize("option", ["--explain", "--weights"])
def test_an_empty_name_is_not_this_folder(option: str, predict, photos: Path) -> None:
    status, _, err = predict(option, "", photos / "a.png")
    assert status == 2
    assert f"argument {option}: is empty" in err


def test_a_class_in_letters_that_the_font_lacks_is_drawn_by_its_number(
    predict, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table has its name."""
    weights, drawn = tmp_path / "model.safetensors", []
    save_weights(weights, build_model("resnet18", 2), ABOUT | {"classes": ["犬", "猫"]})
    monkeypatch.setattr(explain, "draw_explanation", lambda *shown: drawn.append(shown[3:]))
    target = tmp_path / "out.png"
    status, out, _ = predict("--weights", weights, "--explain", target, photos / "a.png")
    assert status == 0
    assert {"犬", "猫"} <= set(out.split())
    ((title, name),) = drawn
    assert title.isascii()
    assert title.startswith(f"{name} ")
    assert {"class 0", "class 1"} == set(re.findall(r"class \d", title))


def test_a_name_that_no_file_can_have_is_told_and_the_rest_goes_on(predict, photos: Path) -> None:
    status, out, err = predict("a" * 300, photos / "a.png")
    assert status == 1
    assert f"error: {'a' * 300}: cannot be read (File name too long)" in err
    assert out.splitlines()[1].startswith(str(photos / "a.png"))


def test_a_name_with_a_line_break_stays_in_one_line(predict, photos: Path, tmp_path: Path) -> None:
    name = tmp_path / os.fsdecode(b"new\nline \xff.png")
    shutil.copy(photos / "a.png", name)
    status, out, err = predict(name, tmp_path / "gone\x1bc.png")
    assert status == 1
    assert out.splitlines()[1].startswith(f"{tmp_path}/new\\nline \\udcff.png  ")
    assert f"error: {tmp_path}/gone\\x1bc.png: is not there; check its name\n" in err


def test_a_fault_of_all_is_one_sentence(predict, photos: Path, tmp_path: Path) -> None:
    status, out, _ = predict("--weights", tmp_path / "none.safetensors", photos)
    assert str(status).startswith(f"error: {tmp_path}/none.safetensors: cannot be read")
    assert out == ""
    status, out, _ = predict("--explain", tmp_path / "out.png", photos)
    assert str(status).endswith("out.png is one file for 3 pictures; name a folder")


def test_a_bar_shows_the_progress_on_a_terminal_only(
    predict, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "pictures/s" not in predict(photos)[2]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert "pictures/s" in predict(photos)[2]
    assert "pictures/s" not in predict(photos / "a.png")[2]


@pytest.mark.parametrize("alone", [False, True])
def test_a_trained_project_predicts_its_test_images_as_it_evaluated_them(
    alone: bool, predict, done: Path, tmp_path: Path
) -> None:
    """Also where its weights are all there is."""
    test, names = read_split(done / "data", "test"), read_classes(done / "data")
    logits = load_answers(done / "data/test_logits.safetensors", len(test), len(names)).logits
    temperature = json.loads((done / "metrics/evaluate.json").read_text()).get("temperature")
    for index in range(10):
        Image.fromarray(test.images[index]).save(tmp_path / f"{index}.png")
    weights = done / "models/model.safetensors"
    if alone:
        weights, temperature = Path(shutil.copy(weights, tmp_path)), None
    values = json.loads(predict("--json", "--weights", weights, tmp_path)[1])
    assert values.get("temperature") == temperature
    expected = (logits[:10].double() / (temperature or 1)).softmax(1)
    for index, picture in enumerate(values["pictures"]):
        assert len(picture["classes"]) == 3
        for guess in picture["classes"]:
            wanted = expected[index, names.index(guess["name"])].item()
            assert guess["probability"] == pytest.approx(wanted, abs=0.01)
