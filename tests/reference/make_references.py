#!/usr/bin/env python3
"""Writes small random problems and what the engine must make of them:  make_references.py FOLDER"""
import copy
import pathlib
import sys

import numpy as np

import algorithms
from algorithms import Regulariser
from model import Problem, fft2, ifft2

ROWS, COLS = 12, 16          # Not square, so that mixed-up axes show.
ODD = (11, 15)
CANVAS = (36, 44)
MANY_POINTS = 1153           # Enough for samples of every second point and every tenth.
ITERATIONS = 3               # The first without a past, the others from a state without symmetry.


def smooth(rng, shape, width):
    """Complex noise, blurred over about `width` pixels, of unit mean square."""
    noise = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None, :]
    noise = ifft2(fft2(noise) * np.exp(-2 * (np.pi * width) ** 2 * (ky ** 2 + kx ** 2)))
    return noise / np.sqrt(np.mean(np.abs(noise) ** 2))


def few_windows():
    return np.array([[0, 0, 0, 0], [1, 5, 0.25, 0.75], [2, 11, 0.5, 0], [9, 3, 0, 0.375],
                     [10, 9, 0.9375, 0.0625], [11, 20, 0.125, 0.5], [20, 26, 0.3, 0.7]])


def many_windows(rng):
    """At random, so that each sample of them differs from the others and from all."""
    corners = rng.integers([0, 0], [CANVAS[0] - ROWS, CANVAS[1] - COLS], (MANY_POINTS, 2))
    return np.hstack([corners, rng.random((MANY_POINTS, 2))])


def make_problem(rng, windows, modes=1, shape=(ROWS, COLS), object_modes=1):
    """Noisy frames of a smooth object with untrusted pixels, and a wrong state to start from.

    Further modes are as bright as the first and not orthogonal to it, so that all of them matter.
    """
    windows[:, 2:] = windows[:, 2:].astype(np.float32)  # As the engine holds them.
    y, x = np.mgrid[:shape[0], :shape[1]]
    envelope = np.exp(-((y - shape[0] / 2) ** 2 + (x - shape[1] / 2) ** 2) / 18)
    probe = np.array([12 * envelope * smooth(rng, shape, 1.5) for _ in range(modes)])
    obj = np.array([np.exp(0.3 * smooth(rng, CANVAS, 2)) for _ in range(object_modes)])
    truth = Problem(np.ones((len(windows), *shape)), windows, probe, obj)
    frames = np.array([rng.poisson(truth.intensity(j)) for j in range(len(windows))], float)
    frames[rng.random(frames.shape) < 0.05] = -1
    start_probe = np.array([p * (1 + 0.2 * smooth(rng, p.shape, 2)) for p in probe])
    start_obj = np.array([o * (1 + 0.15 * smooth(rng, o.shape, 1.5)) for o in obj])
    return Problem(frames, windows, start_probe.astype(np.complex64),
                   start_obj.astype(np.complex64))


def save(folder, **arrays):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array))


def save_problem(folder, problem):
    save(folder, frames=problem.frames, windows=problem.windows, probe=problem.probe,
         object=problem.obj, fit=problem.fit(), frame_fits=problem.frame_fits(), coverage=problem.coverage(),
         waves=[problem.wave(j) for j in range(len(problem))])


def save_case(folder, problem, run):
    """Runs ITERATIONS of `run(problem, waves, kept)`, writes the metrics of each and the state."""
    problem = copy.deepcopy(problem)
    waves = [problem.wave(j) for j in range(len(problem))]
    kept = np.zeros(len(problem))
    metrics = [run(problem, waves, kept) for _ in range(ITERATIONS)]
    save(folder, object=problem.obj, probe=problem.probe, waves=waves, metrics=metrics,
         coverage=problem.coverage())


def difference_map_cases(out, problem):
    used = []
    dm = algorithms.difference_map

    def mixed(q, w, kept):
        used.extend(kept)
        return dm(q, w, kept, Regulariser(), sigma2=0.5)

    save_case(out / "dm_sigma2", problem, mixed)
    assert {0, 1} < set(used), "nothing, a part and all of the deviation must be kept somewhere"
    save_case(out / "dm_default", problem, lambda q, w, k: dm(q, w, k, Regulariser()))
    save_case(out / "dm_absolute", problem,
              lambda q, w, k: dm(q, w, k, Regulariser(absolute=1e-3), beta=0.6, relaxation=0.3))
    save_case(out / "raar", problem,
              lambda q, w, k: dm(q, w, k, Regulariser(), beta=0.9, name="raar"))
    save_case(out / "raar_sigma2", problem,
              lambda q, w, k: dm(q, w, k, Regulariser(absolute=1e-3), beta=0.75, sigma2=0.5,
                                 name="raar"))
    save_case(out / "ap", problem, lambda q, w, k: dm(q, w, k, Regulariser(), name="ap"))
    save_case(out / "dm_limits", problem,
              lambda q, w, k: dm(q, w, k, Regulariser(), amplitude=(0.8, 1.1), phase=(-0.2, 0.1)))


