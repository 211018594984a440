#include "client/cpp/frame_writer.h"

#include <grpcpp/support/slice.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/internal/writer_impl.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::client {
namespace {

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
