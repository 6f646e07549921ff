"""Critics: models that judge whether a picture shows its prompt, with a reason and a suggested change.

A critic is a Janus checkpoint, or any image-text-to-text model of transformers. The latter is asked by a template file
that a user may change; its verdict is P(yes) / (P(yes) + P(no)) of its answer's first token, the rest is the reason.
"""

import string
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import torch
from PIL import Image as Picture
from transformers import AutoModelForImageTextToText, AutoProcessor, PretrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from model.backends.checkpoint.loading import SHIPPED, default_device, dtype_of, name_of, path_of
from model.backends.checkpoint.opening_errors import why_not
from model.backends.contract import Backend, CheckpointError, Domain, ServingOptions, UnavailableError, word_tokens
from model.backends.event_writer import EventWriter
from model.backends.registry import open_backend
from model.backends.request import MOST_REFLECTION_TOKENS, Request, RequestError, Task
from model.events import Event, Failed, SegmentFinished, TextAdded, Verdict
from model.images import encode_png
from model.reflection_text import sentence, split_verdict
from model.templates import EDIT_TEXT
from model.trajectory import Reflection, Token, text_of

TEMPLATE = Path(__file__).with_name("critic.txt")
JANUS = ("janus", "multi_modality")  # types of configs
SEEING = frozenset(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
TEXT_ONLY = frozenset((*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *MODEL_FOR_MASKED_LM_MAPPING_NAMES))
EXPECTED = "a critic"
ADVICE = "give a Janus checkpoint or an image-text-to-text model"
LEAST_MASS = 0.01  # of the first token's probability on yes and no together, for the answer to be one
WORDS = {"yes": ("Yes", "yes", "YES", " Yes", " yes"), "no": ("No", "no", "NO", " No", " no")}


class CriticError(Exception):
    """A picture that could not be judged; what was painted before stands."""


@dataclass(frozen=True, eq=False)
class ShownPicture:
    """A picture (H, W, 3) uint8 to be judged against a prompt, and the seed of what is said of it."""

    prompt: str
    picture: np.ndarray
    seed: int = 0


class Critic(ABC):
    """What judges pictures. `judge` may be called from several threads."""

    name: str
    domain: Domain = Domain()

    @abstractmethod
    def judge(self, write: EventWriter, prompt: str, picture: np.ndarray, seed: int) -> Iterator[Event]:
        """The events of a reflection on a picture (H, W, 3) uint8, begun by the caller. Raises CriticError."""

    @abstractmethod
    def p_yes(self, prompt: str, picture: np.ndarray) -> float:
        """P(yes) / (P(yes) + P(no)). Raises CriticError."""

    def reflections(self, shown: Sequence[ShownPicture]) -> Iterator[Reflection | CriticError]:
        """What it says of each picture, in order, or why it could not be judged; here one after another."""
        for each in shown:
            write = EventWriter(Request(each.prompt, each.seed, 1, task=Task.JUDGE))
            events = self.judge(write, each.prompt, each.picture, each.seed)
            try:
                yield reflection_of(self.name, events)
            except CriticError as error:
                yield error

    @abstractmethod
    def serve(self, options: ServingOptions) -> None:
        """Get ready to judge for many people."""


class JanusCritic(Critic):
    """The judging side of a Janus backend."""

    def __init__(self, backend: Backend) -> None:
        self.backend, self.name, self.domain = backend, backend.name, backend.domain

    def judge(self, write: EventWriter, prompt: str, picture: np.ndarray, seed: int) -> Iterator[Event]:
        for event in self._asked(prompt, picture, seed, write.request.stop):
            match event:
                case Verdict():
                    yield write(Verdict, answer=event.answer, p_yes=event.p_yes)
                case TextAdded():
                    yield write(TextAdded, tokens=event.tokens)
                case SegmentFinished() if event.text is not None:
                    yield write(SegmentFinished, text=event.text)

    def p_yes(self, prompt: str, picture: np.ndarray) -> float:
        with closing(self._asked(prompt, picture, 0, lambda: False)) as events:
            return next(event.p_yes for event in events if isinstance(event, Verdict))

    def reflections(self, shown: Sequence[ShownPicture]) -> Iterator[Reflection | CriticError]:
        """Of all pictures at once, as many as the backend decodes together."""
        requests = [self._request(each.prompt, each.picture, each.seed) for each in shown]
        events: dict[str, list[Event]] = {request.id: [] for request in requests}
        for event in self.backend.rollout(requests, at_once=max(1, len(requests))):
            events[event.trajectory_id].append(event)
        for request in requests:
            try:
                yield reflection_of(self.name, events.pop(request.id))
            except CriticError as error:
                yield error

    def _request(self, prompt: str, picture: np.ndarray, seed: int) -> Request:
        source = self.backend.read_source(encode_png(Picture.fromarray(picture)), Task.JUDGE)
        return Request(prompt, seed, 1, task=Task.JUDGE, source=source)

    def _asked(self, prompt: str, picture: np.ndarray, seed: int, stop: Callable[[], bool]) -> Generator[Event]:
        try:
            for event in self.backend.events(replace(self._request(prompt, picture, seed), stop=stop)):
                if isinstance(event, Failed):
                    raise CriticError(event.error)
                yield event
        except (RequestError, UnavailableError) as error:
            raise CriticError(f"{self.name} could not judge the picture: {error}") from error

    def serve(self, options: ServingOptions) -> None:
        self.backend.serve(options)


class VisionLanguageCritic(Critic):
    """An image-text-to-text model, asked by a template; one picture at a time."""

    def __init__(self, model: torch.nn.Module, processor: object, name: str, template: str) -> None:
        self.model, self.processor, self.name = model, processor, name
        self.template = string.Template(template)
        self._lock = threading.Lock()
        tokenizer = getattr(processor, "tokenizer", processor)
        known = {
            word: [tokenizer.encode(form, add_special_tokens=False) for form in forms] for word, forms in WORDS.items()
        }
        self._answers = {word: sorted({ids[0] for ids in forms if len(ids) == 1}) for word, forms in known.items()}
        if not all(self._answers.values()):
            raise CheckpointError(f"{name} has no single token for “Yes” and “No”; choose another critic")
        self._tokenizer = tokenizer

    def judge(self, write: EventWriter, prompt: str, picture: np.ndarray, seed: int) -> Iterator[Event]:
        with self._lock, _as_critic_error(self.name):
            answer, p_yes, text = self._said(prompt, picture, write.request.stop)
        yield write(Verdict, answer=answer, p_yes=p_yes)
        reason, _, edit = text.partition(EDIT_TEXT)
        statement = sentence(answer, split_verdict(reason)[1], edit.strip() if answer == "no" else None)
        for token in word_tokens(statement):
            yield write(TextAdded, tokens=(token,))
        yield write(SegmentFinished, text=statement)

    def p_yes(self, prompt: str, picture: np.ndarray) -> float:
        with self._lock, _as_critic_error(self.name), torch.inference_mode():
            return self._verdict(self._logits(self._inputs(prompt, picture)))

    def serve(self, options: ServingOptions) -> None:
        """Nothing to do: pictures wait for one another."""

    @torch.inference_mode()
    def _said(self, prompt: str, picture: np.ndarray, stop: Callable[[], bool]) -> tuple[str, float, str]:
        """The answer, its probability, and all that the model says: greedy, after the more probable of both words."""
        inputs = self._inputs(prompt, picture)
        logits = self._logits(inputs)
        p_yes = self._verdict(logits)
        answer = "yes" if p_yes >= 0.5 else "no"
        begins = max(self._answers[answer], key=lambda id: float(logits[id]))
        ids = torch.cat([inputs["input_ids"], inputs["input_ids"].new_tensor([[begins]])], 1)
        mask = torch.cat([inputs["attention_mask"], inputs["attention_mask"].new_ones((1, 1))], 1)
        done = self.model.generate(
            **(inputs | {"input_ids": ids, "attention_mask": mask} | self._types(inputs)),
            max_new_tokens=MOST_REFLECTION_TOKENS,
            do_sample=False,
            stopping_criteria=[lambda ids, scores, **_: torch.full((len(ids),), stop(), device=ids.device)],
        )
        return answer, p_yes, self._tokenizer.decode(done[0, ids.shape[1] - 1 :], skip_special_tokens=True)

    def _types(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Other inputs with a value for each token, one longer."""
        like = inputs["input_ids"].shape
        return {
            name: torch.cat([value, value.new_zeros((1, 1))], 1)
            for name, value in inputs.items()
            if name not in ("input_ids", "attention_mask") and value.shape == like
        }

    def _inputs(self, prompt: str, picture: np.ndarray) -> dict[str, torch.Tensor]:
        question = self.template.safe_substitute(prompt=prompt)
        content = [{"type": "image", "image": Picture.fromarray(picture)}, {"type": "text", "text": question}]
        inputs = self.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        kind, read = next(self.model.parameters()).dtype, signature(self.model.forward).parameters
        return {
            name: value.to(kind) if value.is_floating_point() else value
            for name, value in inputs.to(self.model.device).items()
            if name in read
        }

    def _logits(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.model(**inputs).logits[0, -1].float()

    def _verdict(self, logits: torch.Tensor) -> float:
        probabilities = logits.softmax(-1)
        yes, no = (float(probabilities[self._answers[word]].sum()) for word in ("yes", "no"))
        if not yes + no >= LEAST_MASS:  # NaN, too
            raise CriticError(
                f"{self.name} answers neither yes nor no (probability {yes + no:.4f}); give another question "
                "(MODEL?template=FILE) or another critic"
            )
        return yes / (yes + no)


@contextmanager
def _as_critic_error(name: str) -> Iterator[None]:
    """Whatever goes wrong in a model that somebody else wrote becomes a CriticError."""
    try:
        yield
    except CriticError:
        raise
    except torch.OutOfMemoryError as error:
        raise CriticError(
            f"{name} has not enough memory to look at the picture; give a smaller critic, or smaller images "
            "(diffusion:PIPELINE?size=512+…)"
        ) from error
    except Exception as error:
        message = " ".join(str(error).split())[:300]
        raise CriticError(
            f"{name} could not judge the picture ({type(error).__name__}: {message}); give another critic, or another "
            "question (MODEL?template=FILE)"
        ) from error


def reflection_of(critic: str, events: Iterable[Event]) -> Reflection:
    """The reflection that the events of `judge` make. Raises CriticError where there is no verdict in them."""
    answer, p_yes, tokens = "", 0.0, list[Token]()
    for event in events:
        match event:
            case Verdict():
                answer, p_yes = event.answer, event.p_yes
            case TextAdded():
                tokens += event.tokens
            case Failed():
                raise CriticError(event.error)
    if not answer:
        raise CriticError(f"{critic} gave no verdict: {text_of(tokens)[:80] or 'it said nothing'}")
    return Reflection(answer, p_yes, tuple(tokens))


def open_critic(source: str | Path, *, device: str | None = None, dtype: str | None = None) -> Critic:
    """A Janus checkpoint, or an image-text-to-text model of transformers (`MODEL?template=FILE`), by folder, Hub id or
    shipped name. Raises CheckpointError."""
    source, _, query = str(source).partition("?")
    template = Path(dict(parse_qsl(query)).get("template", TEMPLATE))
    if query and template == TEMPLATE:
        raise CheckpointError(f"{source} as a critic has no option “{query}”; there is template=FILE")
    if source in SHIPPED or _model_type(source) in JANUS:
        return JanusCritic(open_backend(source, device=device, dtype=dtype))
    device = device or default_device()
    chosen = dtype_of(dtype or ("float32" if device == "cpu" else "bfloat16"))
    path, kind = path_of(source, EXPECTED), _model_type(source)
    if kind in TEXT_ONLY and kind not in SEEING:
        raise CheckpointError(
            f"{source} is a {kind}, which reads text only; a critic has to look at pictures: {ADVICE}"
        )
    try:
        model = AutoModelForImageTextToText.from_pretrained(path, dtype=chosen).to(device).eval()
        processor = AutoProcessor.from_pretrained(path)
    except Exception as error:  # files that somebody else wrote, through a library with errors of its own
        raise CheckpointError(why_not(source, error, EXPECTED, ADVICE)) from error
    if not hasattr(processor, "image_processor"):
        raise CheckpointError(f"{source} reads text only; a critic has to look at pictures: {ADVICE}")
    if not (getattr(processor, "chat_template", None) or getattr(processor.tokenizer, "chat_template", None)):
        raise CheckpointError(
            f"{source} has no chat template, by which a critic is asked; give its instruction-tuned version, or put "
            "that one's chat_template.jinja into the folder"
        )
    return VisionLanguageCritic(model, processor, name_of(source), _read_template(template))


def _read_template(file: Path) -> str:
    try:
        template = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"the critic's question could not be read: {error}") from error
    if "prompt" not in string.Template(template).get_identifiers():
        raise CheckpointError(f"{file} asks about no prompt; write $prompt where it is to stand")
    return template


def _model_type(source: str | Path) -> str:
    """As its config says, or "" where there is none."""
    try:
        config, _ = PretrainedConfig.get_config_dict(path_of(source, EXPECTED))
    except (OSError, ValueError) as error:
        raise CheckpointError(why_not(source, error, EXPECTED, ADVICE)) from error
    if not isinstance(config, dict):
        raise CheckpointError(f"the config.json of {source} holds a {type(config).__name__}, not an object; {ADVICE}")
    return str(config.get("model_type", ""))
