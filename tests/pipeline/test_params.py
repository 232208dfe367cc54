"""params.yaml: a valid configuration, or one sentence naming key, value and rule."""

import copy
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import parse_yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.pipeline.errors import InputError
from src.pipeline.params import Params
from src.pipeline.read_params import load_params
from tests.conftest import PROJECTS, ROOT, committed_params, leaves, published_params, tiny_values

VALUES = tiny_values()
MISSING = object()


def changed(key: str, value: object) -> dict[str, Any]:
    values = copy.deepcopy(VALUES)
    section = values
    *parents, last = key.split(".")
    for parent in parents:
        section = section[parent]
    if value is MISSING:
        del section[last]
    else:
        section[last] = value
    return values


def write(folder: Path, values: object) -> Path:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def one_of(*transforms: object) -> dict[str, Any]:
    return {"OneOf": {"transforms": [*transforms], "p": 1.0}}


BAD = [
    ("train.lrr", 0.1, "train.lrr: is not a parameter"),
    (
        "train.lr",
        "abc",
        "train.lr: 'abc' is not slide, steep, valley, minimum, max_lr or a finite number above 0",
    ),
    (
        "train.lr",
        float("nan"),
        "train.lr: nan is not slide, steep, valley, minimum, max_lr or a finite number above 0",
    ),
    (
        "train.lr",
        float("inf"),
        "train.lr: inf is not slide, steep, valley, minimum, max_lr or a finite number above 0",
    ),
    (
        "train.lr",
        -0.1,
        "train.lr: -0.1 is not slide, steep, valley, minimum, max_lr or a finite number above 0",
    ),
    (
        "train.lr",
        True,
        "train.lr: True is not slide, steep, valley, minimum, max_lr or a finite number above 0",
    ),
    (
        "train.lr",
        10**400,
        "is not slide, steep, valley, minimum, max_lr or a finite number above 0",
    ),
    ("train.epochs", True, "train.epochs: True is not a whole number"),
    ("train.epochs", 2.0, "train.epochs: 2.0 is not a whole number"),
    ("train.epochs", 0, "train.epochs: 0 is not at least 1"),
    ("train.batch_size", 0, "train.batch_size: 0 is not at least 2"),
    ("train.batch_size", MISSING, "train.batch_size: is missing"),
    ("train.label_smoothing", 1, "train.label_smoothing: 1 is not below 1"),
    ("train.label_smoothing", float("nan"), "train.label_smoothing: nan is not a finite number"),
    ("train.mix.kind", None, "train.mix.kind: None is not one of 'none', 'mixup' or 'cutmix'"),
    ("train.mix.alpha", 0, "train.mix.alpha: 0 is not above 0"),
    ("train.average", {"decay": 1}, "train.average.decay: 1 is not below 1"),
    ("train.average", {"decay": 0.0}, "train.average.decay: 0.0 is not above 0"),
    ("optimizer.decay_norm", 1, "optimizer.decay_norm: 1 is not true or false"),
    ("train.resolution", [], "train.resolution: [] has fewer than 1 entries"),
    ("train.resolution", [33], "train.resolution.0: 33 is not one of 16, 20, 24, 28 or 32"),
    ("train.resolution", [32, 16], "train.resolution: [32, 16] must end with 32"),
    ("train", 3, "train: 3 is not a mapping"),
    ("seed", -1, "seed: -1 is not at least 0"),
    ("seed", 2**32, "seed: 4294967296 is not below 4294967296"),
    ("optimizer.nesterov", "yes please", "optimizer.nesterov: 'yes please' is not true or false"),
    ("optimizer.momentum", 0.0, "optimizer: nesterov: true needs a momentum above 0"),
    (
        "lr_find.exponential.end_lr",
        1e-5,
        "lr_find.exponential: end_lr 1e-05 is not above start_lr 0.0003",
    ),
    ("model.arch", 18, "model.arch: 18 is not text"),
    ("augment", [{"Normalize": {"p": 1.0}}], "augment: Normalize has no place here"),
    ("augment", [{"ToTensorV2": {"p": 1.0}}], "augment: ToTensorV2 has no place here"),
    ("augment", [{"HorizontalFlip": {}}], "augment: HorizontalFlip must state p"),
    ("augment", [{"HorizontalFlip": {"p": 1.5}}], "HorizontalFlip: p: 1.5 is not a probability"),
    ("augment", [{"HorizontalFlip": {"p": True}}], "HorizontalFlip: p: True is not a probability"),
    ("augment", [{"D4": {"p": "1e-1"}}], "augment: D4: p: '1e-1' is text in YAML; write 0.1"),
    ("augment", [{"D4": {"p": "5e-5"}}], "p: '5e-5' is text in YAML; write 0.00005"),
    (
        "augment",
        [one_of({"Blur": {"blur_limit": [3, math.inf], "p": 1.0}})],
        "augment: OneOf: Blur: blur_limit: inf is not a finite number",
    ),
    (
        "augment",
        [{"CropAndPad": {"px": {"low": math.nan}, "p": 1.0}}],
        "augment: CropAndPad: px: low: nan is not a finite number",
    ),
    ("augment", [{"Lambda": {"p": 1.0}}], "augment: Lambda has no place here: it needs functions"),
    (
        "augment",
        [{"Blur": {"p": 1.0}, "D4": {"p": 1.0}}],
        "augment: one transform an entry, not ['Blur', 'D4']",
    ),
    (
        "augment",
        [one_of({"Sequential": {"transforms": [{"Normalize": {"p": 1.0}}], "p": 1.0}})],
        "augment: OneOf: Sequential: Normalize has no place here",
    ),
    ("augment", [one_of({"D4": {}})], "augment: OneOf: D4 must state p"),
    ("augment", [one_of({"D4": {"p": "a"}})], "augment: OneOf: D4: p: 'a' is not a probability"),
    ("augment", [one_of({"D4": 3})], "augment: OneOf: D4: 3 is not a mapping of arguments"),
    ("augment", [one_of("D4")], "augment: OneOf: one transform an entry, not 'D4'"),
    (
        "augment",
        [one_of({"Blur": {"p": 1.0}, "D4": {"p": 1.0}})],
        "augment: OneOf: one transform an entry, not ['Blur', 'D4']",
    ),
    ("augment", [one_of({1: {"p": 1}})], "augment: OneOf: 1 is not the name of a transform"),
    ("augment", [one_of()], "augment: OneOf: transforms: [] is not a list of transforms"),
    ("augment", [{"SomeOf": {"p": 1.0}}], "augment: SomeOf: transforms: None is not a list of"),
    ("augment", [{"SomeOf": {"transforms": []}}], "augment: SomeOf must state p"),
    ("augment", [one_of({"D4": {"p": 0}})], "augment: OneOf: every p is 0, so none can be chosen"),
    (
        "augment",
        [{"OneOrOther": {"transforms": [{"D4": {"p": 1.0}}], "p": 0.5}}],
        "augment: OneOrOther: transforms: two are needed, not 1",
    ),
    ("augment", ["HorizontalFlip"], "augment.0: 'HorizontalFlip' is not a mapping"),
    ("train.resolution", [32, 16, 32], "train.resolution: [32, 16, 32] must not fall: the images"),
    ("evaluate.corruptions", -1, "evaluate.corruptions: -1 is not at least 0"),
    ("gradcam.mistakes", 0, "gradcam.mistakes: 0 is not at least 1"),
    ("gradcam.faithfulness_images", 1, "gradcam.faithfulness_images: 1 is not at least 2"),
    ("gradcam.faithfulness_others", 0, "gradcam.faithfulness_others: 0 is not at least 1"),
    ("gradcam.layers", [], "gradcam.layers: [] has fewer than 1 entries"),
    ("gradcam.layers", [*"abcde"], "has more than 4 entries"),
    ("gradcam.layers", ["a", "b", "a"], "gradcam.layers: names 'a' twice"),
    ("gradcam.layers", ["layer4."], "gradcam.layers.0: 'layer4.' is not the path of a module, as"),
    ("gradcam.layers", [4], "gradcam.layers.0: 4 is not text"),
    ("gradcam.layers", "layer4", "gradcam.layers: 'layer4' is not a list"),
    ("gradcam.method", "cam", "'cam' is not one of 'gradcam', 'gradcam++', 'hirescam' or 'layerc"),
    ("gradcam.target", None, "gradcam.target: None is not text"),
    ("gradcam.images", [], "gradcam.images: [] has fewer than 1 entries"),
    ("gradcam.images", [-1], "gradcam.images.0: -1 is not at least 0"),
    ("gradcam.images", [5, 5], "gradcam.images: names 5 twice"),
    ("gradcam.images", [*range(21)], "has more than 20 entries"),
    ("gradcam.images", 5, "gradcam.images: 5 is not a list"),
    ("gradcam.colors", "hot", "gradcam.colors: 'hot' is not one of 'viridis' or 'jet'"),
    ("data.train_limit", 0, "data.train_limit: 0 is not at least 1"),
    ("data.source", None, "data.source: None is not text"),
    ("data.folder", "", "data.folder: '' is empty"),
    ("data.folder", 5, "data.folder: 5 is not text"),
    ("data.test_share", 0, "data.test_share: 0 is not above 0"),
    ("data.test_share", 1.0, "data.test_share: 1.0 is not below 1"),
    ("data.unreadable", "ignore", "data.unreadable: 'ignore' is not one of 'refuse' or 'skip'"),
]


