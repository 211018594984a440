#ifndef PTYCHOSERVE_ENGINE_BASE_THREAD_POOL_H_
#define PTYCHOSERVE_ENGINE_BASE_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "engine/base/mutex.h"

namespace ptychoserve {

// A fixed set of threads for data-parallel loops.
//
// Not OpenMP or TBB: ThreadSanitizer sees the synchronisation of this one. Thread-safe; loops of
// different callers run one after the other.
class ThreadPool {
 public:
  // `threads` >= 1 counts the caller of ParallelFor, which works along.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(index, worker) once for each index in [0, count), in no particular order, and
  // returns when all calls have returned. `worker` in [0, threads()) is never in two calls at
  // once. `body` must not call ParallelFor.
  void ParallelFor(std::int64_t count,
                   absl::FunctionRef<void(std::int64_t index, int worker)> body);

 private:
  struct Loop {
    absl::FunctionRef<void(std::int64_t, int)> body;
    std::int64_t count;
    std::atomic<std::int64_t> next{0};
    void Work(int worker);
  };

  void RunWorker(int worker);

  Mutex callers_;  // Held by the caller whose loop is running.
  Mutex mutex_;
  CondVar start_;
  CondVar done_;
  Loop* loop_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::int64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;  // Loops started so far.
  int working_ ABSL_GUARDED_BY(mutex_) = 0;              // Workers still in the present loop.
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> workers_;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BASE_THREAD_POOL_H_
