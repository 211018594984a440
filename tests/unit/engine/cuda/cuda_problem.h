#ifndef PTYCHOSERVE_TESTS_UNIT_ENGINE_CUDA_CUDA_PROBLEM_H_
#define PTYCHOSERVE_TESTS_UNIT_ENGINE_CUDA_CUDA_PROBLEM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/backend.h"

namespace ptychoserve {

// The first GPU of this machine. Ends the process, saying why, when there is none: these tests
// are meant for machines with a GPU and pass nowhere else.
Device& FirstGpu();
// The CPU, which all results are compared with.
Device& ReferenceDevice();

struct ProblemOptions {
  Shape frame_shape{64, 64};
  int points = 70;
  int spread = 40;       // Between the corners of the outermost windows, in pixels.
  int capacity = 0;      // 0: as many as points.
  int modes = 1;         // Of the probe, each with its own share of the light, not orthogonal.
  int object_modes = 1;  // Likewise.
  FrameStorage storage = FrameStorage::kU16;
  bool keeps_exit_waves = true;
  bool untrusted_pixels = true;
  bool whole_pixels = false;  // No window has a fractional position.
  bool deterministic = false;
  bool half_waves = false;
  bool refined = false;  // Points have intensities of their own, and there is a background.
  int components = 0;    // Of the probe's variation; points have coefficients of their own.
  // Counts of a noisy measurement of an object that differs somewhat from the problem's; else
  // counts that fit no object at all.
  bool measured = false;
  bool near_field = false;
  unsigned seed = 1;
};

// Random object, probe, windows and frames. Windows touch all four edges of the canvas.
struct Problem {
  BackendConfig config;
  Region canvas;
  ComplexStack object;
  ComplexStack probe;
  ComplexStack components;                     // Of its variation.
  std::vector<PointWindow> points;             // Slots in a random order.
  std::vector<std::vector<std::byte>> frames;  // By slot, [points]
  FloatImage background;                       // Empty: none.
};
Problem MakeProblem(const ProblemOptions& options);

// A backend of `config`; the test fails when there is none.
std::unique_ptr<Backend> MustCreate(Device& device, const BackendConfig& config);
// Loads the frames of `points`.
absl::Status Load(const Problem& problem, std::span<const PointWindow> points, Backend& backend);
// Everything of the problem: canvas, object, probe, frames, points.
absl::Status Prepare(const Problem& problem, Backend& backend);

// ‖a - reference‖ / ‖reference‖; infinity when sizes differ or something is not finite.
double Deviation(std::span<const Complex64> a, std::span<const Complex64> reference);
double Deviation(std::span<const float> a, std::span<const float> reference);
double Deviation(double a, double reference);

// Largest deviations between two backends, and of figures between two iterations. Changes below
// one per cent are differences of nearly equal numbers, and are compared as if they were that.
struct Deviations {
  double object = 0;
  double probe = 0;
  double coverage = 0;
  double exit_waves = 0;
  double metrics = 0;

  double Largest() const;
  void Include(const Deviations& other);
  std::string ToString() const;
};
// Of object, probe, coverage and, where they are kept, exit waves.
absl::StatusOr<Deviations> Compare(Backend& backend, Backend& reference, bool exit_waves);
Deviations Compare(const IterationMetrics& metrics, const IterationMetrics& reference);

// Object, probe and coverage as they are now.
absl::StatusOr<Readback> ReadNow(Backend& backend);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_UNIT_ENGINE_CUDA_CUDA_PROBLEM_H_
