"""Opens a checkpoint (folder, Hub id or shipped name; transformers' or DeepSeek's layout) as a `Janus`.

What this file knows: where the pieces lie and what to say when they do not. `thinks` in config.json says whether the
network writes a thought before it draws; guidance, temperature and top-k stand in generation_config.json.
"""

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import PickleError

import torch
from accelerate import dispatch_model, infer_auto_device_map, init_empty_weights
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    GenerationConfig,
    JanusConfig,
    JanusForConditionalGeneration,
    JanusImageProcessorPil,
    JanusProcessor,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.image_utils import SizeDict

from model.backends.checkpoint.adapter_folder import AdapterFolder, is_adapter, read_adapter
from model.backends.checkpoint.checks import (
    AGAIN,
    check_config,
    check_dtypes,
    check_tokenizer,
    check_tokenizer_file,
    described,
    read_json,
    squared,
    tokenizer_file,
)
from model.backends.checkpoint.deepseek import LAYOUT, config_of, generation_config, is_original, whole
from model.backends.checkpoint.hub import fetched, is_address, pinned
from model.backends.checkpoint.opening_errors import why_not
from model.backends.checkpoint.saving import CheckpointError, restore
from model.backends.derived_modules import PATCHING
from model.backends.memory import room_on
from model.backends.preprocessing import HALF, Preprocessing
from model.backends.request import BOUNDS, MOST_SETTING
from model.examples import is_number
from model.templates import BEGIN_IMAGE, BOS, CHAT_TEMPLATE, END_IMAGE, EOS, IMAGE_PLACEHOLDER, PAD
from model.trajectory import Sampling

WEIGHTS = Path(__file__).parents[2] / "weights"
EMBEDDED = WEIGHTS / "embedded"
SHIPPED = {  # what they have learnt, in words
    "base": "draws, judges by chance",
    "sft": "fine-tuned to judge and to redraw",
    "rl": "fine-tuned, and then reinforced",
    "embedded": "reinforced, and then fine-tuned on its own mistakes",
}
DTYPES = ("float32", "bfloat16", "float16")
MOST_ADAPTERS = 8  # one on the other
SHARD = 2_000_000_000  # bytes of a converted file


@contextmanager
def one_line(failure: str) -> Iterator[None]:
    """Whatever goes wrong in files that somebody else wrote becomes a CheckpointError of one line."""
    try:
        yield
    except CheckpointError:
        raise
    except (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{failure}: {_said(error)}") from error
    except (SafetensorError, StrictDataclassError, PickleError, EOFError) as error:
        raise CheckpointError(f"{failure}: {_said(error)}") from error


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())[:400]
    return text if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {text}"


def dtype_of(dtype: torch.dtype | str) -> torch.dtype:
    """Raises CheckpointError for a name that is none of DTYPES."""
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in DTYPES:
        raise CheckpointError(f"weights cannot be {dtype}; choose {', '.join(DTYPES)}")
    return getattr(torch, dtype)


def default_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def spread(network: JanusForConditionalGeneration, dtype: torch.dtype) -> JanusForConditionalGeneration:
    """The network's layers over all devices, each layer whole, the codec in one place (accelerate)."""
    whole = ["LlamaDecoderLayer", "JanusVisionModel", "JanusVQVAE"]
    return dispatch_model(network, infer_auto_device_map(network, no_split_module_classes=whole, dtype=dtype))


def check_room(source: str | Path, needed: int, dtype: torch.dtype, device: str) -> None:
    """Raises CheckpointError where weights of `needed` bytes do not fit."""
    free = room_on(device)
    if needed > free:
        takes = f"{name_of(source)} takes {needed / 1e9:.1f} GB as {name_of_dtype(dtype)}"
        advice = "choose a smaller dtype, another device, or the device auto, for several"
        raise CheckpointError(f"{takes}, {device} has {free / 1e9:.1f} GB free; {advice}")


def name_of_dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def open_config(source: str | Path, tokenizer: PreTrainedTokenizerBase) -> JanusConfig:
    """The config, read off the tensors where the layout is DeepSeek's. Raises CheckpointError for sizes that do not fit
    each other, or the tokenizer."""
    path = Path(source) / "config.json" if Path(source).exists() else source
    if is_original(Path(source)):
        known = tokenizer.convert_tokens_to_ids
        config = config_of(Path(source), known(IMAGE_PLACEHOLDER))
        config.text_config.bos_token_id, config.text_config.eos_token_id = known(BOS), known(EOS)
        config.text_config.pad_token_id = known(PAD)
    else:
        raw, _ = JanusConfig.get_config_dict(source)
        check_dtypes(raw, path)
        config = JanusConfig.from_dict(squared(raw, path))
        config.vision_config.num_image_tokens = config.vq_config.num_patches**2
    check_config(config, tokenizer, path)
    return config


