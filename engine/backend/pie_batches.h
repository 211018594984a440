#ifndef PTYCHOSERVE_ENGINE_BACKEND_PIE_BATCHES_H_
#define PTYCHOSERVE_ENGINE_BACKEND_PIE_BATCHES_H_

#include <span>

#include "engine/backend/backend.h"
#include "engine/backend/point_batches.h"
#include "engine/base/array.h"

// Which points ePIE takes at the same time, and in which order it comes to them.
//
// Points whose beams do not meet change different pixels of the object: taken together they give
// what they give one after the other. A beam that the detector samples as it should fills no more
// than half of its window, and mostly about a third; so the windows of a batch lie a third of a
// window apart or more, and where wider beams or the tails of narrower ones still meet, the update
// divides by what has fallen there in all (engine/algorithms/epie.h).
namespace ptychoserve {

// Pixels that the windows of a batch are apart, in rows or in columns.
constexpr int PieSpacing(int frame_side) { return (frame_side + 2) / 3; }

// Deals every point to one batch of at most `max_batch` points, or of any number if that is 0: a
// colouring of the points in which those that are closer than PieSpacing of the frame, in rows and
// in columns, differ. Each point, in order, gets the first colour that is free; then the larger
// batches give points to the smaller ones. With max_batch = 1 the points stay in their order. The
// result depends on the points and their order alone. Time: n (log n + d) for n points, of which
// d are close to any one.
PointBatches MakePieBatches(std::span<const PointWindow> points, Shape frame, int max_batch);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BACKEND_PIE_BATCHES_H_