def test_a_name_with_a_line_break_stays_in_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, changed("evaluate", {**VALUES["evaluate"], "a\x85b": 0}))
    with pytest.raises(InputError) as raised:
        load_params(path)
    assert str(raised.value) == f"evaluate.a\\x85b: is not a parameter ({path})"


@pytest.mark.parametrize(("key", "value", "sentence"), BAD)
def test_a_bad_value_is_named(key: str, value: object, sentence: str, tmp_path: Path) -> None:
    path = write(tmp_path, changed(key, value))
    with pytest.raises(InputError) as raised:
        load_params(path)
    assert sentence in str(raised.value)
    assert str(raised.value).endswith(f"({path})")
    assert len(str(raised.value).splitlines()) == 1


def test_plateau_needs_a_validation_split(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^train\.schedule: plateau needs data\.val_size above 0"):
        load_params(write(tmp_path, changed("data.val_size", 0)))


def test_linear_needs_a_validation_split(tmp_path: Path) -> None:
    values = changed("data.val_size", 0)
    values["train"]["schedule"] = "cosine"
    values["lr_find"]["mode"] = "linear"
    with pytest.raises(InputError, match=r"^lr_find\.mode: linear needs data\.val_size above 0"):
        load_params(write(tmp_path, values))


def test_an_early_stop_needs_a_validation_split(tmp_path: Path) -> None:
    values = changed("data.val_size", 0)
    values["train"] |= {"schedule": "cosine", "stop": {"patience": 1, "min_delta": 0.0}}
    with pytest.raises(InputError, match=r"^train\.stop needs data\.val_size above 0"):
        load_params(write(tmp_path, values))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2]",
        "seed: [",
        "\x00",
        "seed: !!python/object:os.x {}",
        "seed: 2024-13-01",
        'seed: !!int "x"',
        f"seed: {'9' * 5000}",
        "[" * 2000,
    ],
)
def test_what_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=r"params\.yaml"):
        load_params(tmp_path / "params.yaml")


