#include "engine/scan/encoder_assembler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace ptychoserve {
namespace {

constexpr double kDegrees = std::numbers::pi / 180.0;
constexpr double kCosineUpToDegrees = 45.0;
constexpr std::int64_t kLargestId = std::numeric_limits<std::int64_t>::max();

// The sample turns about the slow axis: of a lateral move at angle θ, the beam sees |cos θ|. The
// stage scans with its other lateral motor above 45 degrees, of which the beam sees |sin θ|.
double AngleFactor(const EncoderConfig& config) {
  if (!config.rotation_angle_deg.has_value()) return 1.0;
  const double angle = *config.rotation_angle_deg;
  return std::abs(angle) <= kCosineUpToDegrees ? std::abs(std::cos(angle * kDegrees))
                                               : std::abs(std::sin(angle * kDegrees));
}

}  // namespace

EncoderAssembler::EncoderAssembler(const EncoderConfig& config, std::int64_t first_frame_id,
                                   std::size_t max_incomplete_frames)
    : config_(config),
      first_frame_id_(first_frame_id),
      max_incomplete_frames_(max_incomplete_frames),
      angle_factor_(AngleFactor(config)) {}

EncoderAssembler::Added EncoderAssembler::Add(const EncoderBatch& batch) {
  Added added;
  const std::int64_t per_frame = config_.samples_per_frame;
  for (std::size_t i = 0; i < batch.x_counts.size(); ++i) {
    const auto offset = static_cast<std::int64_t>(i);
    if (batch.first_sample < -offset || batch.first_sample > kLargestId - offset ||
        (batch.first_sample + offset) / per_frame > kLargestId - first_frame_id_) {
      ++added.refused_samples;
      continue;
    }
    const std::int64_t sample = batch.first_sample + offset;
    const std::int64_t id = FrameOf(sample);
    const double x = batch.x_counts[i];
    const double y = batch.y_counts[i];
    if (!std::isfinite(x) || !std::isfinite(y)) {
      if (added.non_finite_samples++ == 0) added.first_bad_frame = id;
      continue;
    }
    if (done_.Contains(id)) {
      ++added.duplicate_samples;
      continue;
    }
    auto it = partial_.find(id);
    if (it == partial_.end()) {
      if (partial_.size() >= max_incomplete_frames_) {
        ++added.refused_samples;
        continue;
      }
      it = partial_.emplace(id, Partial{}).first;
    }
    Partial& partial = it->second;
    const std::size_t before = partial.size();
    partial.try_emplace(partial.end(), static_cast<std::int32_t>(sample % per_frame), x, y);
    if (partial.size() == before) {
      ++added.duplicate_samples;
      continue;
    }
    if (static_cast<std::int64_t>(partial.size()) < per_frame) continue;
    added.complete.push_back(ToPosition(id, partial));
    partial_.erase(it);
    done_.Insert(id);
  }
  return added;
}

std::int64_t EncoderAssembler::FrameOf(std::int64_t sample) const {
  return first_frame_id_ +
         std::min(sample / config_.samples_per_frame, kLargestId - first_frame_id_);
}

EncoderAssembler::Position EncoderAssembler::ToPosition(std::int64_t id,
                                                        const Partial& samples) const {
  // Summed in sample order, so that the result does not depend on the order of arrival.
  double sum_x = 0, sum_y = 0;
  for (const auto& [index, xy] : samples) {
    sum_x += xy.first;
    sum_y += xy.second;
  }
  const auto n = static_cast<double>(samples.size());
  Position position;
  position.frame_id = id;
  position.y_m = sum_y / n * config_.y_scale_m_per_count + config_.y_offset_m;
  position.x_m = sum_x / n * config_.x_scale_m_per_count * angle_factor_ + config_.x_offset_m;
  return position;
}

}  // namespace ptychoserve
