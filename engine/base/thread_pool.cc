#include "engine/base/thread_pool.h"

#include <cstdint>

namespace ptychoserve {

ThreadPool::ThreadPool(int threads) {
  workers_.reserve(threads - 1);
  for (int worker = 1; worker < threads; ++worker) {
    workers_.emplace_back([this, worker] { RunWorker(worker); });
  }
}

ThreadPool::~ThreadPool() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  start_.NotifyAll();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Loop::Work(int worker) {
  for (std::int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) body(i, worker);
}

void ThreadPool::ParallelFor(std::int64_t count, absl::FunctionRef<void(std::int64_t, int)> body) {
  MutexLock caller(callers_);
  Loop loop{body, count};
  if (count <= 1 || workers_.empty()) {
    loop.Work(0);
    return;
  }
  {
    MutexLock lock(mutex_);
    loop_ = &loop;
    ++generation_;
    working_ = static_cast<int>(workers_.size());
  }
  start_.NotifyAll();
  loop.Work(0);
  MutexLock lock(mutex_);
  while (working_ > 0) done_.Wait(mutex_);
}

void ThreadPool::RunWorker(int worker) {
  std::int64_t seen = 0;
  while (true) {
    Loop* loop = nullptr;
    {
      MutexLock lock(mutex_);
      while (!stop_ && generation_ == seen) start_.Wait(mutex_);
      if (stop_) return;
      seen = generation_;
      loop = loop_;
    }
    loop->Work(worker);
    MutexLock lock(mutex_);
    if (--working_ == 0) done_.NotifyOne();
  }
}

}  // namespace ptychoserve
