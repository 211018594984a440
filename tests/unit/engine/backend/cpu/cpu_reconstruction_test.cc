// Properties of whole reconstructions, on a small scan with a known answer.

#include <cmath>
#include <complex>
#include <cstring>
#include <memory>
#include <numbers>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "engine/backend/cpu/cpu_device.h"
#include "engine/fft/fft.h"
#include "engine/frames/preprocess.h"
#include "engine/io/npy.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/backend/reference_data.h"

namespace ptychoserve {
namespace {

constexpr int kSide = 32;
constexpr int kPointsPerAxis = 5;
constexpr int kStep = 4;

// A 5 x 5 scan of a smooth object; the counts are Poisson numbers. The probe's phases are
// scrambled, so that every detector pixel is lit. Starts from the truth.
TestScan LitScan(double photons) {
  std::mt19937 rng(7);
  std::normal_distribution<double> normal;
  TestScan scan;
  scan.frame_shape = {kSide, kSide};
  const int side = kSide + kStep * kPointsPerAxis;
  scan.canvas = {0, 0, {side, side}};
  scan.object = ComplexStack(1, scan.canvas.shape);
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      scan.object.data[y * side + x] =
          std::polar(0.9f + 0.1f * std::sin(0.5f * x), 0.6f * std::cos(0.3f * x - 0.4f * y));
    }
  }
  scan.probe = ComplexStack(1, scan.frame_shape);
  double total = 0;
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      const double r2 = std::pow(y - kSide / 2, 2) + std::pow(x - kSide / 2, 2);
      const double amplitude = std::exp(-r2 / 100);
      scan.probe.data[y * kSide + x] = Complex64(std::polar(amplitude, 2 * normal(rng)));
      total += amplitude * amplitude;
    }
  }
  for (Complex64& value : scan.probe.data) value *= std::sqrt(float(photons / total));

  const Fft2D<double> fft(scan.frame_shape);
  std::vector<std::complex<double>> wave(kSide * kSide);
  for (int i = 0; i < kPointsPerAxis * kPointsPerAxis; ++i) {
    const PointWindow point{i, kStep * (i / kPointsPerAxis), kStep * (i % kPointsPerAxis), 0, 0};
    scan.points.push_back(point);
    for (int y = 0; y < kSide; ++y) {
      for (int x = 0; x < kSide; ++x) {
        wave[y * kSide + x] =
            std::complex<double>(scan.probe.data[y * kSide + x]) *
            std::complex<double>(scan.object.data[(point.row + y) * side + point.col + x]);
      }
    }
    fft.Forward(wave.data());
    for (const auto& value : wave) {
      scan.counts.push_back(
          static_cast<float>(std::poisson_distribution<int>(std::norm(value))(rng)));
    }
  }
  return scan;
}

std::unique_ptr<Backend> NewBackend(Device& device, const TestScan& scan) {
  auto backend = device.CreateBackend(scan.Config());
  EXPECT_TRUE(backend.ok()) << backend.status();
  return *std::move(backend);
}

Readback Read(Backend& backend) {
  auto collect = backend.StartReadback();
  EXPECT_TRUE(collect.ok()) << collect.status();
  return *(*std::move(collect))();
}

// A flat object and a probe that is off by a tenth.
TestScan WithoutKnowledge(TestScan scan) {
  std::fill(scan.object.data.begin(), scan.object.data.end(), Complex64(1));
  for (Complex64& value : scan.probe.data) value *= 1.1f;
  return scan;
}

TEST(CpuReconstructionTest, NewtonStepOfNoisyDataTendsToOneHalf) {
  const TestScan scan = LitScan(/*photons=*/2e5);
  const auto device = CreateCpuDevice();
  const auto backend = NewBackend(*device, scan);
  scan.Start(*backend);
  IterationMetrics metrics;
  for (int i = 0; i < 100; ++i) metrics = *backend->Iterate(MlGradientConfig{}, {});
  EXPECT_NEAR(metrics.step, 0.5, 0.05);
  EXPECT_LT(metrics.object_change, 1e-3);  // It has converged.
}

TEST(CpuReconstructionTest, DifferenceMapFindsTheObjectAndTheGradientRefinesIt) {
  const TestScan truth = LitScan(1e6);
  const TestScan scan = WithoutKnowledge(truth);
  const auto device = CreateCpuDevice();
  const auto backend = NewBackend(*device, scan);
  scan.Start(*backend);
  const double start = Fit(*backend, scan.points).r_factor;
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(backend->Iterate(DifferenceMapConfig{}, {.update_probe = i >= 2}).ok());
  }
  const FitMetrics coarse = Fit(*backend, scan.points);
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(backend->Iterate(MlGradientConfig{}, {}).ok());
  const FitMetrics fine = Fit(*backend, scan.points);
  EXPECT_LT(coarse.r_factor, 0.1 * start);
  EXPECT_LT(fine.poisson_nll, coarse.poisson_nll);
  EXPECT_LT(fine.poisson_nll, 1.1);  // 1 is the noise.
}

// The same detector image, with the beam where the configuration says.
std::vector<std::byte> Detect(const TestScan& scan, int index, bool at_corner) {
  std::vector<std::uint16_t> pixels(scan.frame_shape.pixels());
  const int shift = at_corner ? 0 : kSide / 2;
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      pixels[(y + shift) % kSide * kSide + (x + shift) % kSide] = static_cast<std::uint16_t>(
          scan.counts[static_cast<std::size_t>(index) * kSide * kSide + y * kSide + x]);
    }
  }
  std::vector<std::byte> bytes(2 * pixels.size());
  std::memcpy(bytes.data(), pixels.data(), bytes.size());
  return bytes;
}

