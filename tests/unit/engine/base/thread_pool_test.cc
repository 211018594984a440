#include "engine/base/thread_pool.h"

#include <atomic>
#include <cstdint>
#include <numeric>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

TEST(ThreadPoolTest, CallsEachIndexOnceWithAWorkerOfItsOwn) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const std::int64_t count : {0, 1, 3, 1000}) {
      std::vector<int> calls(count);
      std::vector<std::atomic<bool>> busy(threads);
      pool.ParallelFor(count, [&](std::int64_t i, int worker) {
        EXPECT_FALSE(busy.at(worker).exchange(true));
        ++calls.at(i);
        busy[worker] = false;
      });
      EXPECT_EQ(calls, std::vector<int>(count, 1));
    }
  }
}

TEST(ThreadPoolTest, WritesOfALoopAreSeenByTheNext) {
  ThreadPool pool(4);
  std::vector<std::int64_t> left(64, 0);
  std::vector<std::int64_t> right(64, 0);
  for (int round = 0; round < 200; ++round) {
    // Each index reads what most likely another worker has written.
    pool.ParallelFor(64, [&](std::int64_t i, int) { left[i] = right[63 - i] + 1; });
    pool.ParallelFor(64, [&](std::int64_t i, int) { right[i] = left[63 - i] + 1; });
  }
  EXPECT_EQ(right, std::vector<std::int64_t>(64, 400));
}

TEST(ThreadPoolTest, LoopsOfSeveralCallersDoNotMix) {
  ThreadPool pool(3);
  std::vector<std::thread> callers;
  std::vector<std::int64_t> sums(4);
  for (std::size_t caller = 0; caller < sums.size(); ++caller) {
    callers.emplace_back([&, caller] {
      for (int round = 0; round < 50; ++round) {
        std::vector<std::int64_t> parts(100);
        pool.ParallelFor(100, [&](std::int64_t i, int) { parts[i] = i; });
        sums[caller] += std::accumulate(parts.begin(), parts.end(), std::int64_t{0});
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (const std::int64_t sum : sums) EXPECT_EQ(sum, 50 * 99 * 100 / 2);
}

}  // namespace
}  // namespace ptychoserve
