"""Every segmenter runs for real at toy size; one that lacks weights is refused; a bad server harms one frame only."""

import base64
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_segmenters
import torch
from numpy.typing import NDArray

from animeshooter_hf import Character
from animeshooter_hf.dataset_builder.references.clipseg import ClipsegSegmenter
from animeshooter_hf.dataset_builder.references.florence2 import Florence2Segmenter, polygons_of
from animeshooter_hf.dataset_builder.references.grounded_sam2 import GroundedSam2Segmenter, join_phrases
from animeshooter_hf.dataset_builder.references.pretrained import fit_phrase, load_pretrained
from animeshooter_hf.dataset_builder.references.remote import RemoteSegmenter
from animeshooter_hf.dataset_builder.references.sam3 import Sam3Segmenter
from animeshooter_hf.dataset_builder.references.segmenter import (
    SEGMENTERS,
    FrameContext,
    SegmentationError,
    Segmenter,
    SegmenterConfig,
    open_segmenter,
    short_phrase,
)
from animeshooter_hf.errors import InputError
from animeshooter_hf.masks import RleMask

PHRASES = ["girl with red hair", "old man"]
SIZE = (54, 96)


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    picture = np.full((*SIZE, 3), 200, np.uint8)
    cv2.circle(picture, (30, 27), 18, (220, 40, 40), -1)
    cv2.circle(picture, (70, 30), 14, (40, 60, 200), -1)
    return picture


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("segmenters")
    return {
        "sam3": tiny_segmenters.save_sam3(root / "sam3"),
        "clipseg": tiny_segmenters.save_clipseg(root / "clipseg"),
        "grounding_dino": tiny_segmenters.save_grounding_dino(root / "grounding_dino"),
        "sam2": tiny_segmenters.save_sam2(root / "sam2"),
        "florence2": tiny_segmenters.save_florence2(root / "florence2"),
    }


def config(checkpoints: dict[str, Path], name: str, **options: Any) -> SegmenterConfig:
    first = "grounding_dino" if name == "grounded_sam2" else name
    second = str(checkpoints["sam2"]) if name == "grounded_sam2" else ""
    options = {"score_threshold": 0.0, "device": "cpu", **options}
    return SegmenterConfig(name=name, checkpoint=str(checkpoints[first]), second_checkpoint=second, **options)


@pytest.fixture(scope="module")
def opened(checkpoints: dict[str, Path]) -> dict[str, Segmenter]:
    models = {name: open_segmenter(config(checkpoints, name)) for name in ("sam3", "clipseg", "grounded_sam2")}
    return {**models, "florence2": Florence2Segmenter(config(checkpoints, "florence2"), max_new_tokens=24)}


@pytest.mark.parametrize("name", ["sam3", "clipseg", "grounded_sam2", "florence2"])
def test_each_model_gives_masks_of_the_frame_for_each_phrase(
    opened: dict[str, Segmenter], image: NDArray[np.uint8], name: str
) -> None:
    found = opened[name].segment(image, PHRASES, all_phrases=PHRASES)
    assert len(found) == 2
    if name != "florence2":  # random weights write no polygon
        assert any(found)
    for figures in found:
        assert len(figures) <= 5
        assert [one.score for one in figures] == sorted((one.score for one in figures), reverse=True)
        for one in figures:
            assert one.mask.shape == SIZE
            assert one.mask.dtype == bool
            assert one.mask.any()
            assert 0 <= one.score <= 1


