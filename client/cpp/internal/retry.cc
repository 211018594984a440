#include "client/cpp/internal/retry.h"

#include <algorithm>
#include <cstdint>
#include <thread>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/error_details.h"

namespace ptychoserve::client::internal {
namespace {

constexpr char kFirstMessageTimeout[] = "FIRST_MESSAGE_TIMEOUT";
constexpr std::chrono::milliseconds kFirstRetryPause{50}, kLongestRetryPause{1'000};

}  // namespace

bool WorthRetrying(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      return true;
    case absl::StatusCode::kInternal:   // A stream that was reset.
    case absl::StatusCode::kUnknown:    // A transport that went away.
    case absl::StatusCode::kCancelled:  // Not by this side: by a proxy, or a server that ends.
      return GetErrorDetails(status).reason.empty();  // Not the word of the server's own code.
    case absl::StatusCode::kDeadlineExceeded:  // The network was too slow for the first message.
      return GetErrorDetails(status).reason == kFirstMessageTimeout;
    default:
      return false;
  }
}

absl::Status WithWords(const absl::Status& status, const std::string& words) {
  absl::Status out(status.code(), absl::StrCat(status.message(), words));
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { out.SetPayload(url, payload); });
  return out;
}

Backoff::Backoff(std::chrono::milliseconds initial, std::chrono::milliseconds max)
    : initial_(std::max(initial, std::chrono::milliseconds(1))),
      max_(std::max(max, initial_)),
      next_(initial_),
      random_(std::random_device()()) {}

std::chrono::milliseconds Backoff::Next() {
  const auto longest = next_.count();
  next_ = std::min(2 * next_, max_);
  return std::chrono::milliseconds(
      std::uniform_int_distribution<std::int64_t>((longest + 1) / 2, longest)(random_));
}

void Backoff::Reset() { next_ = initial_; }

absl::Status RetryUntil(std::chrono::steady_clock::time_point deadline,
                        const std::function<absl::Status()>& attempt) {
  Backoff backoff(kFirstRetryPause, kLongestRetryPause);
  while (true) {
    const absl::Status status = attempt();
    if (!absl::IsUnavailable(status)) return status;
    const auto next = std::chrono::steady_clock::now() + backoff.Next();
    if (next >= deadline) return status;
    std::this_thread::sleep_until(next);
  }
}

std::string RandomProducer() {
  std::random_device random;
  const auto low = static_cast<std::uint32_t>(random());
  const auto high = static_cast<std::uint32_t>(random());
  return absl::StrCat(absl::Hex(high, absl::kZeroPad8), absl::Hex(low, absl::kZeroPad8));
}

}  // namespace ptychoserve::client::internal
