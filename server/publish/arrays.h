#ifndef PTYCHOSERVE_SERVER_PUBLISH_ARRAYS_H_
#define PTYCHOSERVE_SERVER_PUBLISH_ARRAYS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "engine/base/array.h"
#include "ptychoserve/v1/snapshot.pb.h"

// Arrays on their way out: cut, averaged, and in pieces.

namespace ptychoserve::server {

namespace v1 = ::ptychoserve::v1;

// Each array of a snapshot or a frame is averaged over at most so many pixels, squared.
inline constexpr std::uint32_t kMaxDownsample = 64;

// One array, ready to be sent; a view of the snapshot itself where nothing had to be changed.
struct PreparedArray {
  std::vector<char> owned;  // Empty for a view.
  std::span<const char> bytes;
};

inline int CeilDiv(int a, int b) { return (a + b - 1) / b; }

// Owned bytes of `values`, and the view of them.
template <typename T>
PreparedArray Own(const std::vector<T>& values) {
  PreparedArray out;
  out.owned.resize(values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(out.owned.data(), values.data(), out.owned.size());
  out.bytes = out.owned;
  return out;
}

template <typename T>
PreparedArray View(std::span<const T> values) {
  PreparedArray out;
  out.bytes = {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
  return out;
}

// The pixels of `area` of an image with `stride` columns.
template <typename T>
std::vector<T> CopyArea(std::span<const T> image, int stride, const Region& area) {
  std::vector<T> out;
  out.reserve(static_cast<std::size_t>(area.shape.rows) *
              static_cast<std::size_t>(area.shape.cols));
  for (int y = 0; y < area.shape.rows; ++y) {
    const auto row = image.begin() + static_cast<std::ptrdiff_t>(area.row + y) * stride + area.col;
    out.insert(out.end(), row, row + area.shape.cols);
  }
  return out;
}

// Mean over n x n blocks of `area` of an image with `stride` columns, over the pixels that
// `use(index)` lets through; `none` where it lets none through.
template <typename T, typename Sum, typename Use>
std::vector<T> BlockMeans(std::span<const T> image, int stride, const Region& area, int n, T none,
                          const Use& use) {
  const int rows = CeilDiv(area.shape.rows, n);
  const int cols = CeilDiv(area.shape.cols, n);
  std::vector<Sum> sums(static_cast<std::size_t>(cols));
  std::vector<int> counts(static_cast<std::size_t>(cols));
  std::vector<T> out;
  out.reserve(static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols));
  for (int row = 0; row < rows; ++row) {
    std::fill(sums.begin(), sums.end(), Sum{});
    std::fill(counts.begin(), counts.end(), 0);
    const int end = std::min((row + 1) * n, area.shape.rows);
    for (int y = row * n; y < end; ++y) {
      const std::size_t line =
          static_cast<std::size_t>(area.row + y) * static_cast<std::size_t>(stride) +
          static_cast<std::size_t>(area.col);
      for (int x = 0; x < area.shape.cols; ++x) {
        const std::size_t index = line + static_cast<std::size_t>(x);
        if (!use(index)) continue;
        const std::size_t block = static_cast<std::size_t>(x / n);
        sums[block] += Sum(image[index]);
        ++counts[block];
      }
    }
    for (std::size_t block = 0; block < sums.size(); ++block) {
      out.push_back(counts[block] == 0 ? none
                                       : T(sums[block] / static_cast<double>(counts[block])));
    }
  }
  return out;
}

// Walks through arrays, piece by piece. Not thread-safe.
class ArrayCursor {
 public:
  static constexpr std::size_t kMaxDataBytes = 1 << 20;  // Of one piece.

  ArrayCursor() = default;  // At the end.
  explicit ArrayCursor(std::vector<PreparedArray> arrays) : arrays_(std::move(arrays)) {}

  // Fills in the next piece; false at the end, when the arrays have been let go.
  bool Next(v1::ArrayData& data) {
    while (array_ < arrays_.size() && offset_ == arrays_[array_].bytes.size()) {
      ++array_;
      offset_ = 0;
    }
    if (array_ == arrays_.size()) {
      *this = {};
      return false;
    }
    const std::span<const char> bytes = arrays_[array_].bytes;
    const std::size_t size = std::min(kMaxDataBytes, bytes.size() - offset_);
    data.set_array(static_cast<std::uint32_t>(array_));
    data.set_offset(static_cast<std::int64_t>(offset_));
    data.mutable_data()->assign(bytes.data() + offset_, size);
    offset_ += size;
    return true;
  }

 private:
  std::vector<PreparedArray> arrays_;
  std::size_t array_ = 0;
  std::size_t offset_ = 0;
};

}  // namespace ptychoserve::server

#endif  // PTYCHOSERVE_SERVER_PUBLISH_ARRAYS_H_
