"""DeepSeek's layout: the same weights under other names draw and judge the same; what is not whole is named."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from accelerate import init_empty_weights
from original_layout import published, write_original
from safetensors.torch import save_file
from thoroughness import few
from transformers import JanusForConditionalGeneration, JanusProcessor

from model.backends.checkpoint import deepseek
from model.backends.checkpoint.deepseek import renamed
from model.backends.checkpoint.loading import CheckpointError, open_processor
from model.backends.janus import Janus
from model.backends.request import Request
from model.checkpoint import convert
from model.decoding.load_for_inference import open_checkpoint
from model.decoding.rollout import rollout
from model.events import fold
from model.training.policy import write_checkpoint

HERE = Path(__file__).parent


@pytest.fixture
def original(tiny: Janus, tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return write_original(tiny, tiny_checkpoint, tmp_path / "Janus-Pro-Tiny", "safetensors")


def drawn(janus: Janus) -> tuple:
    sampling = janus.sampling.__class__(guidance=3.0, thinks=False)
    trajectory = fold(rollout(janus, [Request("a cat", 5, 2, sampling, id="one")]))
    return [image.codes for image in trajectory.images], [r.tokens for r in trajectory.reflections]


@pytest.mark.parametrize("kind", few(["safetensors", "bin"], 0))
def test_the_same_weights_in_both_layouts_draw_and_say_the_same(
    tiny: Janus, tiny_checkpoint: Path, tmp_path: Path, kind: str
):
    folder = write_original(tiny, tiny_checkpoint, tmp_path / "Janus-Pro-Tiny", kind)
    janus = open_checkpoint(folder, dtype=torch.float64)
    assert (janus.name, janus.sampling.guidance, janus.sampling.top_k) == ("Janus-Pro-Tiny", 5.0, None)
    weights, wanted = janus.network.state_dict(), tiny.network.state_dict()
    assert weights.keys() == wanted.keys()
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
    assert drawn(janus) == drawn(tiny)


def test_a_missing_shard_is_named(original: Path):
    (original / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"lacks model-00002-of-00002\.safetensors"):
        open_checkpoint(original)


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_a_shard_cut_short_is_named(tiny: Janus, tiny_checkpoint: Path, tmp_path: Path, kind: str):
    folder = write_original(tiny, tiny_checkpoint, tmp_path / "cut", kind)
    [shard] = folder.glob("*-00002-of-*")
    shard.write_bytes(shard.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=shard.name):
        open_checkpoint(folder)


def test_a_tensor_too_few_or_too_many_is_named(original: Path, tiny: Janus):
    weights = published(tiny)
    shard = original / "model.safetensors"
    (original / "model.safetensors.index.json").unlink()
    save_file({name: weights[name].clone() for name in weights if name != "gen_aligner.layers.2.bias"}, shard)
    with pytest.raises(CheckpointError, match=r"generation_aligner\.hidden_layers\.0\.bias"):
        open_checkpoint(original)
    save_file({name: tensor.clone() for name, tensor in weights.items()} | {"extra.weight": torch.zeros(2)}, shard)
    with pytest.raises(CheckpointError, match=r"extra\.weight"):
        open_checkpoint(original)


def test_every_tensor_of_janus_pro_7b_has_a_place_of_its_shape_and_only_the_known_ones_have_none(original: Path):
    keys = {name: tuple(shape) for name, shape in json.loads((HERE / "janus_pro_7b_keys.json").read_text()).items()}
    given = {"language_config": {"num_attention_heads": 32, "max_position_embeddings": 16384}}
    with init_empty_weights():
        network = JanusForConditionalGeneration(deepseek._config(given, keys, 100581))
        moved = {name: renamed(name, torch.empty(shape, device="meta")) for name, shape in keys.items()}
    wanted = {name: parameter.shape for name, parameter in network.named_parameters()}
    found = {new: tensor.shape for tensors in moved.values() for new, tensor in tensors.items()}
    assert found == wanted
    assert sum(map(len, moved.values())) == len(wanted) == 1018
    left_out = {name for name, tensors in moved.items() if not tensors}
    assert len(left_out) == 14
    assert all("attn_pool" in name or name == "gen_vision_model.quantize.codebook_used" for name in left_out)
    counter = math.prod(keys["gen_vision_model.quantize.codebook_used"])
    assert sum(map(math.prod, keys.values())) - counter == 7_420_368_523


@pytest.mark.parametrize("kind", few(["safetensors", "bin"], 1))
def test_a_converted_checkpoint_is_transformers_own_and_draws_the_same(
    tiny: Janus, tiny_checkpoint: Path, tmp_path: Path, kind: str
):
    folder = write_original(tiny, tiny_checkpoint, tmp_path / "Janus-Pro-Tiny", kind)
    out = tmp_path / "converted"
    convert(folder, out, shard_bytes=1_000_000)
    assert len(list(out.glob("*.safetensors"))) > 1
    janus = open_checkpoint(out, dtype=torch.float64)
    assert drawn(janus) == drawn(open_checkpoint(folder, dtype=torch.float64)) == drawn(tiny)
    assert json.loads((out / "provenance.json").read_text()) == {"recipe": "convert", "parent": "Janus-Pro-Tiny"}
    processor = JanusProcessor.from_pretrained(out)
    text = "<|User|>: a cat\n\n<|Assistant|>:"
    assert processor.tokenizer.encode(text, add_special_tokens=False) == tiny.tokenize(text)
    assert processor.image_processor.size["height"] == 64


def test_a_checkpoint_in_transformers_layout_is_not_converted_again(tiny_checkpoint: Path, tmp_path: Path):
    with pytest.raises(CheckpointError, match="nothing to convert"):
        convert(tiny_checkpoint, tmp_path / "again")


def test_a_broken_shard_leaves_nothing_of_a_conversion(original: Path, tmp_path: Path):
    (original / "model-00002-of-00002.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="model-00002-of-00002"):
        convert(original, tmp_path / "out" / "converted")
    assert not list(tmp_path.glob("out/*"))


def test_what_is_trained_from_the_original_layout_is_saved_in_transformers(original: Path, tmp_path: Path):
    janus = open_checkpoint(original, dtype=torch.float32)
    write_checkpoint(janus, tmp_path / "better", {"parent": str(original)})
    assert drawn(open_checkpoint(tmp_path / "better", dtype=torch.float32)) == drawn(janus)


@pytest.mark.parametrize("layout", ["original", "tiny_checkpoint"])
def test_a_folder_that_names_llamas_tokenizer_is_read_by_its_own_file(
    layout: str, tiny: Janus, tmp_path: Path, request: pytest.FixtureRequest
):
    """As the published folders do; transformers 5 would take the spaces out of every prompt."""
    folder = Path(shutil.copytree(request.getfixturevalue(layout), tmp_path / "named"))
    described = json.loads((folder / "tokenizer_config.json").read_text())
    kept = ("bos_token", "eos_token", "pad_token", "model_max_length")
    described = {key: described[key] for key in kept} | {"tokenizer_class": "LlamaTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    text = "<|User|>: two red apples\n\n<|Assistant|>:"
    janus = open_checkpoint(folder)
    assert janus.tokenize(text) == tiny.tokenize(text)
    assert janus.tokenizer.decode(janus.tokenize("two red apples")) == "two red apples"
    assert open_processor(folder).tokenizer.encode(text, add_special_tokens=False) == tiny.tokenize(text)
