#include "client/cpp/position_writer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/internal/writer_impl.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::client {
namespace {

// Entries of one queue item, so that an item stays below any server's message limit.
constexpr std::size_t kBlock = 16384;

absl::Status CheckEqualSizes(std::size_t x, std::size_t y) {
  if (x == y) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("x has ", x, " values, y has ", y));
}

}  // namespace

PositionWriter::PositionWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PositionWriter::~PositionWriter() { impl_->writer->Cancel(); }

absl::Status PositionWriter::Push(std::int64_t frame_id, double x_m, double y_m) {
  internal::PositionBatching::Item item;
  item.frame_ids = {frame_id};
  item.x = {x_m};
  item.y = {y_m};
  return impl_->writer->Push(std::move(item), std::chrono::steady_clock::now());
}

absl::Status PositionWriter::Push(std::span<const std::int64_t> frame_ids,
                                  std::span<const double> x_m, std::span<const double> y_m,
                                  std::chrono::milliseconds timeout) {
  PS_RETURN_IF_ERROR(CheckEqualSizes(x_m.size(), y_m.size()));
  if (frame_ids.size() != x_m.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(frame_ids.size(), " frame ids for ", x_m.size(), " positions"));
  }
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (std::size_t first = 0; first < x_m.size(); first += kBlock) {
    const std::size_t n = std::min(kBlock, x_m.size() - first);
    const auto ids = frame_ids.subspan(first, n);
    const auto x = x_m.subspan(first, n);
    const auto y = y_m.subspan(first, n);
    internal::PositionBatching::Item item;
    item.frame_ids.assign(ids.begin(), ids.end());
    item.x.assign(x.begin(), x.end());
    item.y.assign(y.begin(), y.end());
    PS_RETURN_IF_ERROR(impl_->writer->Push(std::move(item), deadline));
  }
  return absl::OkStatus();
}

absl::Status PositionWriter::PushEncoderSamples(std::int64_t first_sample,
                                                std::span<const double> x_counts,
                                                std::span<const double> y_counts,
                                                std::chrono::milliseconds timeout) {
  PS_RETURN_IF_ERROR(CheckEqualSizes(x_counts.size(), y_counts.size()));
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (std::size_t first = 0; first < x_counts.size(); first += kBlock) {
    const std::size_t n = std::min(kBlock, x_counts.size() - first);
    const auto x = x_counts.subspan(first, n);
    const auto y = y_counts.subspan(first, n);
    internal::PositionBatching::Item item;
    item.encoder_samples = true;
    item.first_sample = first_sample + static_cast<std::int64_t>(first);
    item.x.assign(x.begin(), x.end());
    item.y.assign(y.begin(), y.end());
    PS_RETURN_IF_ERROR(impl_->writer->Push(std::move(item), deadline));
  }
  return absl::OkStatus();
}

absl::Status PositionWriter::Flush(std::chrono::milliseconds timeout) {
  return impl_->writer->Flush(timeout);
}
absl::StatusOr<WriterReport> PositionWriter::Close(std::chrono::milliseconds timeout) {
  return impl_->writer->Close(timeout);
}
absl::Status PositionWriter::status() const { return impl_->writer->status(); }
WriterReport PositionWriter::report() const { return impl_->writer->report(); }

}  // namespace ptychoserve::client
