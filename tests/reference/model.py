"""Forward model in double precision: the definitions, written out plainly."""
import numpy as np


def fft2(a):
    return np.fft.fft2(a, norm="ortho")


def ifft2(a):
    return np.fft.ifft2(a, norm="ortho")


class Problem:
    """Frames with windows on an object canvas, and the state to start from.

    frames   (points, rows, cols) float64 counts, zero frequency at [0, 0]; negative: untrusted
    windows  (points, 4): row and column of the corner relative to the canvas, remainders
    probe    (modes, rows, cols), mutually incoherent
    obj      (modes, rows, cols) of the canvas, likewise; an image alone is one mode
    """

    def __init__(self, frames, windows, probe, obj):
        self.frames, self.windows = frames, windows
        self.probe, self.obj = probe.astype(complex), obj.astype(complex)
        self.obj = self.obj.reshape(-1, *obj.shape[-2:])
        self.trusted = frames >= 0
        self.counts = np.where(self.trusted, frames, 0.0)
        self.amplitude = np.sqrt(self.counts)

    def __len__(self):
        return len(self.frames)

    def _corners(self, j):
        """The four shifted windows of point j with their weights."""
        row, col, fy, fx = self.windows[j]
        rows, cols = self.probe.shape[1:]
        for dy, wy in ((0, 1 - fy), (1, fy)):
            for dx, wx in ((0, 1 - fx), (1, fx)):
                y, x = int(row) + dy, int(col) + dx
                yield (slice(y, y + rows), slice(x, x + cols)), wy * wx

    def window(self, j, obj=None):
        obj = self.obj if obj is None else obj
        return sum(weight * obj[..., *where] for where, weight in self._corners(j))

    def scatter(self, j, image, out):
        """Adds the adjoint of `window` applied to `image` to `out`."""
        for where, weight in self._corners(j):
            out[..., *where] += weight * image

    def waves_of(self, images):
        """(object modes * probe modes, rows, cols), of (object modes, probe modes, rows, cols)."""
        return images.reshape(-1, *images.shape[-2:])

    def by_modes(self, waves):
        """The other way."""
        return waves.reshape(len(self.obj), len(self.probe), *waves.shape[-2:])

    def wave(self, j):
        """(object modes * probe modes, rows, cols)"""
        return self.waves_of(self.probe * self.window(j)[:, None])

    def intensity(self, j):
        return (np.abs(fft2(self.wave(j))) ** 2).sum(0)

    def coverage(self):
        out = np.zeros(self.obj.shape[1:])
        for j in range(len(self)):
            self.scatter(j, (np.abs(self.probe) ** 2).sum(0), out)
        return out

    def errors(self, stride=1):
        """R-factor and Fourier error of the present state, over every stride-th point."""
        absolute = 0.0
        relative = []
        for j in range(0, len(self), stride):
            e = (np.sqrt(self.intensity(j)) - self.amplitude[j])[self.trusted[j]]
            absolute += np.abs(e).sum()
            relative.append((e ** 2).sum() / self.counts[j].sum())
        return absolute / self.amplitude[::stride].sum(), np.sqrt(np.mean(relative))

    def frame_fit(self, j):
        """Of one frame: sums of |error|, amplitude, error^2, Poisson excess; pixels, non-zero ones."""
        good = self.trusted[j]
        model = self.intensity(j)[good]
        data = self.counts[j][good]
        error = np.abs(np.sqrt(model) - np.sqrt(data))
        log = np.where(data > 0, np.log(model + 1e-6), 0.0)
        log_data = np.log(np.where(data > 0, data, 1.0))
        excess = ((model + 1e-6 - data * log) - (data - data * log_data)).sum()
        return np.array([error.sum(), np.sqrt(data).sum(), (error ** 2).sum(), excess, data.size,
                         (data > 0).sum()])

    def frame_fits(self):
        """R-factor and Poisson excess per half count pixel of each frame by itself."""
        fits = np.array([self.frame_fit(j) for j in range(len(self))])
        return np.stack([fits[:, 0] / fits[:, 1], fits[:, 3] / (0.5 * fits[:, 5])], 1)

    def fit(self):
        """R-factor, Fourier error, mean squared amplitude error, Poisson excess per half count pixel."""
        _, _, squared, excess, pixels, nonzero = sum(self.frame_fit(j) for j in range(len(self)))
        return (*self.errors(), squared / pixels, excess / (0.5 * nonzero))
