#ifndef PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_POINT_SCHEDULE_H_
#define PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_POINT_SCHEDULE_H_

#include <span>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/backend/cuda/fused/passes.h"

// In which order the fused passes take the points, and which points share a block.
namespace ptychoserve::cuda {

// A run of points whose intermediates are in the cache together.
struct PointChunk {
  int first;  // Place in PointSchedule::order.
  int count;
  int first_group;
  int group_count;
};

struct PointSchedule {
  std::vector<int> order;  // Indices into the points that were scheduled.
  std::vector<PointChunk> chunks;
  std::vector<PointGroup> groups;  // `first` counts from the chunk's first point.
  PointKind kind = PointKind::kWhole;
};

PointKind PointKindOf(std::span<const PointWindow> points);

// Chunks of at most `chunk_points` points. Points keep their order where neighbours in it overlap
// well, or as well as neighbours along a space-filling curve do, so that a raster stays as it was
// measured; otherwise they follow the curve (Hilbert's).
PointSchedule SchedulePoints(std::span<const PointWindow> points, Shape frame, int chunk_points);

}  // namespace ptychoserve::cuda

#endif  // PTYCHOSERVE_ENGINE_BACKEND_CUDA_FUSED_POINT_SCHEDULE_H_
