#ifndef PTYCHOSERVE_ENGINE_BASE_CLOCK_H_
#define PTYCHOSERVE_ENGINE_BASE_CLOCK_H_

#include <chrono>

namespace ptychoserve {

// Monotonic time, replaceable in tests so that time-outs can be tested without sleeping.
class Clock {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  virtual ~Clock() = default;
  virtual TimePoint Now() const = 0;
  // The process-wide steady clock.
  static const Clock& Steady();
};

// A clock that moves only when told to. Not thread-safe.
class ManualClock final : public Clock {
 public:
  TimePoint Now() const override { return now_; }
  void Advance(std::chrono::nanoseconds step) {
    now_ += std::chrono::duration_cast<TimePoint::duration>(step);
  }

 private:
  TimePoint now_{};
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BASE_CLOCK_H_
