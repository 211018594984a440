#ifndef PTYCHOSERVE_TESTS_UNIT_ENGINE_BACKEND_REFINEMENT_CONFORMANCE_H_
#define PTYCHOSERVE_TESTS_UNIT_ENGINE_BACKEND_REFINEMENT_CONFORMANCE_H_

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/algorithms/background.h"
#include "engine/algorithms/refinement.h"
#include "engine/fft/fft.h"
#include "tests/unit/engine/backend/backend_conformance.h"

// What every device must do with positions, intensities and a background; beside
// backend_conformance.h.

namespace ptychoserve {

// What the detector is expected to see of one point, in double precision: w Σ_m |F(P_m O_j)|².
inline std::vector<double> ExpectedLight(const TestScan& scan, const PointWindow& point,
                                         double frac_row, double frac_col) {
  using Complex128 = std::complex<double>;
  const Shape frame = scan.frame_shape;
  const auto pixels = static_cast<std::size_t>(frame.pixels());
  const Fft2D<double> fft(frame);
  std::vector<double> light(pixels);
  std::vector<Complex128> wave(pixels);
  for (int mode = 0; mode < scan.probe.modes; ++mode) {
    for (int y = 0; y < frame.rows; ++y) {
      for (int x = 0; x < frame.cols; ++x) {
        const auto object = [&](int dy, int dx) {
          const std::int64_t row = point.row - scan.canvas.row + y + dy;
          const std::int64_t col = point.col - scan.canvas.col + x + dx;
          return Complex128(
              scan.object.data[static_cast<std::size_t>(row * scan.canvas.shape.cols + col)]);
        };
        const auto i = static_cast<std::size_t>(y * frame.cols + x);
        wave[i] = Complex128(scan.probe.data[static_cast<std::size_t>(mode) * pixels + i]) *
                  ((1 - frac_row) * ((1 - frac_col) * object(0, 0) + frac_col * object(0, 1)) +
                   frac_row * ((1 - frac_col) * object(1, 0) + frac_col * object(1, 1)));
      }
    }
    fft.Forward(wave.data());
    for (std::size_t i = 0; i < pixels; ++i) {
      light[i] += static_cast<double>(point.intensity) * std::norm(wave[i]);
    }
  }
  return light;
}

// Points with intensities of their own, and a background.
struct RefinedScan {
  TestScan scan;
  FloatImage background;

