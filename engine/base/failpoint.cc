#include "engine/base/failpoint.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "engine/base/mutex.h"

namespace ptychoserve {
namespace {

struct Point {
  std::string name, action;
  std::int64_t first = 1, last = 1;
  std::int64_t passed = 0;
};

class Points {
 public:
  Points() {
    const char* text = std::getenv("PTYCHOSERVE_FAILPOINTS");
    if (text == nullptr) return;
    for (const absl::string_view item : absl::StrSplit(text, ',', absl::SkipEmpty())) {
      const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(item, '=');
      const std::pair<absl::string_view, absl::string_view> when =
          absl::StrSplit(parts.second, '@');
      Point point{std::string(parts.first), std::string(when.first)};
      if (!when.second.empty()) {
        const std::vector<absl::string_view> range = absl::StrSplit(when.second, '-');
        if (!absl::SimpleAtoi(range[0], &point.first)) continue;
        point.last = point.first;
        if (range.size() > 1 && !absl::SimpleAtoi(range[1], &point.last)) {
          point.last = std::numeric_limits<std::int64_t>::max();
        }
      }
      points_.push_back(std::move(point));
    }
    any_ = !points_.empty();
  }

  bool any() const { return any_; }

  int Pass(absl::string_view name) {
    std::string action;
    {
      MutexLock lock(mu_);
      for (Point& point : points_) {
        if (point.name != name) continue;
        ++point.passed;
        if (point.passed >= point.first && point.passed <= point.last) action = point.action;
      }
    }
    if (action == "kill") std::raise(SIGKILL);
    if (action == "sleep") std::this_thread::sleep_for(std::chrono::milliseconds(500));
    if (action == "enospc") return ENOSPC;
    if (action == "eio") return EIO;
    if (action == "erofs") return EROFS;
    return 0;
  }

 private:
  bool any_ = false;
  Mutex mu_;
  std::vector<Point> points_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

int Failpoint(absl::string_view name) {
  static Points points;
  return points.any() ? points.Pass(name) : 0;
}

}  // namespace ptychoserve