def open_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer as tokenizer.json has it. The published folders name LlamaTokenizerFast, for which transformers 5
    may put SentencePiece's spaces in place of the file's own, silently."""
    path = tokenizer_file(source)
    check_tokenizer_file(path)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(source, **_ROLES)
    check_tokenizer(tokenizer, path)
    return tokenizer


# Of Janus's tokens, by the names that transformers' processor knows them by.
_ROLES = {
    "bos_token": BOS,
    "eos_token": EOS,
    "pad_token": PAD,
    "image_token": IMAGE_PLACEHOLDER,
    "boi_token": BEGIN_IMAGE,
    "eoi_token": END_IMAGE,
}


def open_processor(source: str | Path) -> JanusProcessor:
    """The processor to save beside weights that come from `source`, whatever its layout. Raises CheckpointError."""
    source = path_of(source)
    with one_line(f"the processor of {source} could not be opened"):
        base, _ = unstacked(source)
        tokenizer = open_tokenizer(base)
        return processor_of(base, open_config(base, tokenizer), tokenizer)


def processor_of(source: str | Path, config: JanusConfig, tokenizer: PreTrainedTokenizerBase) -> JanusProcessor:
    """Pictures as the folder's own file says; the chat template is ours, whose ids are those that the studio reads."""
    side, images = config.vision_config.image_size, image_processor(source)
    Preprocessing.of(images)
    images.size = SizeDict(height=side, width=side)
    patches = config.vision_config.num_image_tokens
    return JanusProcessor(images, tokenizer, chat_template=CHAT_TEMPLATE, num_image_tokens=patches)


def image_processor(source: str | Path) -> JanusImageProcessorPil:
    """As the folder's or Hub id's own file says; as Janus does where there is none. Raises CheckpointError."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (path := Path(source) / name).is_file():
            read_json(path)
    try:
        return JanusImageProcessorPil.from_pretrained(source)
    except OSError:
        return JanusImageProcessorPil(image_mean=HALF, image_std=HALF)
    except (TypeError, ValueError) as error:
        where = f"{source}: preprocessor_config.json or processor_config.json"
        raise CheckpointError(f"{where}: image_mean or another entry is none of Janus's: {error}; {AGAIN}") from error


def unstacked(source: str | Path) -> tuple[str | Path, list[AdapterFolder]]:
    """What `path_of` gave as the checkpoint at the bottom, and the adapters on it, first things first. Raises
    CheckpointError."""
    adapters: list[AdapterFolder] = []
    while is_adapter(source):
        adapter = read_adapter(Path(source))
        if len(adapters) == MOST_ADAPTERS:
            raise CheckpointError(f"{adapter.folder} stands on more than {MOST_ADAPTERS} adapters; merge some of them")
        adapters.insert(0, adapter)
        source = _base_of(adapter)
        check_layout(source)
    return source, adapters


def _base_of(adapter: AdapterFolder) -> str | Path:
    """Where its config says, or beside the adapter under the same name."""
    places = (adapter.base, adapter.folder.absolute().parent / Path(adapter.base).name)
    for place in places:
        if Path(path := path_of(place)).exists():
            return path
    lacks = f"its base {adapter.base} is not there"
    raise CheckpointError(f"{adapter.folder} is an adapter, and {lacks}; put it there, or beside {adapter.folder}")


def open_network(
    source: str | Path,
    config: JanusConfig,
    tokenizer: PreTrainedTokenizerBase,
    dtype: torch.dtype,
    adapters: Sequence[AdapterFolder] = (),
) -> tuple[JanusForConditionalGeneration, str]:
    """The network with its weights, adapters merged into them, and its generation config; and the fingerprint of the
    weights. A folder's are checked before they are read. Raises CheckpointError, LayoutError."""
    folder = Path(source)
    if not folder.exists():
        network = _downloaded(str(source), config, dtype)
        return network, ""
    network, described_base = blank(config), {}
    for adapter in adapters:
        adapter.check_layers(network)
    tensors = _described(whole(network, folder), described_base)
    for adapter in adapters:
        tensors = adapter.merged(tensors)
    for name, tensor in tensors:
        module, _, leaf = name.rpartition(".")
        weight = torch.nn.Parameter(tensor.to(dtype, copy=True), requires_grad=not is_original(folder))
        setattr(network.get_submodule(module), leaf, weight)
    network.tie_weights()
    fingerprint = hashlib.sha256(b"".join(described_base[name] for name in sorted(described_base))).hexdigest()
    for adapter in adapters:
        adapter.check_base(fingerprint)
        fingerprint = adapter.fingerprint(fingerprint)
    network.generation_config = generation_config_of(folder, tokenizer)
    for adapter in adapters:
        if (adapter.folder / "generation_config.json").is_file():
            network.generation_config = generation_config_of(adapter.folder, tokenizer)
    return network, fingerprint


def _described(
    tensors: Iterator[tuple[str, torch.Tensor]], into: dict[str, bytes]
) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors as they come; what a fingerprint is made of is put `into` a dictionary by their names."""
    for name, tensor in tensors:
        into[name] = described(name, tensor)
        yield name, tensor


def generation_config_of(folder: Path, tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """The folder's own; as the published code draws where there is none, or it does not say so of that layout."""
    ids = [*map(tokenizer.convert_tokens_to_ids, (BOS, EOS, PAD, BEGIN_IMAGE))]
    path = folder / "generation_config.json"
    if not path.is_file():
        config = generation_config(*ids)
    else:
        read_json(path)
        config = GenerationConfig.from_pretrained(folder)
    if is_original(folder):
        config.published_contexts = _flag(config, "generation_config.json", "published_contexts", True)
    return config


