#include "engine/solver/frame_loader.h"

#include <vector>

#include "engine/base/status_macros.h"

namespace ptychoserve {

FrameLoader::FrameLoader(Backend& backend, FrameStore& store)
    : backend_(&backend), store_(store), runs_beside_(backend.LoadsBeside()) {}

absl::StatusOr<bool> FrameLoader::Run(bool wait) {
  MutexLock lock(mu_);
  return RunLocked(wait ? 0 : kAnyNumber);
}

absl::StatusOr<bool> FrameLoader::MakeSpace() {
  MutexLock lock(mu_);
  PS_RETURN_IF_ERROR(RunLocked(kAnyNumber).status());
  if (store_.free_staging_bytes() > 0) return true;
  return RunLocked(under_way_ / 2);
}

absl::StatusOr<bool> FrameLoader::RunLocked(std::int64_t most_under_way) {
  if (backend_ == nullptr) return false;
  PS_RETURN_IF_ERROR(failure_);
  const std::vector<FrameToLoad> frames = store_.TakeStaged();
  if (!frames.empty()) failure_ = backend_->LoadFrames(frames);
  PS_RETURN_IF_ERROR(failure_);
  const absl::StatusOr<std::int64_t> under_way = backend_->FramesBeingCopied(most_under_way);
  failure_ = under_way.status();
  PS_RETURN_IF_ERROR(failure_);
  under_way_ = *under_way;
  return store_.ReleaseStaged(under_way_) || !frames.empty();
}

void FrameLoader::Close() {
  MutexLock lock(mu_);
  backend_ = nullptr;
}

}  // namespace ptychoserve
