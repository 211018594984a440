#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_ALARMS_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_ALARMS_H_

#include <grpcpp/alarm.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "engine/base/mutex.h"

namespace ptychoserve::client::internal {

// Calls functions later, on threads of gRPC. They are called without a lock of this class, so that
// After may be called with a lock held which they take. Stop must have been called before the end.
// Thread-safe.
class Alarms {
 public:
  void After(std::chrono::milliseconds delay, std::function<void()> function);
  // Drops what has not been called, and waits for calls under way: not from within one.
  void Stop();

 private:
  void OnAlarm(std::uint64_t key, bool due, const std::function<void()>& function);

  Mutex mu_;
  CondVar cv_;
  std::map<std::uint64_t, std::unique_ptr<grpc::Alarm>> pending_ ABSL_GUARDED_BY(mu_);
  std::uint64_t next_key_ ABSL_GUARDED_BY(mu_) = 0;
  int outstanding_ ABSL_GUARDED_BY(mu_) = 0;  // Callbacks that gRPC has yet to finish.
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace ptychoserve::client::internal

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_ALARMS_H_