@pytest.mark.parametrize("name", ["sam3", "clipseg", "grounded_sam2", "florence2"])
def test_asking_twice_gives_the_same_and_nobody_gives_nothing(
    opened: dict[str, Segmenter], image: NDArray[np.uint8], name: str
) -> None:
    first, second = (opened[name].segment(image, PHRASES, all_phrases=PHRASES) for _ in range(2))
    assert [len(figures) for figures in first] == [len(figures) for figures in second]
    for one, other in zip(chain(*first), chain(*second), strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
    assert opened[name].segment(image, [], all_phrases=PHRASES) == []


def test_sam3_gives_what_the_plain_model_gives_for_each_phrase_alone(
    checkpoints: dict[str, Path], opened: dict[str, Segmenter], image: NDArray[np.uint8]
) -> None:
    from transformers import Sam3Model, Sam3Processor

    model, processor = (one.from_pretrained(checkpoints["sam3"]) for one in (Sam3Model, Sam3Processor))
    found = opened["sam3"].segment(image, PHRASES, all_phrases=PHRASES)
    for phrase, figures in zip(PHRASES, found, strict=True):
        with torch.inference_mode():
            outputs = model(**processor(images=image, text=phrase, return_tensors="pt"))
        plain = processor.post_process_instance_segmentation(outputs, threshold=0.0, target_sizes=[SIZE])[0]
        best = int(plain["scores"].argmax())
        assert figures[0].score == pytest.approx(float(plain["scores"][best]), abs=1e-5)
        np.testing.assert_array_equal(figures[0].mask, plain["masks"][best].numpy().astype(bool))


def test_clipseg_gives_what_the_plain_model_gives_and_each_pixel_to_one_character(
    checkpoints: dict[str, Path], opened: dict[str, Segmenter], image: NDArray[np.uint8]
) -> None:
    from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

    model = CLIPSegForImageSegmentation.from_pretrained(checkpoints["clipseg"])
    processor = CLIPSegProcessor.from_pretrained(checkpoints["clipseg"])
    with torch.inference_mode():
        logits = model(**processor(text=PHRASES, images=[image] * 2, padding=True, return_tensors="pt")).logits
    heat = torch.nn.functional.interpolate(logits[:, None], SIZE, mode="bilinear").sigmoid()[:, 0].numpy()
    found = opened["clipseg"].segment(image, PHRASES, all_phrases=PHRASES)
    for number in range(2):
        expected = (heat[number] >= 0.5) & (heat.argmax(0) == number)
        mask = found[number][0].mask if found[number] else np.zeros(SIZE, bool)
        assert (mask != expected).mean() < 0.001
    if all(found):
        assert not (found[0][0].mask & found[1][0].mask).any()


def test_grounding_dino_gives_each_box_to_the_phrase_whose_words_it_answers_best(
    checkpoints: dict[str, Path], image: NDArray[np.uint8]
) -> None:
    from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor

    model = GroundingDinoForObjectDetection.from_pretrained(checkpoints["grounding_dino"])
    processor = GroundingDinoProcessor.from_pretrained(checkpoints["grounding_dino"])
    inputs = processor(images=image, text=[PHRASES], return_tensors="pt")
    with torch.inference_mode():
        words = model(**inputs).logits[0].sigmoid()
    stop = processor.tokenizer.convert_tokens_to_ids(".")
    first = inputs.input_ids[0].tolist().index(stop)
    best = torch.stack([words[:, 1:first].amax(1), words[:, first + 1 : len(inputs.input_ids[0]) - 2].amax(1)])
    segmenter = GroundedSam2Segmenter(config(checkpoints, "grounded_sam2", max_instances=6))
    found = segmenter.segment(image, PHRASES, all_phrases=PHRASES)
    for number, figures in enumerate(found):
        assert len(figures) <= int((best.argmax(0) == number).sum())  # what overlaps is one figure
        assert bool(figures) == bool((best.argmax(0) == number).any())


def test_phrases_are_joined_so_that_each_ones_tokens_are_known(checkpoints: dict[str, Path]) -> None:
    tokenizer = load_pretrained(
        "GroundingDinoForObjectDetection", "GroundingDinoProcessor", str(checkpoints["grounding_dino"])
    ).processor.tokenizer
    text, spans = join_phrases(tokenizer, ["Mr. Fox", "old man", "a girl, tall"], 256)
    tokens = tokenizer(text)["input_ids"]
    assert [tokenizer.decode(tokens[start:end]) for start, end in spans] == ["mr fox", "old man", "a girl, tall"]
    text, spans = join_phrases(tokenizer, ["girl " * 90, "man " * 90], 60)
    assert len(tokenizer(text)["input_ids"]) <= 60
    assert len(spans) == 2


def test_weights_of_another_type_run_too(checkpoints: dict[str, Path], image: NDArray[np.uint8]) -> None:
    for name, kind in (("sam3", Sam3Segmenter), ("clipseg", ClipsegSegmenter)):
        segmenter = kind(config(checkpoints, name, dtype="bfloat16"))
        found = segmenter.segment(image, PHRASES, all_phrases=PHRASES)
        assert all(one.mask.shape == SIZE for figures in found for one in figures)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("sam3", "detr_decoder"),
        ("clipseg", "decoder.film_mul"),
        ("grounding_dino", "encoder.layers"),
        ("sam2", "mask_decoder"),
        ("florence2", "language_model.encoder.layers"),
    ],
)
def test_a_checkpoint_that_lacks_one_weight_is_refused(
    checkpoints: dict[str, Path], tmp_path: Path, name: str, part: str
) -> None:
    tiny_segmenters.drop_weight(checkpoints[name], tmp_path / name, part)
    broken = {**checkpoints, name: tmp_path / name}
    user = "grounded_sam2" if name in ("grounding_dino", "sam2") else name
    with pytest.raises(InputError, match=r"is not whole: 1 weights of .* are missing, such as"):
        open_segmenter(config(broken, user))


