"""Backends on transformers at toy size, with seeded random weights, loaded through the strict door as real ones are."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace

import numpy as np
import pytest
from loopback_hub import loopback_hub
from safetensors.numpy import load_file, save_file

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.aggregate import rank_auc
from animeshooter_hf.eval.backbones.base import BACKBONES, Backbone, BackboneSpec, load_backbone
from animeshooter_hf.eval.backbones.table import backbone_table, format_backbone_table
from animeshooter_hf.eval.views import View, frame_views, reference_view
from animeshooter_hf.toon import FilmSettings, ToonFilm, character_reference

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)

SIDE = 32
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = SMALL | {"image_size": SIDE, "patch_size": 8}
LETTERS = list("abcdefghijklmnopqrstuvwxyz0123456789.,!?")


def save(model: "torch.nn.Module", folder: Path, seed: int = 0) -> Path:
    """Give a model seeded weights and save it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            is_norm = "norm" in name and name.endswith("weight")
            weight.copy_(0.15 * torch.randn(weight.shape, generator=generator) + float(is_norm))
    model.save_pretrained(folder)
    return folder


def make_clip(folder: Path, seed: int = 0) -> Path:
    text = SMALL | {"vocab_size": 100, "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1}
    config = transformers.CLIPConfig(text_config=text | {"pad_token_id": 1}, vision_config=VISION, projection_dim=24)
    save(transformers.CLIPModel(config), folder, seed)
    size = {"height": SIDE, "width": SIDE}
    transformers.CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=size).save_pretrained(folder)
    words = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    vocabulary = {word: index for index, word in enumerate(words)}
    transformers.CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    return folder


def make_siglip(folder: Path) -> Path:
    text = SMALL | {"vocab_size": 64, "max_position_embeddings": 16, "projection_size": 32}
    save(transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=VISION)), folder)
    transformers.SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *LETTERS, "▁"]
    vocabulary = {word: index for index, word in enumerate(words)}
    transformers.Siglip2Tokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    return folder


def make_dinov2(folder: Path) -> Path:
    save(transformers.Dinov2Model(transformers.Dinov2Config(**VISION)), folder)
    size = {"height": SIDE, "width": SIDE}
    transformers.BitImageProcessorPil(size={"shortest_edge": 36}, crop_size=size).save_pretrained(folder)
    return folder


def make_dinov3(folder: Path) -> Path:
    config = transformers.DINOv3ViTConfig(**VISION, num_register_tokens=3)
    save(transformers.DINOv3ViTModel(config), folder)
    transformers.DINOv3ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def make_dino(folder: Path) -> Path:
    save(transformers.ViTModel(transformers.ViTConfig(**VISION), add_pooling_layer=False), folder)
    transformers.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


MAKERS: dict[str, Callable[[Path], Path]] = {
    "clip": make_clip,
    "siglip2": make_siglip,
    "dino": make_dino,
    "dinov2": make_dinov2,
    "dinov2-patches": make_dinov2,
    "dinov3": make_dinov3,
    "dinov3-patches": make_dinov3,
}
CLASSES = {"clip": "CLIPModel", "siglip2": "SiglipModel", "dino": "ViTModel", "dinov2": "Dinov2Model"}
CLASSES |= {"dinov3": "DINOv3ViTModel"}
PROCESSORS = {"clip": "CLIPImageProcessorPil", "siglip2": "SiglipImageProcessorPil", "dino": "ViTImageProcessorPil"}
PROCESSORS |= {"dinov2": "BitImageProcessorPil", "dinov3": "DINOv3ViTImageProcessor"}


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SimpleNamespace]:
    """Name -> folder and loaded backend."""
    folders = {maker: maker(tmp_path_factory.mktemp(maker.__name__)) for maker in dict.fromkeys(MAKERS.values())}
    loaded = {name: load_backbone(f"{name}:{folders[maker]}") for name, maker in MAKERS.items()}
    return {name: SimpleNamespace(folder=folders[MAKERS[name]], backbone=loaded[name]) for name in MAKERS}