  explicit RefinedScan(const std::string& problem) : scan(ReferenceScan(problem)) {
    for (std::size_t j = 0; j < scan.points.size(); ++j) {
      scan.points[j].intensity = 0.8f + 0.1f * static_cast<float>(j % 5);
      // Derivatives by differences stay within a pixel.
      scan.points[j].frac_row = std::clamp(scan.points[j].frac_row, 0.1f, 0.9f);
      scan.points[j].frac_col = std::clamp(scan.points[j].frac_col, 0.1f, 0.9f);
    }
    background.shape = scan.frame_shape;
    for (std::int64_t i = 0; i < scan.frame_shape.pixels(); ++i) {
      background.data.push_back(0.5f + 0.25f * static_cast<float>(i % 7));
    }
  }
  void Start(Backend& backend) const {
    scan.Start(backend);
    ASSERT_EQ(backend.SetBackground(background), absl::OkStatus());
  }
  double Counts(std::size_t j, std::size_t pixel) const {
    return scan
        .counts[static_cast<std::size_t>(scan.points[j].slot) * background.data.size() + pixel];
  }
};

TEST_P(BackendConformance, RefinementSumsAreTheLikelihoodsDerivatives) {
  for (const std::string problem : {"modes1", "modes2"}) {
    const RefinedScan refined(problem);
    const TestScan& scan = refined.scan;
    const auto backend = NewBackend(*device_, scan.Config());
    refined.Start(*backend);
    const auto sums = backend->Refine(/*background_step=*/0);
    ASSERT_TRUE(sums.ok()) << sums.status();
    ASSERT_EQ(sums->size(), scan.points.size());
    constexpr double kDifference = 0.05;  // Σ |Ψ|² is of second order in each fraction: exact.
    for (std::size_t j = 0; j < scan.points.size(); ++j) {
      const PointWindow& p = scan.points[j];
      const auto at = [&](double row, double col) {
        return ExpectedLight(scan, p, p.frac_row + row, p.frac_col + col);
      };
      const std::vector<double> light = at(0, 0);
      const std::vector<double> up = at(-kDifference, 0), down = at(kDifference, 0);
      const std::vector<double> left = at(0, -kDifference), right = at(0, kDifference);
      std::vector<double> gradient(kRefinedPerPoint), fisher(kFisherElements);
      for (std::size_t i = 0; i < light.size(); ++i) {
        const double counts = refined.Counts(j, i);
        if (counts < 0) continue;
        const double expected = light[i] + refined.background.data[i];
        const double information = 1 / (expected + kRefinementEpsilon);
        const double g = std::min((counts - expected) * information, kMaxRefinementGradient);
        const double d[] = {(down[i] - up[i]) / (2 * kDifference),
                            (right[i] - left[i]) / (2 * kDifference), light[i]};
        std::size_t place = 0;
        for (std::size_t a = 0; a < kRefinedPerPoint; ++a) {
          gradient[a] += g * d[a];
          for (std::size_t b = a; b < kRefinedPerPoint; ++b) {
            fisher[place++] += information * d[a] * d[b];
          }
        }
      }
      EXPECT_LT(RelativeError((*sums)[j].gradient, gradient), 1e-3) << problem << " " << j;
      EXPECT_LT(RelativeError((*sums)[j].fisher, fisher), 1e-4) << problem << " " << j;
    }
    EXPECT_EQ(backend->ReadBackground()->data, refined.background.data);
  }
}

TEST_P(BackendConformance, TheBackgroundTakesItsOwnStep) {
  for (const std::string problem : {"modes1", "modes2"}) {
    const RefinedScan refined(problem);
    const TestScan& scan = refined.scan;
    const auto backend = NewBackend(*device_, scan.Config());
    refined.Start(*backend);
    constexpr double kStep = 0.7;
    ASSERT_TRUE(backend->Refine(kStep).ok());
    const std::size_t pixels = refined.background.data.size();
    std::vector<double> gradient(pixels), information(pixels), expected_background(pixels);
    for (std::size_t j = 0; j < scan.points.size(); ++j) {
      const PointWindow& p = scan.points[j];
      const std::vector<double> light = ExpectedLight(scan, p, p.frac_row, p.frac_col);
      for (std::size_t i = 0; i < pixels; ++i) {
        const double counts = refined.Counts(j, i);
        if (counts < 0) continue;
        const double expected = light[i] + refined.background.data[i];
        const double variance =
            expected + kRefinementEpsilon + kModelFlaw * kModelFlaw * expected * expected;
        gradient[i] += (counts - expected) / variance;
        information[i] += 1 / variance;
      }
    }
    // At each pixel, the weighted plane through those around, by Gauss' elimination.
    const int rows = scan.frame_shape.rows, cols = scan.frame_shape.cols;
    const int down = std::min(9, (rows - 1) / 2), right = std::min(9, (cols - 1) / 2);
    for (int row = 0; row < rows; ++row) {
      for (int col = 0; col < cols; ++col) {
        double m[3][4] = {};
        for (int dy = -down; dy <= down; ++dy) {
          for (int dx = -right; dx <= right; ++dx) {
            const auto i = static_cast<std::size_t>((row + dy + rows) % rows * cols +
                                                    (col + dx + cols) % cols);
            if (information[i] == 0) continue;
            const double weight = std::exp(-(dy * dy + dx * dx) / 18.0) * information[i];
            const double value = refined.background.data[i] + kStep * gradient[i] / information[i];
            const double of[3] = {1, static_cast<double>(dy), static_cast<double>(dx)};
            for (int a = 0; a < 3; ++a) {
              for (int b = 0; b < 3; ++b) m[a][b] += weight * of[a] * of[b];
              m[a][3] += weight * of[a] * value;
            }
          }
        }
        m[1][1] += 1e-3 * m[0][0];
        m[2][2] += 1e-3 * m[0][0];
        for (int pivot = 2; pivot > 0; --pivot) {
          for (int a = 0; a < pivot; ++a) {
            const double factor = m[a][pivot] / m[pivot][pivot];
            for (int b = 0; b < 4; ++b) m[a][b] -= factor * m[pivot][b];
          }
        }
        expected_background[static_cast<std::size_t>(row * cols + col)] =
            std::max(m[0][3] / m[0][0], 0.0);
      }
    }
    EXPECT_LT(RelativeError(backend->ReadBackground()->data, expected_background), 1e-4);
  }
}

// √w P explains the frames as P does with the light w: all algorithms must see it so.
TEST_P(BackendConformance, TwiceTheAmplitudeIsFourTimesTheLight) {
  for (const std::string problem : {"modes1", "modes2"}) {
    const TestScan plain = ReferenceScan(problem);
    TestScan lit = plain;
    for (PointWindow& point : lit.points) point.intensity = 4;
    for (Complex64& p : lit.probe.data) p *= 0.5f;
    for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
      const auto a = Started(plain), b = Started(lit);
      for (int i = 0; i < 3; ++i) {
        const IterationMetrics of_a = Iterate(*a, algorithm), of_b = Iterate(*b, algorithm);
        EXPECT_NEAR(of_a.r_factor, of_b.r_factor, 1e-5);
        EXPECT_NEAR(of_a.step, of_b.step, 1e-5);
      }
      EXPECT_LT(RelativeError(Read(*b).object.data, Read(*a).object.data), 1e-5);
      const double nll = Fit(*a, plain.points).poisson_nll;
      EXPECT_NEAR(Fit(*b, lit.points).poisson_nll, nll, 1e-4 * nll);
    }
  }
}

