#ifndef PTYCHOSERVE_TESTS_BENCH_BENCH_ALGORITHM_H_
#define PTYCHOSERVE_TESTS_BENCH_BENCH_ALGORITHM_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/algorithms/projections.h"
#include "engine/config.h"

namespace ptychoserve {

// An algorithm with its default parameters, by the name that the flags use.
struct BenchAlgorithm {
  std::string name;
  AlgorithmConfig config;
  // A backend for it keeps an exit wave for each frame.
  bool keeps_exit_waves() const { return KeepsExitWaves(config); }
};

inline absl::StatusOr<BenchAlgorithm> AlgorithmNamed(absl::string_view name) {
  if (name == "dm") return BenchAlgorithm{"dm", DifferenceMapConfig()};
  if (name == "ml_grad") return BenchAlgorithm{"ml_grad", MlGradientConfig()};
  if (name == "epie") return BenchAlgorithm{"epie", EpieConfig()};
  if (name == "epie_seq") return BenchAlgorithm{"epie_seq", EpieConfig{.max_batch = 1}};
  if (name == "raar") return BenchAlgorithm{"raar", RaarConfig()};
  if (name == "ap") return BenchAlgorithm{"ap", AlternatingProjectionsConfig()};
  if (name == "ml_plain") return BenchAlgorithm{"ml_plain", MlGradientConfig{.momentum = 0}};
  if (name == "ml_gauss") {
    return BenchAlgorithm{"ml_gauss", MlGradientConfig{.likelihood = Likelihood::kGaussian}};
  }
  if (name == "lsqml") return BenchAlgorithm{"lsqml", LsqMlConfig()};
  if (name == "rpie") return BenchAlgorithm{"rpie", EpieConfig{.object_alpha = 0.3}};
  return absl::InvalidArgumentError(absl::StrCat(
      "algorithm '", name,
      "'; must be one of dm, raar, ap, ml_grad, ml_gauss, ml_plain (without momentum), "
      "epie, epie_seq, rpie, lsqml"));
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_BENCH_BENCH_ALGORITHM_H_
