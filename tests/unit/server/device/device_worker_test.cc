#include "server/device/device_worker.h"

#include <gtest/gtest.h>

#include <future>
#include <vector>

namespace ptychoserve::server {
namespace {

// Has `turns` of work, notes each in `log`, then ends.
class CountedTask final : public DeviceTask {
 public:
  CountedTask(int name, int turns, std::vector<int>& log) : name_(name), left_(turns), log_(log) {}
  bool RunTurn() override {
    if (left_ == 0) return false;
    --left_;
    log_.push_back(name_);
    return true;
  }
  bool ended() const override { return left_ == 0; }
  void Retire() override { retired_.set_value(); }
  std::future<void> retired() { return retired_.get_future(); }

 private:
  const int name_;
  int left_;
  std::vector<int>& log_;
  std::promise<void> retired_;
};

// Holds the worker until it is let go, so that what is added meanwhile starts together.
class Gate final : public DeviceTask {
 public:
  bool RunTurn() override {
    entered_.set_value();
    open_.get_future().wait();
    done_ = true;
    return false;
  }
  bool ended() const override { return done_; }
  void Retire() override {}
  void WaitEntered() { entered_.get_future().wait(); }
  void Open() { open_.set_value(); }

 private:
  std::promise<void> entered_, open_;
  bool done_ = false;
};

TEST(DeviceWorker, TasksTakeTurns) {
  std::vector<int> log;
  DeviceWorker worker("test");
  const auto gate = std::make_shared<Gate>();
  worker.Add(gate);
  gate->WaitEntered();
  const auto a = std::make_shared<CountedTask>(1, 3, log);
  const auto b = std::make_shared<CountedTask>(2, 2, log);
  auto a_retired = a->retired();
  auto b_retired = b->retired();
  worker.Add(a);
  worker.Add(b);
  EXPECT_EQ(worker.tasks(), 3);
  gate->Open();
  a_retired.wait();
  b_retired.wait();
  EXPECT_EQ(log, (std::vector<int>{1, 2, 1, 2, 1}));
  EXPECT_EQ(worker.tasks(), 0);
}

TEST(DeviceWorker, StopsWhileTasksWait) {
  std::vector<int> log;
  DeviceWorker worker("test");
  class Idle final : public DeviceTask {
    bool RunTurn() override { return false; }
    bool ended() const override { return false; }
    void Retire() override {}
  };
  worker.Add(std::make_shared<Idle>());
  worker.Stop();
  worker.Stop();
  EXPECT_EQ(worker.tasks(), 1);
}

}  // namespace
}  // namespace ptychoserve::server
