"""benchmarks/gpu.py loses no answer, keeps to its time boxes, and can be tried without a GPU."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from functools import partial
from importlib.metadata import distribution, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks import gpu, gpu_measures, gpu_needs, gpu_profile, gpu_stages, gpu_steps, training
from benchmarks.gpu_answers import Answers, about, card, table
from benchmarks.gpu_stages import STAGES, CutOff, Failed, Sitting, Training
from benchmarks.setting import new_run
from src.pipeline.params import Params
from tests.conftest import ROOT, committed_params
from tests.tiny import TinyNet

COMMANDS = re.findall(r"^    (.*(?:\\\n.*)*)$", gpu.__doc__ or "", re.MULTILINE)
SLEEP = "sleep 300 & echo $!; wait"


def test_the_notes_have_the_questions_in_their_order_and_with_their_boxes() -> None:
    text = (ROOT / "benchmarks/NOTES.md").read_text()
    rows = re.findall(r"^\| (\d [^|]+) \| [^|]+ \| (\d+) s \|$", text, re.MULTILINE)
    assert rows == [(each.name, str(each.box)) for each in gpu.QUESTIONS]


@pytest.fixture
def sitting(tmp_path: Path) -> Sitting:
    out = tmp_path / "out"
    out.mkdir()
    return Sitting(out, tmp_path / "projects", True)


@pytest.fixture
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.setting.build_model", lambda *_: TinyNet())


def soon() -> float:
    return time.monotonic() + 60


def names(sitting: Sitting) -> list[str]:
    return [row["question"] for row in sitting.answers.rows()]


def is_running(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ends(process: int) -> bool:
    """Whether a process ends within seconds."""
    for _ in range(100):
        if not is_running(process):
            return True
        time.sleep(0.05)
    return False


# The answers.


def test_an_answer_names_card_driver_and_versions(tmp_path: Path) -> None:
    answers = Answers(tmp_path / "new/answers.jsonl")
    answers.add("1 best", {"seconds": 1.5, "top1": 0.5})
    (row,) = answers.rows()
    assert row == {"question": "1 best", "seconds": 1.5, "top1": 0.5, **about()}
    assert {"card", "driver", "torch"} <= row.keys()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'NVIDIA H100 80GB HBM3, 580.1'", ("NVIDIA H100 80GB HBM3", "580.1")),
        ("echo 'no devices were found'", ("none", "none")),
        ("exit 9", ("none", "none")),
    ],
)
def test_the_card_is_what_the_driver_says(
    script: str, expected: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert card() == dict(zip(("card", "driver"), expected, strict=True))


def test_half_a_line_costs_no_other_answer(tmp_path: Path) -> None:
    answers = Answers(tmp_path / "answers.jsonl")
    answers.add("1 best", {})
    with open(answers.path, "a") as file:
        file.write('{"question": "2 default", "sec')
    answers.add("3 training", {})
    assert [row["question"] for row in answers.rows()] == ["1 best", "3 training"]


def test_an_error_is_no_answer(tmp_path: Path) -> None:
    answers = Answers(tmp_path / "answers.jsonl")
    answers.add("4 step: graph", {"error": "out of memory"})
    assert not answers.has("4 step: graph")
    answers.add("4 step: graph", {"images_per_second": 1.0})
    assert answers.has("4 step: graph")
    assert not answers.ended("4 step: graph")


def test_the_table_shows_the_last_answers_by_card() -> None:
    here, there = {"card": "H100", "torch": "2.11.0"}, {"card": "H200", "torch": "2.11.0"}
    rows = [
        {"question": "1 best", "seconds": 3.0, "top1": 0.25, **here},
        {"question": "1 best", "seconds": 4.0, "top1": 0.96512, **here},
        {"question": "3 training", "rates": {"ours": 51234.5}, "kernels": [["gemm", 1]], **here},
        {"question": "5 tests", "error": "x" * 500 + " the end", **there},
    ]
    head, best, rates, other, tests = table(rows).splitlines()
    assert (head, other) == ("card H100, torch 2.11.0", "card H200, torch 2.11.0")
    assert best.split() == ["1", "best", "4.0", "top1", "0.9651"]
    assert rates.split() == ["3", "training", "rates", "(ours", "51,234)"]
    assert tests.endswith("the end")
    assert len(tests) < 300


# The questions, their time boxes, and a second run.


def ask_all(sitting: Sitting, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    # Never a user's own folders: a new sitting removes earlier projects.
    monkeypatch.setattr(gpu, "read_arguments", lambda: (sitting, list(words)))
    gpu.main()


def test_a_second_run_goes_on_where_the_first_was_cut(
    sitting: Sitting, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def work(sitting: Sitting, name: str, _: float) -> dict[str, Any]:
        asked.append(name)
        if name == "b" and asked.count("b") == 1:
            sitting.answers.add("b: first half", {"rate": 7})
            raise KeyboardInterrupt
        if name == "c":
            raise RuntimeError("no such kernel")
        return {"value": 1}

    monkeypatch.setattr(gpu, "QUESTIONS", [gpu.Question(name, 60, work) for name in "abcd"])
    with pytest.raises(KeyboardInterrupt):
        ask_all(sitting, monkeypatch)
    assert "b: first half" in capsys.readouterr().out
    ask_all(sitting, monkeypatch)
    assert asked == ["a", "b", "b", "c", "d"]
    out = capsys.readouterr().out
    assert re.search(r"^a .*state done, value 1$", out, re.MULTILINE)
    assert re.search(r"^c .*state failed, error no such kernel$", out, re.MULTILINE)
    ask_all(sitting, monkeypatch)
    assert len(asked) == 5
    ask_all(sitting, monkeypatch, "c")
    assert asked[5:] == ["c"]


@pytest.mark.parametrize(
    ("words", "out", "projects", "asked"),
    [
        ([], "bench/gpu", "bench/gpu-projects", []),
        (["--dry"], "bench/gpu-dry", "bench/gpu-dry-projects", []),
        (["--out", "/x/y", "4", "5 tests"], "/x/y", "bench/gpu-projects", ["4", "5 tests"]),
    ],
)
def test_the_command_line(
    words: list[str], out: str, projects: str, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["gpu", *words])
    wanted = Sitting(ROOT / out, ROOT / projects, "--dry" in words)
    assert gpu.read_arguments() == (wanted, asked)


def test_an_unknown_question_is_refused(sitting: Sitting) -> None:
    with pytest.raises(SystemExit, match=r"^error: '9' is no question; name one of these: 5 tests"):
        gpu.chosen(["9"], sitting)
    assert [question.name for question in gpu.chosen(["4"], sitting)] == [
        "4 step", "4 profile", "4 warm", "4 loader"
    ]  # fmt: skip


def test_questions_are_asked_in_the_order_of_their_names(sitting: Sitting) -> None:
    asked = gpu.chosen(["5", "4 profile", "4 step", "4"], sitting)
    assert [question.name for question in asked] == [
        "5 tests", "4 profile", "4 step", "4 warm", "4 loader"
    ]  # fmt: skip


@pytest.mark.parametrize("archive", [None, "", "gone", "relative"])
def test_a_training_without_its_archive_is_refused_before_anything_is_asked(
    archive: str | None, sitting: Sitting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "relative").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CIFAR10_ARCHIVE", raising=False)
    if archive is not None:
        named = tmp_path / archive if archive == "gone" else archive
        monkeypatch.setenv("CIFAR10_ARCHIVE", str(named))
    monkeypatch.setattr(gpu, "ask", lambda *_: pytest.fail("it asked"))
    real = replace(sitting, dry=False)
    with pytest.raises(SystemExit, match=r"^error: CIFAR10_ARCHIVE does not name the archive"):
        ask_all(real, monkeypatch, "4 step", "6 fp16")
    asked: list[str] = []
    monkeypatch.setattr(gpu, "ask", lambda question, _: asked.append(question.name))
    ask_all(real, monkeypatch, "4 step")
    monkeypatch.setenv("CIFAR10_ARCHIVE", str(tmp_path / "relative"))
    ask_all(real, monkeypatch, "1")
    assert asked == ["4 step", "1 best"]


def test_a_question_that_passes_its_box_is_ended_and_noted(sitting: Sitting) -> None:
    def work(sitting: Sitting, _: str, deadline: float) -> dict[str, Any]:
        gpu_stages.finish(["sh", "-c", SLEEP], sitting.out, deadline, sitting.log)
        return {}

    # The command needs a moment of its box to say its number.
    gpu.ask(gpu.Question("slow", 5, work), sitting)
    (row,) = sitting.answers.rows()
    assert row["state"] == "cut off after 5 s"
    assert 5 <= row["seconds"] < 60
    assert ends(int(sitting.log.read_text()))


def test_what_a_question_leaves_of_its_box_is_all_that_its_next_command_gets(
    sitting: Sitting,
) -> None:
    with pytest.raises(CutOff):
        gpu_stages.finish(["sleep", "300"], sitting.out, time.monotonic() - 5, sitting.log)


def test_a_command_that_fails_has_the_last_word(sitting: Sitting) -> None:
    sitting.log.write_text("earlier\n")
    with pytest.raises(Failed, match=r"^why\nexit status 3$"):
        gpu_stages.finish(["sh", "-c", "echo why; exit 3"], sitting.out, soon(), sitting.log)
    assert sitting.log.read_text() == "earlier\nwhy\n"
    with pytest.raises(Failed, match=r"^exit status -9$"):
        gpu_stages.finish(["sh", "-c", "kill -9 $$"], sitting.out, soon(), sitting.log)


def test_a_stopped_script_takes_its_command_along(sitting: Sitting) -> None:
    script = f"""
