"""A checkpoint whose files do not agree, or that is not whole, is refused in one line before anything is drawn."""

import json
import math
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from original_layout import published, write_original
from PIL import Image as Picture
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    JanusImageProcessorPil,
    JanusProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from model.backends.checkpoint.deepseek import LayoutError, heads_of, unwrapped
from model.backends.checkpoint.loading import EMBEDDED, SHIPPED, CheckpointError
from model.backends.janus import Janus
from model.backends.preprocessing import Preprocessing
from model.backends.request import Request, Task
from model.checkpoint import convert
from model.decoding.detokenize import TextReader
from model.decoding.janus_backend import JanusBackend
from model.decoding.kv_cache import CacheWindow
from model.decoding.llama import Llama, operations_for
from model.decoding.load_for_inference import open_checkpoint
from model.decoding.rollout import rollout
from model.events import fold
from model.examples import JudgeExample
from model.images import encode_png, read_picture
from model.sequences import escape_special_tokens, ids
from model.templates import BEGIN_IMAGE, BOS, CHECK, CONNECT, EOS, SPECIAL_TOKENS, ask
from model.training.embedded.network import new_config, new_network


@pytest.fixture
def copied(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "mine"))


@pytest.fixture
def original(tiny: Janus, tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return write_original(tiny, tiny_checkpoint, tmp_path / "original", "safetensors")


def changed(path: Path, change: Callable[[dict], None]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(folder)
    said = str(caught.value)
    assert "\n" not in said
    return said


def with_weights(folder: Path, change: Callable[[dict], None]) -> None:
    """The weights of a folder as one file, changed."""
    tensors = {name: each for file in sorted(folder.glob("*.safetensors")) for name, each in load_file(file).items()}
    for file in [*folder.glob("*.safetensors"), *folder.glob("*.index.json")]:
        file.unlink()
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


NAME = "model.generation_aligner.fc1.bias"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop(NAME), f"lacks 1 tensors: {NAME}; download it again"),
        (lambda t: t.update({NAME: torch.zeros(7)}), f"model.safetensors: {NAME}: got 7, wanted 64 by config.json"),
        (
            lambda t: t.update({"more.weight": torch.zeros(2, 3)}),
            "more.weight: got a tensor of 2×3, which this",
        ),
        (lambda t: t[NAME].fill_(math.nan), f"{NAME}: got values that are infinite or not a number as float32"),
    ],
)
def test_tensors_that_are_not_just_the_networks_are_named(copied: Path, change: Callable, said: str):
    with_weights(copied, change)
    assert said in refusal(copied)


@pytest.mark.parametrize(
    ("part", "entry", "value", "said"),
    [
        ("text_config", "vocab_size", 300, "text_config.vocab_size: got 300, wanted at least"),
        ("text_config", "num_attention_heads", 3, "number of attention heads (3)"),
        ("text_config", "dtype", "float99", "text_config.dtype: got 'float99', wanted float32"),
        ("vq_config", "channel_multiplier", [1, 1, 2], "got 2 halvings, so 16 codes a side, wanted 8 codes a side"),
        ("vq_config", "projection_dim", 32, "vq_config.projection_dim: got 32, wanted 64"),
        ("vq_config", "image_token_embed_dim", 32, "vq_config.image_token_embed_dim: got 32, wanted 64"),
        ("vq_config", "base_channels", 48, "got 48 × 1, wanted multiples of 32 channels"),
        ("vq_config", "num_embeddings", 99, "99"),
        ("vision_config", "projection_dim", 32, "vision_config.projection_dim: got 32, wanted 64"),
        ("vision_config", "image_size", [64, 32], "vision_config.image_size: got [64, 32], wanted one number"),
        ("vision_config", "image_size", "64", "vision_config.image_size: got '64', wanted one number"),
        ("vision_config", "num_attention_heads", 5, "wanted a divisor of 32"),
        ("text_config", "hidden_size", "64", "hidden_size"),
        (
            "text_config",
            "num_hidden_layers",
            10**9,
            "got 1000000000, wanted a number from 1 to 1000",
        ),
        ("text_config", "rope_parameters", {"rope_theta": "1e4"}, "rope_theta: got 1e4, wanted a number above 0"),
        ("text_config", "hidden_act", "none", "text_config.hidden_act: got none, wanted an activation"),
        ("vision_config", "image_size", 2**40, "image_size: got 1099511627776, wanted a number from 1 to 8192"),
    ],
)
def test_sizes_that_do_not_fit_are_named(copied: Path, part: str, entry: str, value: object, said: str):
    changed(copied / "config.json", lambda config: config[part].update({entry: value}))
    assert said in refusal(copied)