def write_by_hand(folder: Path, old: str, new: str) -> Path:
    """The valid file, in which a line is written as no library would write it."""
    text = yaml.safe_dump(VALUES)
    assert text.count(old) == 1
    (folder / "params.yaml").write_text(text.replace(old, new))
    return folder / "params.yaml"


@pytest.mark.parametrize("number", ["010", "0_10", "-010", "1:30"])
def test_an_integer_that_dvc_reads_otherwise_is_refused(number: str, tmp_path: Path) -> None:
    """A seed of 010 would be 8 here, and 10 in dvc.lock."""
    assert yaml.safe_load(number) != parse_yaml(number, "params.yaml")
    path = write_by_hand(tmp_path, f"seed: {VALUES['seed']}\ntrain", f"seed: {number}\ntrain")
    with pytest.raises(InputError, match=rf"^seed: '{number}' is not a whole number"):
        load_params(path)


def test_a_number_that_dvc_reads_as_text_is_refused(tmp_path: Path) -> None:
    number = "1:30.5"
    assert yaml.safe_load(number) == 90.5
    assert parse_yaml(number, "params.yaml") == number
    old = f"label_smoothing: {VALUES['train']['label_smoothing']}"
    path = write_by_hand(tmp_path, old, f"label_smoothing: {number}")
    with pytest.raises(InputError, match=rf"^train.label_smoothing: '{number}' is not a number"):
        load_params(path)


@pytest.mark.parametrize("word", ["yes", "Off"])
def test_a_word_that_dvc_reads_as_text_is_no_truth_value(word: str, tmp_path: Path) -> None:
    assert isinstance(yaml.safe_load(word), bool)
    assert parse_yaml(f"word: {word}", "params.yaml") == {"word": word}
    old = f"nesterov: {str(VALUES['optimizer']['nesterov']).lower()}"
    path = write_by_hand(tmp_path, old, f"nesterov: {word}")
    with pytest.raises(InputError, match=rf"^optimizer.nesterov: '{word}' is not true or false"):
        load_params(path)


