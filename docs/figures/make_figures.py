#!/usr/bin/env python3
"""Draws the pictures of docs/geometry.md into this folder.

Needs NumPy and matplotlib (Debian: python3-numpy python3-matplotlib):
    python3 docs/figures/make_figures.py
The same input gives the same bytes, so that the pictures can be kept under version control.
"""

import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyArrowPatch, Rectangle

HERE = pathlib.Path(__file__).parent
INK, BLUE, ORANGE, GREEN, GREY = "#222222", "#2166ac", "#d95f02", "#1b7837", "#9a9a9a"
PLATE = {"facecolor": "white", "edgecolor": "none", "pad": 1}

plt.rcParams.update({
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.dpi": 110,
})


def save(figure, name):
    figure.savefig(HERE / name, bbox_inches="tight", pad_inches=0.08,
                   metadata={"Software": None})
    plt.close(figure)


def letter():
    """A pattern that none of the eight symmetries leaves alone: an F, 5 rows by 5 columns."""
    return np.array([[0, 1, 1, 1, 0],
                     [0, 1, 0, 0, 0],
                     [0, 1, 1, 0, 0],
                     [0, 1, 0, 0, 0],
                     [0, 1, 0, 0, 0]])


# Each symmetry in NumPy, in the order of the API's enum.
D4 = {
    "IDENTITY": (lambda a: a, "a"),
    "FLIP_LR": (lambda a: a[:, ::-1], "a[:, ::-1]"),
    "FLIP_UD": (lambda a: a[::-1], "a[::-1]"),
    "ROT180": (lambda a: a[::-1, ::-1], "a[::-1, ::-1]"),
    "TRANSPOSE": (lambda a: a.T, "a.T"),
    "ROT90_CCW": (lambda a: a.T[::-1], "a.T[::-1]"),
    "ROT90_CW": (lambda a: a.T[:, ::-1], "a.T[:, ::-1]"),
    "ANTITRANSPOSE": (lambda a: a.T[::-1, ::-1], "a.T[::-1, ::-1]"),
}


def orientations():
    figure, axes = plt.subplots(2, 4, figsize=(7.4, 4.4))
    for axis, (name, (apply, numpy)) in zip(axes.flat, D4.items()):
        marks = np.zeros((5, 5), dtype=bool)
        marks[0, 0] = True
        row, col = np.argwhere(apply(marks))[0]
        axis.imshow(apply(letter()), cmap="Blues", vmin=0, vmax=1.5)
        axis.plot(col, row, "o", color=ORANGE, markersize=8)
        axis.set_xticks(np.arange(-0.5, 5), [])
        axis.set_yticks(np.arange(-0.5, 5), [])
        axis.grid(color="white", linewidth=1)
        axis.tick_params(length=0)
        axis.set_title(f"{name}\n{numpy}", family="DejaVu Sans Mono", fontsize=8)
    figure.tight_layout()
    save(figure, "orientations.png")