def pictures(*sizes: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def views() -> list[View]:
    """Three whole pictures and two with weights."""
    whole = pictures((48, 80), (80, 47), (32, 32), (60, 60), (40, 90))
    weights = np.zeros((60, 60), np.float32)
    weights[10:55, 20:37] = 1
    soft = np.linspace(0, 1, 40 * 90, dtype=np.float32).reshape(40, 90)
    return [*(View(image) for image in whole[:3]), View(whole[3], weights), View(whole[4], soft)]


def unit(rows: "torch.Tensor") -> np.ndarray:
    return torch.nn.functional.normalize(rows.float(), dim=-1).detach().numpy()


def original(name: str, folder: Path) -> tuple:
    options = {"add_pooling_layer": False} if name == "dino" else {}
    model = getattr(transformers, CLASSES[name]).from_pretrained(folder, **options).eval()
    return model, getattr(transformers, PROCESSORS[name]).from_pretrained(folder)


@pytest.mark.parametrize("name", list(CLASSES))
def test_image_rows_are_those_of_transformers_model_and_processor(name: str, toys: dict) -> None:
    model, processor = original(name, toys[name].folder)
    for image in pictures((48, 80), (80, 47), (32, 32)):
        inputs = processor(images=[image], return_tensors="pt")
        with torch.no_grad():
            if name in ("clip", "siglip2"):
                theirs = model.get_image_features(**inputs).pooler_output
            else:
                theirs = model(**inputs).last_hidden_state[:, 0]
        ours = toys[name].backbone.embed([View(image)], "identity")
        np.testing.assert_allclose(ours, unit(theirs), atol=1e-5)


@pytest.mark.parametrize("name", ["dinov2", "dinov3"])
def test_patches_are_averaged_under_the_mask_and_registers_left_out(name: str, toys: dict) -> None:
    model, _ = original(name, toys[name].folder)
    backbone = toys[f"{name}-patches"].backbone
    view = views()[3]
    prepared = backbone.prepare(view, "identity")
    with torch.no_grad():
        hidden = model(torch.from_numpy(backbone.preparation.normalise([prepared]))).last_hidden_state[0]
    patches = hidden[-16:].numpy()
    share = [prepared[8 * r : 8 * r + 8, 8 * c : 8 * c + 8, 3].astype(float).sum() for r in range(4) for c in range(4)]
    theirs = np.average(patches, axis=0, weights=share)
    np.testing.assert_allclose(backbone.embed([view], "look")[0], theirs / np.linalg.norm(theirs), atol=1e-5)
    whole = backbone.embed([View(view.image, np.ones((60, 60), np.float32))], "look")
    assert np.abs(whole - backbone.embed([view], "look")).max() > 1e-3


@pytest.mark.parametrize("name", ["clip", "siglip2"])
def test_text_rows_are_those_of_transformers_model_and_tokenizer(name: str, toys: dict) -> None:
    model, _ = original(name, toys[name].folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(toys[name].folder)
    texts = ["a fox", "a frog that runs through a very long sentence", "two foxes."]
    options = {"padding": True} if name == "clip" else {"padding": "max_length"}
    tokens = tokenizer(texts, truncation=True, max_length=16, return_tensors="pt", **options)
    inputs = dict(tokens) if name == "clip" else {"input_ids": tokens["input_ids"]}
    with torch.no_grad():
        theirs = model.get_text_features(**inputs).pooler_output
    np.testing.assert_allclose(toys[name].backbone.embed_text(texts), unit(theirs), atol=1e-5)


@pytest.mark.parametrize("name", list(MAKERS))
def test_any_batching_and_order_gives_the_same_rows(name: str, toys: dict) -> None:
    backbone = toys[name].backbone
    together = backbone.embed(views(), "identity")
    apart = np.concatenate([backbone.embed([view], "identity") for view in views()])
    backwards = backbone.embed(views()[::-1], "identity")[::-1]
    np.testing.assert_allclose(apart, together, atol=1e-6)
    np.testing.assert_allclose(backwards, together, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert together.dtype == np.float32


def test_more_pictures_than_a_batch_give_the_same_rows(toys: dict) -> None:
    backbone = toys["clip"].backbone
    many = views()[:2] * 20
    rows = backbone.embed(many, "look")
    np.testing.assert_allclose(rows, np.tile(rows[:2], (20, 1)), atol=1e-6)


@pytest.mark.parametrize("name", ["clip", "siglip2"])
def test_a_text_does_not_depend_on_the_others(name: str, toys: dict) -> None:
    backbone = toys[name].backbone
    texts = ["a fox", "a frog that runs through a very long sentence, and on"]
    together = backbone.embed_text(texts)
    apart = np.concatenate([backbone.embed_text([text]) for text in texts])
    np.testing.assert_allclose(apart, together, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_siglip_tells_the_logit_of_a_pair(toys: dict) -> None:
    backbone = toys["siglip2"].backbone
    model, processor = original("siglip2", toys["siglip2"].folder)
    tokens = backbone._tokenizer(["a fox"], padding="max_length", max_length=16, return_tensors="pt")["input_ids"]
    image = pictures((32, 32))[0]
    with torch.no_grad():
        theirs = model(input_ids=tokens, **processor(images=[image], return_tensors="pt")).logits_per_image.item()
    scale, bias = backbone.pair_logit
    cosine = float(backbone.embed([View(image)], "identity")[0] @ backbone.embed_text(["a fox"])[0])
    assert scale * cosine + bias == pytest.approx(theirs, abs=1e-5)


def test_siglip_reads_capitals_as_small_letters(toys: dict) -> None:
    backbone = toys["siglip2"].backbone
    np.testing.assert_array_equal(backbone.embed_text(["A Fox"]), backbone.embed_text(["a fox"]))


def test_a_text_beyond_the_limit_loses_its_end_and_can_be_counted(toys: dict) -> None:
    backbone = toys["clip"].backbone
    assert backbone.max_tokens == 16
    assert backbone.count_tokens(["fox", "a fox that runs and runs"]) == [5, 21]
    long = backbone.embed_text(["abcdefghijklmn and more", "abcdefghijklmn and less"])
    np.testing.assert_array_equal(long[0], long[1])


def test_an_empty_text_is_refused(toys: dict) -> None:
    with pytest.raises(InputError, match="Text 1 is empty"):
        toys["clip"].backbone.embed_text(["a fox", "  "])


def test_a_backend_without_a_text_side_says_so(toys: dict) -> None:
    assert not toys["dinov2"].backbone.has_text
    with pytest.raises(InputError, match="reads no text"):
        toys["dinov2"].backbone.embed_text(["a fox"])


def test_similarity_is_the_clipped_dot_product(toys: dict) -> None:
    backbone = toys["clip"].backbone
    left, right = backbone.embed(views()[:2], "identity"), backbone.embed(views(), "identity")
    similarity = backbone.similarity(left, -right)
    assert similarity.shape == (2, 5)
    assert similarity.min() >= 1e-6
    np.testing.assert_allclose(np.diag(backbone.similarity(left, right)), 1, atol=1e-6)


def test_no_view_gives_no_row(toys: dict) -> None:
    assert len(toys["clip"].backbone.embed([], "look")) == 0
    assert len(toys["clip"].backbone.embed_text([])) == 0


def test_a_copy_in_a_worker_prepares_and_does_not_embed(toys: dict) -> None:
    backbone = toys["dinov2-patches"].backbone
    data = pickle.dumps(backbone)
    assert len(data) < 2000
    copy = pickle.loads(data)
    assert copy.signature == backbone.signature
    prepared = [copy.prepare(view, "identity") for view in views()]
    np.testing.assert_array_equal(backbone.embed_prepared(prepared, "identity"), backbone.embed(views(), "identity"))
    with pytest.raises(RuntimeError, match="without its model"):
        copy.embed_prepared(prepared, "identity")


def test_bfloat16_is_near_and_has_a_signature_of_its_own(toys: dict) -> None:
    full = toys["clip"].backbone
    half = load_backbone(f"clip:{toys['clip'].folder}", dtype="bfloat16")
    rows, close = full.embed(views(), "identity"), half.embed(views(), "identity")
    assert close.dtype == np.float32
    assert (rows * close).sum(axis=1).min() > 0.999
    assert np.abs(rows - close).max() > 0
    assert full.signature != half.signature
    assert "bfloat16" in half.signature


def test_the_signature_names_the_weights_by_content_wherever_they_lie(toys: dict, tmp_path: Path) -> None:
    backbone = toys["dinov2"].backbone
    moved = copytree(toys["dinov2"].folder, tmp_path / "moved")
    assert load_backbone(f"dinov2:{moved}").signature == backbone.signature
    assert toys["dinov2-patches"].backbone.signature != backbone.signature
    weights = load_file(moved / "model.safetensors")
    weights["layernorm.bias"][0] += 1
    save_file(weights, moved / "model.safetensors", metadata={"format": "pt"})
    assert load_backbone(f"dinov2:{moved}").signature != backbone.signature


def break_weights(folder: Path, **changes: np.ndarray | None) -> None:
    weights = load_file(folder / "model.safetensors")
    for name, value in changes.items():
        name = name.replace("__", ".")
        if value is None:
            del weights[name]
        else:
            weights[name] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda folder: break_weights(folder, layernorm__bias=None), r"lacks weights: 1, such as layernorm\.bias"),
        (
            lambda folder: break_weights(folder, head__weight=np.ones(3, np.float32)),
            "not known: 1, such as head.weight",
        ),
        (
            lambda folder: break_weights(folder, layernorm__bias=np.ones(7, np.float32)),
            "cannot be loaded|another shape",
        ),
        (lambda folder: break_weights(folder, layernorm__bias=np.full(32, np.nan, np.float32)), "not finite"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 99), "cannot be loaded"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "config.json").write_text("[]"), "names no model_type"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "no preprocessor_config.json"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(damage: Callable, word: str, toys: dict, tmp_path: Path) -> None:
    folder = copytree(toys["dinov2"].folder, tmp_path / "broken")
    damage(folder)
    with pytest.raises(InputError, match=word):
        load_backbone(f"dinov2:{folder}")


@pytest.mark.parametrize(("name", "folder"), [("clip", "dinov2"), ("siglip2", "clip"), ("dinov3", "dinov2")])
def test_a_checkpoint_of_another_kind_is_refused(name: str, folder: str, toys: dict) -> None:
    kind = {"dinov2": "dinov2", "clip": "clip"}[folder]
    with pytest.raises(InputError, match=f"of the kind '{kind}', not "):
        load_backbone(f"{name}:{toys[folder].folder}")


def test_a_checkpoint_without_its_tokenizer_is_refused(toys: dict, tmp_path: Path) -> None:
    folder = copytree(toys["clip"].folder, tmp_path / "mute")
    for name in ("tokenizer.json", "vocab.json"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(InputError, match="has no tokenizer"):
        load_backbone(f"clip:{folder}")


def test_a_tokenizer_with_more_words_than_the_network_is_refused(toys: dict, tmp_path: Path) -> None:
    folder = copytree(toys["clip"].folder, tmp_path / "wordy")
    vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1, **{f"w{index}": index for index in range(2, 200)}}
    transformers.CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    with pytest.raises(InputError, match="more words than the network"):
        load_backbone(f"clip:{folder}")


def test_patches_that_do_not_come_out_even_are_refused(toys: dict, tmp_path: Path) -> None:
    folder = copytree(toys["dinov2"].folder, tmp_path / "odd")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"crop_size": {"height": 30, "width": 30}}))
    with pytest.raises(InputError, match="does not come out even"):
        load_backbone(f"dinov2-patches:{folder}")


