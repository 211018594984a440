#ifndef PTYCHOSERVE_SERVER_BASE_WORKER_POOL_H_
#define PTYCHOSERVE_SERVER_BASE_WORKER_POOL_H_

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "engine/base/mutex.h"

namespace ptychoserve::server {

// A few threads that run posted tasks in order, so that work which takes time never runs on
// gRPC's callback threads or on a device worker. Thread-safe.
//
// The queue has no bound of its own: everyone who posts has at most one task queued per call or
// stream, or per thread, and those are bounded.
class WorkerPool {
 public:
  using Task = std::function<void()>;

  explicit WorkerPool(int threads);
  // As Stop().
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int threads() const { return count_; }
  void Post(Task task);
  // Runs what has been posted, then ends the threads. Later posts are dropped. Idempotent.
  void Stop();

 private:
  void Run();

  const int count_;
  Mutex mu_;
  CondVar wake_;
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::jthread> threads_;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_BASE_WORKER_POOL_H_
