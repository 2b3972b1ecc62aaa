"""Images and text for Qwen2-VL without the video packages its own processor insists on."""

from __future__ import annotations

from typing import Any

IMAGE_TOKEN = "<|image_pad|>"


class QwenImageProcessor:
    """The part of ``Qwen2VLProcessor`` that handles images: one placeholder a merged patch.

    Args:
        image_processor: Gives ``pixel_values`` and ``image_grid_thw``.
        tokenizer: Carries the chat template.
    """

    def __init__(self, image_processor: Any, tokenizer: Any) -> None:
        self.image_processor = image_processor
        self.tokenizer = tokenizer

    def apply_chat_template(self, conversation: Any, **kwargs: Any) -> str:
        """The prompt as text."""
        return str(self.tokenizer.apply_chat_template(conversation, **kwargs))

    def __call__(self, *, text: list[str], images: list[list[Any]] | None = None, **kwargs: Any) -> Any:
        """Token ids with as many image tokens as there are merged patches, and the pixels."""
        from transformers import BatchFeature

        values: dict[str, Any] = {}
        if images:
            flat = [image for row in images for image in row]
            values.update(self.image_processor(images=flat, return_tensors=kwargs.get("return_tensors")))
            grids = iter(values["image_grid_thw"])
            merge = self.image_processor.merge_size**2
            text = [self._expand(row, grids, merge) for row in text]
        values.update(self.tokenizer(text, **kwargs))
        image_id = self.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        values["mm_token_type_ids"] = (values["input_ids"] == image_id).long()
        return BatchFeature(values)

    @staticmethod
    def _expand(text: str, grids: Any, merge: int) -> str:
        parts = text.split(IMAGE_TOKEN)
        expanded = parts[0]
        for part in parts[1:]:
            expanded += IMAGE_TOKEN * (int(next(grids).prod()) // merge) + part
        return expanded