def test_a_key_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, VALUES | {1: 2})
    with pytest.raises(InputError, match=r"^1: 1 is not a name"):
        load_params(path)


def test_a_value_that_holds_itself_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    values = copy.deepcopy(VALUES)
    fill: list[object] = []
    fill.append(fill)
    values["augment"] = [{"CoarseDropout": {"fill": fill, "p": 1.0}}]
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match=r"params\.yaml: a value holds itself, by an alias"):
        load_params(path)


def test_an_empty_file_is_told_what_brings_it_back(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("# nothing\n")
    with pytest.raises(InputError, match=r"params\.yaml: is empty; `git checkout "):
        load_params(tmp_path / "params.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"params\.yaml: cannot be read"):
        load_params(tmp_path / "params.yaml")


def test_exponents_work_as_dvc_writes_them(tmp_path: Path) -> None:
    """`dvc exp run -S train.lr=1e-5` writes 1e-05, which YAML reads as a string."""
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(changed("train.lr", 1)).replace("lr: 1\n", "lr: 1e-05\n"))
    assert yaml.safe_load(path.read_text())["train"]["lr"] == "1e-05"
    assert load_params(path).train.lr == 1e-5


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("gradcam.target=true", "target", "true"),
        ("gradcam.target=false", "target", "false"),
        ("gradcam.target=yes", "target", "yes"),
        ("gradcam.target=off", "target", "off"),
        ("gradcam.target=7", "target", "7"),
        ("gradcam.target='sea horse'", "target", "sea horse"),
        ("gradcam.method=gradcam++", "method", "gradcam++"),
        ("gradcam.images=[12,3]", "images", [12, 3]),
        ("gradcam.images=null", "images", None),
        ("gradcam.layers=[layer4.1.conv2,layer1]", "layers", ["layer4.1.conv2", "layer1"]),
    ],
)
def test_what_gradcam_asks_for_can_be_set(
    override: str, key: str, value: object, tmp_path: Path
) -> None:
    """A class may be called true, 7, or yes, for which DVC writes true, 7 and yes."""
    from dvc.utils.hydra import apply_overrides

    path = write(tmp_path, VALUES)
    apply_overrides(path, [override])
    assert getattr(load_params(path).gradcam, key) == value


@pytest.mark.parametrize("key", leaves(VALUES))
def test_no_value_is_filled_in(key: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"^{key}: is missing") as raised:
        load_params(write(tmp_path, changed(key, MISSING)))
    assert len(str(raised.value).splitlines()) == 1


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["slide", "1e-05", "-1e3", "1e999", "plateau", "cosine", "nan"]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("junk")


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(key=st.sampled_from(leaves(VALUES)), junk=JUNK)
def test_any_value_is_taken_or_named(folder: Path, key: str, junk: object) -> None:
    """Either a frozen configuration or sentences that name the key; no other exception."""
    try:
        params = load_params(write(folder, changed(key, junk)))
    except InputError as error:
        for line in str(error).splitlines():
            assert key.rpartition(".")[2] in line
    else:
        assert isinstance(params, Params)


def test_bad_params_are_refused_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    """No torch, no data: the sentence comes at once, whatever the stage."""
    write(tmp_path, changed("train.lr", "abc"))
    code = (
        "import sys, runpy\n"
        "try:\n    runpy.run_module('stages.train', run_name='__main__')\n"
        "finally:\n    print(sorted({'torch', 'numpy', 'albumentations'} & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.strip().startswith("error in train: train.lr: 'abc' is not slide")
    assert "Traceback" not in result.stderr
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("path", ["params.yaml", "demo/params.yaml"])
def test_the_committed_values_are_valid(path: str) -> None:
    Params.model_validate(yaml.safe_load(committed_params(path)))


@pytest.mark.parametrize("name", PROJECTS)
def test_an_override_changes_one_line_of_the_file(name: str, tmp_path: Path) -> None:
    """params.yaml is written as DVC writes it, so `git diff` shows the change and nothing else."""
    from dvc.utils.hydra import apply_overrides

    before = committed_params(f"./{PROJECTS[name]}/params.yaml")
    if yaml.safe_load(before) != published_params(name):
        pytest.skip("the values are not the published ones, and may be of your own hand")
    path = tmp_path / "params.yaml"
    path.write_text(before)
    apply_overrides(path, ["train.lr=0.0213"])
    old, new = before.splitlines(), path.read_text().splitlines()
    assert len(old) == len(new)
    changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert len(changed) == 1
    assert "lr: 0.0213" in changed[0][1]