@pytest.mark.parametrize(
    ("spec", "options", "word"),
    [
        ("resnet", {}, "no backend 'resnet'"),
        ("clip:", {}, "NAME or NAME:REPO_OR_FOLDER"),
        ("clip:org/name@", {}, "NAME or NAME:REPO_OR_FOLDER"),
        ("classical:org/name", {}, "has no weights"),
        ("clip", {"dtype": "float8"}, "dtype must be one of"),
        ("clip:/no/such/folder", {}, "There is no checkpoint at /no/such/folder"),
        ("clip:{folder}", {"device": "cuda:99"}, "no device 'cuda:99'"),
        ("clip:{folder}@abc", {}, "a folder has no revision"),
    ],
)
def test_a_wrong_spec_is_refused(spec: str, options: dict, word: str, toys: dict) -> None:
    with pytest.raises(InputError, match=word):
        load_backbone(spec.format(folder=toys["clip"].folder), **options)


def test_a_spec_is_taken_apart_at_its_signs() -> None:
    assert BackboneSpec.parse("clip") == BackboneSpec(name="clip")
    assert BackboneSpec.parse("clip:org/name@v1") == BackboneSpec(name="clip", weights="org/name", revision="v1")
    assert BackboneSpec.parse("clip:/home/me@work/clip").weights == "/home/me@work/clip"
    assert BackboneSpec.parse("csd:C:\\weights").weights == "C:\\weights"


