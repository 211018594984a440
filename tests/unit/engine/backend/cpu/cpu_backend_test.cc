#include "engine/backend/cpu/cpu_backend.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <memory>
#include <vector>

#include "engine/backend/cpu/cpu_device.h"
#include "engine/base/thread_pool.h"
#include "engine/fft/fft.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/backend/reference_data.h"

namespace ptychoserve {
namespace {

using ::testing::HasSubstr;

template <typename Real>
std::unique_ptr<CpuBackend<Real>> Started(const TestScan& scan, ThreadPool& pool,
                                          int frames_per_chunk) {
  auto backend = CpuBackend<Real>::Create(scan.Config(), pool, frames_per_chunk);
  EXPECT_TRUE(backend.ok()) << backend.status();
  scan.Start(**backend);
  return *std::move(backend);
}

TEST(ProbeSampleTest, IsEvenAndLargeEnough) {
  EXPECT_EQ(ProbeSampleStride(0), 1);
  EXPECT_EQ(ProbeSampleStride(1), 1);
  EXPECT_EQ(ProbeSampleStride(1023), 1);
  EXPECT_EQ(ProbeSampleStride(1024), 2);
  EXPECT_EQ(ProbeSampleStride(1535), 2);
  EXPECT_EQ(ProbeSampleStride(1536), 3);
  for (int points = 1; points < 5000; ++points) {
    const double sampled = points * SampleShare(points, ProbeSampleStride(points));
    EXPECT_GT(sampled, std::min(points, kProbeSamplePoints) - 0.5) << points;
    EXPECT_LT(sampled, 2 * kProbeSamplePoints) << points;
  }
}

TEST(ProbeSampleTest, ShareIsOfPointsNotOfStrides) {
  EXPECT_EQ(SampleShare(0, 1), 1);
  EXPECT_EQ(SampleShare(300, 1), 1);
  EXPECT_EQ(SampleShare(300, 3), 1.0 / 3);
  EXPECT_EQ(SampleShare(1153, 10), 116.0 / 1153);
}

class DoublePrecision : public ::testing::TestWithParam<ReferenceCase> {};
INSTANTIATE_TEST_SUITE_P(Cases, DoublePrecision, ::testing::ValuesIn(ReferenceCases()),
                         [](const auto& c) { return c.param.folder; });

TEST_P(DoublePrecision, EqualsNumPyToRounding) {
  constexpr double kTolerance = 1e-10;
  const std::string& folder = GetParam().folder;
  const TestScan scan = ReferenceScan(GetParam().problem);
  ThreadPool pool(2);
  const auto backend = Started<double>(scan, pool, 3);
  const std::vector<double> expected = ReferenceReals(folder + "/metrics");
  ASSERT_EQ(expected.size(), 5 * kReferenceIterations);
  for (int i = 0; i < kReferenceIterations; ++i) {
    const auto metrics = backend->Iterate(GetParam().algorithm, GetParam().options);
    ASSERT_TRUE(metrics.ok()) << metrics.status();
    const double* const e = &expected[5 * i];
    EXPECT_NEAR(metrics->r_factor, e[0], kTolerance);
    EXPECT_NEAR(metrics->fourier_error, e[1], kTolerance);
    EXPECT_NEAR(metrics->object_change, e[2], kTolerance);
    EXPECT_NEAR(metrics->probe_change, e[3], kTolerance);
    EXPECT_NEAR(metrics->step, e[4], kTolerance);
  }
  EXPECT_LT(RelativeError(backend->object(), ReferenceComplex(folder + "/object")), kTolerance);
  EXPECT_LT(RelativeError(backend->probe(), ReferenceComplex(folder + "/probe")), kTolerance);
  if (std::holds_alternative<DifferenceMapConfig>(GetParam().algorithm)) {
    const auto waves = ReferenceComplex(folder + "/waves");
    const std::size_t pixels = scan.object.modes * scan.probe.data.size();
    for (int i = 0; i < scan.frames(); ++i) {
      const std::span expected_waves(waves.data() + i * pixels, pixels);
      EXPECT_LT(RelativeError(backend->exit_waves(i), expected_waves), kTolerance) << "point " << i;
    }
  }
}

// What the difference map made of |T|, recovered from the exit waves before and after it.
TEST(CpuBackendTest, DifferenceMapRelaxesByTheDeviationOfTheIterationBefore) {
  TestScan scan = ReferenceScan();
  scan.points.resize(1);  // Probe and object stay, so that P O is the first exit wave.
  scan.counts.resize(scan.frame_shape.pixels());
  DifferenceMapConfig config;
  config.sigma2 = 0.3;
  ThreadPool pool(1);
  const auto backend = Started<double>(scan, pool, 1);
  const auto copy = [&] {
    const auto wave = backend->exit_waves(0);
    return std::vector<std::complex<double>>(wave.begin(), wave.end());
  };
  const Fft2D<double> fft(scan.frame_shape);
  const std::size_t pixels = scan.counts.size();
  const std::vector<std::complex<double>> model = copy();
  std::vector<std::complex<double>> before = model;
  double kept = 0;
  for (int iteration = 0; iteration < 4; ++iteration) {
    ASSERT_TRUE(backend->Iterate(config, {.update_object = false, .update_probe = false}).ok());
    const std::vector<std::complex<double>> after = copy();
    std::vector<std::complex<double>> trial(pixels), relaxed(pixels);
    for (std::size_t i = 0; i < pixels; ++i) {
      trial[i] = 2.0 * model[i] - before[i];
      relaxed[i] = (after[i] - before[i]) / config.beta + model[i];
    }
    fft.Forward(trial.data());
    fft.Forward(relaxed.data());
    double power = 0;
    for (std::size_t i = 0; i < pixels; ++i) {
      const double counts = scan.counts[i];
      const double deviation = counts < 0 ? 0 : std::abs(trial[i]) - std::sqrt(counts);
      const double expected =
          counts < 0 ? std::abs(trial[i]) : std::sqrt(counts) + kept * deviation;
      EXPECT_NEAR(std::abs(relaxed[i]), expected, 1e-9) << "pixel " << i << ", " << iteration;
      power += deviation * deviation / static_cast<double>(pixels);
    }
    kept = std::sqrt(std::min(1.0, *config.sigma2 / power));
    EXPECT_GT(kept, 0.05);
    before = after;
  }
}

TEST(CpuBackendTest, ResultHasTheSameBitsForAnyThreadsAndChunks) {
  const TestScan scan = ReferenceScan("objects2_modes2");  // 7 points.
  MlGradientConfig gaussian;
  gaussian.likelihood = Likelihood::kGaussian;
  const std::vector<AlgorithmConfig> algorithms = {DifferenceMapConfig{}, MlGradientConfig{},
                                                   gaussian, EpieConfig{},
                                                   LsqMlConfig{.batch_size = 3}};
  for (const AlgorithmConfig& algorithm : algorithms) {
    std::vector<std::complex<float>> object;
    std::vector<std::complex<float>> probe;
    double r_factor = 0;
    for (const auto& [threads, chunk] :
         {std::pair{1, 7}, {1, 1}, {2, 2}, {3, 3}, {5, 4}, {7, 5}, {2, 100}}) {
      ThreadPool pool(threads);
      const auto backend = Started<float>(scan, pool, chunk);
      IterationMetrics metrics;
      for (int i = 0; i < 3; ++i) metrics = *backend->Iterate(algorithm, {});
      if (object.empty()) {
        object.assign(backend->object().begin(), backend->object().end());
        probe.assign(backend->probe().begin(), backend->probe().end());
        r_factor = metrics.r_factor;
      }
      EXPECT_TRUE(std::equal(object.begin(), object.end(), backend->object().begin()))
          << threads << " threads, chunks of " << chunk;
      EXPECT_TRUE(std::equal(probe.begin(), probe.end(), backend->probe().begin()));
      EXPECT_EQ(metrics.r_factor, r_factor);
    }
  }
}

TEST(CpuBackendTest, EstimateIsWhatIsAllocated) {
  ThreadPool pool(3);
  for (const FrameStorage storage : {FrameStorage::kU16, FrameStorage::kF32}) {
    for (const auto& [keeps_exit_waves, modes] : {std::pair(false, 1), {true, 1}, {true, 3}}) {
      BackendConfig config;
      config.probe_modes = modes;
      config.object_modes = modes > 1 ? 2 : 1;
      config.frame_shape = {17, 13};
      config.storage = storage;
      config.capacity = 11;
      config.keeps_exit_waves = keeps_exit_waves;
      config.max_object_pixels = 1001;
      if (modes == 3) {
        config.near_field = FreeSpace{1e-10, 1e-3, {50e-9, 50e-9}};
        config.probe_components = 2;
      }
      const auto single = *CpuBackend<float>::Create(config, pool, 5);
      EXPECT_EQ(single->allocated_bytes(), CpuBackend<float>::BytesFor(config, 3, 5));
      const auto device = CreateCpuDevice({.threads = 3, .frames_per_chunk = 5});
      EXPECT_EQ(single->allocated_bytes(), device->EstimateBytes(config));
      const auto reference = *CpuBackend<double>::Create(config, pool, 5);
      EXPECT_EQ(reference->allocated_bytes(), CpuBackend<double>::BytesFor(config, 3, 5));
    }
  }
}

TEST(CpuBackendTest, RefusesWhatWouldReachOutsideItsMemory) {
  const TestScan scan = ReferenceScan();
  ThreadPool pool(1);
  const auto backend = Started<float>(scan, pool, 4);
  const auto expect_refused = [](const absl::Status& status, absl::StatusCode code,
                                 const std::string& part) {
    EXPECT_EQ(status.code(), code);
    EXPECT_THAT(std::string(status.message()), HasSubstr(part));
  };
  using enum absl::StatusCode;

  // The last window that fits, and one pixel further down or right.
  PointWindow point = scan.points[0];
  point.row = scan.canvas.row + scan.canvas.shape.rows - scan.frame_shape.rows - 1;
  point.col = scan.canvas.col + scan.canvas.shape.cols - scan.frame_shape.cols - 1;
  EXPECT_TRUE(backend->SetActivePoints({&point, 1}).ok());
  Region smaller = scan.canvas;
  smaller.shape.rows -= 1;
  expect_refused(backend->SetCanvas(smaller), kInvalidArgument, "slot 0");
  ++point.row;
  expect_refused(backend->SetActivePoints({&point, 1}), kInvalidArgument, "slot 0");
  --point.row;
  ++point.col;
  expect_refused(backend->SetActivePoints({&point, 1}), kInvalidArgument, "slot 0");

  const std::vector<PointWindow> twice = {scan.points[1], scan.points[1]};
  expect_refused(backend->SetActivePoints(twice), kInvalidArgument, "slot 1 is given twice");

  const auto empty = *CpuBackend<float>::Create(scan.Config(), pool, 4);
  ASSERT_TRUE(empty->SetCanvas(scan.canvas).ok());
  expect_refused(empty->SetActivePoints(scan.points), kFailedPrecondition, "slot 0 of 7");
  const std::int32_t slot = 2;
  expect_refused(empty->MeanAmplitude({&slot, 1}).status(), kFailedPrecondition, "slot 2 of 7");

  const std::vector<std::byte> pixels = scan.Pixels(0, FrameStorage::kU16);
  for (const std::int32_t wrong : {-1, scan.frames()}) {
    const FrameToLoad frame{wrong, pixels.data()};
    expect_refused(backend->LoadFrames({&frame, 1}), kInvalidArgument, "slot");
  }
  Region larger = scan.canvas;
  larger.shape.cols += 1;
  expect_refused(backend->SetCanvas(larger), kInvalidArgument, "canvas");
  expect_refused(backend->SetObject(ComplexStack(1, larger.shape)), kInvalidArgument, "object");
  expect_refused(backend->SetProbe(ComplexStack(1, larger.shape)), kInvalidArgument, "probe");
}

}  // namespace
}  // namespace ptychoserve
