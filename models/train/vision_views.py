"""Training views: crops like those a trigger makes, and pictures spoilt the way cameras spoil them."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from models.train.data import Row, crop, expand, union
from models.train.evidence_features import Seen
from pipeline.detect import keyframes
from pipeline.types import Box, Image

Random = np.random.Generator
_LABELS_OF_INTEREST = ("person", "car", "truck", "bus", "motorcycle", "bicycle", "dog", "cat", "bed", "couch")


def region_box(
    row: Row, seen: Seen, random: Random | None, *, annotated: bool = True, count: int = 1
) -> Box | None:
    """A box like the one a trigger would draw: annotated, else around one to four detected objects.

    Never looks at the label: how wide a crop is must not tell what it shows.

    Args:
        row: The image.
        seen: What the detectors saw in it.
        random: Source of variety; ``None`` gives the one box used for reporting.
        annotated: Whether the corpus' own boxes may be used.
        count: Objects inside, when nothing is left to chance.
    """
    aspect = seen["size"][0] / seen["size"][1]
    factor = 1.5 if random is None else float(random.uniform(1.25, 2.4))
    boxes = [box for _, box in row.boxes] if annotated else []
    if boxes and random is not None:
        boxes = [boxes[int(random.integers(len(boxes)))]]
    if not boxes:
        boxes = interesting(seen)
        if not boxes:
            return None
        if random is not None:
            count = int(random.integers(1, 5))
            if random.random() < 0.5:
                boxes = [boxes[index] for index in random.permutation(len(boxes))]
        boxes = boxes[:count]
    if random is None or random.random() < 0.6:
        grown = keyframes.region_box(_jitter(union(boxes), random), *seen["size"])
    else:
        grown = expand(union(boxes), factor, aspect)
    share = (grown[2] - grown[0]) * (grown[3] - grown[1])
    return grown if share < 0.85 else None


def interesting(seen: Seen) -> list[Box]:
    """Boxes of people, vehicles, pets and furniture one can lie on, strongest first."""
    objects = [
        (score, box) for label, score, box in seen["objects"] if label in _LABELS_OF_INTEREST and score >= 0.3
    ]
    objects += [(score, box) for score, box, _ in seen["people"] if score >= 0.3]
    return [box for _, box in sorted(objects, key=lambda pair: -pair[0])]


def _jitter(box: Box, random: Random | None) -> Box:
    if random is None:
        return box
    width, height = box[2] - box[0], box[3] - box[1]
    move = random.normal(0, 0.08, 4) * (width, height, width, height)
    x1, y1, x2, y2 = np.clip(np.asarray(box) + move, 0, 1)
    return (float(x1), float(y1), float(max(x2, x1 + 0.02)), float(max(y2, y1 + 0.02)))


def _resized_crop(picture: Image, random: Random, smallest: float) -> Image:
    height, width = picture.shape[:2]
    area = random.uniform(smallest, 1.0)
    stretch = np.exp(random.uniform(-0.25, 0.25))
    w, h = min(1.0, np.sqrt(area * stretch)), min(1.0, np.sqrt(area / stretch))
    x, y = random.uniform(0, 1 - w), random.uniform(0, 1 - h)
    return picture[
        int(y * height) : max(int(y * height) + 8, int((y + h) * height)),
        int(x * width) : max(int(x * width) + 8, int((x + w) * width)),
    ]


def _colour(picture: Image, random: Random) -> Image:
    hsv = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] + random.uniform(-6, 6)) % 180
    hsv[..., 1] *= random.uniform(0.4, 1.4)
    hsv[..., 2] = hsv[..., 2] * random.uniform(0.6, 1.3) + random.uniform(-20, 20)
    return cv2.cvtColor(np.clip(hsv, 0, 255).astype(np.uint8), cv2.COLOR_HSV2BGR)


def _grey(picture: Image, random: Random) -> Image:
    return cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def _low_resolution(picture: Image, random: Random) -> Image:
    width = int(random.integers(64, 180))
    small = cv2.resize(
        picture, (width, max(16, width * picture.shape[0] // picture.shape[1])), interpolation=cv2.INTER_AREA
    )
    return cv2.resize(small, (260, 260), interpolation=cv2.INTER_LINEAR)


def _blur(picture: Image, random: Random) -> Image:
    return cv2.GaussianBlur(picture, (0, 0), random.uniform(0.6, 2.0))


def _noise(picture: Image, random: Random) -> Image:
    return np.clip(picture + random.normal(0, random.uniform(3, 16), picture.shape), 0, 255).astype(np.uint8)


def _jpeg(picture: Image, random: Random) -> Image:
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(15, 60))])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def _rotate(picture: Image, random: Random) -> Image:
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D(
        (width / 2, height / 2), random.uniform(-12, 12), random.uniform(1.0, 1.2)
    )
    return cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)


def _burnt_in_text(picture: Image, random: Random) -> Image:
    # Subtitles and clocks tell the class in some sources; here any class may carry them.
    out = picture.copy()
    height, width = out.shape[:2]
    for _ in range(int(random.integers(1, 3))):
        text = "".join(random.choice(list("0123456789:-/ CAMREC"), int(random.integers(6, 18))))
        place = (int(random.uniform(0, 0.5) * width), int(random.choice([0.08, 0.93, 0.85]) * height))
        colour = [(255, 255, 255), (0, 255, 255), (0, 0, 0), (80, 255, 80)][int(random.integers(4))]
        cv2.putText(
            out,
            text,
            place,
            cv2.FONT_HERSHEY_SIMPLEX,
            height / 500,
            colour,
            max(1, height // 250),
            cv2.LINE_AA,
        )
    return out


def _strip(picture: Image, random: Random) -> Image:
    out = picture.copy()
    height, width = out.shape[:2]
    part = int(random.uniform(0.05, 0.16) * height)
    if random.random() < 0.5:
        out[:part], out[-part:] = 0, 0
    else:
        out[-part:] = cv2.GaussianBlur(out[-part:], (0, 0), 8)
    if random.random() < 0.3:
        side = int(random.uniform(0.05, 0.2) * width)
        out[:, :side], out[:, -side:] = 0, 0
    return out


def _erase(picture: Image, random: Random) -> Image:
    out = picture.copy()
    height, width = out.shape[:2]
    h, w = int(random.uniform(0.08, 0.25) * height), int(random.uniform(0.08, 0.25) * width)
    y, x = int(random.uniform(0, height - h)), int(random.uniform(0, width - w))
    out[y : y + h, x : x + w] = random.integers(0, 255, 3)
    return out


_STEPS: tuple[tuple[float, Callable[[Image, Random], Image]], ...] = (
    (0.6, _colour),
    (0.08, _grey),
    (0.25, _rotate),
    (0.3, _low_resolution),
    (0.15, _blur),
    (0.2, _burnt_in_text),
    (0.15, _strip),
    (0.2, _erase),
    (0.2, _noise),
    (0.25, _jpeg),
)


def spoil(picture: Image, random: Random, *, smallest: float = 0.55) -> Image:
    """A random crop, flip and a few of the things that happen to camera pictures; 260 px square."""
    out = _resized_crop(picture, random, smallest)
    if random.random() < 0.5:
        out = out[:, ::-1]
    out = np.ascontiguousarray(cv2.resize(out, (260, 260), interpolation=cv2.INTER_AREA))
    for chance, step in _STEPS:
        if random.random() < chance:
            out = step(out, random)
    return out


def training_view(row: Row, seen: Seen, picture: Image, random: Random, *, region: bool) -> Image:
    """One augmented view of a training image, full or region."""
    if region and (box := region_box(row, seen, random)) is not None:
        return spoil(crop(picture, box), random, smallest=0.7)
    return spoil(picture, random)
