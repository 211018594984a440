// The near field against sums that are written out: no FFT, no shared transfer function.

#include <algorithm>
#include <cmath>
#include <complex>
#include <memory>
#include <numbers>
#include <random>
#include <vector>

#include "engine/backend/cpu/cpu_backend.h"
#include "engine/base/thread_pool.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/backend/reference_data.h"

namespace ptychoserve {
namespace {

using Complex = std::complex<double>;
using Matrix = std::vector<std::vector<Complex>>;

constexpr Shape kFrame{6, 10};
constexpr FreeSpace kSpace{1e-10, 4e-4, {60e-9, 40e-9}};

// Propagation as a matrix, K[r][s] = 1/N Σ_q exp(2πi (z sqrt(1/λ² - q²) + q (r - s))).
Matrix PropagationMatrix() {
  constexpr double kTwoPi = 2 * std::numbers::pi;
  const auto n = static_cast<std::size_t>(kFrame.pixels());
  const auto signed_index = [](int k, int count) { return k < count / 2 ? k : k - count; };
  Matrix matrix(n, std::vector<Complex>(n));
  for (int v = 0; v < kFrame.rows; ++v) {
    for (int u = 0; u < kFrame.cols; ++u) {
      const double qy = signed_index(v, kFrame.rows) / (kFrame.rows * kSpace.pixel_size.y_m);
      const double qx = signed_index(u, kFrame.cols) / (kFrame.cols * kSpace.pixel_size.x_m);
      // In waves, of which there are four millions: the whole ones need not be told from none.
      const long double waves =
          static_cast<long double>(kSpace.distance_m) *
          std::sqrt(1 / (static_cast<long double>(kSpace.wavelength_m) * kSpace.wavelength_m) -
                    static_cast<long double>(qy * qy + qx * qx));
      const auto path = static_cast<double>(waves - std::floor(waves));
      for (std::size_t r = 0; r < n; ++r) {
        for (std::size_t s = 0; s < n; ++s) {
          const double dy = static_cast<int>(r / kFrame.cols) - static_cast<int>(s / kFrame.cols);
          const double dx = static_cast<int>(r % kFrame.cols) - static_cast<int>(s % kFrame.cols);
          matrix[r][s] += std::polar(1.0 / static_cast<double>(n),
                                     kTwoPi * (path + v * dy / kFrame.rows + u * dx / kFrame.cols));
        }
      }
    }
  }
  return matrix;
}

std::vector<Complex> Times(const Matrix& matrix, const std::vector<Complex>& wave, bool adjoint) {
  std::vector<Complex> result(wave.size());
  for (std::size_t r = 0; r < wave.size(); ++r) {
    for (std::size_t s = 0; s < wave.size(); ++s) {
      result[r] += (adjoint ? std::conj(matrix[s][r]) : matrix[r][s]) * wave[s];
    }
  }
  return result;
}

// Three windows at whole pixels, two modes, counts that do not fit.
struct NearFieldScan : TestScan {
  NearFieldScan() {
    std::mt19937 rng(3);
    std::normal_distribution<float> normal;
    frame_shape = kFrame;
    canvas = {-2, 5, {11, 14}};
    points = {{0, -2, 5, 0, 0}, {1, 1, 6, 0, 0}, {2, 2, 8, 0, 0}};
    object = ComplexStack(1, canvas.shape);
    for (Complex64& value : object.data) value = std::polar(0.8f, 0.5f * normal(rng));
    probe = ComplexStack(2, kFrame);
    for (Complex64& value : probe.data) value = {5 + normal(rng), normal(rng)};
    for (int i = 0; i < frames() * kFrame.pixels(); ++i) {
      counts.push_back(std::round(40 + 5 * normal(rng)));
    }
  }

  std::unique_ptr<CpuBackend<double>> Backend(ThreadPool& pool) const {
    BackendConfig config = Config(FrameStorage::kF32);
    config.near_field = kSpace;
    auto backend = CpuBackend<double>::Create(config, pool, 2);
    EXPECT_TRUE(backend.ok()) << backend.status();
    Start(**backend, FrameStorage::kF32);
    return *std::move(backend);
  }