_FIND = """
import sys
from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.pretrained import find_checkpoint
try:
    found = find_checkpoint(sys.argv[1], sys.argv[2] or None, cure="Ask a friend.")
    print(found.label, found.model_type, sorted(path.name for path in found.folder.iterdir()))
except InputError as error:
    print("refused:", error)
"""


def find_in_new_process(home: Path, url: str, repo: str, revision: str = "") -> str:
    """Return what a process with a cache and a Hub of its own says."""
    names = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | names
    command = [sys.executable, "-c", _FIND, repo, revision]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def test_weights_of_the_hub_are_named_by_their_commit_and_stay_in_the_cache(toys: dict, tmp_path: Path) -> None:
    from huggingface_hub import HfApi

    with loopback_hub(tmp_path / "hub") as hub:
        api = HfApi(endpoint=hub.url, token="hf_writer")
        api.create_repo("toys/dino")
        api.upload_folder(repo_id="toys/dino", folder_path=toys["dinov2"].folder)
        api.upload_file(repo_id="toys/dino", path_or_fileobj=b"x" * 1000, path_in_repo="open_clip_model.safetensors")
        commit = api.repo_info("toys/dino").sha
        first = find_in_new_process(tmp_path / "home", hub.url, "toys/dino")
        assert first.startswith(f"toys/dino@{commit[:12]} dinov2 ")
        assert "open_clip" not in first
        assert "no revision 'v9'" in find_in_new_process(tmp_path / "home", hub.url, "toys/dino", "v9")
        missing = find_in_new_process(tmp_path / "home", hub.url, "toys/nothing")
        assert missing.startswith("refused: There is no repository toys/nothing")
        assert missing.endswith("Ask a friend.")
    assert find_in_new_process(tmp_path / "home", "http://127.0.0.1:9", "toys/dino") == first
    offline = find_in_new_process(tmp_path / "empty", "http://127.0.0.1:9", "toys/dino")
    assert "not in the cache, and the Hub cannot be reached" in offline


