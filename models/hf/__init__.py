"""Vision-language models of the transformers library, by folder or hub id."""
