#ifndef PTYCHOSERVE_SERVER_BASE_RATE_LIMIT_H_
#define PTYCHOSERVE_SERVER_BASE_RATE_LIMIT_H_

#include <algorithm>
#include <chrono>
#include <optional>

#include "engine/base/mutex.h"

namespace ptychoserve::server {

// How much may be taken a second. What is taken may run into debt, as nobody knows beforehand how
// much a message holds; until that is paid off, the next one waits. Thread-safe.
class RateLimit {
 public:
  using Clock = std::chrono::steady_clock;
  // What may be taken at once by one who has taken nothing for a while.
  static constexpr double kBurstSeconds = 1;

  // `per_second`: nothing for no limit.
  void Set(std::optional<double> per_second) {
    MutexLock lock(mu_);
    per_second_ = per_second;
    left_ = std::min(left_, Burst());
  }

  void Take(double amount, Clock::time_point now) {
    MutexLock lock(mu_);
    if (!per_second_) return;
    Refill(now);
    left_ -= amount;
  }

  // Until something may be taken again; zero: now.
  Clock::duration Wait(Clock::time_point now) {
    MutexLock lock(mu_);
    if (!per_second_) return Clock::duration::zero();
    Refill(now);
    if (left_ >= 0) return Clock::duration::zero();
    return std::chrono::ceil<Clock::duration>(std::chrono::duration<double>(-left_ / *per_second_));
  }

 private:
  double Burst() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return per_second_.value_or(0) * kBurstSeconds;
  }
  void Refill(Clock::time_point now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const std::chrono::duration<double> since = now - refilled_;
    left_ = std::min(Burst(), left_ + since.count() * *per_second_);
    refilled_ = now;
  }

  Mutex mu_;
  std::optional<double> per_second_ ABSL_GUARDED_BY(mu_);
  double left_ ABSL_GUARDED_BY(mu_) = 0;
  Clock::time_point refilled_ ABSL_GUARDED_BY(mu_){};
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_BASE_RATE_LIMIT_H_