  // P_m O_j
  std::vector<Complex> Exit(int point, int mode) const {
    std::vector<Complex> wave;
    for (int y = 0; y < kFrame.rows; ++y) {
      for (int x = 0; x < kFrame.cols; ++x) {
        const int row = points[point].row - canvas.row + y,
                  col = points[point].col - canvas.col + x;
        wave.push_back(Complex(probe.data[mode * kFrame.pixels() + y * kFrame.cols + x]) *
                       Complex(object.data[row * canvas.shape.cols + col]));
      }
    }
    return wave;
  }
};

TEST(CpuNearFieldTest, IntensitiesAreThoseOfThePropagatedWaves) {
  NearFieldScan scan;
  const Matrix matrix = PropagationMatrix();
  double power = 0;
  for (int j = 0; j < scan.frames(); ++j) {
    std::vector<double> intensity(static_cast<std::size_t>(kFrame.pixels()));
    for (int mode = 0; mode < 2; ++mode) {
      const std::vector<Complex> wave = Times(matrix, scan.Exit(j, mode), /*adjoint=*/false);
      for (std::size_t i = 0; i < wave.size(); ++i) intensity[i] += std::norm(wave[i]);
      for (const Complex& value : scan.Exit(j, mode)) power += std::norm(value);
    }
    for (std::size_t i = 0; i < intensity.size(); ++i) {
      scan.counts[j * intensity.size() + i] = static_cast<float>(intensity[i]);
      power -= intensity[i];
    }
  }
  EXPECT_NEAR(power, 0, 1e-8) << "free space takes no light away";
  ThreadPool pool(2);
  const auto backend = scan.Backend(pool);
  EXPECT_LT(Fit(*backend, scan.points).r_factor, 1e-7);  // The rounding of the counts.
}

// One batch of ePIE, O += Σ_jm P_m* Δ_jm / max Σ |P|², with Δ taken back by the conjugate
// transpose.
TEST(CpuNearFieldTest, CorrectionsComeBackByTheAdjoint) {
  NearFieldScan scan;
  scan.points.resize(1);
  scan.counts.resize(static_cast<std::size_t>(kFrame.pixels()));
  const Matrix matrix = PropagationMatrix();
  std::vector<std::vector<Complex>> waves;
  std::vector<double> intensity(static_cast<std::size_t>(kFrame.pixels()));
  std::vector<double> light(intensity.size());
  for (int mode = 0; mode < 2; ++mode) {
    waves.push_back(Times(matrix, scan.Exit(0, mode), /*adjoint=*/false));
    for (std::size_t i = 0; i < intensity.size(); ++i) {
      intensity[i] += std::norm(waves.back()[i]);
      light[i] += std::norm(Complex(scan.probe.data[mode * kFrame.pixels() + i]));
    }
  }
  std::vector<Complex> expected(scan.object.data.begin(), scan.object.data.end());
  const double brightest = *std::max_element(light.begin(), light.end());
  for (int mode = 0; mode < 2; ++mode) {
    std::vector<Complex>& wave = waves[mode];
    for (std::size_t i = 0; i < wave.size(); ++i) {
      wave[i] *= std::sqrt(scan.counts[i] / intensity[i]) - 1;
    }
    const std::vector<Complex> correction = Times(matrix, wave, /*adjoint=*/true);
    for (std::size_t i = 0; i < wave.size(); ++i) {
      const std::size_t at = i / kFrame.cols * scan.canvas.shape.cols + i % kFrame.cols;
      expected[at] += std::conj(Complex(scan.probe.data[mode * kFrame.pixels() + i])) *
                      correction[i] / brightest;
    }
  }

  ThreadPool pool(1);
  const auto backend = scan.Backend(pool);
  ASSERT_TRUE(backend->Iterate(EpieConfig{.object_step = 1}, {.update_probe = false}).ok());
  EXPECT_LT(RelativeError(backend->object(), expected), 1e-12);
}

// Three frames of noise leave enough freedom to an object and two modes.
TEST(CpuNearFieldTest, EveryAlgorithmLowersTheErrorOfNoisyFrames) {
  const NearFieldScan scan;
  ThreadPool pool(2);
  for (const AlgorithmConfig& algorithm :
       {AlgorithmConfig(MlGradientConfig{}), AlgorithmConfig(EpieConfig{}),
        AlgorithmConfig(DifferenceMapConfig{}), AlgorithmConfig(RaarConfig{}),
        AlgorithmConfig(AlternatingProjectionsConfig{}), AlgorithmConfig(LsqMlConfig{})}) {
    const auto backend = scan.Backend(pool);
    const double before = Fit(*backend, scan.points).r_factor;
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(backend->Iterate(algorithm, {}).ok());
    EXPECT_LT(Fit(*backend, scan.points).r_factor, 0.5 * before) << algorithm.index();
  }
}

}  // namespace
}  // namespace ptychoserve