// Ten iterations on frames that have gone through the preprocessing of `detector`.
Readback ReconstructDetected(const TestScan& scan, const DetectorConfig& detector,
                             const std::vector<std::vector<std::byte>>& raw, double* r_factor) {
  const auto device = CreateCpuDevice();
  const auto backend = NewBackend(*device, scan);
  scan.Start(*backend);
  const FramePreprocessor preprocessor(detector, {0, 0, scan.frame_shape});
  for (int i = 0; i < scan.frames(); ++i) {
    std::vector<std::byte> frame(preprocessor.engine_bytes());
    EXPECT_TRUE(preprocessor.Run(raw[i], frame).finite);
    const FrameToLoad load{i, frame.data()};
    EXPECT_TRUE(backend->LoadFrames({&load, 1}).ok());
  }
  for (int i = 0; i < 10; ++i) *r_factor = backend->Iterate(DifferenceMapConfig{}, {})->r_factor;
  return Read(*backend);
}

TEST(CpuReconstructionTest, BeamAtCornerOrCentreIsTheSameWhenDeclaredAndBadWhenNot) {
  const TestScan truth = LitScan(1e6);
  TestScan scan = truth;
  std::fill(scan.object.data.begin(), scan.object.data.end(), Complex64(1));
  std::vector<std::vector<std::byte>> at_corner, at_centre;
  for (int i = 0; i < scan.frames(); ++i) {
    at_corner.push_back(Detect(scan, i, true));
    at_centre.push_back(Detect(scan, i, false));
  }
  DetectorConfig corner;
  corner.frame_shape = scan.frame_shape;
  corner.saturation_counts = 65535;
  corner.beam_at_corner = true;
  DetectorConfig centre = corner;
  centre.beam_at_corner = false;

  double r_corner = 0, r_centre = 0, r_wrong = 0;
  const Readback from_corner = ReconstructDetected(scan, corner, at_corner, &r_corner);
  const Readback from_centre = ReconstructDetected(scan, centre, at_centre, &r_centre);
  ReconstructDetected(scan, corner, at_centre, &r_wrong);
  EXPECT_EQ(from_corner.object.data, from_centre.object.data);
  EXPECT_EQ(from_corner.probe.data, from_centre.probe.data);
  EXPECT_EQ(r_corner, r_centre);
  EXPECT_GT(r_wrong, 10 * r_corner);
}

TEST(CpuReconstructionTest, HotPixelsUnderTheMaskChangeNothing) {
  const TestScan scan = LitScan(1e5);
  DetectorConfig detector;
  detector.frame_shape = scan.frame_shape;
  detector.saturation_counts = 65535;
  detector.beam_at_corner = true;
  detector.bad_pixels.assign(kSide * kSide, 0);
  for (const int bad : {0, 5, 37, 333, 1000}) detector.bad_pixels[bad] = 1;
  std::vector<std::vector<std::byte>> clean, hot;
  for (int i = 0; i < scan.frames(); ++i) {
    clean.push_back(Detect(scan, i, true));
    hot.push_back(clean.back());
    for (const int bad : {0, 5, 37, 333, 1000}) {
      const auto counts = static_cast<std::uint16_t>(40000 + 7 * i + bad);
      std::memcpy(&hot.back()[2 * bad], &counts, 2);
    }
  }
  double r_clean = 0, r_hot = 0;
  const Readback a = ReconstructDetected(scan, detector, clean, &r_clean);
  const Readback b = ReconstructDetected(scan, detector, hot, &r_hot);
  EXPECT_LT(RelativeError(b.object.data, a.object.data), 1e-5);
  EXPECT_LT(RelativeError(b.probe.data, a.probe.data), 1e-5);

  // Without the mask they do matter.
  detector.bad_pixels.clear();
  double r_unmasked = 0;
  ReconstructDetected(scan, detector, hot, &r_unmasked);
  EXPECT_GT(r_unmasked, 2 * r_hot);
}

TEST(CpuReconstructionTest, ExportedProbeGoesOnBitForBit) {
  const TestScan scan = WithoutKnowledge(LitScan(1e5));
  const auto device = CreateCpuDevice();
  const auto original = NewBackend(*device, scan);
  scan.Start(*original);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(original->Iterate(MlGradientConfig{}, {}).ok());

  const Readback state = Read(*original);
  const std::string path = ::testing::TempDir() + "exported_probe.npy";
  ASSERT_TRUE(WriteProbeNpy(path, state.probe).ok());
  const auto probe = ReadProbeNpy(path);
  ASSERT_TRUE(probe.ok()) << probe.status();

  TestScan resumed = scan;
  resumed.probe = *probe;
  resumed.object = state.object;
  const auto copy = NewBackend(*device, resumed);
  resumed.Start(*copy);
  const IterationMetrics a = *original->Iterate(MlGradientConfig{}, {});
  const IterationMetrics b = *copy->Iterate(MlGradientConfig{}, {});
  EXPECT_EQ(a.r_factor, b.r_factor);
  EXPECT_EQ(a.step, b.step);
  EXPECT_EQ(Read(*original).object.data, Read(*copy).object.data);
  EXPECT_EQ(Read(*original).probe.data, Read(*copy).probe.data);
}

}  // namespace
}  // namespace ptychoserve
