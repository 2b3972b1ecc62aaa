"""Checks that a report claims nothing that neither the detectors measured nor the model itself saw.

Nouns: each claimed thing needs a detector label, a measurement, a model reading of at least one half, or the
model's own score for the event that implies it. Denials ("no fire is visible") and comparisons ("looks like
smoke") claim nothing. Numbers: each must agree with a measurement at the precision it is written in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.reason.vocabulary import (
    CONCEPTS,
    ENGLISH_AFTER,
    ENGLISH_BEFORE,
    KOREAN_AFTER,
    KOREAN_HARMLESS,
    KOREAN_NUMBERS,
    NUMBER_WORDS,
    Concept,
)
from pipeline.types import Candidate, Narrative

_CLAUSE = re.compile(r"[.;!?。]\s|[.;!?。]$|, but | but |, and |지만 |으나 ")
_WORD = re.compile(r"[a-z][a-z'-]*|[가-힣]+|\d+(?:[.,:]\d+)*%?")
_NUMBER = re.compile(r"(?<![\w.:])(\d+(?:\.\d+)?)(?![\d:])\s?(%)?")
_KOREAN_COUNT = re.compile(r"(한|두|세|네|다섯|여섯|일곱|여덟|아홉|열)\s?(명|대|마리|개)")
_ENGLISH_COUNT = re.compile(r"\b(two|three|four|five|six|seven|eight|nine|ten)\b\s+([a-z-]+)(?:\s+([a-z]+))?")
_DIGIT_COUNT = re.compile(r"\b(\d{1,3})\s+([a-z]+)")
_COUNT_FACTS = ("person_count", "vehicle_count")
_KOREAN_COUNTED = {"명": "person", "대": "vehicle", "마리": "animal", "개": "bag"}


@dataclass(frozen=True, slots=True)
class Grounding:
    """Whether a report is supported, and what in it is not."""

    grounded: bool
    unsupported: tuple[str, ...] = ()


def check(
    narrative: Narrative,
    candidate: Candidate,
    attributes: Mapping[str, float],
    probability: float | None,
) -> Grounding:
    """Check every field of a report that makes a claim (not the recommended action).

    Args:
        narrative: The report.
        candidate: What the detectors measured.
        attributes: The model's own readings, 0..1.
        probability: The model's own probability that the event is real.
    """
    fields = [
        narrative.title,
        narrative.summary,
        narrative.narrative,
        narrative.reason,
        *narrative.observations,
    ]
    supported = {
        name for name, concept in CONCEPTS.items() if _supported(concept, candidate, attributes, probability)
    }
    if "fire" in supported:
        supported.add("smoke")
    missing: dict[str, None] = {}
    known = list(_known_numbers(candidate, attributes, probability))
    counts = _known_counts(candidate)
    for text in fields:
        # The zone's name is quoted, not claimed: a person may stand in the "car park".
        plain = text.replace(candidate.zone, " ") if candidate.zone else text
        for clause in filter(None, (part.strip() for part in _CLAUSE.split(plain.lower()))):
            for name, words in _claims(clause):
                if name not in supported:
                    missing.setdefault(words)
            for claim in _wrong_numbers(clause, known, counts):
                missing.setdefault(claim)
    return Grounding(not missing, tuple(missing))


def _supported(
    concept: Concept, candidate: Candidate, attributes: Mapping[str, float], probability: float | None
) -> bool:
    evidence = candidate.evidence
    labels = {item.label.lower() for item in evidence.objects} | {label.lower() for label in evidence.counts}
    if labels & concept.labels:
        return True
    if any(attributes.get(name, 0.0) >= 0.5 for name in concept.attributes):
        return True
    if any(_positive(evidence.facts.get(name)) for name in concept.facts):
        return True
    return probability is not None and probability >= 0.5 and candidate.event_type in concept.events


def _positive(value: object) -> bool:
    return isinstance(value, (int, float)) and value > 0


def _claims(clause: str) -> Iterable[tuple[str, str]]:
    """Concepts a clause claims, each with the word that claims it."""
    words = _WORD.findall(clause)
    joined = " ".join(words)
    for index, word in enumerate(words):
        for name, concept in CONCEPTS.items():
            if word in concept.english or word.removesuffix("'s") in concept.english:
                rest = " ".join(words[index + 1 : index + 5])
                before = words[max(0, index - 5) : index]
                denied = any(token in ENGLISH_BEFORE for token in before)
                denied = denied or before[-1:] in (["alarm"], ["alert"])
                if not denied and not any(rest.startswith(tail) for tail in ENGLISH_AFTER):
                    yield name, word
            elif _is_korean(word) and word.startswith(concept.korean):
                if word.startswith(KOREAN_HARMLESS):
                    continue
                tail = joined[joined.index(word) :]
                if not any(mark in tail for mark in KOREAN_AFTER):
                    yield name, word


def _is_korean(word: str) -> bool:
    return "가" <= word[0] <= "힣"


def _wrong_numbers(clause: str, known: list[float], counts: Mapping[str, float]) -> Iterable[str]:
    """Numbers in a clause that agree with nothing; counted things must agree with their own count."""
    counted: set[str] = set()
    for number, noun in _counted(clause):
        concept = next(
            (name for name, entry in CONCEPTS.items() if noun in entry.english or noun == name), None
        )
        if concept is None:
            continue
        counted.add(str(number))
        if concept in counts and number > counts[concept]:
            yield f"{number} {noun}"
    for match in _NUMBER.finditer(clause):
        text, percent = match.group(1), match.group(2)
        if text in counted or re.match(r"\s?(st|nd|rd|th)\b", clause[match.end() :]):
            continue
        value = float(text) / (100 if percent else 1)
        decimals = len(text.partition(".")[2]) + (2 if percent else 0)
        if not any(_agrees(value, other, decimals) for other in known):
            yield match.group(0).strip()


def _counted(clause: str) -> Iterable[tuple[int, str]]:
    for match in _ENGLISH_COUNT.finditer(clause):
        for noun in filter(None, match.groups()[1:]):
            yield NUMBER_WORDS[match.group(1)], noun
    for match in _DIGIT_COUNT.finditer(clause):
        yield int(match.group(1)), match.group(2)
    for match in _KOREAN_COUNT.finditer(clause):
        yield KOREAN_NUMBERS[match.group(1)], _KOREAN_COUNTED[match.group(2)]


def _agrees(value: float, other: float, decimals: int) -> bool:
    # 3 stands for 2.5..3.5 and 3.2 for 3.15..3.25; large numbers may be rounded to two digits.
    return abs(value - other) <= 0.5 * 10**-decimals + 1e-9 or math.isclose(value, other, rel_tol=0.05)


def _known_numbers(
    candidate: Candidate, attributes: Mapping[str, float], probability: float | None
) -> Iterable[float]:
    evidence = candidate.evidence
    for value in evidence.facts.values():
        if isinstance(value, (int, float)):
            yield float(value)
    yield from (float(count) for count in evidence.counts.values())
    yield float(sum(evidence.counts.values()))
    yield from (item.score for item in evidence.objects)
    yield from (item.t_s for item in evidence.objects)
    yield from (frame.t_s for frame in candidate.key_frames)
    yield from (candidate.start_s, candidate.end_s, candidate.end_s - candidate.start_s)
    yield float(len({frame.t_s for frame in candidate.key_frames}))
    yield candidate.trigger.score
    yield from attributes.values()
    if probability is not None:
        yield probability


def _known_counts(candidate: Candidate) -> dict[str, float]:
    """How many of each concept anybody counted; concepts nobody counted are left out."""
    evidence = candidate.evidence
    counts: dict[str, float] = {}
    for name, concept in CONCEPTS.items():
        found = [float(count) for label, count in evidence.counts.items() if label.lower() in concept.labels]
        facts = [evidence.facts.get(fact) for fact in _COUNT_FACTS if fact in concept.facts]
        found_facts = [float(value) for value in facts if isinstance(value, (int, float))]
        if found or found_facts:
            counts[name] = max(sum(found), max(found_facts, default=0.0))
    return counts