// Counts that the right intensities and background explain to the last one.
TEST_P(BackendConformance, IntensitiesAndBackgroundArePartOfTheModel) {
  for (const std::string problem : {"modes1", "modes2"}) {
    RefinedScan refined(problem);
    TestScan& scan = refined.scan;
    for (const PointWindow& point : scan.points) {
      const std::vector<double> light = ExpectedLight(scan, point, point.frac_row, point.frac_col);
      for (std::size_t i = 0; i < light.size(); ++i) {
        scan.counts[static_cast<std::size_t>(point.slot) * light.size() + i] =
            static_cast<float>(light[i] + refined.background.data[i]);
      }
    }
    const auto backend = NewBackend(*device_, scan.Config(FrameStorage::kF32));
    scan.Start(*backend, FrameStorage::kF32);
    const double without = Fit(*backend, scan.points).r_factor;
    ASSERT_EQ(backend->SetBackground(refined.background), absl::OkStatus());
    EXPECT_LT(Fit(*backend, scan.points).r_factor, 1e-5);
    EXPECT_GT(without, 1e-2);
    for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
      const IterationMetrics metrics = Iterate(*backend, algorithm);
      EXPECT_LT(metrics.r_factor, 1e-4);
      // A projection's object is a quotient of sums, which between pixels is not the same again.
      if (!KeepsExitWaves(algorithm)) {
        EXPECT_LT(metrics.object_change, 1e-4);
      }
      scan.Start(*backend, FrameStorage::kF32);
    }
    EXPECT_TRUE(absl::IsInvalidArgument(backend->SetBackground(FloatImage{{1, 1}, {0}})));
  }
}

// Points that have moved a little go on; others begin anew.
TEST_P(BackendConformance, MomentumOutlivesMovedPointsOnly) {
  const TestScan scan = ReferenceScan();
  const auto backend = Started(scan);
  for (int i = 0; i < 3; ++i) Iterate(*backend, MlGradientConfig{});
  const std::optional<MomentumState> before = *backend->ReadMomentum();
  ASSERT_TRUE(before.has_value());
  std::vector<PointWindow> moved = scan.points;
  for (PointWindow& point : moved) point.frac_row = 0.5f * point.frac_row;
  ASSERT_EQ(backend->SetActivePoints(moved), absl::OkStatus());
  ASSERT_TRUE(backend->ReadMomentum()->has_value());
  EXPECT_EQ((*backend->ReadMomentum())->object_velocity.data, before->object_velocity.data);
  EXPECT_EQ((*backend->ReadMomentum())->iterations, before->iterations);
  moved.pop_back();
  ASSERT_EQ(backend->SetActivePoints(moved), absl::OkStatus());
  EXPECT_FALSE(backend->ReadMomentum()->has_value());
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_UNIT_ENGINE_BACKEND_REFINEMENT_CONFORMANCE_H_