from pathlib import Path
from benchmarks import gpu, gpu_stages
def work(sitting, _, deadline):
    gpu_stages.finish(["sh", "-c", {SLEEP!r}], sitting.out, deadline, sitting.log)
gpu.QUESTIONS = [gpu.Question("slow", 60, work)]
sitting = gpu.Sitting(Path({str(sitting.out)!r}), Path({str(sitting.projects)!r}), True)
gpu.read_arguments = lambda: (sitting, [])
gpu.main()
"""
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    while not (sitting.log.exists() and sitting.log.read_text().endswith("\n")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert ends(int(sitting.log.read_text()))
    assert names(sitting) == []


def test_every_question_has_a_dry_form(sitting: Sitting) -> None:
    asked = {question.name for question in gpu.QUESTIONS}
    assert set(gpu.NOT_DRY) < asked
    dry = gpu.chosen([], sitting)
    assert {question.name[0] for question in dry} == set("1234567")
    assert {q.name for q in gpu.QUESTIONS if q.work is gpu.measure} == gpu_measures.MEASURES.keys()
    for measures in gpu_measures.MEASURES.values():
        few, many = measures(gpu_steps.DRY), measures(gpu_steps.FULL)
        assert 0 < len(few) <= len(many)
        assert len(dict(many)) == len(many)


TRAININGS = [q.work.args[0] for q in gpu.QUESTIONS if isinstance(q.work, partial)]


@pytest.mark.parametrize("training", TRAININGS, ids=lambda training: training.folder)
def test_a_dry_training_is_its_recipe_made_small(training: Training) -> None:
    wanted = Params.model_validate(gpu_stages.values_of(training, False))
    small = Params.model_validate(gpu_stages.values_of(training, True))
    assert small.data.source == "shapes"
    assert small.train.epochs == 1 <= wanted.train.epochs
    assert small.augment == wanted.augment
    assert (small.data.val_size == 0) == (wanted.data.val_size == 0)
    assert small.seed == wanted.seed


def test_without_a_gpu_half_precision_is_left_out(
    sitting: Sitting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "has_gpu", lambda: False)
    (half,) = gpu.chosen(["6 fp16"], sitting)
    gpu.ask(half, sitting)
    assert sitting.answers.rows()[0]["state"] == "needs a GPU"


def test_the_tests_that_need_a_gpu_are_found() -> None:
    assert gpu.gpu_tests() == ["tests/training/test_cuda_graph.py"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("SKIPPED [7] tests\n7 skipped in 0.1s", {"skipped": 7, "note": "needs a GPU"}),
        ("6 passed, 1 skipped in 3s", {"passed": 6, "skipped": 1}),
    ],
)
def test_tests_count(
    said: str, expected: dict[str, Any], sitting: Sitting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "finish", lambda *_, **__: said)
    assert gpu.test(sitting, "5 tests", soon()) == expected


def test_the_tests_are_counted_by_what_pytest_says(
    sitting: Sitting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the settings of pyproject.toml; two of -q would hide the counts."""
    monkeypatch.setattr(gpu, "gpu_tests", lambda: ["tests/evaluation/test_coverage.py"])
    found = gpu.test(sitting, "5 tests", soon())
    assert found.keys() == {"passed"}
    assert found["passed"] >= 3