def mode_cases(out, name, problem):
    ml = algorithms.ml_gradient
    save_case(out / f"dm_{name}", problem,
              lambda q, w, k: algorithms.difference_map(q, w, k, Regulariser()))
    save_case(out / f"raar_{name}", problem,
              lambda q, w, k: algorithms.difference_map(q, w, k, Regulariser(), beta=0.9,
                                                        name="raar"))
    save_case(out / f"ap_{name}", problem,
              lambda q, w, k: algorithms.difference_map(q, w, k, Regulariser(), name="ap"))
    save_case(out / f"rpie_{name}", problem,
              lambda q, w, k: algorithms.epie(q, 0.7, 0.4, 0, 0.3, 0.6))
    save_case(out / f"ml_poisson_{name}", problem, lambda q, w, k: ml(q, Regulariser()))
    save_case(out / f"ml_momentum_{name}", problem,
              lambda q, w, k: ml(q, Regulariser(), momentum=0.9))
    save_case(out / f"ml_gaussian_{name}", problem, lambda q, w, k: ml(q, Regulariser(), "gaussian"))
    save_case(out / f"epie_{name}", problem, lambda q, w, k: algorithms.epie(q, 0.7, 0.4))
    save_case(out / f"lsq_{name}", problem, lambda q, w, k: algorithms.lsq_ml(q, size=3))


def lsq_cases(out, problem):
    def case(name, **settings):
        save_case(out / name, problem, lambda q, w, k: algorithms.lsq_ml(q, **settings))

    case("lsq_default")
    case("lsq_sparse", size=3)
    case("lsq_compact", size=2, kind="compact", object_step=0.9, probe_step=0.7)
    case("lsq_poisson", size=4, likelihood="poisson", momentum=0)
    case("lsq_absolute", size=3, regulariser=Regulariser(absolute=2.0), momentum=0.4)
    case("lsq_object_alone", size=3, update=(True, False))
    case("lsq_probe_alone", size=3, update=(False, True))


def probe_cases(out, problem, rng):
    mean = np.array([np.where(t, a, 0) for a, t in zip(problem.amplitude, problem.trusted)]).mean(0)
    mean = mean.astype(np.float32)
    cold = np.fft.fftshift(np.fft.ifft2(mean.astype(float))) * np.sqrt(mean.size)

    # Chosen so that some of the waves are evanescent.
    wavelength, pixel_y, pixel_x, distance = 1e-9, 0.6e-9, 0.9e-9, 4e-9
    fy = np.fft.fftfreq(ROWS, pixel_y)[:, None]
    fx = np.fft.fftfreq(COLS, pixel_x)[None, :]
    cos2 = 1 - (wavelength * fy) ** 2 - (wavelength * fx) ** 2
    assert (cos2 < 0).any() and (cos2 > 0).any()
    transfer = np.where(cos2 >= 0,
                        np.exp(2j * np.pi * distance / wavelength * np.sqrt(np.maximum(cos2, 0))), 0)
    save(out / "probe", mean=mean, cold=cold, propagated=ifft2(fft2(problem.probe[0]) * transfer),
         optics=[wavelength, pixel_y, pixel_x, distance])


def main():
    out = pathlib.Path(sys.argv[1])
    rng = np.random.default_rng(20240607)
    problem = make_problem(rng, few_windows())
    save_problem(out / "problem", problem)
    difference_map_cases(out, problem)
    ml = algorithms.ml_gradient
    save_case(out / "ml_poisson", problem, lambda q, w, k: ml(q, Regulariser()))
    save_case(out / "ml_gaussian", problem, lambda q, w, k: ml(q, Regulariser(), "gaussian"))
    save_case(out / "ml_absolute", problem,
              lambda q, w, k: ml(q, Regulariser(absolute=2.0), epsilon=0.5, cap=1.5, step=0.7))
    save_case(out / "ml_momentum", problem, lambda q, w, k: ml(q, Regulariser(), momentum=0.9))
    save_case(out / "ml_momentum_small", problem,
              lambda q, w, k: ml(q, Regulariser(), "gaussian", momentum=0.2))
    save_case(out / "ml_uphill", problem,
              lambda q, w, k: ml(q, Regulariser(), "gaussian", step=2.0, momentum=0.9))
    for name, max_batch in (("epie", 0), ("epie_pairs", 2), ("epie_sequential", 1)):
        save_case(out / name, problem, lambda q, w, k: algorithms.epie(q, 0.7, 0.4, max_batch))
    for name, max_batch in (("rpie", 0), ("rpie_sequential", 1)):
        save_case(out / name, problem,
                  lambda q, w, k: algorithms.epie(q, 0.7, 0.4, max_batch, 0.2, 0.5))
    lsq_cases(out, problem)
    probe_cases(out, problem, rng)

    many = make_problem(rng, many_windows(rng))
    save_problem(out / "many_points", many)
    save_case(out / "dm_sample", many,
              lambda q, w, k: algorithms.difference_map(q, w, k, Regulariser()))
    save_case(out / "ml_sample", many, lambda q, w, k: ml(q, Regulariser()))
    save_case(out / "epie_many", many, lambda q, w, k: algorithms.epie(q))
    save_case(out / "lsq_many", many, lambda q, w, k: algorithms.lsq_ml(q))

    for modes in (1, 2, 4):
        several = make_problem(rng, few_windows(), modes, ODD)
        save_problem(out / f"modes{modes}", several)
        mode_cases(out, f"modes{modes}", several)
    for modes, object_modes in ((1, 2), (2, 2), (1, 3)):
        several = make_problem(rng, few_windows(), modes, ODD, object_modes)
        name = f"objects{object_modes}_modes{modes}"
        save_problem(out / name, several)
        mode_cases(out, name, several)
    (out / "complete").touch()


if __name__ == "__main__":
    main()
