#ifndef PTYCHOSERVE_SERVER_SERVICE_STREAM_SET_H_
#define PTYCHOSERVE_SERVER_SERVICE_STREAM_SET_H_

#include <memory>
#include <utility>
#include <vector>

#include "engine/base/mutex.h"

namespace ptychoserve::server {

// A call that stays open and can be asked to end.
class Drainable {
 public:
  enum class Kind { kIngest, kPublish };
  virtual ~Drainable() = default;
  virtual Kind kind() const = 0;
  // The server shuts down: say what is left to say, then finish. Returns at once.
  virtual void Drain() = 0;
};

// The streams that are open, so that the server can end them when it shuts down: gRPC itself
// waits for each of them to finish. Thread-safe.
class StreamSet {
 public:
  explicit StreamSet(int most) : most_(most) {}

  // A stream that comes after DrainAll of its kind is drained at once. False when there are as many
  // as may be: the stream is not in the set, and has to be refused.
  bool Add(const std::shared_ptr<Drainable>& stream) {
    {
      MutexLock lock(mu_);
      std::erase_if(streams_, [](const auto& weak) { return weak.expired(); });
      if (!drained(stream->kind())) {
        if (std::ssize(streams_) >= most_) return false;
        streams_.push_back(stream);
        return true;
      }
    }
    stream->Drain();
    return true;
  }

  // The stream is about to finish: another may take its place as soon as its peer knows of that.
  void Leave(const std::weak_ptr<Drainable>& stream) {
    MutexLock lock(mu_);
    std::erase_if(streams_, [&](const auto& other) {
      return !other.owner_before(stream) && !stream.owner_before(other);
    });
  }

  int most() const { return most_; }

  void DrainAll(Drainable::Kind kind) {
    std::vector<std::weak_ptr<Drainable>> streams;
    {
      MutexLock lock(mu_);
      (kind == Drainable::Kind::kIngest ? ingest_drained_ : publish_drained_) = true;
      streams = streams_;
    }
    for (const auto& weak : streams) {
      const auto stream = weak.lock();
      if (stream != nullptr && stream->kind() == kind) stream->Drain();
    }
  }

  // Streams of one kind whose calls have not ended.
  int open(Drainable::Kind kind) const {
    MutexLock lock(mu_);
    int count = 0;
    for (const auto& weak : streams_) {
      const auto stream = weak.lock();
      count += stream != nullptr && stream->kind() == kind ? 1 : 0;
    }
    return count;
  }

 private:
  bool drained(Drainable::Kind kind) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return kind == Drainable::Kind::kIngest ? ingest_drained_ : publish_drained_;
  }

  const int most_;
  mutable Mutex mu_;
  std::vector<std::weak_ptr<Drainable>> streams_ ABSL_GUARDED_BY(mu_);
  bool ingest_drained_ ABSL_GUARDED_BY(mu_) = false;
  bool publish_drained_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_SERVICE_STREAM_SET_H_