@pytest.fixture(scope="module")
def cast() -> SimpleNamespace:
    """Toon films with one leading character each: its reference, and frames of shots in which it stands."""
    references, frames, owners = [], [], []
    for seed in range(101, 125):
        film = ToonFilm.from_seed(seed, FilmSettings(width=160, height=90, seconds=30))
        hero = film.plan.stories[0].character_ids[0]
        shots = [shot for shot in film.plan.shots if hero in {place.character_id for place in shot.placements}][:4]
        frames += [film.frame((shot.start_frame + shot.end_frame) // 2) for shot in shots]
        owners += [seed - 101] * len(shots)
        references.append(character_reference(film.plan.character[hero], 128, film.plan.style))
    return SimpleNamespace(references=references, frames=frames, owners=np.array(owners))


def own_reference_auc(backbone: Backbone, cast: SimpleNamespace) -> float | None:
    """Return how often a frame is more like its own character's reference than like another's."""
    options = {"long_side": backbone.long_side}
    view, behind = backbone.fidelity_view, backbone.reference_background
    references = [reference_view(image, behind, opaque_view=view, **options) for image in cast.references]
    frames = [frame_views(frame, [view], **options)[view] for frame in cast.frames]
    similarity = backbone.similarity(backbone.embed(frames, "identity"), backbone.embed(references, "identity"))
    is_own = cast.owners[:, None] == np.arange(len(references))
    return rank_auc(list(similarity[is_own]), list(similarity[~is_own]))


def test_random_networks_do_not_know_who_is_who_and_colours_do(cast: SimpleNamespace, tmp_path: Path) -> None:
    random = [load_backbone(f"clip:{make_clip(tmp_path / str(seed), seed)}") for seed in range(5)]
    areas = [own_reference_auc(backbone, cast) for backbone in random]
    assert 0.40 <= float(np.mean(areas)) <= 0.60
    assert own_reference_auc(load_backbone("classical"), cast) >= 0.85


def test_the_table_has_every_backend_with_its_licence_and_source() -> None:
    rows = backbone_table()
    assert [row.name for row in rows] == list(BACKBONES)
    assert all(row.license and row.source and row.purpose for row in rows)
    assert {row.name for row in rows if row.has_text} == {"clip", "siglip2"}
    assert {row.name for row in rows if row.is_gated} == {"dinov3", "dinov3-patches"}
    text = format_backbone_table()
    assert "MIT ?" in text
    assert "gated" in text
    assert max(len(line) for line in text.splitlines()) < 160
