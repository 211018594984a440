#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <ostream>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/engine/cuda/cuda_problem.h"

// GPU against CPU from the same state, iteration by iteration.

namespace ptychoserve {
namespace {

// Relative; what the two may differ by because both work in single precision.
constexpr double kTolerance = 1e-4;
// Waves in half precision have 11 bits, and pixels that are hardly lit divide what is left of that
// by next to nothing.
constexpr double kHalfTolerance = 2e-2;
// The longer steps of rPIE amplify rounding: double and single precision on the CPU part by up to
// 1.4e-4 after three iterations.
constexpr double kRpieFactor = 4;
double ToleranceFor(const ProblemOptions& options) {
  return options.half_waves ? kHalfTolerance : kTolerance;
}
constexpr int kIterations = 3;

struct NamedAlgorithm {
  std::string name;
  AlgorithmConfig config;
};
void PrintTo(const NamedAlgorithm& algorithm, std::ostream* out) { *out << algorithm.name; }

std::vector<NamedAlgorithm> Algorithms() {
  DifferenceMapConfig absolute_dm;
  absolute_dm.beta = 0.75;
  absolute_dm.sigma2 = 0.02;
  absolute_dm.regularisation.absolute = 1e-3;
  MlGradientConfig gaussian;
  gaussian.likelihood = Likelihood::kGaussian;
  gaussian.step = 0.7;
  MlGradientConfig absolute_ml;
  absolute_ml.regularisation.absolute = 1e-3;
  return {{"DifferenceMap", DifferenceMapConfig{}},
          {"DifferenceMapAbsolute", absolute_dm},
          {"MlPoisson", MlGradientConfig{}},
          {"MlPlain", MlGradientConfig{.momentum = 0}},
          {"MlGaussian", gaussian},
          {"MlAbsolute", absolute_ml},
          {"Raar", RaarConfig{}},
          {"AlternatingProjections", AlternatingProjectionsConfig{}},
          {"Epie", EpieConfig{}},
          {"Rpie", EpieConfig{.object_alpha = 0.5, .probe_alpha = 0.5}},
          {"LsqMl", LsqMlConfig{}},
          {"LsqMlPoisson", LsqMlConfig{.likelihood = Likelihood::kPoisson,
                                       .batch_kind = BatchKind::kCompact,
                                       .batch_size = 4,
                                       .momentum = 0}}};
}

struct NamedProblem {
  std::string name;
  ProblemOptions options;
};
void PrintTo(const NamedProblem& problem, std::ostream* out) { *out << problem.name; }

std::vector<NamedProblem> Problems() {
  return {
      {"U16_64x64", {.frame_shape = {64, 64}, .points = 70}},
      {"F32_96x80", {.frame_shape = {96, 80}, .points = 37, .storage = FrameStorage::kF32}},
      {"U16_33x47", {.frame_shape = {33, 47}, .points = 5, .capacity = 9, .measured = true}},
      {"F32_128x32", {.frame_shape = {128, 32}, .points = 1, .storage = FrameStorage::kF32}},
      // What the fused passes take, with every length along rows and along columns.
      {"U16_256x256", {.frame_shape = {256, 256}, .points = 21}},
      {"F32_128x512",
       {.frame_shape = {128, 512}, .points = 9, .storage = FrameStorage::kF32, .measured = true}},
      {"U16_512x64", {.frame_shape = {512, 64}, .points = 11}},
      {"U16_64x128_Whole", {.frame_shape = {64, 128}, .points = 30, .whole_pixels = true}},
      {"U16_256x256_Whole",
       {.frame_shape = {256, 256}, .points = 7, .whole_pixels = true, .measured = true}},
      {"U16_512x512_Whole", {.frame_shape = {512, 512}, .points = 3, .whole_pixels = true}},
      {"U16_256x256_Half",
       {.frame_shape = {256, 256}, .points = 21, .half_waves = true, .measured = true}},
      {"F32_128x512_Half",
       {.frame_shape = {128, 512},
        .points = 9,
        .storage = FrameStorage::kF32,
        .half_waves = true,
        .measured = true}},
      {"U16_512x64_Half",
       {.frame_shape = {512, 64},
        .points = 11,
        .whole_pixels = true,
        .half_waves = true,
        .measured = true}},
      {"U16_64x64_Deterministic", {.frame_shape = {64, 64}, .points = 20, .deterministic = true}},
      {"U16_64x64_TwoModes", {.frame_shape = {64, 64}, .points = 20, .modes = 2}},
      {"F32_33x47_ThreeModes",
       {.frame_shape = {33, 47},
        .points = 7,
        .capacity = 9,
        .modes = 3,
        .storage = FrameStorage::kF32,
        .measured = true}},
      {"U16_128x256_FourModes", {.frame_shape = {128, 256}, .points = 9, .modes = 4}},
      {"F32_512x128_TwoModes",
       {.frame_shape = {512, 128}, .points = 5, .modes = 2, .storage = FrameStorage::kF32}},
      {"U16_256x256_FourModes_Half",
       {.frame_shape = {256, 256}, .points = 6, .modes = 4, .half_waves = true, .measured = true}},
      {"U16_64x64_Refined", {.frame_shape = {64, 64}, .points = 20, .refined = true}},
      {"F32_33x47_Refined",
       {.frame_shape = {33, 47},
        .points = 7,
        .modes = 2,
        .storage = FrameStorage::kF32,
        .refined = true,
        .measured = true}},
      {"U16_256x128_Refined_Half",
       {.frame_shape = {256, 128},
        .points = 9,
        .half_waves = true,
        .refined = true,
        .measured = true}},
      {"U16_128x128_ThreeModes_Refined",
       {.frame_shape = {128, 128}, .points = 9, .modes = 3, .refined = true}},
      {"U16_64x64_Varied", {.frame_shape = {64, 64}, .points = 20, .components = 1}},
      {"F32_33x47_Varied",
       {.frame_shape = {33, 47},
        .points = 7,
        .modes = 2,
        .storage = FrameStorage::kF32,
        .refined = true,
        .components = 4}},
      {"U16_256x128_Varied_Half",
       {.frame_shape = {256, 128},
        .points = 9,
        .half_waves = true,
        .refined = true,
        .components = 2,
        .measured = true}},
      {"U16_128x512_ThreeModes_Varied_WholePixels",
       {.frame_shape = {128, 512},
        .points = 9,
        .modes = 3,
        .whole_pixels = true,
        .refined = true,
        .components = 3}},
      {"U16_512x512_Varied_Deterministic",
       {.frame_shape = {512, 512},
        .points = 3,
        .deterministic = true,
        .refined = true,
        .components = 2}},
      {"U16_64x64_TwoModes_Deterministic",
       {.frame_shape = {64, 64}, .points = 9, .modes = 2, .deterministic = true}},
      // Several modes of the object, on every path.
      {"U16_64x64_TwoObjects", {.frame_shape = {64, 64}, .points = 20, .object_modes = 2}},
      {"U16_128x128_TwoObjects_Whole",
       {.frame_shape = {128, 128}, .points = 9, .object_modes = 2, .whole_pixels = true}},
      {"F32_512x64_FourObjects",
       {.frame_shape = {512, 64}, .points = 9, .object_modes = 4, .storage = FrameStorage::kF32}},
      {"U16_256x256_TwoModesTwoObjects_Half",
       {.frame_shape = {256, 256},
        .points = 7,
        .modes = 2,
        .object_modes = 2,
        .half_waves = true,
        .measured = true}},
      {"U16_64x128_TwoObjects_Whole_Half",
       {.frame_shape = {64, 128},
        .points = 20,
        .object_modes = 2,
        .whole_pixels = true,
        .half_waves = true,
        .measured = true}},
      {"F32_33x47_TwoModesThreeObjects_Refined",
       {.frame_shape = {33, 47},
        .points = 7,
        .modes = 2,
        .object_modes = 3,
        .storage = FrameStorage::kF32,
        .refined = true,
        .measured = true}},
      {"U16_128x256_TwoModesTwoObjects_Varied",
       {.frame_shape = {128, 256},
        .points = 9,
        .modes = 2,
        .object_modes = 2,
        .refined = true,
        .components = 2}},
      {"U16_64x64_TwoModesTwoObjects_Deterministic",
       {.frame_shape = {64, 64},
        .points = 9,
        .modes = 2,
        .object_modes = 2,
        .deterministic = true}},
      {"U16_96x80_TwoObjects_Varied",
       {.frame_shape = {96, 80}, .points = 9, .object_modes = 2, .refined = true, .components = 1}},
      {"U16_64x64_TwoObjects_NearField",
       {.frame_shape = {64, 64}, .points = 9, .object_modes = 2, .near_field = true}},
      {"U16_64x64_NearField", {.frame_shape = {64, 64}, .points = 20, .near_field = true}},
      {"F32_96x80_NearField",
       {.frame_shape = {96, 80},
        .points = 9,
        .storage = FrameStorage::kF32,
        .measured = true,
        .near_field = true}},
      {"U16_128x64_TwoModes_NearField",
       {.frame_shape = {128, 64}, .points = 9, .modes = 2, .half_waves = true, .near_field = true}},
  };
}

class Agreement : public testing::TestWithParam<std::tuple<NamedAlgorithm, NamedProblem>> {};

TEST_P(Agreement, GpuEqualsCpuInEveryIteration) {
  const auto& [algorithm, named_problem] = GetParam();
  ProblemOptions problem_options = named_problem.options;
  // Point after point, ePIE amplifies rounding exponentially on counts that fit no object: there
  // double and single precision on the CPU part as well.
  constexpr int kMaxInconsistentPoints = 8;
  if (std::holds_alternative<EpieConfig>(algorithm.config) &&
      problem_options.points > kMaxInconsistentPoints) {
    problem_options.measured = true;
  }
  const Problem problem = MakeProblem(problem_options);
  const auto* epie = std::get_if<EpieConfig>(&algorithm.config);
  const bool rpie = epie != nullptr && (epie->object_alpha < 1 || epie->probe_alpha < 1);
  const double tolerance = ToleranceFor(problem_options) * (rpie ? kRpieFactor : 1);
  Deviations worst;
  for (const IterationOptions& options :
       {IterationOptions{}, IterationOptions{.update_object = true, .update_probe = false},
        IterationOptions{.update_object = false, .update_probe = true},
        IterationOptions{.amplitude_limits = AmplitudeLimits{0.7, 0.95},
        .phase_limits = PhaseLimits{-0.8, 0.7}}}) {
    const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
    const std::unique_ptr<Backend> cpu = MustCreate(ReferenceDevice(), problem.config);
    ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
    ASSERT_EQ(Prepare(problem, *cpu), absl::OkStatus());
    for (int i = 0; i < kIterations; ++i) {
      const absl::StatusOr<IterationMetrics> metrics = gpu->Iterate(algorithm.config, options);
      const absl::StatusOr<IterationMetrics> reference = cpu->Iterate(algorithm.config, options);
      ASSERT_EQ(metrics.status(), absl::OkStatus());
      ASSERT_EQ(reference.status(), absl::OkStatus());
      EXPECT_TRUE(metrics->finite);
      EXPECT_GT(metrics->r_factor, 0);
      absl::StatusOr<Deviations> deviations = Compare(*gpu, *cpu, /*exit_waves=*/true);
      ASSERT_EQ(deviations.status(), absl::OkStatus());
      deviations->Include(Compare(*metrics, *reference));
      EXPECT_LE(deviations->Largest(), tolerance)
          << "iteration " << i << ": " << deviations->ToString();
      worst.Include(*deviations);
    }
  }
  std::printf("  largest deviations: %s: %s\n", algorithm.name.c_str(), worst.ToString().c_str());
}

class RefinementAgreement : public testing::TestWithParam<NamedProblem> {};

TEST_P(RefinementAgreement, GpuEqualsCpu) {
  const Problem problem = MakeProblem(GetParam().options);
  const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
  const std::unique_ptr<Backend> cpu = MustCreate(ReferenceDevice(), problem.config);
  ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
  ASSERT_EQ(Prepare(problem, *cpu), absl::OkStatus());
  const bool varies = problem.config.probe_components > 0;
  for (const bool background : {false, true, true}) {
    const StageRefinement which{
        .positions = true, .intensities = true, .background = background, .variation = varies};
    const absl::StatusOr<Refinement> found = gpu->Refine(which, 0.5);
    const absl::StatusOr<Refinement> reference = cpu->Refine(which, 0.5);
    ASSERT_EQ(found.status(), absl::OkStatus());
    ASSERT_EQ(reference.status(), absl::OkStatus());
    ASSERT_EQ(found->points.size(), problem.points.size());
    if (varies) {
      EXPECT_LT(Deviation(found->component_sums.data, reference->component_sums.data),
                10 * kTolerance);
      EXPECT_LT(Deviation(found->component_weights, reference->component_weights), kTolerance);
    }
    for (std::size_t j = 0; j < found->points.size(); ++j) {
      const RefinementSums &a = found->points[j], &b = reference->points[j];
      // Gradients are sums of both signs; what they are compared with is what they may be.
      double largest = 0;
      for (int i = 0; i < static_cast<int>(std::size(b.fisher)); ++i)
        largest = std::max(largest, std::abs(b.fisher[i]));
      for (int i = 0; i < static_cast<int>(std::size(b.fisher)); ++i) {
        EXPECT_NEAR(a.fisher[i], b.fisher[i], kTolerance * largest);
      }
      for (int i = 0; i < kMaxRefinedPerPoint; ++i) {
        EXPECT_NEAR(a.gradient[i], b.gradient[i],
                    kTolerance * (std::abs(b.gradient[i]) + std::sqrt(largest)) * 10);
      }
    }
    EXPECT_LT(Deviation(gpu->ReadBackground()->data, cpu->ReadBackground()->data), kTolerance);
  }
}

std::vector<NamedProblem> RefinementProblems() {
  std::vector<NamedProblem> problems = Problems();
  std::erase_if(problems, [](const NamedProblem& p) { return !p.options.refined; });
  // More points than waves fit into work at once, of frames of which hardly one fits.
  problems.push_back(
      {"U16_512x512_FourModes",
       {.frame_shape = {512, 512}, .points = 4, .modes = 4, .refined = true, .measured = true}});
  problems.push_back({"U16_32x32_Many", {.frame_shape = {32, 32}, .points = 700}});
  problems.push_back({"U16_64x32_Varied_Many",
                      {.frame_shape = {64, 32}, .points = 700, .modes = 2, .components = 2}});
  return problems;
}

std::string NameOf(const testing::TestParamInfo<Agreement::ParamType>& parameter) {
  return std::get<0>(parameter.param).name + "_" + std::get<1>(parameter.param).name;
}

INSTANTIATE_TEST_SUITE_P(Cuda, Agreement,
                         testing::Combine(testing::ValuesIn(Algorithms()),
                                          testing::ValuesIn(Problems())),
                         NameOf);

INSTANTIATE_TEST_SUITE_P(Cuda, RefinementAgreement, testing::ValuesIn(RefinementProblems()),
                         [](const testing::TestParamInfo<NamedProblem>& parameter) {
                           return parameter.param.name;
                         });

// More frames than are under way at once, a rest that no power of two divides, and more than the
// samples of fit and probe take.
TEST(Chunks, AnyNumberOfFramesIsExact) {
  const std::vector<ProblemOptions> problems = {
      {.frame_shape = {256, 256}, .points = 150},
      {.frame_shape = {64, 64}, .points = 1153},
      {.frame_shape = {64, 64}, .points = 1153, .deterministic = true},
      {.frame_shape = {64, 64}, .points = 1153, .half_waves = true, .measured = true},
      {.frame_shape = {40, 24}, .points = 1153},
      {.frame_shape = {64, 64}, .points = 1153, .modes = 2},
      {.frame_shape = {64, 64}, .points = 1153, .object_modes = 2},
  };
  for (const ProblemOptions& options : problems) {
    SCOPED_TRACE(testing::Message() << options.frame_shape.rows << " x " << options.frame_shape.cols
                                    << ", " << options.points);
    const Problem problem = MakeProblem(options);
    const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
    const std::unique_ptr<Backend> cpu = MustCreate(ReferenceDevice(), problem.config);
    ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
    ASSERT_EQ(Prepare(problem, *cpu), absl::OkStatus());
    Deviations worst;
    for (const AlgorithmConfig& algorithm :
         {AlgorithmConfig(DifferenceMapConfig{}), AlgorithmConfig(DifferenceMapConfig{}),
          AlgorithmConfig(MlGradientConfig{}), AlgorithmConfig(MlGradientConfig{})}) {
      const absl::StatusOr<IterationMetrics> metrics = gpu->Iterate(algorithm, {});
      const absl::StatusOr<IterationMetrics> reference = cpu->Iterate(algorithm, {});
      ASSERT_EQ(metrics.status(), absl::OkStatus());
      ASSERT_EQ(reference.status(), absl::OkStatus());
      absl::StatusOr<Deviations> deviations = Compare(*gpu, *cpu, /*exit_waves=*/true);
      ASSERT_EQ(deviations.status(), absl::OkStatus());
      deviations->Include(Compare(*metrics, *reference));
      EXPECT_LE(deviations->Largest(), ToleranceFor(options)) << deviations->ToString();
      worst.Include(*deviations);
    }
    std::printf("  largest deviations: %s\n", worst.ToString().c_str());
  }
}

// Half precision reaches from 6e-8 to 65504; counts may do more than that.
TEST(HalfWaves, NoScaleOfTheCountsIsTooLargeOrTooSmall) {
  for (const float scale : {1e-5f, 1.0f, 1e5f}) {
    SCOPED_TRACE(scale);
    Problem problem = MakeProblem({.frame_shape = {64, 64},
                                   .points = 30,
                                   .storage = FrameStorage::kF32,
                                   .half_waves = true,
                                   .measured = true});
    for (Complex64& value : problem.probe.data) value *= scale;
    for (std::vector<std::byte>& frame : problem.frames) {
      const auto counts = reinterpret_cast<float*>(frame.data());
      for (int i = 0; i < 64 * 64; ++i) {
        if (counts[i] >= 0) counts[i] *= scale * scale;
      }
    }
    const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
    const std::unique_ptr<Backend> cpu = MustCreate(ReferenceDevice(), problem.config);
    ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
    ASSERT_EQ(Prepare(problem, *cpu), absl::OkStatus());
    for (const AlgorithmConfig& algorithm :
         {AlgorithmConfig(DifferenceMapConfig{}), AlgorithmConfig(DifferenceMapConfig{}),
          AlgorithmConfig(MlGradientConfig{})}) {
      ASSERT_EQ(gpu->Iterate(algorithm, {}).status(), absl::OkStatus());
      ASSERT_EQ(cpu->Iterate(algorithm, {}).status(), absl::OkStatus());
      const absl::StatusOr<Deviations> deviations = Compare(*gpu, *cpu, /*exit_waves=*/true);
      ASSERT_EQ(deviations.status(), absl::OkStatus());
      EXPECT_LE(deviations->Largest(), kHalfTolerance) << deviations->ToString();
    }
  }
}

TEST(Evaluate, GpuEqualsCpu) {
  for (const NamedProblem& named : Problems()) {
    SCOPED_TRACE(named.name);
    const Problem problem = MakeProblem(named.options);
    const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
    const std::unique_ptr<Backend> cpu = MustCreate(ReferenceDevice(), problem.config);
    ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
    ASSERT_EQ(Prepare(problem, *cpu), absl::OkStatus());
    const auto fits = gpu->Evaluate(problem.points);
    const auto references = cpu->Evaluate(problem.points);
    ASSERT_EQ(fits.status(), absl::OkStatus());
    ASSERT_EQ(references.status(), absl::OkStatus());
    EXPECT_GT(FitOf(*references).poisson_nll, 0);
    for (std::size_t j = 0; j < problem.points.size(); ++j) {
      const FitMetrics fit = FitOf({&(*fits)[j], 1}), reference = FitOf({&(*references)[j], 1});
      EXPECT_LE(Deviation(fit.r_factor, reference.r_factor), kTolerance);
      EXPECT_LE(Deviation(fit.fourier_error, reference.fourier_error), kTolerance);
      EXPECT_LE(Deviation(fit.gaussian, reference.gaussian), kTolerance);
      EXPECT_LE(Deviation(fit.poisson_nll, reference.poisson_nll), kTolerance);
    }
  }
}

TEST(MeanAmplitude, GpuEqualsCpu) {
  for (const NamedProblem& named : Problems()) {
    SCOPED_TRACE(named.name);
    const Problem problem = MakeProblem(named.options);
    const std::unique_ptr<Backend> gpu = MustCreate(FirstGpu(), problem.config);
    const std::unique_ptr<Backend> cpu = MustCreate(ReferenceDevice(), problem.config);
    ASSERT_EQ(Prepare(problem, *gpu), absl::OkStatus());
    ASSERT_EQ(Prepare(problem, *cpu), absl::OkStatus());
    std::vector<std::int32_t> slots;
    for (const PointWindow& point : problem.points) slots.push_back(point.slot);
    const absl::StatusOr<FloatImage> mean = gpu->MeanAmplitude(slots);
    const absl::StatusOr<FloatImage> reference = cpu->MeanAmplitude(slots);
    ASSERT_EQ(mean.status(), absl::OkStatus());
    ASSERT_EQ(reference.status(), absl::OkStatus());
    EXPECT_LE(Deviation(mean->data, reference->data), 1e-6);
  }
}

}  // namespace
}  // namespace ptychoserve