def test_a_checkpoint_that_is_absent_foreign_or_torn_is_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no checkpoint at"):
        open_segmenter(SegmenterConfig(name="sam3", checkpoint=str(tmp_path / "nowhere")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="cannot be loaded as Sam3Model"):
        open_segmenter(SegmenterConfig(name="sam3", checkpoint=str(tmp_path / "empty")))
    with pytest.raises(InputError):
        open_segmenter(SegmenterConfig(name="sam3", checkpoint=str(checkpoints["clipseg"])))
    torn = tmp_path / "torn"
    torn.mkdir()
    for path in checkpoints["clipseg"].iterdir():
        (torn / path.name).write_bytes(path.read_bytes()[: 2000 if path.suffix == ".safetensors" else None])
    with pytest.raises(InputError, match="cannot be loaded as CLIPSeg"):
        open_segmenter(SegmenterConfig(name="clipseg", checkpoint=str(torn)))
    with pytest.raises(InputError, match="There is no device"):
        open_segmenter(config(checkpoints, "clipseg", device="cuda:77"))


def test_settings_key_changes_with_weights_and_thresholds_but_not_with_the_folder(
    checkpoints: dict[str, Path], opened: dict[str, Segmenter], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in checkpoints["clipseg"].iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    key = opened["clipseg"].settings_key()
    same = SegmenterConfig(name="clipseg", checkpoint=str(copy), device="cuda:7", max_tries=9)
    assert same.key() == SegmenterConfig(name="clipseg", checkpoint=str(checkpoints["clipseg"])).key()
    assert ClipsegSegmenter(config({"clipseg": copy}, "clipseg")).settings_key() == key
    assert ClipsegSegmenter(config(checkpoints, "clipseg", mask_threshold=0.4)).settings_key() != key
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert ClipsegSegmenter(config({"clipseg": copy}, "clipseg")).settings_key() != key
    assert json.dumps(key)
    assert same.key() != SegmenterConfig(name="clipseg", checkpoint=str(checkpoints["clipseg"])).key()


def test_a_request_that_does_not_hold_is_refused(opened: dict[str, Segmenter], image: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="all_phrases must hold"):
        opened["clipseg"].segment(image, ["cat"], all_phrases=PHRASES)
    with pytest.raises(ValueError, match="none of them empty"):
        opened["clipseg"].segment(image, [" "], all_phrases=[" "])
    with pytest.raises(ValueError, match="A frame must be uint8"):
        opened["clipseg"].segment(image[..., 0], PHRASES, all_phrases=PHRASES)
    with pytest.raises(InputError, match="There is no segmenter 'sam9'"):
        SegmenterConfig(name="sam9")
    with pytest.raises(InputError, match="mask_threshold"):
        SegmenterConfig(mask_threshold=1)
    with pytest.raises(InputError, match="score_threshold"):
        SegmenterConfig(score_threshold=2)
    with pytest.raises(InputError, match="must be positive"):
        SegmenterConfig(max_tries=0)
    with pytest.raises(InputError, match="dtype"):
        SegmenterConfig(dtype="int8")  # type: ignore[arg-type]


def test_long_phrases_lose_their_last_words(
    checkpoints: dict[str, Path], opened: dict[str, Segmenter], image: NDArray[np.uint8]
) -> None:
    long = "girl " * 24
    for name in ("sam3", "clipseg", "grounded_sam2"):
        assert len(opened[name].segment(image, [long], all_phrases=[long, "old man"])) == 1
    tokenizer = load_pretrained("Sam3Model", "Sam3Processor", str(checkpoints["sam3"])).processor.tokenizer
    assert fit_phrase(tokenizer, "girl in a blue coat", 12) == "girl in a"
    with pytest.raises(ValueError, match="does not fit"):
        fit_phrase(tokenizer, "extraordinarily", 5)


def test_polygons_are_read_from_any_text() -> None:
    square = "<loc_0><loc_0><loc_500><loc_0><loc_500><loc_500><loc_0><loc_500>"
    assert [len(one) for one in polygons_of(f"hat{square}<sep>{square}<loc_1>")] == [4, 4]
    assert [len(one) for one in polygons_of(f"<poly>{square}</poly><poly>{square}</poly>")] == [4, 4]
    assert polygons_of("") == polygons_of("<loc_1><loc_2><loc_3>") == polygons_of("<loc_5000>" * 8) == []


def test_the_truth_looks_masks_up_by_frame_and_character(image: NDArray[np.uint8]) -> None:
    mask = np.zeros(SIZE, bool)
    mask[10:40, 10:50] = True

    class Masks:
        def mask_at(self, character_id: str, frame: int) -> RleMask | None:
            return RleMask.from_array(mask) if (character_id, frame) == ("Mia", 3) else None

    truth = open_segmenter(SegmenterConfig(name="truth"), masks=Masks())
    assert truth.is_exact
    context = FrameContext(frame=3, character_ids=("Mia", "Bo"))
    found = truth.segment(image, ["girl", "man"], all_phrases=["girl", "man"], context=context)
    np.testing.assert_array_equal(found[0][0].mask, mask)
    assert found[1] == []
    with pytest.raises(InputError, match="needs a film whose script holds masks"):
        open_segmenter(SegmenterConfig(name="truth"))
    with pytest.raises(ValueError, match="needs a context"):
        truth.segment(image, ["girl"], all_phrases=["girl"])
    with pytest.raises(ValueError, match="54x96"):
        truth.segment(np.zeros((9, 9, 3), np.uint8), ["girl", "man"], all_phrases=["girl", "man"], context=context)


def test_a_phrase_is_made_from_the_description_or_the_name() -> None:
    assert short_phrase(Character(id="Mia", appearance="The old man; he limps.")) == "old man"
    assert short_phrase(Character(id="Mia")) == "Mia"
    assert len(short_phrase(Character(id="Mia", appearance="word " * 40)).split()) == 12


Reply = Callable[[dict[str, Any]], tuple[int, bytes]]


class Server:
    """A segmentation server on loopback that gives one prepared reply after the other, the last one again and again."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.requests: list[dict[str, Any]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                reply = server.replies[min(len(server.requests), len(server.replies) - 1)]
                server.requests.append(body)
                status, data = reply(body)
                with contextlib.suppress(ConnectionError):  # the client may have given up
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/segment"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def segmenter(self, *replies: Reply, **options: Any) -> RemoteSegmenter:
        self.replies, self.requests = list(replies), []
        return RemoteSegmenter(SegmenterConfig(name="remote", url=self.url, **options), first_pause_seconds=0.01)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.http.shutdown()
    one.http.server_close()


def by_colour(body: dict[str, Any]) -> tuple[int, bytes]:
    """Segment by colour: "red" or "blue"."""
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(body["image"]["base64"]), np.uint8), cv2.IMREAD_COLOR_RGB)
    colours = {"red thing": (220, 40, 40), "blue thing": (40, 60, 200)}
    rows = []
    for phrase in body["phrases"]:
        rle = RleMask.from_array((picture == colours[phrase]).all(-1))
        rows.append([{"size": [rle.height, rle.width], "counts": rle.counts, "score": 0.9}])
    return 200, json.dumps({"masks": rows}).encode()


def plain(status: int, text: str) -> Reply:
    return lambda _: (status, text.encode())


def test_a_server_gets_the_lossless_frame_and_all_characters(server: Server, image: NDArray[np.uint8]) -> None:
    segmenter = server.segmenter(by_colour)
    found = segmenter.segment(image, ["blue thing"], all_phrases=["red thing", "blue thing"])
    np.testing.assert_array_equal(found[0][0].mask, (image == (40, 60, 200)).all(-1))
    assert found[0][0].score == 0.9
    assert "red thing; blue thing" in server.requests[0]["prompts"][0]
    assert "only this one, whole and without the others: blue thing" in server.requests[0]["prompts"][0]
    assert segmenter.settings_key()["url"] == server.url
    unsure = server.segmenter(by_colour, score_threshold=0.95)
    assert unsure.segment(image, ["red thing"], all_phrases=["red thing"]) == [[]]


def test_a_busy_server_is_asked_again_and_a_refusing_one_is_not(server: Server, image: NDArray[np.uint8]) -> None:
    segmenter = server.segmenter(plain(503, ""), plain(429, ""), by_colour)
    assert segmenter.segment(image, ["red thing"], all_phrases=["red thing"])[0]
    assert len(server.requests) == 3
    with pytest.raises(SegmentationError, match="no answer in 3 tries: status 500"):
        server.segmenter(plain(500, "")).segment(image, ["red thing"], all_phrases=["red thing"])
    with pytest.raises(SegmentationError, match="refuses: status 401"):
        server.segmenter(plain(401, "")).segment(image, ["red thing"], all_phrases=["red thing"])
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_or_too_slow_fails_the_frame(server: Server, image: NDArray[np.uint8]) -> None:
    gone = RemoteSegmenter(SegmenterConfig(name="remote", url="http://127.0.0.1:9/"), first_pause_seconds=0.01)
    with pytest.raises(SegmentationError, match="no answer in 3 tries"):
        gone.segment(image, ["red thing"], all_phrases=["red thing"])
    release = threading.Event()

    def slow(_: dict[str, Any]) -> tuple[int, bytes]:
        release.wait(5)
        return 200, b""

    with pytest.raises(SegmentationError, match="timed out"):
        server.segmenter(slow, timeout_seconds=0.2, max_tries=1).segment(image, ["a"], all_phrases=["a"])
    release.set()
    with pytest.raises(InputError, match="begins with http"):
        open_segmenter(SegmenterConfig(name="remote", url="file:///etc"))


MASK = RleMask.from_array(np.ones(SIZE, bool))


def one_mask(**changes: Any) -> str:
    entry = {"size": list(SIZE), "counts": MASK.counts, "score": 0.5, **changes}
    return json.dumps({"masks": [[entry]]})


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("<html>", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("{}", "no list of masks"),
        ('{"masks": []}', "no list of masks"),
        ('{"masks": [7]}', "no list of masks"),
        ('{"masks": [[7]]}', "no counts"),
        (one_mask(size=[9, 9]), "has the size"),
        (one_mask(counts="zzzz"), "damaged"),
        (one_mask(counts="1"), "damaged"),
        (one_mask(score=7), "has the score"),
        (one_mask(score=None), "has the score"),
        (one_mask(score=float("nan")), "has the score"),
    ],
)
def test_an_answer_of_another_form_fails_the_frame(
    server: Server, image: NDArray[np.uint8], answer: str, message: str
) -> None:
    with pytest.raises(SegmentationError, match=message):
        server.segmenter(plain(200, answer)).segment(image, ["a"], all_phrases=["a"])


def test_the_list_of_segmenters_opens_what_it_names() -> None:
    from importlib import import_module

    for name, (module, class_name) in SEGMENTERS.items():
        assert getattr(import_module(module), class_name).name == name
