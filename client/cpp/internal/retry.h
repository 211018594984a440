#ifndef PTYCHOSERVE_CLIENT_CPP_INTERNAL_RETRY_H_
#define PTYCHOSERVE_CLIENT_CPP_INTERNAL_RETRY_H_

#include <chrono>
#include <functional>
#include <random>
#include <string>

#include "absl/status/status.h"

namespace ptychoserve::client::internal {

// Whether a stream that has ended so may live on in a new one: the connection or the server went
// away. What a server says about the request itself is final.
bool WorthRetrying(const absl::Status& status);

// `status` with more words, its details kept.
absl::Status WithWords(const absl::Status& status, const std::string& words);

// Pauses between attempts: they double from `initial` to `max`, and each is shortened at random by
// up to half, so that clients which lost the same server do not come back all at once.
class Backoff {
 public:
  Backoff(std::chrono::milliseconds initial, std::chrono::milliseconds max);
  std::chrono::milliseconds Next();
  void Reset();

 private:
  const std::chrono::milliseconds initial_, max_;
  std::chrono::milliseconds next_;
  std::minstd_rand random_;
};

// Makes attempts until one ends otherwise than with kUnavailable, or the next would begin after the
// deadline; then the last one's error is the result.
absl::Status RetryUntil(std::chrono::steady_clock::time_point deadline,
                        const std::function<absl::Status()>& attempt);

// 16 random hexadecimal digits.
std::string RandomProducer();

}  // namespace ptychoserve::client::internal

#endif  // PTYCHOSERVE_CLIENT_CPP_INTERNAL_RETRY_H_
