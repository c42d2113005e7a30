"""A rain event as an animated GIF: the coarse input, the truth, the mean and members side by side, hour by hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from anchorbench.report.document import Document
from anchorbench.report.images import rain_colours
from anchorbench.report.precipitation import refined
from anchorbench.report.precipitation_figures import event_rows, shown_run

PANEL, GAP, HEAD = 200, 6, 16  # pixels
MILLISECONDS = 600


def write_events(document: Document, out: Path) -> list[Path]:
    """One GIF for each pair of factors whose runs kept an event: figures/event-x<s>-x<T>.gif."""
    paths = []
    for group, held in refined(document):
        label = shown_run(held)
        if label is None:
            continue
        path = out / "figures" / "event-{}-x{:g}-x{:g}.gif".format(group.get("id"), *held["pair"])
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures = event_pictures(held, label)
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=MILLISECONDS, loop=0)
        paths.append(path)
    return paths


def event_pictures(held: Mapping[str, Any], label: str) -> list[Image.Image]:
    """A picture an hour, its panels named; north is up."""
    rows = event_rows(held, label)[:5]
    colours, norm = rain_colours([images for _, images in rows])
    width = len(rows) * (PANEL + GAP) - GAP
    pictures = []
    for hour in range(len(rows[0][1])):
        sheet = Image.new("RGB", (width, PANEL + HEAD), "white")
        draw = ImageDraw.Draw(sheet)
        for i, (name, images) in enumerate(rows):
            shown = colours(norm(np.ma.masked_invalid(images[hour][::-1])), bytes=True)[..., :3]
            panel = Image.fromarray(np.ascontiguousarray(shown)).resize((PANEL, PANEL), Image.Resampling.NEAREST)
            sheet.paste(panel, (i * (PANEL + GAP), HEAD))
            draw.text((i * (PANEL + GAP) + 2, 2), f"{name}, hour {hour + 1}" if i == 0 else name, fill="black")
        pictures.append(sheet)
    return _of_one_palette(pictures)


def _of_one_palette(pictures: Sequence[Image.Image]) -> list[Image.Image]:
    """All with the colours of the first to have them all: a palette of its own a picture would flicker."""
    everything = Image.new("RGB", (pictures[0].width, pictures[0].height * len(pictures)))
    for i, picture in enumerate(pictures):
        everything.paste(picture, (0, i * picture.height))
    palette = everything.quantize(128)
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
