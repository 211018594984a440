#ifndef PTYCHOSERVE_TESTS_EVENTUALLY_H_
#define PTYCHOSERVE_TESTS_EVENTUALLY_H_

#include <chrono>
#include <functional>
#include <thread>

namespace ptychoserve {

// Whether `condition` comes true before the deadline, which is generous.
inline bool Eventually(const std::function<bool()>& condition,
                       std::chrono::seconds deadline = std::chrono::seconds(60)) {
  constexpr std::chrono::milliseconds kPoll{2};
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(kPoll);
  }
  return true;
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_EVENTUALLY_H_
