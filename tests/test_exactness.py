"""The engine chooses what a slow reference chooses that reads the original layout by itself and keeps no cache."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from original_layout import write_original
from reference_janus import Reference

from model.checkpoint import open_checkpoint
from model.decoding.grammar import MOST_REFLECTION_TOKENS, Request
from model.decoding.rollout import rollout
from model.events import fold
from model.folder import save_checkpoint
from model.templates import EOS, SPECIAL_TOKENS
from model.training.embedded import new_config, new_network, new_processor, new_tokenizer

SIZES = [(64, 2, 1, 1), (96, 3, 2, 1), (128, 1, 3, 0)]  # hidden size, layers, layers of the eye; seed
PROMPTS = ("a cat", "two red apples above a blue car", "a moon", "zq")


@pytest.fixture(scope="module", params=SIZES, ids=str)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random network in the original layout, with a codebook whose rows are not of unit norm. Its logits for the end
    of a turn are made to vary more, so that some of its answers end."""
    *sizes, seed = request.param
    place = tmp_path_factory.mktemp("exact")
    network = new_network(new_config(*sizes), seed)
    torch.nn.init.normal_(network.model.vqmodel.quantize.embedding.weight)
    network.lm_head.weight.data[SPECIAL_TOKENS.index(EOS)] *= 3
    save_checkpoint(network, new_processor(new_tokenizer()), place / "ours", {}, torch.float32)
    janus = open_checkpoint(place / "ours", dtype=torch.float32)
    return write_original(janus, place / "ours", place / "original", "bin")


@pytest.mark.parametrize("official", [False, True])
def test_codes_verdicts_and_reasons_are_those_of_the_reference(folder: Path, official: bool):
    janus, reference = open_checkpoint(folder, dtype=torch.float32), Reference(folder, torch.float32)
    greedy = replace(janus.sampling, guidance=3.0, temperature=0.0, text_temperature=0.0, official=official)
    gaps = 0
    for prompt in PROMPTS:
        found = fold(rollout(janus, [Request(prompt, rounds=2, sampling=greedy)]))
        wanted = reference.run(prompt, guidance=3.0, images=2, reencode=official, gap=official)
        assert [list(image.codes) for image in found.images] == wanted.images
        assert [reflection.answer for reflection in found.reflections] == wanted.verdicts
        assert [[token.id for token in r.tokens] for r in found.reflections] == wanted.reasons
        assert [r.p_yes for r in found.reflections] == pytest.approx(wanted.p_yes, abs=1e-5)
        gaps += len(found.images) == 2 and len(found.reflections[0].tokens) < MOST_REFLECTION_TOKENS
    assert gaps, "no redraw after a reflection that ended: the test shows less than it should"
