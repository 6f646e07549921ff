"""A request checked against a Janus network, its prompt tokenised, and the cache positions it may need."""

import io
from dataclasses import dataclass

import numpy as np

from model.backends.janus import Janus, PromptPieces
from model.backends.memory import MOST_PROMPT_TOKENS, STREAMS, most_positions
from model.backends.request import (
    MOST_REFLECTION_TOKENS,
    MOST_THOUGHT_TOKENS,
    Request,
    RequestError,
    Task,
    check_pixels,
    check_values,
    is_index,
    shortened,
)
from model.images import read_rgb
from model.trajectory import Image, Reflection, Sampling, Source, Thought, Token


@dataclass(frozen=True)
class PreparedRequest:
    """A request that can be decoded."""

    request: Request
    sampling: Sampling
    prompt: PromptPieces
    positions: int  # that a stream can grow to
    streams: int  # without guidance the drawing stream needs no twin

    @property
    def id(self) -> str:
        return self.request.id


def prepare(janus: Janus, request: Request) -> PreparedRequest:
    """Check a request, tokenise its prompt, count the cache positions it may need. Raises RequestError with the reason;
    a request is not checked again later, when it is one row of a batch."""
    check_values(request, janus.sampling, janus.image_size)
    prompt = janus.prompts.read(request.prompt, request.task)
    if prompt.size > MOST_PROMPT_TOKENS:
        raise RequestError(f"The prompt has {prompt.size} tokens; at most {MOST_PROMPT_TOKENS} are read. Shorten it.")
    if request.task is Task.DRAW and request.prefix:
        check_prefix(janus, request)
    sampling = request.sampling or janus.sampling
    rounds = request.rounds if request.task is Task.DRAW else 2  # an edit reads one image and draws one
    positions = most_positions(janus.image_codes, rounds) - MOST_PROMPT_TOKENS + prompt.size
    return PreparedRequest(request, sampling, prompt, positions, STREAMS - 1 + (sampling.guidance != 1))


def check_prefix(janus: Janus, request: Request) -> None:
    """Raises RequestError for a beginning that this network cannot go on from: a drawing that came from elsewhere may
    have other codes, sizes and lengths."""
    order, turn = (Thought, Image, Reflection), 0
    for number, segment in enumerate(request.prefix):
        if isinstance(segment, Source) or not segment.finished:
            raise RequestError(f"Part {number + 1} of the drawing is unfinished or was given; nothing can follow it.")
        turn += turn == 0 and isinstance(segment, Image)  # without a thought
        if not isinstance(segment, order[turn]):
            raise RequestError(f"Part {number + 1} of the drawing is a {segment.kind}; that cannot stand there.")
        turn = (turn + 1) % len(order)
        if isinstance(segment, Image):
            check_image(janus, request, segment)
        else:
            most = MOST_THOUGHT_TOKENS if isinstance(segment, Thought) else MOST_REFLECTION_TOKENS
            check_tokens(janus, segment.kind, segment.tokens, most)
    images = sum(isinstance(segment, Image) for segment in request.prefix)
    if images > request.rounds:
        raise RequestError(f"The drawing begins with {images} images, and {request.rounds} rounds are asked for.")


def check_tokens(janus: Janus, kind: str, tokens: tuple[Token, ...], most: int) -> None:
    vocabulary = janus.network.config.text_config.vocab_size
    if len(tokens) > most:
        raise RequestError(f"The {kind} has {len(tokens)} tokens; at most {most} are read.")
    for token in tokens:
        if not is_index(token.id, vocabulary):
            raise RequestError(f"The {kind} has the token {shortened(token.id)}; there are 0 to {vocabulary - 1}.")


def check_image(janus: Janus, request: Request, image: Image) -> None:
    if len(image.codes) != janus.image_codes:
        raise RequestError(
            f"An image of the drawing has {len(image.codes)} image codes, {janus.name} draws {janus.image_codes}: "
            "it was made by another network, and this one cannot go on from it."
        )
    for code in image.codes:
        if not is_index(code, janus.codebook_size):
            raise RequestError(
                f"An image of the drawing has the code {shortened(code)}; "
                f"{janus.name} has 0 to {janus.codebook_size - 1}."
            )
    png = request.pictures.get(image.sha256)
    if png is not None:
        try:
            pixels = np.asarray(read_rgb(io.BytesIO(png)))
        except (OSError, ValueError) as error:
            raise RequestError(f"A picture of the drawing cannot be read: {error}.") from error
        check_pixels(pixels, janus.image_size)
