"""One iteration of each algorithm; every function changes `problem` and returns its metrics.

Waves of a point are (object modes * probe modes, rows, cols). The detector sees the sum of their
intensities.
"""
import copy

import numpy as np
from model import fft2, ifft2


def fit_stride(points):
    """Every so many-th point is in the sample of the fit: at most 128."""
    return -(-points // 128)


def probe_stride(points):
    """The same for the difference map's probe: at least 512, or all."""
    return max(1, points // 512)


def _norm(a):
    return np.sqrt((np.abs(a) ** 2).sum())


def _limit(values, amplitude, phase):
    if amplitude is not None:
        lowest, highest = amplitude
        values = np.clip(np.abs(values), lowest, highest) * np.exp(1j * np.angle(values))
    if phase is not None:
        lowest, highest = phase
        values = np.abs(values) * np.exp(1j * np.clip(np.angle(values), lowest, highest))
    return values


def _changed(old, new, where):
    return _norm((new - old)[..., where]) / _norm(new[..., where])


class Regulariser:
    def __init__(self, relative=0.02, absolute=None):
        self.relative, self.absolute = relative, absolute

    def replace(self, old, num, den):
        seen = den > 0
        if self.absolute is None:
            delta = self.relative * den.max()
            new = (num + delta * old) / np.where(seen, den + delta, 1)
        else:
            new = num / np.where(seen, den + self.absolute, 1)
        return np.where(seen, new, old)

    def step(self, old, num, den, alpha):
        seen = den > 0
        delta = self.relative * den.max() if self.absolute is None else self.absolute
        return np.where(seen, old + alpha * num / np.where(seen, den + delta, 1), old)


def _object_sums(problem, waves):
    num = np.zeros(problem.obj.shape, complex)
    for j, wave in enumerate(waves):
        problem.scatter(j, _seen_by_object(problem, wave), num)
    return num, problem.coverage()


def _seen_by_object(problem, wave):
    return (np.conj(problem.probe) * problem.by_modes(wave)).sum(1)


def _seen_by_probe(problem, j, wave):
    return (np.conj(problem.window(j))[:, None] * problem.by_modes(wave)).sum(0)


def _probe_numerator(problem, waves, points):
    return sum(_seen_by_probe(problem, j, waves[j]) for j in points)


def _probe_denominator(problem, points):
    return sum((np.abs(problem.window(j)) ** 2).sum(0) for j in points)


def _project(name, beta, psi, p, projected):
    """The new exit wave; `projected` is the modulus projection of a wave."""
    if name == "dm":
        return psi + beta * (projected(2 * p - psi) - p)
    if name == "raar":
        reflected = 2 * projected(2 * p - psi) - (2 * p - psi)
        return beta / 2 * (reflected + psi) + (1 - beta) * p
    return projected(p)


def difference_map(problem, waves, kept, regulariser, beta=0.9, relaxation=0.8, sigma2=None,
                   amplitude=None, phase=None, name="dm"):
    """`kept[j]` is the part of the deviation that is left in frame j; it is set anew for the next.

    `name`: dm, raar or ap, which differ in what becomes of the exit waves.
    """
    metrics = list(problem.errors(fit_stride(len(problem))))
    def projected(wave):
        trial = fft2(wave)
        good, d = problem.trusted[j], problem.amplitude[j]
        modulus = np.sqrt((np.abs(trial) ** 2).sum(0))
        dev = np.where(good, modulus - d, 0)
        power = (dev ** 2).sum() / dev.size
        tolerated = sigma2
        if tolerated is None:
            tolerated = relaxation * np.minimum(0.25, problem.counts[j])[good].sum() / dev.size
        trial = trial * np.where(good, (d + dev * kept[j]) / modulus, 1)
        kept[j] = np.sqrt(min(1, tolerated / power))
        return ifft2(trial)

    for j in range(len(problem)):
        waves[j] = _project(name, beta, waves[j], problem.wave(j), projected)

    num, den = _object_sums(problem, waves)
    old, seen = problem.obj, den > 0
    new = regulariser.replace(old, num, den)
    problem.obj = np.where(seen, _limit(new, amplitude, phase), old)
    metrics.append(_changed(old, problem.obj, seen))

    sample = range(0, len(problem), probe_stride(len(problem)))
    old = problem.probe
    problem.probe = regulariser.replace(old, _probe_numerator(problem, waves, sample),
                                        _probe_denominator(problem, sample))
    metrics.append(_changed(old, problem.probe, slice(None)))
    return metrics + [0.0]


def _accelerated(problem, object_move, probe_move, object_num, probe_num, momentum):
    """What is added to object and probe; `problem.velocities` keeps them and their iterations."""
    v_obj, v_probe, iterations = getattr(problem, "velocities", (0, 0, 0))
    along = (np.conj(object_num) * v_obj).real.sum() + (np.conj(probe_num) * v_probe).real.sum()
    if along < 0:
        v_obj, v_probe, iterations = 0, 0, 0
    mu = min(momentum, iterations / (iterations + 2))
    v_obj, v_probe = mu * v_obj + object_move, mu * v_probe + probe_move
    problem.velocities = v_obj, v_probe, iterations + 1
    return object_move + mu * v_obj, probe_move + mu * v_probe


def _gradient(problem, j, likelihood, epsilon=0.05, cap=5.0):
    """The inverse transform of g psi at point j, and its two sums of the Newton step."""
    psi = fft2(problem.wave(j))
    good = problem.trusted[j]
    intensity = (np.abs(psi) ** 2).sum(0)
    if likelihood == "poisson":
        model, data = intensity, problem.counts[j]
        g = np.where(good, np.minimum((data - model) / (model + epsilon), cap), 0)
        sums = (g ** 2 * model).sum(), (g ** 2 * (model + data)).sum()
    else:
        model, data = np.sqrt(intensity), problem.amplitude[j]
        g = np.where(good, np.minimum((data - model) / (model + epsilon), cap), 0)
        sums = (g * model * (data - model)).sum(), (g ** 2 * model ** 2).sum()
    return ifft2(g * psi), *sums


def ml_gradient(problem, regulariser, likelihood="poisson", epsilon=0.05, cap=5.0, step=1.0,
                momentum=0):
    everyone, sample = (range(0, len(problem), s) for s in (1, fit_stride(len(problem))))
    metrics = list(problem.errors(sample.step))
    waves = []
    top = bottom = 0.0
    for j in everyone:
        wave, upper, lower = _gradient(problem, j, likelihood, epsilon, cap)
        waves.append(wave)
        top += upper
        bottom += lower
    alpha = step * top / bottom
    if likelihood != "poisson":
        alpha /= 2  # Shared by object and probe.

    num, den = _object_sums(problem, waves)
    probe_num = _probe_numerator(problem, waves, everyone)
    probe_den = _probe_denominator(problem, sample) * (len(everyone) / len(sample))
    object_move = regulariser.step(0, num, den, alpha)
    probe_move = regulariser.step(0, probe_num, probe_den, alpha)
    if momentum > 0:
        object_move, probe_move = _accelerated(problem, object_move, probe_move, num, probe_num,
                                               momentum)
    old = problem.obj
    problem.obj = old + object_move
    metrics.append(_changed(old, problem.obj, den > 0))
    old = problem.probe
    problem.probe = old + probe_move
    metrics.append(_changed(old, problem.probe, slice(None)))
    return metrics + [alpha]


def pie_batches(problem, max_batch=0):
    """Colours the points so that those less than a third of a window apart differ."""
    points = len(problem)
    if max_batch == 1:
        return [[j] for j in range(points)]
    limit = max_batch if max_batch > 0 else points
    corners = problem.windows[:, :2].astype(int)
    spacing = -(-np.array(problem.probe.shape[1:]) // 3)
    distance = np.abs(corners[:, None] - corners[None, :])
    close = (distance < spacing).all(-1) & ~np.eye(points, dtype=bool)

    batches = []
    for j in range(points):
        for batch in batches:
            if len(batch) < limit and not close[j, batch].any():
                batch.append(j)
                break
        else:
            batches.append([j])
    fair = -(-points // len(batches))
    for j in reversed(range(points)):
        own = next(batch for batch in batches if j in batch)
        free = [b for b in batches if len(b) < fair and not close[j, b].any() and b is not own]
        if len(own) > fair and free:
            smallest = min(free, key=len)
            own.remove(j)
            smallest.append(j)
    return [sorted(batch) for batch in batches]


def _divisor(weights, largest, alpha):
    return (1 - alpha) * weights + alpha * np.maximum(weights, largest)


def epie(problem, object_step=0.8, probe_step=0.8, max_batch=0, object_alpha=1, probe_alpha=1):
    metrics = list(problem.errors(fit_stride(len(problem))))
    old_obj, old_probe = problem.obj.copy(), problem.probe.copy()
    for batch in pie_batches(problem, max_batch):
        intensity = (np.abs(problem.probe) ** 2).sum(0)
        object_sum, light = np.zeros_like(problem.obj), np.zeros(problem.obj.shape[1:])
        probe_sum, seen = np.zeros_like(problem.probe), np.zeros(problem.probe.shape[1:])
        for j in batch:
            wave = problem.wave(j)
            psi = fft2(wave)
            good, d = problem.trusted[j], problem.amplitude[j]
            modulus = np.sqrt((np.abs(psi) ** 2).sum(0))
            corrected = psi * np.where(good, d / modulus, 1)
            delta = ifft2(corrected) - wave
            problem.scatter(j, _seen_by_object(problem, delta), object_sum)
            problem.scatter(j, intensity, light)
            probe_sum += _seen_by_probe(problem, j, delta)
            seen += _probe_denominator(problem, [j])
        problem.obj = problem.obj + object_step * object_sum / _divisor(light, intensity.max(),
                                                                        object_alpha)
        problem.probe = problem.probe + probe_step * probe_sum / _divisor(seen, seen.max(),
                                                                          probe_alpha)
    return metrics + [_changed(old_obj, problem.obj, problem.coverage() > 0),
                      _changed(old_probe, problem.probe, slice(None)), 0.0]


def _along_curve(y, x, side):
    """How far along the Hilbert curve through a square of `side` pixels, a power of 2, it is."""
    if side == 1:
        return 0
    half = side // 2
    quarter = half * half
    if y < half:
        if x < half:
            return _along_curve(x, y, half)
        return 3 * quarter + _along_curve(side - 1 - x, half - 1 - y, half)
    return (1 if x < half else 2) * quarter + _along_curve(y - half, x % half, half)


def curve_batches(problem, kind, size=0):
    """Runs of the curve through the windows' corners, or every so many-th point of it."""
    points = len(problem)
    corners = problem.windows[:, :2].astype(int)
    corners -= corners.min(0)
    side = 2 ** int(corners.max()).bit_length()
    curve = sorted(range(points), key=lambda j: _along_curve(*corners[j], side))
    size = size or max(-(-points // 16), min(-(-points // 5), 16))
    count = -(-points // size)
    if kind == "sparse":
        return [sorted(curve[b::count]) for b in range(count)]
    return [sorted(curve[points * b // count:points * (b + 1) // count]) for b in range(count)]


def _direction(num, den, regulariser):
    return regulariser.step(0, num, den, 1)


def _least(matrix, right):
    """The least of x matrix x / 2 - right x among x >= 0."""
    best = np.zeros(2)
    for used in ([0], [1], [0, 1]):
        x = np.zeros(2)
        x[used] = np.linalg.lstsq(matrix[np.ix_(used, used)], right[used], rcond=None)[0]
        cost = [x @ matrix @ x / 2 - right @ x for x in (x, best)]
        if (x >= 0).all() and cost[0] < cost[1]:
            best = x
    return best


def lsq_ml(problem, regulariser=Regulariser(0.3), likelihood="gaussian", object_step=0.5,
           probe_step=0.5, kind="sparse", size=0, momentum=0.9, update=(True, True)):
    """Steps by linear algebra on the waves themselves; `update`: object, probe."""
    metrics = list(problem.errors(fit_stride(len(problem))))
    old_obj, old_probe = problem.obj.copy(), problem.probe.copy()
    v_obj, v_probe, iterations = getattr(problem, "velocities", (0, 0, 0))
    mu = min(momentum, iterations / (iterations + 2))
    problem.obj = problem.obj + mu * v_obj * update[0]
    problem.probe = problem.probe + mu * v_probe * update[1]
    batches = curve_batches(problem, kind, size)
    object_steps = []
    for batch in batches:
        waves, uppers, lowers = zip(*(_gradient(problem, j, likelihood) for j in batch))
        chi = np.array(waves) * (sum(uppers) / sum(lowers))
        num, den = np.zeros_like(problem.obj), np.zeros(problem.obj.shape[1:])
        for wave, j in zip(chi, batch):
            problem.scatter(j, _seen_by_object(problem, wave), num)
            problem.scatter(j, (np.abs(problem.probe) ** 2).sum(0), den)
        obj = _direction(num, den, regulariser)
        probe = _direction(_probe_numerator(problem, dict(zip(batch, chi)), batch),
                           _probe_denominator(problem, batch), regulariser)
        with_object, with_probe = copy.copy(problem), copy.copy(problem)
        with_object.obj, with_probe.probe = obj, probe
        along = [np.array([moved.wave(j) for j in batch]) * used
                 for moved, used in zip((with_object, with_probe), update)]
        matrix = np.array([[np.vdot(a, b).real for a in along] for b in along])
        matrix[np.diag_indices(2)] *= 1 + 1e-3
        right = np.array([np.vdot(a, chi).real for a in along])
        steps = _least(matrix, right)
        problem.obj = problem.obj + object_step * steps[0] * obj
        problem.probe = problem.probe + probe_step * steps[1] * probe
        object_steps.append(steps[0])
    if momentum > 0:
        problem.velocities = problem.obj - old_obj, problem.probe - old_probe, iterations + 1
    changes = [_changed(old_obj, problem.obj, problem.coverage() > 0) if update[0] else 0.0,
               _changed(old_probe, problem.probe, slice(None)) if update[1] else 0.0]
    return metrics + changes + [np.mean(object_steps)]