def _downloaded(source: str, config: JanusConfig, dtype: torch.dtype) -> JanusForConditionalGeneration:
    """A network of the Hub, by transformers. Raises CheckpointError where tensors are missing or of other shapes."""
    network, report = JanusForConditionalGeneration.from_pretrained(
        source, config=config, dtype=dtype, ignore_mismatched_sizes=True, output_loading_info=True
    )
    wrong = [f"{name}: got {tuple(got)}, wanted {tuple(fits)}" for name, got, fits in report["mismatched_keys"]]
    if wrong := [*wrong, *(f"{name} is missing" for name in sorted(report["missing_keys"]))]:
        raise CheckpointError(f"{source}: {len(wrong)} tensors do not fit config.json: {'; '.join(wrong[:8])}")
    return network


def blank(config: JanusConfig) -> JanusForConditionalGeneration:
    """A network whose parameters take no memory."""
    with PATCHING, init_empty_weights(include_buffers=False):
        return JanusForConditionalGeneration(config)


def check_layout(source: str | Path) -> None:
    path = Path(source)
    restore(path)
    if is_adapter(path):
        return
    if not path.exists():
        if isinstance(source, Path) or source.count("/") != 1 or source.startswith((".", "/", "~")):
            raise CheckpointError(f"there is no checkpoint at {source}; give a folder with config.json, or a Hub id")
        return
    config = path / "config.json"
    if not config.is_file():
        raise CheckpointError(f"{source} holds no config.json, so it is no checkpoint; give the folder that does")
    kind = read_json(config).get("model_type")
    if kind not in ("janus", LAYOUT):
        expected = f"“janus” (transformers' layout) or “{LAYOUT}” (DeepSeek's)"
        raise CheckpointError(f"{source} is a “{kind}” checkpoint; wanted model_type {expected}")


def name_of(source: str | Path) -> str:
    """What trajectories and provenance call a checkpoint: the folder's own name (in NFC), or its address on the Hub."""
    if (address := pinned(Path(source).absolute())) is not None:
        return address
    name = Path(source).resolve().name if Path(source).exists() else str(source)
    return unicodedata.normalize("NFC", name)


def path_of(source: str | Path, expected: str = "a Janus checkpoint") -> Path | str:
    """A shipped checkpoint's folder for its name (`sft`; `./sft` is a folder here), that of a commit for an address of
    the Hub (`owner/name@revision`), else what was given. Raises CheckpointError, which says what was `expected`.
    """
    shipped = WEIGHTS / source
    if str(source) == shipped.name and shipped.is_dir():
        return shipped
    if not is_address(source):
        return source
    try:
        return fetched(source)
    except (OSError, ValueError) as error:
        raise CheckpointError(why_not(source, error, expected)) from error


def sampling_of(network: JanusForConditionalGeneration) -> Sampling:
    """The checkpoint's own settings. Greedy (`do_sample: false`) is temperature 0, of text as well; a missing guidance
    is Janus's 5. Raises CheckpointError for a setting that no request may have."""
    config = network.generation_config
    sampled = _flag(config, "generation_config.json", "do_sample", True)
    return Sampling(
        guidance=_setting(config, "guidance_scale", 5.0),
        temperature=_setting(config, "temperature", 1.0) if sampled else 0.0,
        top_k=_whole_setting(config, "top_k"),
        text_temperature=_setting(config, "text_temperature", 1.0) if sampled else 0.0,
        text_top_k=_whole_setting(config, "text_top_k"),
        thinks=_flag(network.config, "config.json", "thinks"),
        published_contexts=_flag(config, "generation_config.json", "published_contexts"),
    )


def _setting(config: GenerationConfig, name: str, default: float) -> float:
    value = getattr(config, name, None)
    value = default if value is None else value
    if not is_number(value) or not 0 <= value <= MOST_SETTING:
        expected = f"a number from 0 to {MOST_SETTING}"
        raise CheckpointError(f"generation_config.json: {name}: got {value!r:.60}, wanted {expected}; correct it")
    return float(value)


def _whole_setting(config: GenerationConfig, name: str) -> int | None:
    """None where it is 0, which is off."""
    value, most = getattr(config, name, None) or 0, BOUNDS["top k"].most
    if not is_number(value) or not 0 <= value <= most or value != int(value):
        expected = f"a whole number from 0 to {most:g}"
        raise CheckpointError(f"generation_config.json: {name}: got {value!r:.60}, wanted {expected}; correct it")
    return int(value) or None


def _flag(config: object, file: str, name: str, default: bool = False) -> bool:
    value = getattr(config, name, None)
    if value not in (None, True, False):
        raise CheckpointError(f"{file}: {name}: got {value!r:.60}, wanted true or false; correct it")
    return default if value is None else bool(value)