# The stages without DVC.

DOWNLOAD = Training("default", None, {}, ("download",))


def test_a_finished_stage_is_not_run_again(sitting: Sitting) -> None:
    found = gpu_stages.train(DOWNLOAD, sitting, "2 default", soon())
    again = gpu_stages.train(DOWNLOAD, sitting, "2 default", soon())
    assert found == again
    (row,) = sitting.answers.rows()
    assert row["question"] == "2 default: download"
    assert row["train_images"] == 200
    assert found == {"stages_seconds": row["seconds"]}

    borrower = Training("quick", "quick", {"seed": 1}, ("download",), ("download",))
    assert gpu_stages.train(borrower, sitting, "6 quick", soon()) == {"stages_seconds": 0}
    for path in gpu_stages.outputs("download"):
        theirs, ours = (sitting.projects / name / path for name in ("default", "quick"))
        assert theirs.read_bytes() == ours.read_bytes()


@pytest.mark.parametrize(("has_answer", "has_files"), [(True, False), (False, True), (True, True)])
def test_a_stage_is_left_out_for_its_answer_and_its_files_together(
    has_answer: bool, has_files: bool, sitting: Sitting, monkeypatch: pytest.MonkeyPatch
) -> None:
    if has_answer:
        sitting.answers.add("2 default: download", {"seconds": 1.0})
    if has_files:
        written(sitting.projects / "default")
    ran: list[object] = []
    monkeypatch.setattr(gpu_stages, "finish", lambda *words: ran.append(words))
    monkeypatch.setattr(gpu_stages, "found", lambda *_: {})
    gpu_stages.train(DOWNLOAD, sitting, "2 default", soon())
    assert len(ran) == (not (has_answer and has_files))


