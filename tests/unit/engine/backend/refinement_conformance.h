#ifndef PTYCHOSERVE_TESTS_UNIT_ENGINE_BACKEND_REFINEMENT_CONFORMANCE_H_
#define PTYCHOSERVE_TESTS_UNIT_ENGINE_BACKEND_REFINEMENT_CONFORMANCE_H_

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/algorithms/background.h"
#include "engine/algorithms/refinement.h"
#include "engine/fft/fft.h"
#include "tests/unit/engine/backend/backend_conformance.h"

// What every device must do with positions, intensities and a background; beside
// backend_conformance.h.

namespace ptychoserve {

// A value of P_m + Σ_k c_k V_km, in double precision.
inline std::complex<double> ProbeAt(const TestScan& scan, const PointWindow& point,
                                    std::size_t place) {
  std::complex<double> value(scan.probe.data[place]);
  const std::size_t size = scan.probe.data.size();
  for (std::size_t k = 0; k * size < scan.components.data.size(); ++k) {
    value += static_cast<double>(point.variation[k]) *
             std::complex<double>(scan.components.data[k * size + place]);
  }
  return value;
}

// The window of one point in one mode of the object, in double precision.
inline std::vector<std::complex<double>> WindowOf(const TestScan& scan, const PointWindow& point,
                                                  int object_mode, double frac_row,
                                                  double frac_col) {
  const Shape frame = scan.frame_shape;
  std::vector<std::complex<double>> window;
  for (int y = 0; y < frame.rows; ++y) {
    for (int x = 0; x < frame.cols; ++x) {
      const auto object = [&](int dy, int dx) {
        const std::int64_t row = point.row - scan.canvas.row + y + dy;
        const std::int64_t col = point.col - scan.canvas.col + x + dx;
        return std::complex<double>(scan.object.data[static_cast<std::size_t>(
            object_mode * scan.canvas.shape.pixels() + row * scan.canvas.shape.cols + col)]);
      };
      window.push_back((1 - frac_row) * ((1 - frac_col) * object(0, 0) + frac_col * object(0, 1)) +
                       frac_row * ((1 - frac_col) * object(1, 0) + frac_col * object(1, 1)));
    }
  }
  return window;
}

// What the detector is expected to see of one point, in double precision: w Σ_lm |F(P_jm O_lj)|².
inline std::vector<double> ExpectedLight(const TestScan& scan, const PointWindow& point,
                                         double frac_row, double frac_col) {
  using Complex128 = std::complex<double>;
  const Shape frame = scan.frame_shape;
  const auto pixels = static_cast<std::size_t>(frame.pixels());
  const Fft2D<double> fft(frame);
  std::vector<double> light(pixels);
  std::vector<Complex128> wave(pixels);
  for (int object_mode = 0; object_mode < scan.object.modes; ++object_mode) {
    const std::vector<Complex128> window = WindowOf(scan, point, object_mode, frac_row, frac_col);
    for (int mode = 0; mode < scan.probe.modes; ++mode) {
      for (std::size_t i = 0; i < pixels; ++i) {
        wave[i] = ProbeAt(scan, point, static_cast<std::size_t>(mode) * pixels + i) * window[i];
      }
      fft.Forward(wave.data());
      for (std::size_t i = 0; i < pixels; ++i) {
        light[i] += static_cast<double>(point.intensity) * std::norm(wave[i]);
      }
    }
  }
  return light;
}

// Gives the probe of `scan` components, and its points coefficients.
inline void Vary(int components, TestScan& scan) {
  const std::size_t size = scan.probe.data.size();
  scan.components = ComplexStack(components * scan.probe.modes, scan.frame_shape);
  for (std::size_t i = 0; i < scan.components.data.size(); ++i) {
    const std::size_t k = i / size;
    scan.components.data[i] =
        std::polar(0.4f, static_cast<float>(k + 1)) * scan.probe.data[(i + 5 * (k + 1)) % size];
  }
  for (std::size_t j = 0; j < scan.points.size(); ++j) {
    for (int k = 0; k < components; ++k) {
      scan.points[j].variation[k] =
          0.5f - 0.25f * static_cast<float>((j + 2 * static_cast<std::size_t>(k)) % 5);
    }
  }
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
  for (const std::string problem : {"modes1", "modes2", "objects2_modes2"}) {
    for (const int components : {0, 1, 3, 4}) {
      RefinedScan refined(problem);
      Vary(components, refined.scan);
      const TestScan& scan = refined.scan;
      const auto backend = NewBackend(*device_, scan.Config());
      refined.Start(*backend);
      const auto found = backend->Refine(
          {.positions = true, .intensities = true, .variation = components > 0}, 0.5);
      ASSERT_TRUE(found.ok()) << found.status();
      ASSERT_EQ(found->points.size(), scan.points.size());
      // Σ |Ψ|² is of second order in each fraction and each coefficient: exact.
      constexpr float kDifference = 0.05f;
      for (std::size_t j = 0; j < scan.points.size(); ++j) {
        const PointWindow& p = scan.points[j];
        const auto at = [&](double row, double col) {
          return ExpectedLight(scan, p, p.frac_row + row, p.frac_col + col);
        };
        const auto with = [&](int k, float more) {
          PointWindow other = p;
          other.variation[k] += more;
          return ExpectedLight(scan, other, p.frac_row, p.frac_col);
        };
        const std::vector<double> light = at(0, 0);
        std::vector<std::vector<double>> less = {at(-kDifference, 0), at(0, -kDifference)};
        std::vector<std::vector<double>> more = {at(kDifference, 0), at(0, kDifference)};
        for (int k = 0; k < components; ++k) {
          less.push_back(with(k, -kDifference));
          more.push_back(with(k, kDifference));
        }
        std::vector<double> gradient(kMaxRefinedPerPoint);
        std::vector<double> fisher(TriangleElements(kMaxRefinedPerPoint));
        for (std::size_t i = 0; i < light.size(); ++i) {
          const double counts = refined.Counts(j, i);
          if (counts < 0) continue;
          const double expected = light[i] + refined.background.data[i];
          const double information = 1 / (expected + kRefinementEpsilon);
          const double g = std::min((counts - expected) * information, kMaxRefinementGradient);
          std::vector<double> d;
          for (std::size_t a = 0; a < less.size(); ++a) {
            if (a == 2) d.push_back(light[i]);
            d.push_back((more[a][i] - less[a][i]) / (2 * double{kDifference}));
          }
          if (d.size() == 2) d.push_back(light[i]);
          for (std::size_t b = 0; b < d.size(); ++b) {
            gradient[b] += g * d[b];
            for (std::size_t a = 0; a <= b; ++a) {
              fisher[TrianglePlace(static_cast<int>(a), static_cast<int>(b))] +=
                  information * d[a] * d[b];
            }
          }
        }
        EXPECT_LT(RelativeError(found->points[j].gradient, gradient), 1e-3) << problem << " " << j;
        EXPECT_LT(RelativeError(found->points[j].fisher, fisher), 1e-4) << problem << " " << j;
      }
      EXPECT_EQ(backend->ReadBackground()->data, refined.background.data);
    }
  }
}

TEST_P(BackendConformance, RefinementTellsOfWhatIsAskedForAlone) {
  RefinedScan refined("objects2_modes2");
  Vary(2, refined.scan);
  const auto backend = NewBackend(*device_, refined.scan.Config());
  refined.Start(*backend);
  const Refinement all =
      *backend->Refine({.positions = true, .intensities = true, .variation = true}, 0.5);
  const Refinement positions = *backend->Refine({.positions = true}, 0.5);
  const Refinement light = *backend->Refine({.intensities = true}, 0.5);
  const Refinement variation = *backend->Refine({.variation = true}, 0.5);
  const Refinement background = *backend->Refine({.background = true}, 0.5);
  EXPECT_TRUE(background.points.empty());
  EXPECT_TRUE(positions.component_sums.data.empty());
  EXPECT_EQ(variation.component_sums.data, all.component_sums.data);
  const auto known = [&](const Refinement& found, int first, int end) {
    for (std::size_t j = 0; j < all.points.size(); ++j) {
      for (int b = 0; b < kMaxRefinedPerPoint; ++b) {
        const bool asked = b >= first && b < end;
        EXPECT_FLOAT_EQ(found.points[j].gradient[b], asked ? all.points[j].gradient[b] : 0);
        for (int a = 0; a <= b; ++a) {
          const int place = TrianglePlace(a, b);
          EXPECT_FLOAT_EQ(found.points[j].fisher[place],
                          asked && a >= first ? all.points[j].fisher[place] : 0);
        }
      }
    }
  };
  known(positions, 0, 2);
  known(light, 2, 3);
  known(variation, 3, 5);
}

TEST_P(BackendConformance, ComponentSumsAreThoseOfTheFramesOwnProbes) {
  using Complex128 = std::complex<double>;
  for (const std::string problem : {"modes1", "modes2", "objects2_modes2"}) {
    constexpr int kComponents = 2;
    RefinedScan refined(problem);
    Vary(kComponents, refined.scan);
    const TestScan& scan = refined.scan;
    const auto backend = NewBackend(*device_, scan.Config());
    refined.Start(*backend);
    const Refinement found = *backend->Refine({.background = true, .variation = true}, 0.5);
    const auto pixels = static_cast<std::size_t>(scan.frame_shape.pixels());
    const std::size_t size = scan.probe.data.size();
    const Fft2D<double> fft(scan.frame_shape);
    std::vector<Complex128> sums(kComponents * size);
    std::vector<double> weights(kComponents * pixels);
    for (std::size_t j = 0; j < scan.points.size(); ++j) {
      const PointWindow& p = scan.points[j];
      const std::vector<double> light = ExpectedLight(scan, p, p.frac_row, p.frac_col);
      for (int object_mode = 0; object_mode < scan.object.modes; ++object_mode) {
        const std::vector<Complex128> window =
            WindowOf(scan, p, object_mode, p.frac_row, p.frac_col);
        for (std::size_t first = 0; first < size; first += pixels) {
          std::vector<Complex128> wave(pixels);
          for (std::size_t i = 0; i < pixels; ++i) {
            wave[i] = ProbeAt(scan, p, first + i) * window[i];
          }
          fft.Forward(wave.data());
          for (std::size_t i = 0; i < pixels; ++i) {
            const double counts = refined.Counts(j, i);
            const double expected = light[i] + refined.background.data[i];
            wave[i] *= counts < 0 ? 0 : std::sqrt(counts / expected) - 1;
          }
          fft.Inverse(wave.data());
          for (std::size_t k = 0; k < kComponents; ++k) {
            const double c = p.variation[k];
            for (std::size_t i = 0; i < pixels; ++i) {
              sums[k * size + first + i] += c * std::conj(window[i]) * wave[i];
              if (first == 0) weights[k * pixels + i] += c * c * std::norm(window[i]);
            }
          }
        }
      }
    }
    EXPECT_LT(RelativeError(found.component_sums.data, sums), 1e-4) << problem;
    EXPECT_LT(RelativeError(found.component_weights, weights), 1e-5) << problem;
  }
}

// A variation that all points have in common is another mean.
TEST_P(BackendConformance, AVariationInCommonIsAnotherProbe) {
  for (const std::string problem : {"modes1", "modes2", "objects2_modes2"}) {
    TestScan varied = ReferenceScan(problem);
    Vary(2, varied);
    for (PointWindow& p : varied.points) p.variation = {0.3f, -0.2f};
    TestScan plain = varied;
    for (std::size_t i = 0; i < plain.probe.data.size(); ++i) {
      plain.probe.data[i] = Complex64(ProbeAt(varied, varied.points[0], i));
    }
    for (PointWindow& p : plain.points) p.variation = {};
    for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
      const auto a = Started(varied), b = Started(plain);
      EXPECT_LT(RelativeError(a->ReadExitWaves()->waves.data, b->ReadExitWaves()->waves.data),
                1e-5);
      const double nll = Fit(*b, plain.points).poisson_nll;
      EXPECT_NEAR(Fit(*a, varied.points).poisson_nll, nll, 1e-4 * nll);
      // The steps of ePIE and LSQ-ML are those of the mean probe.
      const bool of_mean = std::holds_alternative<EpieConfig>(algorithm) ||
                           std::holds_alternative<LsqMlConfig>(algorithm);
      const int iterations = of_mean ? 1 : 3;
      for (int i = 0; i < iterations; ++i) {
        const IterationMetrics of_a = Iterate(*a, algorithm), of_b = Iterate(*b, algorithm);
        EXPECT_NEAR(of_a.r_factor, of_b.r_factor, 1e-5);
        if (!of_mean) {
          EXPECT_NEAR(of_a.step, of_b.step, 1e-5);
        }
      }
      if (of_mean) continue;
      EXPECT_LT(RelativeError(Read(*a).object.data, Read(*b).object.data), 1e-4);
      EXPECT_LT(RelativeError(Read(*a).coverage.data, Read(*b).coverage.data), 1e-4);
      std::vector<Complex64> difference = Read(*b).probe.data, added = difference;
      const std::vector<Complex64> mean = Read(*a).probe.data;
      for (std::size_t i = 0; i < difference.size(); ++i) {
        difference[i] -= mean[i];
        added[i] = plain.probe.data[i] - varied.probe.data[i];
      }
      EXPECT_LT(RelativeError(difference, added), 1e-3);
    }
  }
}

