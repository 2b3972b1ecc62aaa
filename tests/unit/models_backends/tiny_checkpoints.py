"""Builds tiny vision-language checkpoints with random weights and their own tokenizer, and saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WORDS = [
    "yes",
    "no",
    "Yes",
    "No",
    "alarm",
    "fall",
    "fire",
    "person",
    "a",
    "the",
    "is",
    "on",
    "ground",
    "report",
    "in",
    "English",
    "as",
    "JSON",
    "title",
]
SMOLVLM_TOKENS = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
QWEN_TOKENS = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
SMOLVLM_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message.role | capitalize }}: "
    "{% for part in message.content %}{% if part.type == 'image' %}<image>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer(extra: list[str], template: str, **tokens: str) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<pad>", *extra]
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator([" ".join(WORDS)] * 20 + WORDS * 20, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        unk_token="<|endoftext|>",
        pad_token="<pad>",
        additional_special_tokens=extra,
        **tokens,
    )
    fast.chat_template = template
    return fast


def save_smolvlm(folder: Path, *, model_type: str = "idefics3") -> Path:
    """SmolVLM: Idefics3 architecture, 2 layers a tower, 32 px images. ``smolvlm`` is SmolVLM2."""
    import torch
    import transformers

    torch.manual_seed(0)
    names = {"idefics3": ("Idefics3Config", "Idefics3ForConditionalGeneration")}
    names["smolvlm"] = ("SmolVLMConfig", "SmolVLMForConditionalGeneration")
    config_class, model_class = (getattr(transformers, name) for name in names[model_type])
    fast = tokenizer(SMOLVLM_TOKENS, SMOLVLM_TEMPLATE)
    config = config_class(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
        },
        text_config={
            "model_type": "llama",
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "num_key_value_heads": 3,
            "vocab_size": len(fast),
            "pad_token_id": fast.pad_token_id,
            "bos_token_id": fast.bos_token_id,
            "eos_token_id": fast.eos_token_id,
            "max_position_embeddings": 4096,
        },
        image_token_id=fast.convert_tokens_to_ids("<image>"),
        pad_token_id=fast.pad_token_id,
        scale_factor=2,
        tie_word_embeddings=False,
    )
    model = model_class(config)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    images = {
        "image_processor_type": "Idefics3ImageProcessor"
        if model_type == "idefics3"
        else "SmolVLMImageProcessor",
        "processor_class": "Idefics3Processor" if model_type == "idefics3" else "SmolVLMProcessor",
        "size": {"longest_edge": 64},
        "max_image_size": {"longest_edge": 32},
        "do_image_splitting": True,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    processor = {"processor_class": images["processor_class"], "image_seq_len": 4}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    return folder


def save_qwen2_vl(folder: Path) -> Path:
    """Qwen2-VL, 2 layers a tower."""
    import torch
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    torch.manual_seed(0)
    fast = tokenizer(QWEN_TOKENS, QWEN_TEMPLATE)
    config = Qwen2VLConfig(
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 48,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 8,
            "spatial_merge_size": 2,
        },
        text_config={
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "vocab_size": len(fast),
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 2, 2], "rope_theta": 10000.0},
            "pad_token_id": fast.pad_token_id,
            "bos_token_id": fast.bos_token_id,
            "eos_token_id": fast.eos_token_id,
        },
        image_token_id=fast.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=fast.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=fast.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=fast.convert_tokens_to_ids("<|vision_end|>"),
        tie_word_embeddings=False,
    )
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    images = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2VLProcessor",
        "patch_size": 8,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": 256, "longest_edge": 4096},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    return folder