def detector_frame(shape, centre, width=3.2, seed=7):
    """Speckle-like counts around `centre` (row, col)."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    radius = np.hypot(y - centre[0], x - centre[1])
    spikes = 1 + 1.6 * np.cos(2 * np.arctan2(y - centre[0], x - centre[1]) + 0.6) ** 8
    return rng.poisson(900 * spikes * np.exp(-radius / width))


def show_counts(axis, counts, title):
    axis.imshow(np.log1p(counts), cmap="magma", vmin=0, vmax=np.log1p(1500))
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title(title)


def frame_path():
    """Orientation, crop, untrusted pixels, zero frequency to the corner."""
    sent = detector_frame((40, 52), (22, 29))
    sent[5:9, 8:44] = 0  # A gap between modules, to have a direction.
    hot = (27, 20)
    sent[hot] = 65535
    oriented = sent.T[:, ::-1]
    marks = np.zeros(sent.shape, dtype=bool)
    marks[hot] = True
    marks = marks.T[:, ::-1]
    beam = np.zeros(sent.shape, dtype=bool)
    beam[22, 29] = True
    row, col = np.argwhere(beam.T[:, ::-1])[0]
    side = 24
    top, left = row - side // 2, col - side // 2
    window = np.s_[top:top + side, left:left + side]
    cropped = oriented[window].astype(float)
    cropped[marks[window]] = np.nan
    corner = np.fft.ifftshift(cropped)

    figure, axes = plt.subplots(1, 4, figsize=(9.2, 2.9))
    show_counts(axes[0], sent, "as sent\nframe_shape 40 × 52")
    show_counts(axes[1], oriented, "1  orientation\nROT90_CW → 52 × 40")
    axes[1].add_patch(Rectangle((left - 0.5, top - 0.5), side, side, fill=False, color="white",
                                linewidth=1.5))
    axes[1].annotate("crop", (left, top - 1.2), color="white")
    show_counts(axes[2], cropped, "2  crop 24 × 24\n3  untrusted pixel marked")
    show_counts(axes[3], corner, "4  zero frequency\nto [0, 0]")
    for axis in axes[2:]:
        axis.set_facecolor("#35c9c9")
    axes[2].plot(side // 2, side // 2, "+", color=GREEN, markersize=9, markeredgewidth=1.8)
    axes[2].annotate("[12, 12]", (side // 2 + 1.2, side // 2 + 4.2), color="white", fontsize=8)
    axes[3].annotate("[0, 0]", (3.2, 2.6), color="white", fontsize=8)
    for left_axis, right_axis in zip(axes[:-1], axes[1:]):
        figure.add_artist(FancyArrowPatch(
            (left_axis.get_position().x1 + 0.004, 0.46),
            (right_axis.get_position().x0 - 0.004, 0.46),
            transform=figure.transFigure, arrowstyle="-|>", mutation_scale=11, color=INK))
    save(figure, "frame_path.png")


def lattice():
    """A position, its window, and the remainder."""
    side, position = 8, (6.35, 8.7)  # In pixels: y, x.
    corner = (position[0] - side / 2, position[1] - side / 2)
    row, col = int(np.floor(corner[0])), int(np.floor(corner[1]))
    fy, fx = corner[0] - row, corner[1] - col

    figure, (axis, detail) = plt.subplots(1, 2, figsize=(9.0, 4.3),
                                          gridspec_kw={"width_ratios": [1.55, 1]})
    y, x = np.mgrid[-1:13, -1:16]
    axis.plot(x.ravel(), y.ravel(), ".", color=GREY, markersize=3)
    axis.plot(0, 0, "o", color=INK, markersize=6)
    axis.annotate("pixel (0, 0)\nat 0 m", (0.35, 0.05), fontsize=8, color=INK, va="center",
                  bbox=PLATE)
    axis.add_patch(Rectangle((col, row), side - 1, side - 1, fill=False, color=BLUE, linewidth=1.4))
    axis.annotate(f"integer corner ({row}, {col})", (col, row), (col + 0.6, row - 1.5), color=BLUE,
                  bbox=PLATE, arrowprops={"arrowstyle": "->", "color": BLUE})
    ys, xs = np.mgrid[0:side, 0:side]
    axis.plot(xs.ravel() + corner[1], ys.ravel() + corner[0], "x", color=ORANGE, markersize=4)
    axis.add_patch(plt.Circle(position[::-1], 2.4, fill=False, color=ORANGE, linestyle="--"))
    axis.plot(*position[::-1], "+", color=ORANGE, markersize=14, markeredgewidth=2)
    axis.annotate("position (y, x):\nbeam's centre,\nprobe pixel [N/2, N/2]", position[::-1],
                  (12.4, 9.7), color=ORANGE, fontsize=8, bbox=PLATE,
                  arrowprops={"arrowstyle": "->", "color": ORANGE})
    for target in ((16.4, -1.8), (-2.2, 13.0)):
        axis.annotate("", target, (-2.2, -1.8), arrowprops={"arrowstyle": "-|>", "color": INK})
    axis.text(13.2, -2.3, "+x, columns", fontsize=8)
    axis.text(-2.05, 12.6, "+y, rows", fontsize=8)
    axis.set_xlim(-2.6, 16.8)
    axis.set_ylim(13.3, -2.9)
    axis.set_aspect("equal")
    axis.axis("off")
    axis.set_title("object lattice (dots), one window of N = 8 (crosses)")

    for dy in (0, 1):
        for dx in (0, 1):
            weight = (fy if dy else 1 - fy) * (fx if dx else 1 - fx)
            detail.plot(dx, dy, "o", color=BLUE, markersize=5 + 22 * weight, alpha=0.8)
            name = {(0, 0): "(1−f_y)(1−f_x)", (0, 1): "(1−f_y) f_x", (1, 0): "f_y (1−f_x)",
                    (1, 1): "f_y f_x"}[(dy, dx)]
            detail.annotate(f"{name}\n= {weight:.2f}", (dx, dy + (0.21 if dy else -0.21)),
                            ha="center", va="top" if dy else "bottom", fontsize=8)
    detail.plot(fx, fy, "x", color=ORANGE, markersize=10, markeredgewidth=2)
    detail.plot([0, fx], [fy, fy], ":", color=ORANGE)
    detail.plot([fx, fx], [0, fy], ":", color=ORANGE)
    detail.annotate(f"f_x = {fx:.2f}", (fx / 2, fy + 0.06), ha="center", va="top", color=ORANGE,
                    fontsize=8)
    detail.annotate(f"f_y = {fy:.2f}", (fx + 0.03, fy / 2), va="center", color=ORANGE,
                    fontsize=8)
    detail.set_xlim(-0.5, 1.5)
    detail.set_ylim(1.6, -0.6)
    detail.set_aspect("equal")
    detail.axis("off")
    detail.set_title("each cross is interpolated between four dots")
    figure.tight_layout()
    save(figure, "lattice.png")


def canvas():
    """The canvas of announced bounds, and a growing one."""
    figure, (fixed, growing) = plt.subplots(1, 2, figsize=(9.2, 4.1))
    frame, span, pad = 64, (90, 130), 16

    def box(axis, left, top, width, height, colour, label, where=None, **style):
        axis.add_patch(Rectangle((left, top), width, height, fill=False, color=colour,
                                 linewidth=1.5, **style))
        if label:
            axis.annotate(label, where or (left + 2, top - 3), color=colour, fontsize=8)

    rows, cols = frame + span[0] + pad, frame + span[1] + pad
    box(fixed, 0, 0, cols, rows, INK, f"canvas: N + ⌈range / pixel⌉ + padding = {rows} × {cols}")
    first = (pad // 2, pad // 2)
    scanned = (first[1] + frame // 2, first[0] + frame // 2)
    fixed.add_patch(Rectangle(scanned, span[1], span[0], color=GREEN, alpha=0.13))
    box(fixed, *scanned, span[1], span[0], GREEN, "scanned area = bounds",
        (scanned[0] + 3, scanned[1] + span[0] - 4))
    box(fixed, first[1], first[0], frame, frame, BLUE, "window of\n(y_min, x_min)",
        (first[1] + 3, first[0] + 18))
    box(fixed, first[1] + span[1], first[0] + span[0], frame, frame, BLUE,
        "window of\n(y_max, x_max)", (first[1] + span[1] + 3, first[0] + span[0] + frame - 4))
    fixed.annotate("padding / 2", (first[1] + 12, 4), fontsize=7.5, color=GREY, va="center")
    fixed.plot(*scanned, "+", color=BLUE, markersize=9, markeredgewidth=1.6)
    fixed.plot(scanned[0] + span[1], scanned[1] + span[0], "+", color=BLUE, markersize=9,
               markeredgewidth=1.6)
    fixed.set_title("scan.bounds given: fixed canvas")

    rng = np.random.default_rng(3)
    line = np.arange(30, 190, 13.0)
    ys, xs = np.meshgrid(np.arange(40, 120, 13.0), line, indexing="ij")
    ys = ys + rng.uniform(-3, 3, ys.shape)
    xs = xs + rng.uniform(-3, 3, xs.shape)
    third = slice(0, 2)
    growing.plot(xs[third].ravel(), ys[third].ravel(), ".", color=BLUE)
    growing.plot(xs[2:].ravel(), ys[2:].ravel(), ".", color=ORANGE)
    half = frame / 2

    def around(x, y):
        return x.min() - half, y.min() - half, np.ptp(x) + frame + 1, np.ptp(y) + frame + 1

    left, top, width, height = around(xs[third], ys[third])
    room = (frame // 4, max(frame, width) // 4)
    box(growing, left - room[1], top - room[0], width + 2 * room[1], height + 2 * room[0], BLUE,
        "canvas after two lines", (left - room[1] + 3, top - room[0] + 11), linestyle="--")
    new_left, new_top, new_width, new_height = around(xs, ys)
    bottom = new_top + new_height + new_height // 4
    right = max(left + width + room[1], new_left + new_width)
    start = min(left - room[1], new_left)
    box(growing, start, top - room[0], right - start, bottom - top + room[0], ORANGE,
        "canvas at the end: nothing has moved", (start + 3, bottom - 4))
    growing.set_title("no bounds: the canvas grows towards new positions")
    for axis, limits in ((fixed, (-8, cols + 8, rows + 8, -14)),
                         (growing, (-75, 290, bottom + 10, -60))):
        axis.set_xlim(limits[0], limits[1])
        axis.set_ylim(limits[2], limits[3])
        axis.set_aspect("equal")
        axis.axis("off")
    figure.tight_layout()
    save(figure, "canvas.png")


def encoder():
    """Samples to positions."""
    per_frame, frames = 10, 4
    sample = np.arange(per_frame * frames)
    rng = np.random.default_rng(5)
    counts = 100 + 3.0 * sample + rng.normal(0, 3.0, sample.size)
    figure, axis = plt.subplots(figsize=(7.6, 2.9))
    missing = sample[23:27]
    have = np.setdiff1d(sample, missing)
    axis.plot(have, counts[have], ".", color=BLUE, label="encoder samples")
    for k in range(frames):
        begin = k * per_frame
        axis.axvspan(begin - 0.5, begin + per_frame - 0.5, color=GREY, alpha=0.18 if k % 2 else 0.06,
                     linewidth=0)
        axis.text(begin + 4.5, 232, f"frame {k}", ha="center", fontsize=8)
        if k == 2:
            axis.text(begin + 4.5, 105, "samples missing:\nno position (yet)", ha="center",
                      fontsize=8, color=ORANGE)
            continue
        mean = counts[begin:begin + per_frame].mean()
        axis.hlines(mean, begin - 0.4, begin + per_frame - 0.6, color=ORANGE, linewidth=2,
                    label="mean → position" if k == 0 else None)
    axis.set_xlim(-0.5, sample.size - 0.5)
    axis.set_ylim(90, 245)
    axis.set_xlabel("sample index (samples_per_frame = 10, first_frame_id = 0)")
    axis.set_ylabel("counts")
    axis.legend(loc="lower right", fontsize=8, framealpha=1)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    save(figure, "encoder.png")


def auto_centre():
    """Mean frame, threshold, largest component, crop."""
    shape, side = (64, 80), 32
    mean = np.mean([detector_frame(shape, (27, 49), width=3.6, seed=s) for s in range(64)], axis=0)
    mean[48:51, 10:13] = 150  # A reflection: smaller than the beam.
    above = mean > 0.02 * mean.max()
    labels = components(above)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    beam = labels == sizes.argmax()
    rows, cols = np.nonzero(beam)
    box = rows.min(), rows.max(), cols.min(), cols.max()
    centre = (box[0] + box[1] + 1) // 2, (box[2] + box[3] + 1) // 2
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.1))
    show_counts(axes[0], mean, "mean of the first frames")
    axes[1].imshow(above.astype(int) + beam, cmap="Blues", vmin=0, vmax=2.6)
    axes[1].set_xticks([])
    axes[1].set_yticks([])
    axes[1].set_title("above threshold · peak; the largest component")
    axes[1].add_patch(Rectangle((box[2] - 0.5, box[0] - 0.5), box[3] - box[2] + 1,
                                box[1] - box[0] + 1, fill=False, color=ORANGE, linewidth=1.4))
    axes[1].plot(centre[1], centre[0], "+", color=ORANGE, markersize=11, markeredgewidth=2)
    for axis, colour in ((axes[0], "white"), (axes[1], INK)):
        axis.add_patch(Rectangle((centre[1] - side // 2 - 0.5, centre[0] - side // 2 - 0.5), side,
                                 side, fill=False, color=colour, linewidth=1.4, linestyle="--"))
        axis.annotate("crop", (centre[1] - side // 2 + 1, centre[0] - side // 2 + 3.4), color=colour,
                      fontsize=8)
    figure.tight_layout()
    save(figure, "auto_centre.png")


def components(mask):
    """Labels of 4-connected components."""
    labels = np.zeros(mask.shape, dtype=int)
    count = 0
    for start in np.argwhere(mask):
        if labels[tuple(start)]:
            continue
        count += 1
        stack = [tuple(start)]
        while stack:
            row, col = stack.pop()
            inside = 0 <= row < mask.shape[0] and 0 <= col < mask.shape[1]
            if not inside or not mask[row, col] or labels[row, col]:
                continue
            labels[row, col] = count
            stack += [(row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)]
    return labels


if __name__ == "__main__":
    for draw in (orientations, frame_path, lattice, canvas, encoder, auto_centre):
        draw()
