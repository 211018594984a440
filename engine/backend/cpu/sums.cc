#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <vector>

#include "engine/algorithms/momentum.h"
#include "engine/algorithms/update.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/backend/cpu/forward_model.h"

// Sums over points, and what object and probe become by them. A band of rows has one owner at a
// time, who adds in the order of the points.

namespace ptychoserve {
namespace {

template <typename Real>
bool AllFinite(const std::complex<Real>* values, std::int64_t count) {
  bool finite = true;
  for (std::int64_t i = 0; i < count; ++i) {
    finite = finite && std::isfinite(values[i].real()) && std::isfinite(values[i].imag());
  }
  return finite;
}

// What `rule` makes of one pixel; `velocity` of the gradient's momentum, null: there is none.
template <typename Real>
std::complex<Real> Updated(const UpdateRule& rule, std::complex<Real> old,
                           std::complex<double> numerator, double denominator,
                           std::complex<Real>* velocity) {
  const auto part = [&](double value, double sum, double* v) {
    if (v == nullptr) return rule.Apply(value, sum, denominator);
    return AcceleratedValue(value, rule.Apply(0, sum, denominator), rule.momentum_factor, *v);
  };
  if (velocity == nullptr) {
    return {static_cast<Real>(part(old.real(), numerator.real(), nullptr)),
            static_cast<Real>(part(old.imag(), numerator.imag(), nullptr))};
  }
  double v_re = velocity->real(), v_im = velocity->imag();
  const auto re = static_cast<Real>(part(old.real(), numerator.real(), &v_re));
  const auto im = static_cast<Real>(part(old.imag(), numerator.imag(), &v_im));
  *velocity = {static_cast<Real>(v_re), static_cast<Real>(v_im)};
  return {re, im};
}

}  // namespace

template <typename Real>
double CpuBackend<Real>::Change::Relative() const {
  return norm > 0 ? std::sqrt(difference / norm) : 0;
}

template <typename Real>
void CpuBackend<Real>::ClearSums(bool object, bool probe) {
  if (object) std::fill_n(object_num_.data(), object_pixels(), Complex128{});
  if (probe) {
    std::fill_n(probe_num_.data(), probe_pixels_, Complex128{});
    std::fill_n(probe_den_.data(), frame_pixels_, 0.0);
  }
}

template <typename Real>
void CpuBackend<Real>::ProductRow(const PointWindow& point, int object_mode, int y,
                                  ConstModeWaves waves, Complex* scratch, Complex* out) const {
  const int cols = config_.frame_shape.cols;
  const std::int64_t first = std::int64_t{y} * cols;
  for (int mode = 0; mode < modes(); ++mode) {
    const Complex* const p = ProbeRow(point, mode, y, scratch);
    const Complex* const w = waves[WaveOf(object_mode, mode)] + first;
    if (mode == 0) {
      for (int x = 0; x < cols; ++x) out[x] = std::conj(p[x]) * w[x];
    } else {
      for (int x = 0; x < cols; ++x) out[x] += std::conj(p[x]) * w[x];
    }
  }
}

template <typename Real>
void CpuBackend<Real>::IntensityRow(const PointWindow& point, int y, Complex* scratch,
                                    Real* out) const {
  const int cols = config_.frame_shape.cols;
  for (int mode = 0; mode < modes(); ++mode) {
    const Complex* const p = ProbeRow(point, mode, y, scratch);
    if (mode == 0) {
      for (int x = 0; x < cols; ++x) out[x] = std::norm(p[x]);
    } else {
      for (int x = 0; x < cols; ++x) out[x] += std::norm(p[x]);
    }
  }
}

template <typename Real>
void CpuBackend<Real>::SumCoverage() {
  const Shape frame = config_.frame_shape;
  std::fill_n(object_den_.data(), canvas_.shape.pixels(), 0.0);
  pool_.ParallelFor(BandCount(canvas_.shape.rows), [&](std::int64_t index, int) {
    const RowBand band = BandOf(index, 0, canvas_.shape.rows);
    std::vector<Complex> scratch(frame.cols);
    for (const PointWindow& point : points_) {
      const auto intensity_row = [&](int y, Real* out) {
        IntensityRow(point, y, scratch.data(), out);
      };
      AddAdjointWindow<1, Real>(point, frame, point.row - canvas_.row, point.col - canvas_.col,
                                band, intensity_row, object_den_.data(), canvas_.shape.cols);
    }
  });
}

template <typename Real>
void CpuBackend<Real>::AddToObjectSums(int begin, int end, WavesOf waves_of) {
  const Shape frame = config_.frame_shape;
  auto* const sums = reinterpret_cast<double*>(object_num_.data());
  pool_.ParallelFor(BandCount(canvas_.shape.rows), [&](std::int64_t index, int) {
    const RowBand band = BandOf(index, 0, canvas_.shape.rows);
    std::vector<Complex> scratch(frame.cols);
    for (int i = begin; i < end; ++i) {
      const PointWindow& point = points_[i];
      const ConstModeWaves waves = waves_of(i);
      for (int l = 0; l < object_modes(); ++l) {
        const auto product_row = [&](int y, Real* out) {
          ProductRow(point, l, y, waves, scratch.data(), reinterpret_cast<Complex*>(out));
        };
        AddAdjointWindow<2, Real>(point, frame, point.row - canvas_.row, point.col - canvas_.col,
                                  band, product_row, sums + 2 * l * canvas_.shape.pixels(),
                                  canvas_.shape.cols);
      }
    }
  });
}

template <typename Real>
void CpuBackend<Real>::AddToProbeSums(int begin, int end, const ProbeStrides& strides,
                                      bool exit_waves, WavesOf waves_of) {
  const Shape frame = config_.frame_shape;
  pool_.ParallelFor(BandCount(frame.rows), [&](std::int64_t index, int) {
    const RowBand band = BandOf(index, 0, frame.rows);
    std::vector<Complex> window(frame.cols), scratch(frame.cols);
    for (int i = begin; i < end; ++i) {
      const bool varies = exit_waves && Varies(points_[i]);
      const bool in_numerator = i % strides.numerator == 0;
      const bool in_denominator = i % strides.denominator == 0;
      if (!in_numerator && !in_denominator) continue;
      const ConstModeWaves waves = waves_of(i);
      for (int l = 0; l < object_modes(); ++l) {
        const Complex* const corner = WindowCorner(points_[i], l);
        for (int y = band.begin; y < band.end; ++y) {
          const Complex* const upper = corner + std::int64_t{y} * canvas_.shape.cols;
          InterpolateRow(upper, upper + canvas_.shape.cols, points_[i], frame.cols, window.data());
          const std::int64_t first = std::int64_t{y} * frame.cols;
          for (int mode = 0; in_numerator && mode < modes(); ++mode) {
            const Complex* const w = waves[WaveOf(l, mode)] + first;
            Complex128* const sums = &probe_num_[mode * frame_pixels_ + first];
            for (int x = 0; x < frame.cols; ++x) sums[x] += Complex128(std::conj(window[x]) * w[x]);
            if (!varies) continue;
            const Complex* const v = VariationRow(points_[i], mode, y, scratch.data());
            for (int x = 0; x < frame.cols; ++x) sums[x] -= Complex128(std::norm(window[x]) * v[x]);
          }
          if (in_denominator) {
            for (int x = 0; x < frame.cols; ++x) {
              probe_den_[first + x] += double(std::norm(window[x]));
            }
          }
        }
      }
    }
  });
}

template <typename Real>
double CpuBackend<Real>::MaxObjectDenominator() const {
  return *std::max_element(object_den_.data(), object_den_.data() + canvas_.shape.pixels());
}

template <typename Real>
double CpuBackend<Real>::MaxProbeDenominator() const {
  return *std::max_element(probe_den_.data(), probe_den_.data() + frame_pixels_);
}

template <typename Real>
auto CpuBackend<Real>::UpdateObject(const UpdateRule& rule, const IterationOptions& options,
                                    Complex* velocities) -> Change {
  const auto limits = MakeObjectLimits<Real>(options.amplitude_limits, options.phase_limits);
  std::vector<Change> changes(BandCount(canvas_.shape.rows));
  pool_.ParallelFor(std::ssize(changes), [&](std::int64_t index, int) {
    const RowBand band = BandOf(index, 0, canvas_.shape.rows);
    Change change;
    const std::int64_t begin = std::int64_t{band.begin} * canvas_.shape.cols;
    const std::int64_t end = std::int64_t{band.end} * canvas_.shape.cols;
    for (std::int64_t plane = 0; plane < object_pixels(); plane += canvas_.shape.pixels()) {
      for (std::int64_t i = plane + begin; i < plane + end; ++i) {
        const double den = object_den_[i - plane];
        if (den == 0) continue;
        const Complex old = object_[i];
        const Complex updated = Updated(rule, old, object_num_[i], den,
                                        velocities != nullptr ? velocities + i : nullptr);
        Real re = updated.real();
        Real im = updated.imag();
        ApplyLimits(limits, re, im);
        object_[i] = Complex(re, im);
        change.difference += std::norm(Complex128(object_[i]) - Complex128(old));
        change.norm += std::norm(Complex128(object_[i]));
      }
    }
    changes[index] = change;
  });
  Change total;
  for (const Change& change : changes) {
    total.difference += change.difference;
    total.norm += change.norm;
  }
  return total;
}

template <typename Real>
auto CpuBackend<Real>::UpdateProbe(const UpdateRule& rule, Complex* velocities) -> Change {
  Change change;
  for (std::int64_t i = 0; i < probe_pixels_; ++i) {
    const Complex old = probe_[i];
    const double den = probe_den_[i % frame_pixels_];
    probe_[i] =
        Updated(rule, old, probe_num_[i], den, velocities != nullptr ? velocities + i : nullptr);
    change.difference += std::norm(Complex128(probe_[i]) - Complex128(old));
    change.norm += std::norm(Complex128(probe_[i]));
  }
  return change;
}

template <typename Real>
bool CpuBackend<Real>::StateIsFinite() const {
  return AllFinite(object_.data(), object_pixels()) && AllFinite(probe_.data(), probe_pixels_);
}

#define PS_INSTANTIATE_(Real)                                                                   \
  template double CpuBackend<Real>::Change::Relative() const;                                   \
  template void CpuBackend<Real>::ClearSums(bool, bool);                                        \
  template void CpuBackend<Real>::ProductRow(const PointWindow&, int, int, ConstModeWaves,      \
                                             Complex*, Complex*) const;                         \
  template void CpuBackend<Real>::IntensityRow(const PointWindow&, int, Complex*, Real*) const; \
  template void CpuBackend<Real>::SumCoverage();                                                \
  template void CpuBackend<Real>::AddToObjectSums(int, int, WavesOf);                           \
  template void CpuBackend<Real>::AddToProbeSums(int, int, const ProbeStrides&, bool, WavesOf); \
  template double CpuBackend<Real>::MaxObjectDenominator() const;                               \
  template double CpuBackend<Real>::MaxProbeDenominator() const;                                \
  template auto CpuBackend<Real>::UpdateObject(const UpdateRule&, const IterationOptions&,      \
                                               Complex*)                                        \
      ->Change;                                                                                 \
  template auto CpuBackend<Real>::UpdateProbe(const UpdateRule&, Complex*)->Change;             \
  template bool CpuBackend<Real>::StateIsFinite() const;
PS_INSTANTIATE_(float)
PS_INSTANTIATE_(double)
#undef PS_INSTANTIATE_

}  // namespace ptychoserve