@pytest.mark.parametrize("kind", ["dynamic", "longrope", "proportional", "unheard-of"])
def test_a_rotation_that_is_not_implemented_is_refused(copied: Path, kind: str):
    rope = {"rope_type": kind, "rope_theta": 10000.0, "factor": 2.0, "short_factor": [1.0] * 16} | {
        "long_factor": [1.0] * 16,
        "original_max_position_embeddings": 64,
        "partial_rotary_factor": 1.0,
    }
    changed(copied / "config.json", lambda config: config["text_config"].update(rope_parameters=rope))
    said = refusal(copied)
    assert kind in said


@pytest.mark.parametrize("kind", ["default", "linear", "llama3", "yarn"])
@torch.inference_mode()
def test_a_rotation_that_is_implemented_is_transformers_own(kind: str):
    config = new_config(hidden=64, layers=2, vision_layers=1)
    more = {"llama3": {"low_freq_factor": 1.0, "high_freq_factor": 4.0}, "default": {}}.get(kind, {})
    rope = {"rope_type": kind, "rope_theta": 1000.0} | more
    if kind != "default":
        rope["factor"] = 4.0
    if kind in ("llama3", "yarn"):
        rope["original_max_position_embeddings"] = 32
    config.text_config.rope_parameters = rope
    model = new_network(config, seed=0).double().model.language_model
    llama = Llama(model, operations_for(model))
    slots, inputs = llama.slots(1, 200), torch.randn(1, 150, 64, dtype=torch.float64)
    slot = slots.acquire()
    found = llama(inputs.clone(), CacheWindow(slots, [slot], [150]))
    torch.testing.assert_close(found, model(inputs_embeds=inputs).last_hidden_state, atol=1e-6, rtol=1e-5)


def test_image_size_may_be_a_list_of_two_equal_numbers(copied: Path, tiny: Janus):
    changed(copied / "config.json", lambda config: config["vision_config"].update(image_size=[64, 64]))
    assert open_checkpoint(copied).image_size == tiny.image_size


