"""A local model as judge: real classes at toy size with random weights; a checkpoint that is not whole is refused."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.judge.grid import sent_picture
from animeshooter_hf.eval.judge.judge_log import JudgeLog
from animeshooter_hf.eval.judge.local_judge import LocalJudge
from animeshooter_hf.eval.judge.protocols import JudgeSettings
from animeshooter_hf.eval.judge.question import JudgeQuestion, Turn
from animeshooter_hf.eval.judge.run import judge_stories
from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.modeling.testing_mllms import tiny_mllm, tiny_processor

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judge") / "tiny"
    torch.manual_seed(3)
    tiny_mllm("qwen2_5_vl").save_pretrained(folder)
    processor = tiny_processor("qwen2_5_vl")
    processor.chat_template = TEMPLATE
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def judge(checkpoint: Path) -> LocalJudge:
    return LocalJudge(checkpoint)


def question(shade: int = 90, **changes: object) -> JudgeQuestion:
    picture = sent_picture(np.full((32, 48, 3), shade, np.uint8))
    settings = {"seed": 0, "temperature": 0.0, "max_output_tokens": 6, "schema": {}, "round_index": 0, **changes}
    return JudgeQuestion(
        protocol="pointwise", story_id="s", ip_id="s", systems=("a",), order=(0,),
        turns=(Turn("user", ("Look:", picture, "Answer.")),), **settings,
    )  # fmt: skip


def test_a_local_model_reads_pictures_and_the_turns_of_a_repair(judge: LocalJudge) -> None:
    first = judge.ask(question())
    assert first.outcome in ("ok", "truncated")
    assert 1 <= first.output_tokens <= 6
    longer = judge.ask(question().followed_by("no JSON", "Again."))
    assert longer.prompt_tokens > first.prompt_tokens > 20


def test_the_same_question_and_seed_give_the_same_reply_and_another_seed_another(judge: LocalJudge) -> None:
    warm = {"temperature": 1.0, "max_output_tokens": 12}
    before = torch.random.get_rng_state()
    replies = [judge.ask(question(seed=seed, **warm)).text for seed in (1, 1, 2)]
    assert replies[0] == replies[1] != replies[2]
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_random_model_is_counted_as_no_answer_and_its_log_replays(judge: LocalJudge, tmp_path: Path) -> None:
    frames = np.full((3, 24, 32, 3), 60, np.uint8)
    story = StoryPrediction(story_id="s", ip_id="s", shots=(frames,), references=(frames[0],), captions=("A walk.",))
    settings = JudgeSettings(max_output_tokens=4, num_retries=1)
    runs = []
    for _ in range(2):
        with JudgeLog(tmp_path / "judge.jsonl") as log:
            runs.append(judge_stories({"ours": [story]}, judge, settings, log=log, num_workers=2))
    assert sum(runs[0].failures().values()) == 1
    assert runs[0].calls()["sent_now"] >= 2
    assert runs[1].calls()["sent_now"] == 0
    assert runs[0].failures() == runs[1].failures()
    assert judge.name.startswith("tiny@")


def copy(checkpoint: Path, folder: Path, change: Callable[[Path], None]) -> Path:
    folder.mkdir()
    for file in checkpoint.iterdir():
        os.link(file, folder / file.name)
    change(folder)
    return folder


def test_a_checkpoint_that_lacks_weights_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    def drop(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        name = next(name for name in weights if "mlp" in name)
        (folder / "model.safetensors").unlink()
        save_file({key: value for key, value in weights.items() if key != name}, folder / "model.safetensors",
                  metadata={"format": "pt"})  # fmt: skip

    with pytest.raises(InputError, match="not whole: 1 weights are missing"):
        LocalJudge(copy(checkpoint, tmp_path / "lacking", drop))


def test_a_checkpoint_without_a_chat_template_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    folder = copy(checkpoint, tmp_path / "mute", lambda folder: (folder / "chat_template.jinja").unlink())
    with pytest.raises(InputError, match="chat template"):
        LocalJudge(folder)


def test_a_checkpoint_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be loaded"):
        LocalJudge(tmp_path / "none")


def test_a_device_that_is_not_there_is_refused(checkpoint: Path) -> None:
    with pytest.raises(InputError, match="cannot run on 'cuda:99'"):
        LocalJudge(checkpoint, device="cuda:99")


def test_other_weights_have_another_name(checkpoint: Path, judge: LocalJudge, tmp_path: Path) -> None:
    folder = copy(checkpoint, tmp_path / "tiny", lambda folder: (folder / "extra.json").write_text("{}"))
    assert LocalJudge(folder).name != judge.name