// Counts that each point's own probe explains to the last one: nothing may move.
TEST_P(BackendConformance, PointsWithTheirOwnProbesAreAtRest) {
  for (const std::string problem : {"modes1", "modes2", "objects2_modes2"}) {
    TestScan scan = ReferenceScan(problem);
    Vary(2, scan);
    for (PointWindow& p : scan.points) p.frac_row = p.frac_col = 0;
    for (const PointWindow& p : scan.points) {
      const std::vector<double> light = ExpectedLight(scan, p, 0, 0);
      for (std::size_t i = 0; i < light.size(); ++i) {
        scan.counts[static_cast<std::size_t>(p.slot) * light.size() + i] =
            static_cast<float>(light[i]);
      }
    }
    TestScan blind = scan;
    for (PointWindow& p : blind.points) p.variation = {};
    EXPECT_GT(Fit(*Started(blind, FrameStorage::kF32), blind.points).r_factor, 0.05);
    for (const AlgorithmConfig& algorithm : AllAlgorithms()) {
      const auto backend = Started(scan, FrameStorage::kF32);
      EXPECT_LT(Fit(*backend, scan.points).r_factor, 1e-5);
      for (int i = 0; i < 2; ++i) {
        const IterationMetrics metrics = Iterate(*backend, algorithm);
        EXPECT_LT(metrics.r_factor, 1e-4);
        EXPECT_LT(metrics.object_change, 1e-4);
        EXPECT_LT(metrics.probe_change, 1e-4);
      }
    }
  }
}

