"""Listeners run for real at toy size: saved and loaded as a user's would be, with random weights that mean nothing."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from animeshooter_hf.dataset_builder.audio.taggers import (
    AstTagger,
    ClapTagger,
    SileroTagger,
    SoundTags,
    TaggerConfig,
    open_tagger,
)
from animeshooter_hf.errors import InputError, MissingExtraError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

LABELS = {0: "Speech", 1: "Child speech, kid speaking", 2: "Music", 3: "Singing", 4: "Bell", 5: "Walk, footsteps"}


def save_ast(folder: Path, labels: dict[int, str] | None = None) -> Path:
    torch.manual_seed(0)
    config = transformers.ASTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_length=128,
        num_mel_bins=32,
        id2label=LABELS if labels is None else labels,
        label2id={label: number for number, label in (LABELS if labels is None else labels).items()},
    )
    transformers.ASTForAudioClassification(config).save_pretrained(folder)
    transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=128).save_pretrained(folder)
    return folder


def save_clap(folder: Path) -> Path:
    torch.manual_seed(0)
    text = dict(
        vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        projection_dim=8, max_position_embeddings=130,
    )  # fmt: skip
    audio = dict(
        hidden_size=16, patch_embeds_hidden_size=8, depths=[1, 1], num_attention_heads=[2, 2], projection_dim=8,
        num_mel_bins=32, spec_size=64, window_size=4, num_hidden_layers=2, num_classes=4,
    )  # fmt: skip
    model = transformers.ClapModel(transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=8))
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({**_special(), **{chr(n): n + 5 for n in range(33, 127)}, "Ġ": 200}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.RobertaTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    extractor = transformers.ClapFeatureExtractor(
        feature_size=32, max_length_s=1, truncation="rand_trunc", padding="repeatpad", sampling_rate=48_000
    )
    transformers.ClapProcessor(extractor, tokenizer).save_pretrained(folder)
    return folder


def _special() -> dict[str, int]:
    return {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4}


@pytest.fixture(scope="module")
def ast_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_ast(tmp_path_factory.mktemp("ast"))


@pytest.fixture(scope="module")
def clap_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clap(tmp_path_factory.mktemp("clap"))


def noise(seconds: float, rate: int) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(round(seconds * rate)) * 0.1).astype(np.float32)


def test_ast_scores_groups_of_labels_the_same_every_time(ast_folder: Path) -> None:
    tagger = AstTagger(ast_folder, window_seconds=1.0)
    audio = noise(2.5, tagger.sample_rate)
    tags = tagger.tag(audio, tagger.sample_rate)
    assert tags == tagger.tag(audio, tagger.sample_rate)
    assert all(0 < value < 1 for value in (tags.speech, tags.music, tags.effect))  # type: ignore[operator]
    inputs = transformers.AutoFeatureExtractor.from_pretrained(ast_folder)(
        audio[: len(audio) // 3 + 1], sampling_rate=16_000, return_tensors="pt"
    )
    model = transformers.ASTForAudioClassification.from_pretrained(ast_folder).eval()
    with torch.inference_mode():
        first = torch.sigmoid(model(**inputs).logits[0]).numpy()
    alone = AstTagger(ast_folder).tag(audio[: len(audio) // 3 + 1], 16_000)
    assert alone.speech == pytest.approx(first[[0, 1]].max(), abs=1e-6)
    assert alone.music == pytest.approx(first[[2, 3]].max(), abs=1e-6)
    assert alone.effect == pytest.approx(first[[4, 5]].max(), abs=1e-6)


def test_clap_compares_with_three_sentences(clap_folder: Path) -> None:
    tagger = ClapTagger(clap_folder)
    tags = tagger.tag(noise(2.2, 48_000), 48_000)
    assert tags == tagger.tag(noise(2.2, 48_000), 48_000)
    assert tags.speech + (tags.music or 0) + (tags.effect or 0) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(InputError, match="texts must have the keys"):
        ClapTagger(clap_folder, texts={"speech": "somebody talks"})


def test_a_checkpoint_that_lacks_weights_is_refused(ast_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "half"
    folder.mkdir()
    for file in ast_folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(name for name in weights if "classifier" in name and name.endswith("weight")))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="is not whole"):
        AstTagger(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no model that can be loaded"):
        AstTagger(folder)


def test_a_model_without_the_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no labels for speech, music"):
        AstTagger(save_ast(tmp_path / "ast", {0: "cat", 1: "dog"}))


def test_sound_of_another_rate_or_shape_is_refused(ast_folder: Path) -> None:
    tagger = AstTagger(ast_folder)
    with pytest.raises(ValueError, match="takes sound at 16000"):
        tagger.tag(noise(1, 44_100), 44_100)
    with pytest.raises(ValueError, match="mono samples"):
        tagger.tag(noise(1, 16_000)[None], 16_000)
    with pytest.raises(ValueError, match="mono samples"):
        tagger.tag(np.zeros(0, np.float32), 16_000)


@pytest.mark.skipif(importlib.util.find_spec("silero_vad") is not None, reason="silero-vad is installed")
def test_silero_says_what_to_install() -> None:
    with pytest.raises(MissingExtraError, match="silero_vad"):
        SileroTagger()


@pytest.mark.skipif(importlib.util.find_spec("silero_vad") is None, reason="silero-vad is not installed")
def test_silero_hears_no_speech_in_noise() -> None:
    assert SileroTagger().tag(noise(2, 16_000), 16_000) == SoundTags(speech=0.0, music=None, effect=None)


def test_silero_refuses_a_limit_that_is_no_probability() -> None:
    with pytest.raises(ValueError, match="threshold must lie"):
        SileroTagger(threshold=1.0)


def test_a_config_opens_the_listener_that_it_names(ast_folder: Path, clap_folder: Path) -> None:
    assert isinstance(open_tagger(TaggerConfig(name="ast", checkpoint=str(ast_folder))), AstTagger)
    assert isinstance(open_tagger(TaggerConfig(name="clap", checkpoint=str(clap_folder))), ClapTagger)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "ears", "checkpoint": "x"}, "must be one of ast, clap, silero"),
        ({"name": "ast"}, "ast needs a checkpoint"),
        ({"name": "silero", "checkpoint": "x"}, "takes no checkpoint"),
        ({"name": "ast", "checkpoint": "x", "window_seconds": 0}, "window_seconds must be positive"),
    ],
)
def test_a_config_that_names_no_listener_is_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TaggerConfig(**options)