@pytest.mark.parametrize("layout", ["copied", "original"])
def test_a_tokenizer_without_janus_s_tokens_is_refused(layout: str, request: pytest.FixtureRequest):
    folder = request.getfixturevalue(layout)

    def without(tokenizer: dict) -> None:
        tokenizer["added_tokens"] = [each for each in tokenizer["added_tokens"] if each["content"] != BEGIN_IMAGE]
        tokenizer["model"]["vocab"]["<renamed>"] = tokenizer["model"]["vocab"].pop(BEGIN_IMAGE)

    changed(folder / "tokenizer.json", without)
    assert f"tokenizer.json lacks Janus's tokens {BEGIN_IMAGE}" in refusal(folder)
    (folder / "tokenizer.json").unlink()
    assert "holds no tokenizer.json; put the tokenizer that the network was trained with" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("config.json", "{", "config.json is not JSON"),
        ("config.json", "[" * 100_000, "config.json is not JSON"),
        ("tokenizer.json", "{}", "tokenizer.json is no tokenizer"),
        ("processor_config.json", "[", "processor_config.json is not JSON"),
        ("processor_config.json", '{"image_processor": {"image_mean": "x"}}', "processor_config.json: image_mean"),
        ("tokenizer_config.json", '{"added_tokens_decoder": [1]}', "added_tokens_decoder: got [1], wanted tokens by"),
        ("generation_config.json", "[]", "generation_config.json: got a JSON list"),
        ("generation_config.json", '{"temperature": "hot"}', "temperature"),
        ("generation_config.json", '{"guidance_scale": -1.0}', "guidance_scale: got -1.0, wanted a number from 0 to"),
        ("generation_config.json", '{"temperature": 1e30}', "temperature: got 1e+30, wanted a number from 0 to 1000"),
        ("generation_config.json", '{"top_k": 1.5}', "top_k: got 1.5, wanted a whole number"),
        ("generation_config.json", '{"text_top_k": 1e30}', "text_top_k: got 1e+30, wanted a whole number"),
        ("generation_config.json", '{"do_sample": "false"}', "do_sample: got 'false', wanted true or false"),
        ("generation_config.json", '{"published_contexts": "no"}', "published_contexts: got 'no', wanted true"),
    ],
)
def test_a_broken_file_is_named(copied: Path, name: str, text: str, said: str):
    (copied / name).write_text(text)
    assert said in refusal(copied)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "has no weight_map"),
        ('{"weight_map": {"a": "b.safetensors"}}', "lacks b.safetensors"),
        ('{"weight_map": {"a": "../b.safetensors"}}', "leads out of the folder"),
    ],
)
def test_a_broken_index_of_weights_is_named(copied: Path, text: str, said: str):
    (copied / "model.safetensors").unlink()
    (copied / "model.safetensors.index.json").write_text(text)
    assert said in refusal(copied)


def test_whether_it_thinks_is_true_or_false(copied: Path):
    changed(copied / "config.json", lambda config: config.update(thinks="false"))
    assert "thinks: got 'false', wanted true or false" in refusal(copied)


@pytest.mark.parametrize("given", [None, [1]])
def test_a_layout_without_its_language_config_is_refused(original: Path, given: object):
    changed(original / "config.json", lambda config: config.update(language_config=given))
    assert f"language_config: got {given}, wanted an object with the sizes" in refusal(original)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn, torch.complex64], ids=str)
def test_weights_that_are_no_plain_numbers_are_refused(copied: Path, dtype: torch.dtype):
    file = copied / "model.safetensors"
    tensors = load_file(file)
    last = sorted(tensors)[-1]
    save_file(tensors | {last: tensors[last].to(dtype)}, file, metadata={"format": "pt"})
    assert f"{last}: got values of {dtype}" in refusal(copied)


@pytest.mark.parametrize("wrapper", ["module", "state_dict", "ddp"])
def test_what_a_trainer_wrapped_is_opened(tiny: Janus, original: Path, tiny_checkpoint: Path, wrapper: str):
    for file in original.glob("model*"):
        file.unlink()
    weights = published(tiny)
    wrapped = {f"module.{name}": each for name, each in weights.items()}
    saved = wrapped if wrapper == "ddp" else {wrapper: weights, "global_steps": 3, "optimizer": None}
    torch.save(saved, original / "pytorch_model.bin")
    opened = open_checkpoint(original, dtype=torch.float64)
    theirs, ours = opened.network.state_dict(), tiny.network.state_dict()
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)


@pytest.mark.parametrize("wrapper", ["module", "ddp"])
def test_what_a_trainer_wrapped_in_transformers_layout_is_opened(tiny: Janus, copied: Path, wrapper: str):
    for file in copied.glob("model*"):
        file.unlink()
    weights = tiny.network.state_dict()
    saved = {"module": weights, "lr": 1} if wrapper == "module" else {f"module.{k}": v for k, v in weights.items()}
    torch.save(saved, copied / "pytorch_model.bin")
    theirs = open_checkpoint(copied, dtype=torch.float64).network.state_dict()
    assert all(torch.equal(theirs[name], weights[name]) for name in weights)


def test_a_tokenizer_whose_yes_and_no_end_in_the_same_token_is_refused(copied: Path):
    same = {"type": "Replace", "pattern": {"String": "Yes"}, "content": "No"}
    changed(copied / "tokenizer.json", lambda tokenizer: tokenizer.update(normalizer=same))
    assert "tokenizer.json: “Yes” and “No” end in the same token, so no verdict can be read" in refusal(copied)


