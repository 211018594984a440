#ifndef PTYCHOSERVE_SERVER_DEVICE_DEVICE_WORKER_H_
#define PTYCHOSERVE_SERVER_DEVICE_DEVICE_WORKER_H_

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/mutex.h"

namespace ptychoserve::server {

// Something that runs on a device in short turns.
class DeviceTask {
 public:
  virtual ~DeviceTask() = default;
  // Does the next piece of work, at most an iteration. False when there was nothing to do.
  virtual bool RunTurn() = 0;
  // True once the task has nothing more to do, ever.
  virtual bool ended() const = 0;
  // Called once, after the last turn of a task that has ended.
  virtual void Retire() = 0;
};

// The one thread that uses a device. Tasks take turns, one after the other, so that each gets as
// many turns as the next; it sleeps while none has work. Thread-safe.
class DeviceWorker {
 public:
  explicit DeviceWorker(std::string device_name);
  // As Stop().
  ~DeviceWorker();
  DeviceWorker(const DeviceWorker&) = delete;
  DeviceWorker& operator=(const DeviceWorker&) = delete;

  // The task is held until it has retired.
  void Add(std::shared_ptr<DeviceTask> task);
  // Some task may have work now.
  void Wake();
  // Ends the thread after the turn under way. Idempotent.
  void Stop();
  // Tasks that have not retired.
  int tasks() const;

 private:
  void Run();
  // One turn for each task; true when one of them did something.
  bool RunRound(const std::vector<std::shared_ptr<DeviceTask>>& tasks);

  const std::string device_name_;
  mutable Mutex mu_;
  CondVar wake_;
  std::vector<std::shared_ptr<DeviceTask>> tasks_ ABSL_GUARDED_BY(mu_);
  bool woken_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::jthread thread_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_DEVICE_DEVICE_WORKER_H_
