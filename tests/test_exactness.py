"""The engine chooses what a slow reference chooses that reads the original layout by itself and keeps no cache."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from original_layout import write_original
from reference_janus import Reference

from model.backends.checkpoint.saving import save_checkpoint
from model.backends.janus import Janus
from model.backends.request import MOST_REFLECTION_TOKENS, Request
from model.decoding.load_for_inference import open_checkpoint
from model.decoding.rollout import rollout
from model.events import fold
from model.templates import EOS, SPECIAL_TOKENS
from model.training.embedded.network import new_config, new_network, new_processor, new_tokenizer
from model.trajectory import Trajectory

SIZES = [(64, 2, 1), (96, 3, 2), (128, 1, 3)]  # hidden size, layers, layers of the eye
SUITED = {(64, 2, 1): 1, (96, 3, 2): 2, (128, 1, 3): 2}  # the seed at which the search for a network begins
PROMPTS = ("two red apples above a blue car", "zq")
LAYOUTS = (False, True)  # our own, and the published code's


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The suite takes the smallest."""
    if "folder" in metafunc.fixturenames:
        sizes = SIZES if metafunc.config.getoption("--all") else SIZES[:1]
        metafunc.parametrize("folder", sizes, ids=str, indirect=True, scope="module")


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random network in the original layout, with a codebook whose rows are not of unit norm. Its logits for the end
    of a turn are made to vary more, and it is one that redraws after an answer that ended, and whose pictures have the
    same codes whichever way their subpixels were rounded."""
    place = tmp_path_factory.mktemp("exact")
    for seed in range(SUITED[request.param], 50):
        network = new_network(new_config(*request.param), seed)
        rows = network.model.vqmodel.quantize.embedding.weight
        torch.nn.init.normal_(rows, generator=torch.Generator().manual_seed(seed))
        network.lm_head.weight.data[SPECIAL_TOKENS.index(EOS)] *= 3
        save_checkpoint(
            network, new_processor(new_tokenizer()), place / "ours", {"recipe": "random weights"}, torch.float32
        )
        janus = open_checkpoint(place / "ours", dtype=torch.float32)
        if all(any(redrawn(drawn(janus, prompt, published)) for prompt in PROMPTS) for published in LAYOUTS):
            original = write_original(janus, place / "ours", place / f"original {seed}", "bin")
            reference = Reference(original, torch.float32)
            images = (drawn(janus, prompt, True).images[0] for prompt in PROMPTS)
            if all(has_plain_codes(janus, reference, image.codes) for image in images):
                return original
    raise AssertionError("none of fifty networks redraws after a reflection that ended: the test would show too little")


def drawn(janus: Janus, prompt: str, published: bool) -> Trajectory:
    greedy = replace(janus.sampling, guidance=3.0, temperature=0.0, text_temperature=0.0, published_contexts=published)
    return fold(rollout(janus, [Request(prompt, rounds=2, sampling=greedy)]))


def redrawn(found: Trajectory) -> bool:
    """Whether there is a second image, after a reflection that ended by itself."""
    return len(found.images) == 2 and len(found.reflections[0].tokens) < MOST_REFLECTION_TOKENS


def has_plain_codes(janus: Janus, reference: Reference, codes: tuple[int, ...]) -> bool:
    """Whether an image's picture has the codes of its twin that the reference made, which may differ by 1 of 255."""
    [picture] = janus.decode(torch.tensor([codes]))
    return janus.encode([picture])[0].tolist() == reference.encode_picture(reference.decode_picture([*codes]))


@pytest.mark.parametrize("published", LAYOUTS)
def test_codes_verdicts_and_reasons_are_those_of_the_reference(folder: Path, published: bool):
    janus, reference = open_checkpoint(folder, dtype=torch.float32), Reference(folder, torch.float32)
    for prompt in PROMPTS:
        found = drawn(janus, prompt, published)
        wanted = reference.run(prompt, guidance=3.0, images=2, reencode=published, gap=published)
        assert [list(image.codes) for image in found.images] == wanted.images
        assert [reflection.answer for reflection in found.reflections] == wanted.verdicts
        assert [[token.id for token in r.tokens] for r in found.reflections] == wanted.reasons
        assert [r.p_yes for r in found.reflections] == pytest.approx(wanted.p_yes, abs=1e-5)