def test_a_new_folder_begins_with_new_projects(
    sitting: Sitting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "QUESTIONS", [gpu.Question("a", 60, lambda *_: {})])
    state = sitting.projects / "best/resume/state.safetensors"
    state.parent.mkdir(parents=True)
    state.touch()
    ask_all(sitting, monkeypatch)
    assert not state.exists()
    state.parent.mkdir(parents=True)
    state.touch()
    ask_all(sitting, monkeypatch)
    assert state.exists()


def test_a_stage_that_fails_says_why(sitting: Sitting, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Training("broken", None, {"train": {"epochs": -1}}, ("download",))
    monkeypatch.setattr(gpu_stages, "TINY", {})
    with pytest.raises(Failed, match=r"error in download: train\.epochs: -1 is not at least 1"):
        gpu_stages.train(broken, sitting, "broken", soon())
    assert names(sitting) == []


def test_the_pace_of_a_training_is_in_its_answer(tmp_path: Path) -> None:
    log = [{"run": "a", "startup_seconds": 4.0}] + [
        {"run": "a", "epoch": n, "seconds": 2.0, "images_per_second": 100.0 * n} for n in (1, 2, 3)
    ]
    params = {"data": {"val_size": 45, "train_limit": None}, "train": {"batch_size": 20}}
    for path, text in (
        ("params.yaml", json.dumps(params)),
        ("metrics/train.json", '{"lr": 0.1}'),
        ("metrics/download.json", '{"train_images": 700}'),
        ("logs/train.jsonl", "\n".join(map(json.dumps, log))),
    ):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    # 655 images are left to train on, so 32 batches of 20 an epoch.
    expected = {
        "lr": 0.1, "epochs_seconds": 6.0, "images_per_second": 200.0,
        "steps_seconds": pytest.approx(6.4 + 3.2 + 640 / 300),
    }  # fmt: skip
    assert gpu_stages.found(tmp_path, "train") == expected


# What is carried there and back.


def shell(command: str, folder: Path) -> None:
    subprocess.run(["bash", "-ec", command], cwd=folder, check=True)


def command(start: str) -> str:
    (found,) = [each for each in COMMANDS if each.startswith(start)]
    return found


def test_the_archive_is_split_in_four_and_joined(tmp_path: Path) -> None:
    shell(command("mkdir ").partition(" && ")[0], tmp_path)
    archive = tmp_path / "cifar-10-binary.tar.gz"
    archive.write_bytes(os.urandom(1000))
    shell(command("split "), tmp_path)
    sizes = [path.stat().st_size for path in sorted((tmp_path / "bench").iterdir())]
    assert sum(sizes) == 1000
    # Beside 11 MB of wheels and 7 MB of the repository, where 64 MiB may be carried.
    assert max(sizes) * 170_052_171 / 1000 < 42 * 2**20
    shell(command("cat bench/cifar"), tmp_path)
    assert (tmp_path / "bench" / archive.name).read_bytes() == archive.read_bytes()


def written(folder: Path) -> dict[str, bytes]:
    """All that the stages write, as if they had."""
    paths = [path for stage in STAGES for path in gpu_stages.outputs(stage)]
    for path in [*paths, "logs/train.jsonl"]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(os.urandom(100))
    return {path: (folder / path).read_bytes() for path in [*paths, "logs/train.jsonl"]}


def test_the_outputs_come_back_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_stages.PART_BYTES < 16 * 2**20
    content = written(tmp_path / "project")
    monkeypatch.setattr(gpu_stages, "PART_BYTES", 30_000)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/default.tar.99").touch()
    gpu_stages.pack(tmp_path / "project", tmp_path / "out/default")
    parts = sorted((tmp_path / "out").iterdir())
    assert {part.stat().st_size for part in parts[:-1]} == {30_000}
    shell(command("cat default.tar"), tmp_path / "out")
    for path, before in content.items():
        after = tmp_path / "out" / path
        left = path in gpu_stages.LEFT_BEHIND
        assert not after.exists() if left else after.read_bytes() == before


def test_a_run_on_another_machine_goes_on_from_what_came_back(
    sitting: Sitting, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = written(sitting.projects / "elsewhere")
    gpu_stages.pack(sitting.projects / "elsewhere", sitting.out / "default")
    for stage in STAGES:
        sitting.answers.add(f"2 default: {stage}", {"seconds": 1.0, "top1": 0.5})
    ran: list[str] = []

    def finish(words: list[str], *_: Any) -> str:
        ran.append(words[-1])
        return ""

    monkeypatch.setattr(gpu_stages, "finish", finish)
    monkeypatch.setattr(gpu_stages, "found", lambda *_: {})
    found = gpu_stages.train(Training("default"), sitting, "2 default", soon())
    # The data are not carried: the same archive gives them anew.
    assert ran == ["stages.download"]
    assert found["top1"] == 0.5
    model = sitting.projects / "default/models/model.safetensors"
    assert model.read_bytes() == content["models/model.safetensors"]


def test_the_wheels_are_pinned_packages(tmp_path: Path) -> None:
    (quoted,) = re.findall(r'names="([^"]*)"', gpu.__doc__ or "")
    shell(command("mkdir ").partition(" && ")[0], tmp_path)
    (tmp_path / "requirements.txt").write_text((ROOT / "requirements.txt").read_text())
    shell(f"names={shlex.quote(quoted)}\n{command('for name')}", tmp_path)
    lines = (tmp_path / "bench/wheels.txt").read_text().splitlines()
    assert [line.partition("==")[0] for line in lines] == quoted.split()
    assert "albumentations==2.0.8" in lines


def test_the_wheels_bring_what_they_require() -> None:
    """The rest is in pyproject.toml, whose other packages an image made for GPUs has."""
    (quoted,) = re.findall(r'names="([^"]*)"', gpu.__doc__ or "")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    there = {*quoted.split(), "packaging"}
    there |= {Requirement(line).name for line in project["dependencies"]}
    on_it = {"python_version": "3.12", "sys_platform": "linux", "extra": ""}
    for name in quoted.split():
        for line in requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate(on_it):
                assert canonicalize_name(needed.name) in there, (name, line)


def test_without_its_packages_a_sitting_does_not_begin(
    sitting: Sitting, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gpu.missing() == []
    # What a GPU machine's Python may have.
    few = [distribution("torch"), distribution("numpy")]
    monkeypatch.setattr(gpu_needs, "distributions", lambda: few)
    lacking = gpu.missing()
    assert {"albumentations", "torch-lr-finder", "pydantic", "pytest"} < set(lacking)
    assert not {"torch", "numpy", "dvc"} & set(lacking)
    with pytest.raises(SystemExit, match=r"^error: albumentations, .*: not installed here; bring"):
        ask_all(sitting, monkeypatch)
    assert names(sitting) == []


def test_the_tests_do_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert committed_params.__wrapped__() == (ROOT / "params.yaml").read_text()


# What is measured.


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128", "conv"),
        ("void cutlass__5x_cudnn::Kernel<cutlass_tensorop_bf16_s16816wgrad_optimized>", "conv"),
        ("nvjet_hsh_128x256_64x4_2x1_v_bz_coopA_NNT", "conv"),
        ("void cudnn::bn_fw_tr_1C11_kernel_NCHW<__nv_bfloat16, float>", "batch norm"),
        ("void at::native::batch_norm_backward_reduce_channels_last_kernel<4>", "batch norm"),
        ("void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda", "cop"),
        ("Memcpy HtoD (Pinned -> Device)", "cop"),
        ("void cudnn::engines_precompiled::nchwToNhwcKernel<__nv_bfloat16>", "cop"),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add", "elem"),
        ("void at::native::(anonymous namespace)::multi_tensor_apply_kernel<FusedSgd>", "optim"),
        ("void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float>", "other"),
    ],
)
def test_a_kernel_has_its_group(name: str, group: str) -> None:
    assert gpu_profile.group_of(name).startswith(group)


@pytest.mark.usefixtures("tiny_network")
@pytest.mark.parametrize("kind", [gpu_steps.GRAPH, gpu_steps.FREE, gpu_steps.BOTH])
def test_a_step_of_each_kind_is_timed(kind: gpu_steps.Kind) -> None:
    values = gpu_steps.step_rate(kind, 4, gpu_steps.DRY)
    assert values["images_per_second"] > 0 < values["first_step"]


@pytest.mark.usefixtures("tiny_network")
def test_a_run_is_of_the_kind_that_was_asked_for() -> None:
    plain = gpu_steps.step_run(gpu_steps.GRAPH, 4, gpu_steps.DRY)
    both = gpu_steps.step_run(gpu_steps.BOTH, 4, gpu_steps.DRY)
    assert plain.settings.train.deterministic
    assert not both.settings.train.deterministic
    assert plain.model._compiled_call_impl is None
    assert both.model._compiled_call_impl is not None


@pytest.mark.usefixtures("tiny_network")
def test_a_launched_step_is_not_the_recorded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_a_gpu(*given: Any) -> Any:
        run = new_run(*given)
        run.device_step = recorded
        return run

    def recorded(*_: object) -> None: ...

    monkeypatch.setattr(gpu_steps, "new_run", on_a_gpu)
    graph = gpu_steps.step_run(gpu_steps.GRAPH, 4, gpu_steps.DRY)
    launched = gpu_steps.step_run(gpu_steps.LAUNCHED, 4, gpu_steps.DRY)
    assert graph.device_step is recorded
    assert launched.device_step is launched.compute


@pytest.mark.usefixtures("tiny_network")
def test_gaps_are_what_no_kernel_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = [("fused sgd", 2.0, 1), ("conv_fprop", 4.0, 3), ("conv_dgrad", 1.0, 1)]
    monkeypatch.setattr(gpu_profile, "kernels_of", lambda *_: kernels)
    monkeypatch.setattr(gpu_profile, "rate", lambda *_: 400.0)  # so a step of 4 takes 10 ms
    values = gpu_profile.step_profile(gpu_steps.LAUNCHED, 4, gpu_steps.DRY)
    assert values["step_ms"] == values["profiled_step_ms"] == 10.0
    assert (values["gaps_ms"], values["convolutions_ms"], values["optimizer_ms"]) == (3, 5, 2)
    assert [name for name, *_ in values["kernels"]] == ["conv_fprop", "fused sgd", "conv_dgrad"]


@pytest.mark.usefixtures("tiny_network")
def test_a_profile_divides_the_step_into_groups_and_gaps() -> None:
    values = gpu_profile.step_profile(gpu_steps.LAUNCHED, 4, gpu_steps.DRY)
    groups = [f"{name}_ms" for name, _ in gpu_profile.GROUPS] + ["other_ms"]
    assert values["step_ms"] == pytest.approx(
        values["gaps_ms"] + sum(values[name] for name in groups)
    )
    assert values["optimizer_ms"] > 0 < values["convolutions_ms"]
    assert len(values["kernels"]) <= gpu_profile.KERNELS


def test_a_measurement_that_fails_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def measures(_: gpu_steps.Size) -> gpu_steps.Measures:
        def measure(name: str) -> dict[str, Any]:
            calls.append(name)
            if name == "b" and calls.count("b") == 1:
                raise RuntimeError("out of memory")
            return {"rate": 1.0}

        return [(name, partial(measure, name)) for name in "abc"]

    monkeypatch.setitem(gpu_measures.MEASURES, "4 step", measures)
    answers = Answers(tmp_path / "answers.jsonl")
    assert gpu_measures.ask("4 step", gpu_steps.DRY, answers) == 1
    assert gpu_measures.ask("4 step", gpu_steps.DRY, answers) == 0
    assert calls == ["a", "b", "c", "b"]
    errors = [row.get("error") for row in answers.rows()]
    assert errors == [None, "RuntimeError: out of memory", None, None]


def test_ours_at_each_batch_size_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {"this project": 20.0, "this project, batch 8": 40.0}
    rates = {**ours, "usual script": 5.0, "best public loop": 10.0}
    slower = training.Round(dict.fromkeys(rates, 3.0), 1e3, 7.0)
    rounds = iter([training.Round(rates, 1e3, 7.0), slower])
    monkeypatch.setattr(gpu_measures, "training_rounds", lambda _: rounds)
    measures = dict(gpu_measures.trainings(replace(gpu_steps.DRY, rounds=2)))
    values = measures["round 1"]()
    assert values["images_per_second"] == rates
    assert values["times the best public loop"] == {
        "this project": 2.0, "this project, batch 8": 4.0
    }  # fmt: skip
    assert values["share_of_peak"] == pytest.approx(20 * training.GFLOP_AN_IMAGE / 1000)
    assert measures["round 2"]()["images_per_second"]["this project"] == 3.0