class Runs:
    """What would be called by whoever unpickles it."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("ran"),))


def test_a_pickle_runs_nothing_and_may_be_of_an_old_torch(tiny: Janus, copied: Path, monkeypatch):
    monkeypatch.chdir(copied)
    (copied / "model.safetensors").unlink()
    for saved in ({"a": Runs()}, {"a": 1}):
        (copied / "pytorch_model.bin").write_bytes(pickle.dumps(saved))
        assert "pytorch_model.bin holds something else than tensors by name" in refusal(copied)
    torch.save({"a": Runs()}, copied / "pytorch_model.bin")
    assert "what would run code is not read; download it again, or save the network's state dict" in refusal(copied)
    assert not (copied / "ran").exists()
    torch.save(tiny.network.state_dict(), copied / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert open_checkpoint(copied).network.num_parameters() == tiny.network.num_parameters()


def test_a_pickle_without_tensors_by_name_is_refused(tmp_path: Path):
    for saved, said in (
        ([1], "holds a list"),
        ({"lr": 0.1}, "lr: got a float"),
        ({"module": {"a": 1}}, "got a int"),
        ({"a": torch.eye(2).to_sparse()}, "a: got a sparse_coo tensor, wanted a dense tensor by its name"),
        ({"a": torch.empty(2, device="meta")}, "a: got a tensor without values"),
        ({3: torch.eye(2)}, "3: got a strided tensor, wanted a dense tensor by its name"),
    ):
        with pytest.raises(LayoutError, match=said):
            unwrapped(saved, tmp_path / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("width", "given", "heads"),
    [
        (1024, {"model_name": "siglip_large_patch16_384"}, 16),
        (1152, {"model_name": "siglip_so400m_patch14_384"}, 16),
        (1152, {}, 16),
        (768, {}, 12),
        (144, {"model_name": "siglip_so400m_patch14_384"}, 2),
        (144, {"num_attention_heads": 3}, 3),
        (144, {"head_dim": 36}, 4),
        (32, {}, 1),
    ],
)
def test_the_eye_s_heads_are_those_of_the_config_or_of_siglip(width: int, given: dict, heads: int):
    assert heads_of(width, given) == heads


@torch.inference_mode()
def test_an_eye_with_heads_of_72_sees_what_transformers_siglip_sees(tiny_checkpoint: Path, tmp_path: Path):
    config = new_config(hidden=64, layers=1, vision_layers=2)
    config.vision_config.hidden_size, config.vision_config.num_attention_heads = 144, 2
    network = new_network(config, seed=3).float()
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    folder = write_original(Janus(network, tokenizer, "", None), tiny_checkpoint, tmp_path / "so400m", "bin")
    model = {"params": {"image_size": 64, "model_name": "siglip_so400m_patch14_384"}}
    changed(folder / "config.json", lambda config: config.update(vision_config=model))
    janus = open_checkpoint(folder, dtype=torch.float64)
    theirs = SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=144,
            intermediate_size=4 * 144,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=64,
            patch_size=8,
            hidden_act="gelu",
            vision_use_head=False,
        )
    ).double()
    own = janus.network.model.vision_model.state_dict()
    renamed = {name.replace("projection_layer", "out_proj"): each for name, each in own.items()}
    wanted = theirs.state_dict()
    prefix = "vision_model." if any(name.startswith("vision_model.") for name in wanted) else ""
    missing = theirs.load_state_dict({prefix + name: each for name, each in renamed.items()}, strict=False)
    assert not [name for name in missing.missing_keys if "head" not in name]
    pixels = torch.rand(2, 3, 64, 64, dtype=torch.float64) * 2 - 1
    found = janus.network.model.vision_model(pixels).last_hidden_state
    torch.testing.assert_close(found, theirs(pixels).last_hidden_state, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("size", [(384, 240), (100, 300), (64, 64), (640, 96), (7, 900), (30, 20)])
@pytest.mark.parametrize("mean", [[0.5, 0.5, 0.5], [0.48145466, 0.4578275, 0.40821073]])
@torch.inference_mode()
def test_a_picture_is_judged_as_transformers_processor_prepares_it(
    copied: Path, tmp_path: Path, size: tuple[int, int], mean: list[float]
):
    std = [0.5, 0.5, 0.5] if mean[0] == 0.5 else [0.26862954, 0.26130258, 0.27577711]
    own = {"image_mean": mean, "image_std": std, "size": {"height": 64, "width": 64}, "min_size": 14}
    changed(copied / "processor_config.json", lambda config: config["image_processor"].update(own))
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Picture.fromarray(pixels).save(tmp_path / "a.png")
    janus = open_checkpoint(copied)
    seen = JanusBackend(janus).read_source(tmp_path / "a.png", Task.JUDGE)
    theirs = JanusImageProcessorPil.from_pretrained(copied)(Picture.open(tmp_path / "a.png"), return_tensors="pt")
    ours = janus.preprocessing.values(torch.from_numpy(seen)[None].permute(0, 3, 1, 2))
    torch.testing.assert_close(ours, theirs["pixel_values"].float(), atol=1e-6, rtol=1e-5)
    if size == (384, 240):
        trajectory = fold(rollout(janus, [Request("a cat", task=Task.JUDGE, source=seen)]))
        messages = JudgeExample("a cat", (b"",), (), "Yes").to_row()["prompt"]
        processor = JanusProcessor.from_pretrained(copied)
        text = processor.apply_chat_template(messages, add_generation_prompt=True)
        batch = processor(text=[text], images=[Picture.open(tmp_path / "a.png")], return_tensors="pt")
        logits = janus.network(**batch).logits[0, -1, [janus.ids.yes, janus.ids.no]]
        assert trajectory.reflections[0].p_yes == pytest.approx(float(logits.softmax(-1)[0]), abs=0.02)


def test_where_the_processor_does_not_pad_the_middle_is_judged(copied: Path):
    changed(copied / "processor_config.json", lambda config: config["image_processor"].update(do_pad=False))
    wide = encode_png(Picture.effect_noise((200, 90), 80).convert("RGB"))
    assert (JanusBackend(open_checkpoint(copied)).read_source(wide, Task.JUDGE) == read_picture(wide, 64)).all()


@pytest.mark.parametrize("size", [(64, 64), (7, 7), (48, 48), (640, 640)])
def test_a_square_picture_is_judged_as_it_is_edited(tiny: Janus, size: tuple[int, int]):
    square = encode_png(Picture.effect_noise(size, 80).convert("RGB"))
    assert (
        JanusBackend(tiny).read_source(square, Task.JUDGE) == JanusBackend(tiny).read_source(square, Task.EDIT)
    ).all()


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_processors_pad_as_janus_does(name: str):
    [ours, janus] = [Preprocessing.of(JanusImageProcessorPil.from_pretrained(EMBEDDED.parent / name)), Preprocessing()]
    assert ours == replace(janus, rescale=ours.rescale) and ours.rescale == pytest.approx(1 / 255)


@pytest.mark.parametrize(("entry", "value"), [("image_std", [0, 1, 1]), ("image_mean", [0.5]), ("rescale_factor", "x")])
def test_a_preprocessor_that_cannot_be_is_refused(copied: Path, entry: str, value: object):
    changed(copied / "processor_config.json", lambda config: config["image_processor"].update({entry: value}))
    assert entry in refusal(copied)


def test_greedy_is_greedy_for_text_too(copied: Path):
    changed(copied / "generation_config.json", lambda config: config.update(do_sample=False, text_temperature=0.5))
    sampling = open_checkpoint(copied).sampling
    assert (sampling.temperature, sampling.text_temperature) == (0, 0)
    changed(copied / "generation_config.json", lambda config: config.update(do_sample=True, text_temperature=None))
    assert open_checkpoint(copied).sampling.text_temperature == 1.0


def test_deepseek_s_layout_draws_in_the_published_contexts_also_once_converted(
    original: Path, copied: Path, tmp_path: Path
):
    convert(original, tmp_path / "converted")
    assert open_checkpoint(original).sampling.published_contexts
    assert open_checkpoint(tmp_path / "converted").sampling.published_contexts
    assert not open_checkpoint(original, published_contexts=False).sampling.published_contexts
    assert not open_checkpoint(copied).sampling.published_contexts
    janus = open_checkpoint(original, dtype=torch.float32)
    assert fold(rollout(janus, [Request("a cat", rounds=1)])).sampling.published_contexts


def test_a_converted_checkpoint_has_its_tokenizer_s_own_special_tokens(original: Path, tmp_path: Path):
    convert(original, tmp_path / "converted")
    text = json.loads((tmp_path / "converted" / "config.json").read_text())["text_config"]
    wanted = [SPECIAL_TOKENS.index(token) for token in SPECIAL_TOKENS[:3]]
    assert [text[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")] == wanted


def test_a_reason_that_ends_inside_a_character_keeps_the_rest(tiny: Janus):
    said = tiny.tokenize("No, the 🍎 is red é")
    for cut in range(1, len(said) + 1):
        reader = TextReader(tiny.tokenizer)
        text = "".join(reader.add(token) for token in said[:cut])
        wanted = tiny.tokenizer.decode(said[:cut]).rstrip("\N{REPLACEMENT CHARACTER}")
        assert text == wanted
    whole = tiny.tokenizer.decode(said)
    assert text == whole


REFLECTIONS = ("No, there is no dog.", "No, the car is red.  ", " No")


@pytest.mark.parametrize("prompt", ["a cat", "  two red apples \n", f"a {BEGIN_IMAGE} cat", "日本 🍎", "a\n\nb"])
@pytest.mark.parametrize("drafts", [0, 1, 3])
def test_the_chat_template_makes_the_studio_s_own_ids(tiny: Janus, tiny_checkpoint: Path, prompt: str, drafts: int):
    row = JudgeExample(prompt, (b"",) * (drafts + 1), REFLECTIONS[:drafts], "Yes, it fits. ").to_row()
    processor = JanusProcessor.from_pretrained(tiny_checkpoint)
    head = [*ids(tiny, BOS), *ids(tiny, ask(escape_special_tokens(prompt)))]
    image = [*ids(tiny, BEGIN_IMAGE), *[tiny.network.config.image_token_id] * tiny.image_codes]
    wanted = head
    for said in (*REFLECTIONS[:drafts], None):
        wanted = [*wanted, *image, *ids(tiny, CHECK)]
        if said is not None:
            wanted += [*ids(tiny, said), *ids(tiny, CONNECT)]
    text = processor.apply_chat_template(row["prompt"], add_generation_prompt=True)
    pictures = [Picture.new("RGB", (64, 64))] * (drafts + 1)
    assert processor(text=[text], images=[pictures])["input_ids"][0].tolist() == wanted
    both = processor.apply_chat_template(row["prompt"] + row["completion"])
    assert both.startswith(text)
    whole = [*wanted, *ids(tiny, "Yes, it fits. "), *ids(tiny, EOS)]
    assert processor(text=[both], images=[pictures])["input_ids"][0].tolist() == whole


def test_other_conversations_come_out_as_deepseek_writes_them(tiny_checkpoint: Path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    text, image = (lambda words: {"type": "text", "text": words}), {"type": "image"}
    for content, wanted in (
        ([image, text("what is it? ")], "<image_placeholder>\nwhat is it?"),
        ([text(" look "), image], "look \n<image_placeholder>"),
        ([text("one"), text("two")], "one two"),
        ("  plain ", "plain"),
    ):
        asked = [{"role": "user", "content": content}]
        found = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
        assert found == f"{BOS}<|User|>: {wanted}\n\n<|Assistant|>:"
        answered = [*asked, {"role": "assistant", "content": [text(" a cat ")]}]
        assert tokenizer.apply_chat_template(answered, tokenize=False) == f"{found} a cat{EOS}"
