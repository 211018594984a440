#include "server/publish/get_frame.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace ptychoserve::server {
namespace {

absl::Status CheckRequest(const v1::GetFrameRequest& request) {
  if (request.downsample() <= kMaxDownsample) return absl::OkStatus();
  return InvalidField(reason::kInvalidRequest, "downsample",
                      absl::StrCat(request.downsample(), "; allowed: 1..", kMaxDownsample));
}

absl::Status FrameError(absl::string_view name, const absl::Status& status) {
  if (absl::IsNotFound(status)) return FrameNotFound(name, status.message());
  if (absl::IsFailedPrecondition(status)) {
    return WithReason(
        absl::FailedPreconditionError(absl::StrCat("'", name, "': ", status.message())),
        reason::kFrameNotKept, {{"session", std::string(name)}});
  }
  return status;
}

PreparedArray PrepareImage(const FloatImage& image, int downsample, v1::FrameHeader& header) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  PreparedArray array = Own(
      BlockMeans<float, double>(image.data, image.shape.cols, {0, 0, image.shape}, downsample, kNan,
                                [&](std::size_t i) { return !std::isnan(image.data[i]); }));
  v1::ArrayInfo& info = *header.add_arrays();
  info.set_element(v1::ArrayInfo::ELEMENT_FLOAT32);
  info.add_shape(CeilDiv(image.shape.rows, downsample));
  info.add_shape(CeilDiv(image.shape.cols, downsample));
  info.set_bytes(static_cast<std::int64_t>(array.bytes.size()));
  return array;
}

}  // namespace

grpc::ServerWriteReactor<v1::FrameChunk>* GetFrameStream::Start(
    const Call& call, const v1::GetFrameRequest& request) {
  const absl::Status checked = CheckRequest(request);
  if (!checked.ok()) return new RefusedStream<v1::FrameChunk>(checked);
  auto session = call.Find(request.name());
  if (!session.ok()) return new RefusedStream<v1::FrameChunk>(session.status());
  return Launch(
      std::shared_ptr<GetFrameStream>(new GetFrameStream(call, request, *std::move(session))));
}

GetFrameStream::GetFrameStream(const Call& call, const v1::GetFrameRequest& request,
                               std::shared_ptr<Session> session)
    : PushStream(call),
      session_(std::move(session)),
      frame_id_(request.has_frame_id() ? std::optional(request.frame_id()) : std::nullopt),
      expected_(request.expected()),
      downsample_(std::max(1, static_cast<int>(request.downsample()))),
      meter_(call) {}

void GetFrameStream::Ask() {
  session_->reconstruction().ReadFrame(
      frame_id_, [weak = weak_from_this(), this](absl::StatusOr<MeasuredFrame> frame) {
        const auto self = weak.lock();
        if (self == nullptr) return;
        {
          MutexLock lock(answer_mu_);
          answer_ = std::move(frame);
        }
        OnSessionChange();
      });
}

void GetFrameStream::Prepare(const MeasuredFrame& measured, v1::FrameHeader& header) {
  header.set_frame_id(measured.frame_id);
  std::vector<PreparedArray> arrays;
  arrays.push_back(PrepareImage(measured.counts, downsample_, header));
  if (expected_) {
    const auto expected = session_->reconstruction().FindExpectedFrame(measured.frame_id);
    if (expected) {
      header.set_version(expected->version);
      arrays.push_back(PrepareImage(expected->counts, downsample_, header));
    }
  }
  meter_.Count(arrays, Clock::now());
  cursor_ = ArrayCursor(std::move(arrays));
}

GetFrameStream::Step GetFrameStream::Next(v1::FrameChunk& chunk) {
  if (stage_ == Stage::kCreated) {
    if (const auto until = meter_.WaitUntil(Clock::now())) return Step::WaitUntil(*until);
    stage_ = Stage::kAsked;
    Ask();
  }
  if (stage_ == Stage::kAsked) {
    MutexLock lock(answer_mu_);
    if (!answer_) return Step::Wait();
    if (!answer_->ok()) return Step::Finish(FrameError(session_->name(), answer_->status()));
    stage_ = Stage::kSending;
    Prepare(**answer_, *chunk.mutable_header());
    answer_.reset();
    return Step::Write();
  }
  return cursor_.Next(*chunk.mutable_data()) ? Step::Write() : Step::Finish(absl::OkStatus());
}

}  // namespace ptychoserve::server