TEST_P(BackendConformance, ComponentsComeBackMoveWithTheProbeAndMustFit) {
  TestScan scan = ReferenceScan("modes2");
  Vary(2, scan);
  const auto backend = Started(scan);
  EXPECT_EQ(backend->ReadProbeComponents()->data, scan.components.data);
  const double before = Fit(*backend, scan.points).r_factor;
  ASSERT_EQ(backend->Shift(1, -2), absl::OkStatus());
  const std::vector<Complex64> moved = backend->ReadProbeComponents()->data;
  const auto [rows, cols] = scan.frame_shape;
  for (int image = 0; image < scan.components.modes; ++image) {
    for (int y = 0; y < rows; ++y) {
      for (int x = 0; x < cols; ++x) {
        const auto at = [&](int row, int col) {
          return static_cast<std::size_t>((image * rows + row) * cols + col);
        };
        EXPECT_EQ(moved[at((y + 1) % rows, (x + cols - 2) % cols)], scan.components.data[at(y, x)]);
      }
    }
  }
  EXPECT_NEAR(Fit(*backend, scan.points).r_factor, before, 0.2 * before);  // But for the edges.
  ASSERT_EQ(backend->Rescale(2), absl::OkStatus());
  EXPECT_EQ(backend->ReadProbeComponents()->data[5], 2.0f * moved[5]);
  EXPECT_TRUE(
      absl::IsInvalidArgument(backend->SetProbeComponents(ComplexStack(2, scan.frame_shape))));
  scan.points[1].variation[2] = 0.1f;
  EXPECT_TRUE(absl::IsInvalidArgument(backend->SetActivePoints(scan.points)));
  const auto none = Started(ReferenceScan("modes2"));
  EXPECT_EQ(none->ReadProbeComponents()->modes, 0);
  EXPECT_EQ(none->SetProbeComponents(ComplexStack(0, scan.frame_shape)), absl::OkStatus());
}

TEST_P(BackendConformance, TheBackgroundTakesItsOwnStep) {
  for (const std::string problem : {"modes1", "modes2", "objects2_modes2"}) {
    const RefinedScan refined(problem);
    const TestScan& scan = refined.scan;
    const auto backend = NewBackend(*device_, scan.Config());
    refined.Start(*backend);
    constexpr double kStep = 0.7;
    ASSERT_TRUE(backend->Refine({.background = true}, kStep).ok());
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
  for (const std::string problem : {"modes1", "modes2", "objects2_modes2"}) {
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
  for (const std::string problem : {"modes1", "modes2", "objects2_modes2"}) {
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
