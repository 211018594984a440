#include "server/device/device_worker.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace ptychoserve::server {
namespace {

// Time-outs of sessions are noticed by turns, so there is one at least this often.
constexpr std::chrono::milliseconds kPollInterval{50};
constexpr std::size_t kMaxThreadName = 15;

}  // namespace

DeviceWorker::DeviceWorker(std::string device_name)
    : device_name_(std::move(device_name)), thread_([this] { Run(); }) {}

DeviceWorker::~DeviceWorker() { Stop(); }

void DeviceWorker::Add(std::shared_ptr<DeviceTask> task) {
  MutexLock lock(mu_);
  tasks_.push_back(std::move(task));
  woken_ = true;
  wake_.NotifyOne();
}

void DeviceWorker::Wake() {
  MutexLock lock(mu_);
  woken_ = true;
  wake_.NotifyOne();
}

void DeviceWorker::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    wake_.NotifyOne();
  }
  if (thread_.joinable()) thread_.join();
}

int DeviceWorker::tasks() const {
  MutexLock lock(mu_);
  return static_cast<int>(tasks_.size());
}

void DeviceWorker::Run() {
  pthread_setname_np(pthread_self(), device_name_.substr(0, kMaxThreadName).c_str());
  std::vector<std::shared_ptr<DeviceTask>> tasks;
  bool busy = false;
  while (true) {
    {
      MutexLock lock(mu_);
      if (!busy && !woken_ && !stopping_) wake_.WaitFor(mu_, kPollInterval);
      if (stopping_) return;
      woken_ = false;
      tasks = tasks_;
    }
    busy = RunRound(tasks);
    tasks.clear();
  }
}

bool DeviceWorker::RunRound(const std::vector<std::shared_ptr<DeviceTask>>& tasks) {
  bool busy = false;
  for (const std::shared_ptr<DeviceTask>& task : tasks) {
    if (task->RunTurn()) {
      busy = true;
    } else if (task->ended()) {
      {
        MutexLock lock(mu_);
        tasks_.erase(std::find(tasks_.begin(), tasks_.end(), task));
      }
      task->Retire();
    }
  }
  return busy;
}

}  // namespace ptychoserve::server
