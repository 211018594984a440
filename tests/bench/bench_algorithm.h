#ifndef PTYCHOSERVE_TESTS_BENCH_BENCH_ALGORITHM_H_
#define PTYCHOSERVE_TESTS_BENCH_BENCH_ALGORITHM_H_

#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/config.h"

namespace ptychoserve {

// An algorithm with its default parameters, by the name that the flags use.
struct BenchAlgorithm {
  std::string name;
  AlgorithmConfig config;
  // A backend for it keeps an exit wave for each frame.
  bool keeps_exit_waves() const { return std::holds_alternative<DifferenceMapConfig>(config); }
};

inline absl::StatusOr<BenchAlgorithm> AlgorithmNamed(absl::string_view name) {
  if (name == "dm") return BenchAlgorithm{"dm", DifferenceMapConfig()};
  if (name == "ml_grad") return BenchAlgorithm{"ml_grad", MlGradientConfig()};
  if (name == "epie") return BenchAlgorithm{"epie", EpieConfig()};
  if (name == "epie_seq") return BenchAlgorithm{"epie_seq", EpieConfig{.max_batch = 1}};
  return absl::InvalidArgumentError(
      absl::StrCat("algorithm '", name, "'; must be one of dm, ml_grad, epie, epie_seq"));
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_BENCH_BENCH_ALGORITHM_H_
