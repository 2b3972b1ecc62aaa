"""Finds, identifies and loads a checkpoint and its processor."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ModelMissing

_WEIGHTS = ("*.safetensors", "*.bin")
_HEAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready to run: ``model`` in evaluation mode, ``device`` where its inputs go."""

    model: Any
    processor: Any
    tokenizer: Any
    device: Any


def check_name(name: str) -> None:
    """Refuse a name that cannot be loaded before anything heavy is imported. Raises ModelMissing."""
    if not name:
        raise ModelMissing("transformers needs a model", hint="write transformers:FOLDER_OR_ID")
    folder = Path(name).expanduser()
    if not folder.is_dir():
        # Hub ids are NAME or OWNER/NAME; all else is a mistyped path and must not be asked of the network.
        if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or " " in name:
            raise ModelMissing(f"model folder {name} does not exist", hint="name the folder of config.json")
        return
    if not (folder / "config.json").is_file():
        raise ModelMissing(f"{name} holds no config.json", hint="name a folder saved by save_pretrained")
    if not any(next(folder.glob(pattern), None) for pattern in _WEIGHTS):
        raise ModelMissing(f"{name} holds no weights", hint="expected *.safetensors or *.bin in it")


def fingerprint(name: str) -> str:
    """Short hash that tells versions of a local checkpoint apart; empty for a hub id.

    Hashes the configuration, and of each weights file its size and first MiB (which holds the tensor table).
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return ""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted(path for pattern in _WEIGHTS for path in folder.glob(pattern)):
        digest.update(f"{path.name}:{path.stat().st_size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(_HEAD_BYTES))
    return digest.hexdigest()[:12]


def load(name: str, threads: int = 0) -> Loaded:
    """Load model, processor and tokenizer; on a GPU when there is one, spread by Accelerate.

    Raises:
        ModelMissing: Not found, not an image-text-to-text model, or a package it needs is missing.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    if threads:
        torch.set_num_threads(threads)
    folder = Path(name).expanduser()
    source = str(folder) if folder.is_dir() else name
    where = {"local_files_only": folder.is_dir() or _is_cached(name)}
    if not where["local_files_only"] and not _hub_answers():
        raise ModelMissing(
            f"model {name} is not on this machine and the model hub cannot be reached",
            hint="copy the model into a folder and name the folder: transformers:FOLDER",
        )
    gpu = torch.cuda.is_available()
    # CPUs without AMX compute bfloat16 a hundred times slower than float32.
    placement = {"dtype": "auto", "device_map": "auto"} if gpu else {"dtype": torch.float32}
    try:
        processor = _processor(source, where)
        model = AutoModelForImageTextToText.from_pretrained(source, **placement, **where)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        hint = "name the folder of an image-text-to-text model saved by save_pretrained"
        raise ModelMissing(f"model {name} cannot be loaded: {reason}", hint=hint) from error
    model.eval()
    tokenizer = processor.tokenizer
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Loaded(model, processor, tokenizer, model.device)


def _is_cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def _hub_answers() -> bool:
    """One short question: the hub client itself would try again for minutes, file by file."""
    import httpx
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        httpx.head(constants.ENDPOINT, timeout=5.0)
    except httpx.HTTPError:
        return False
    return True


def _processor(source: str, where: dict[str, bool]) -> Any:
    """The checkpoint's processor, or its image part alone where the whole needs video packages.

    SmolVLM2's and Qwen2-VL's processors insist on torchvision (and num2words) for video, which Sitrep never
    sends: their image processors and tokenizers do without.
    """
    from transformers import AutoConfig, AutoProcessor, AutoTokenizer

    try:
        return AutoProcessor.from_pretrained(source, **where)
    except (ImportError, ValueError) as error:
        kind = AutoConfig.from_pretrained(source, **where).model_type
        parts = {"smolvlm": _smolvlm, "idefics3": _idefics3, "qwen2_vl": _qwen2_vl, "qwen2_5_vl": _qwen2_vl}
        if kind not in parts:
            raise
        tokenizer = AutoTokenizer.from_pretrained(source, **where)
        try:
            return parts[kind](source, tokenizer, where)
        except ImportError:
            raise error from None


def _smolvlm(source: str, tokenizer: Any, where: dict[str, bool]) -> Any:
    from transformers import Idefics3Processor
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    images = SmolVLMImageProcessorPil.from_pretrained(source, **where)
    return _idefics3_like(Idefics3Processor, images, source, tokenizer)


def _idefics3(source: str, tokenizer: Any, where: dict[str, bool]) -> Any:
    from transformers import Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    images = Idefics3ImageProcessorPil.from_pretrained(source, **where)
    return _idefics3_like(Idefics3Processor, images, source, tokenizer)


def _idefics3_like(kind: Any, images: Any, source: str, tokenizer: Any) -> Any:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(source)
    side = config.vision_config.image_size // config.vision_config.patch_size
    length = side**2 // config.scale_factor**2
    return kind(images, tokenizer, image_seq_len=length, chat_template=tokenizer.chat_template)


def _qwen2_vl(source: str, tokenizer: Any, where: dict[str, bool]) -> Any:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from models.hf.qwen_images import QwenImageProcessor

    images = Qwen2VLImageProcessorPil.from_pretrained(source, **where)
    return QwenImageProcessor(images, tokenizer)
