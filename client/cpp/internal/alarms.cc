#include "client/cpp/internal/alarms.h"

#include <utility>

namespace ptychoserve::client::internal {

void Alarms::After(std::chrono::milliseconds delay, std::function<void()> function) {
  MutexLock lock(mu_);
  if (stopped_) return;
  const std::uint64_t key = next_key_++;
  auto& alarm = pending_[key] = std::make_unique<grpc::Alarm>();
  ++outstanding_;
  alarm->Set(
      std::chrono::system_clock::now() + delay,
      [this, key, function = std::move(function)](bool due) { OnAlarm(key, due, function); });
}

void Alarms::OnAlarm(std::uint64_t key, bool due, const std::function<void()>& function) {
  std::unique_ptr<grpc::Alarm> alarm;  // gRPC keeps what it needs until this returns.
  {
    MutexLock lock(mu_);
    const auto found = pending_.find(key);
    if (found != pending_.end()) {
      alarm = std::move(found->second);
      pending_.erase(found);
    }
    due = due && !stopped_;
  }
  if (due) function();
  alarm.reset();
  MutexLock lock(mu_);
  --outstanding_;
  cv_.NotifyAll();
}

void Alarms::Stop() {
  std::map<std::uint64_t, std::unique_ptr<grpc::Alarm>> pending;
  {
    MutexLock lock(mu_);
    stopped_ = true;
    pending.swap(pending_);
  }
  pending.clear();  // Has callbacks that still wait run at once; without the lock, which they take.
  MutexLock lock(mu_);
  while (outstanding_ > 0) cv_.Wait(mu_);
}

}  // namespace ptychoserve::client::internal
