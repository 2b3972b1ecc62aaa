"""The tower's graph against the published architecture: parity, cache, padding, compression."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.embedded.gguf import TowerSpec
from models.embedded.graph import build_tower, build_vocabulary, quantize_groups
from models.embedded.language import LanguageTower

SPEC = TowerSpec(
    layers=2, heads=4, kv_heads=2, dim=64, hidden=96, vocab=160, rope_theta=10000.0, norm_eps=1e-5, eos=2
)


class SmallTower:
    """Random weights of a small tower."""

    spec = SPEC

    def __init__(self):
        random = np.random.default_rng(0)
        side = SPEC.kv_heads * SPEC.head_dim
        shapes = {
            "q": (SPEC.dim, SPEC.dim),
            "k": (side, SPEC.dim),
            "v": (side, SPEC.dim),
            "o": (SPEC.dim, SPEC.dim),
            "gate": (SPEC.hidden, SPEC.dim),
            "up": (SPEC.hidden, SPEC.dim),
            "down": (SPEC.dim, SPEC.hidden),
        }
        self._embedding = random.normal(0, 1, (SPEC.vocab, SPEC.dim)).astype(np.float32)
        self._layers = [
            {name: random.normal(0, 0.12, shape).astype(np.float32) for name, shape in shapes.items()}
            | {
                name: random.uniform(0.5, 1.5, SPEC.dim).astype(np.float32)
                for name in ("attn_norm", "ffn_norm")
            }
            for _ in range(SPEC.layers)
        ]
        self._norm = random.uniform(0.5, 1.5, SPEC.dim).astype(np.float32)

    def embedding(self):
        return self._embedding

    def final_norm(self):
        return self._norm

    def layer(self, index):
        return dict(self._layers[index])


def reference(ids, deltas=None):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from models.embedded.baseline import _NAMES

    source = SmallTower()
    config = LlamaConfig(
        vocab_size=SPEC.vocab,
        hidden_size=SPEC.dim,
        intermediate_size=SPEC.hidden,
        num_hidden_layers=SPEC.layers,
        num_attention_heads=SPEC.heads,
        num_key_value_heads=SPEC.kv_heads,
        rms_norm_eps=SPEC.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": SPEC.rope_theta},
        tie_word_embeddings=True,
    )
    state = {
        "model.embed_tokens.weight": source.embedding(),
        "lm_head.weight": source.embedding(),
        "model.norm.weight": source.final_norm(),
    }
    for index in range(SPEC.layers):
        for name, weight in source.layer(index).items():
            delta = (deltas or {}).get(f"{index}.{name}", 0.0)
            state[f"model.layers.{index}.{_NAMES[name]}.weight"] = (weight + delta).astype(np.float32)
    model = LlamaForCausalLM(config).eval()
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in state.items()})
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0].numpy()


def save(folder, **options):
    import openvino as ov
    from tokenizers import Tokenizer, models

    folder.mkdir(parents=True, exist_ok=True)
    source = SmallTower()
    ov.save_model(build_tower(source, **options), str(folder / "language.xml"), compress_to_fp16=False)
    vocabulary = build_vocabulary(source, compress=options["compress"])
    ov.save_model(vocabulary, str(folder / "vocabulary.xml"), compress_to_fp16=False)
    np.save(folder / "embedding.npy", source.embedding())
    (folder / "language.json").write_text(json.dumps({"eos": SPEC.eos, "dim": SPEC.dim}))
    Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?")).save(str(folder / "tokenizer.json"))
    return LanguageTower(folder, 1)


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    return save(tmp_path_factory.mktemp("tower"), compress=False)


IDS = [5, 17, 3, 99, 120, 8, 8, 41, 77, 2, 150, 31]


def test_logits_equal_those_of_the_published_architecture(tower):
    found = tower.prefill([tower.embed(IDS)])[0]
    np.testing.assert_allclose(found, reference(IDS)[-1], atol=2e-3)


def test_logits_of_a_few_tokens_are_those_of_the_whole_vocabulary(tower):
    few = [99, 3, 150]
    whole = tower.prefill([tower.embed(IDS), tower.embed(IDS[:5])])
    some = tower.prefill([tower.embed(IDS), tower.embed(IDS[:5])], few)
    np.testing.assert_allclose(some, whole[:, few], atol=1e-3)
    tower.prefill([tower.embed(IDS[:-1])])
    np.testing.assert_allclose(tower.extend(tower.embed(IDS[-1:]), few), whole[0, few], atol=1e-3)


def test_low_rank_updates_are_merged(tmp_path):
    deltas = {"0.q": np.full((64, 64), 0.02, np.float32), "1.v": np.full((32, 64), -0.03, np.float32)}
    merged = save(tmp_path / "merged", deltas=deltas, compress=False)
    found = merged.prefill([merged.embed(IDS)])[0]
    np.testing.assert_allclose(found, reference(IDS, deltas)[-1], atol=2e-3)
    assert np.abs(found - reference(IDS)[-1]).max() > 0.05


def test_reading_on_equals_reading_at_once(tower):
    whole = tower.prefill([tower.embed(IDS)])[0]
    tower.prefill([tower.embed(IDS[:4])])
    tower.extend(tower.embed(IDS[4:9]))
    for token in IDS[9:-1]:
        tower.extend(tower.embed([token]))
    np.testing.assert_allclose(tower.extend(tower.embed(IDS[-1:])), whole, atol=1e-3)


def test_rows_of_a_batch_do_not_see_each_other_or_the_padding(tower):
    rows = [IDS, IDS[3:8], IDS[:1]]
    together = tower.prefill([tower.embed(row) for row in rows])
    for row, logits in zip(rows, together, strict=True):
        np.testing.assert_allclose(tower.prefill([tower.embed(row)])[0], logits, atol=1e-3)


def test_a_remembered_row_goes_on_where_it_was(tower):
    whole = tower.prefill([tower.embed(IDS)])[0]
    tower.prefill([tower.embed(IDS[2:7]), tower.embed(IDS)])
    memory = tower.remember(1, 6)
    tower.prefill([tower.embed([1, 2, 3])])
    tower.recall(memory)
    np.testing.assert_allclose(tower.extend(tower.embed(IDS[6:])), whole, atol=1e-3)


def test_int8_keeps_the_ranking(tmp_path):
    compressed = save(tmp_path / "int8", compress=True)
    found, wanted = compressed.prefill([compressed.embed(IDS)])[0], reference(IDS)[-1]
    assert np.corrcoef(found, wanted)[0, 1] > 0.999
    stored = sum((tmp_path / "int8" / f"{name}.bin").stat().st_size for name in ("language", "vocabulary"))
    assert stored < 0.4 * 4 * (160 * 64 + 2 * 4 * 64 * 64 + 2 * 3 * 96 * 64)


def test_groups_of_weights_are_within_half_a_step():
    weight = np.random.default_rng(1).normal(size=(7, 64)).astype(np.float32)
    values, scales = quantize_groups(weight)
    assert values.dtype == np.int8
    error = np.abs(values * scales - weight.reshape(7, 2, 32))
    assert (error <= scales / 2 + 1e-6).all()


@pytest.mark.slow
def test_the_shipped_tower_agrees_with_transformers(tmp_path):
    from models.embedded.assets import LANGUAGE, locate
    from models.embedded.baseline import TorchBaseline
    from models.embedded.gguf import GgufTower
    from models.embedded.language import converted

    source = GgufTower(locate(LANGUAGE))
    ids = (
        source.tokenizer()
        .encode("Alarm: fire, 3.2 s.\nMeasured: nothing. Is there a real fire? Yes or no?")
        .ids
    )
    embeds = source.embedding()[ids]
    wanted = TorchBaseline(None, ()).last_logits(embeds)
    tower = LanguageTower(converted(tmp_path, None))
    assert tower.ids("Alarm: fire") == ids[:4]
    found = tower.prefill([tower.embed(ids)])[0]
    assert np.corrcoef(found, wanted)[0, 1] > 0.99
    shift = (found - wanted)[np.argsort(wanted)[-50:]]
    assert np.abs(shift - shift.mean()).max() < 2.0
