#ifndef PTYCHOSERVE_SERVER_BASE_TIMER_H_
#define PTYCHOSERVE_SERVER_BASE_TIMER_H_

#include <grpcpp/alarm.h>

#include <chrono>
#include <functional>
#include <memory>
#include <utility>

namespace ptychoserve::server {

// One pending call-back after a delay, without a thread of its own. Not thread-safe: the owner
// guards it. The call-back may already be under way when it is replaced, cancelled or destroyed,
// so it has to find out by itself whether it still matters; let it hold a weak_ptr.
class Timer {
 public:
  // Runs `task` on a gRPC thread after `delay`, in place of the one that is pending.
  void After(std::chrono::nanoseconds delay, std::function<void()> task) {
    alarm_ = std::make_unique<grpc::Alarm>();
    alarm_->Set(std::chrono::system_clock::now() +
                    std::chrono::duration_cast<std::chrono::system_clock::duration>(delay),
                [task = std::move(task)](bool expired) {
                  if (expired) task();
                });
  }
  void Cancel() { alarm_.reset(); }

 private:
  std::unique_ptr<grpc::Alarm> alarm_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_BASE_TIMER_H_
