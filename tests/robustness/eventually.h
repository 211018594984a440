#ifndef PTYCHOSERVE_TESTS_ROBUSTNESS_EVENTUALLY_H_
#define PTYCHOSERVE_TESTS_ROBUSTNESS_EVENTUALLY_H_

#include <chrono>
#include <functional>
#include <thread>

#include "tests/integration/api.h"

namespace ptychoserve::robustness {

// Whether `condition` comes true before the deadline, which is generous.
inline bool Eventually(const std::function<bool()>& condition,
                       std::chrono::seconds deadline = integration::kCallDeadline) {
  constexpr std::chrono::milliseconds kPoll{2};
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(kPoll);
  }
  return true;
}

}  // namespace ptychoserve::robustness

#endif  // PTYCHOSERVE_TESTS_ROBUSTNESS_EVENTUALLY_H_
