#include "client/cpp/frame_writer.h"

#include <grpcpp/support/slice.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/internal/writer_impl.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::client {
namespace {

// Of one message: SkippedFrames.count.
constexpr std::int64_t kMaxSkipped = std::int64_t{1} << 20;

absl::Status CheckSize(const FrameFormat& format, std::int64_t frame_id, std::size_t bytes) {
  if (format.encoding != v1::ENCODING_RAW || bytes == format.raw_bytes()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("frame ", frame_id, " has ", bytes, " bytes; ", format.rows, " x ", format.cols,
                   " pixels of ", v1::DataType_Name(format.dtype), " are ", format.raw_bytes()));
}

}  // namespace

FrameWriter::FrameWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FrameWriter::~FrameWriter() { impl_->writer->Cancel(); }

absl::Status FrameWriter::Push(std::int64_t frame_id, std::span<const std::byte> frame) {
  return Push(frame_id, frame, std::chrono::milliseconds(0));
}

absl::Status FrameWriter::Push(std::int64_t frame_id, std::span<const std::byte> frame,
                               std::chrono::milliseconds timeout) {
  PS_RETURN_IF_ERROR(CheckSize(impl_->format, frame_id, frame.size()));
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  return impl_->writer->Push({frame_id, impl_->pool->Copy(frame)}, deadline);
}

absl::Status FrameWriter::PushShared(std::int64_t frame_id, std::span<const std::byte> frame,
                                     std::shared_ptr<const void> owner,
                                     std::chrono::milliseconds timeout) {
  PS_RETURN_IF_ERROR(CheckSize(impl_->format, frame_id, frame.size()));
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  using Owner = std::shared_ptr<const void>;
  grpc::Slice slice(
      const_cast<std::byte*>(frame.data()), frame.size(),  // Only read.
      [](void* held) { delete static_cast<Owner*>(held); }, new Owner(std::move(owner)));
  return impl_->writer->Push({frame_id, std::move(slice)}, deadline);
}

absl::Status FrameWriter::Skip(std::int64_t first_frame_id, std::int64_t count,
                               std::chrono::milliseconds timeout) {
  if (count < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(count, " skipped frames; 1 or more are allowed"));
  }
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (std::int64_t done = 0; done < count; done += kMaxSkipped) {
    internal::FrameBatching::Item item;
    item.frame_id = first_frame_id + done;
    item.skipped = std::min(count - done, kMaxSkipped);
    PS_RETURN_IF_ERROR(impl_->writer->Push(std::move(item), deadline));
  }
  return absl::OkStatus();
}

absl::Status FrameWriter::Flush(std::chrono::milliseconds timeout) {
  return impl_->writer->Flush(timeout);
}
absl::StatusOr<WriterReport> FrameWriter::Close(std::chrono::milliseconds timeout) {
  return impl_->writer->Close(timeout);
}
absl::Status FrameWriter::status() const { return impl_->writer->status(); }
WriterReport FrameWriter::report() const { return impl_->writer->report(); }
const FrameFormat& FrameWriter::format() const { return impl_->format; }

}  // namespace ptychoserve::client
