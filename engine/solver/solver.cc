#include "engine/solver/solver.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <complex>
#include <iterator>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "engine/algorithms/projections.h"
#include "engine/backend/window_area.h"
#include "engine/base/failpoint.h"
#include "engine/base/status_macros.h"
#include "engine/object/modes.h"
#include "engine/probe/modes.h"
#include "engine/probe/probe.h"
#include "engine/schedule/schedule.h"
#include "engine/solver/plausibility.h"
#include "engine/solver/probe_variation.h"

namespace ptychoserve {
namespace {

// Fraction of the largest coverage above which a pixel counts as covered in Snapshot figures.
constexpr float kCoveredFraction = 0.01f;

bool ById(const FrameStore::Point& a, const FrameStore::Point& b) {
  return a.frame_id < b.frame_id;
}

// Of the logarithm of the probe's power.
constexpr double kTolerableDrift = 0.01;

// An initial probe whose power differs more than this from the frames' counts is warned of.
constexpr double kProbePowerFactor = 10;

// Fewer points hardly overlap, and any beam explains them.
constexpr std::ptrdiff_t kFewestToSearch = 8;

// Copied to the host and back for a test of the orientation.
constexpr std::int64_t kMostWaveBytesToTest = std::int64_t{1} << 30;

// The largest refinement.max_shift_px there is.
constexpr float kMostShiftPx = 64;

// Mean of |sqrt I - sqrt E[I]| for Poisson counts well above one; the root of the mean below.
constexpr double kAmplitudeNoise = 0.4;

double NoiseRFactor(const FloatImage& mean_amplitude) {
  double noise = 0, signal = 0;
  for (const float a : mean_amplitude.data) {
    noise += std::min(kAmplitudeNoise, static_cast<double>(a));
    signal += a;
  }
  return signal > 0 ? noise / signal : 0;
}

double PowerOf(const ComplexStack& probe) {
  double power = 0;
  for (const Complex64 p : probe.data) power += std::norm(std::complex<double>(p));
  return power;
}

// Of a frame, about: the square of a mean is less than the mean of squares.
double MeanCounts(const FloatImage& mean_amplitude) {
  double counts = 0;
  for (const float a : mean_amplitude.data) counts += static_cast<double>(a) * a;
  return counts;
}

bool MayCarry(double photons, double counts) {
  return photons <= kProbePowerFactor * counts && photons >= counts / kProbePowerFactor;
}

std::string ProbePowerWarning(double photons, double counts, bool scaled) {
  return absl::StrFormat(
      "probe.initial carries %.3g photons, but the frames hold about %.3g counts; its amplitude %s "
      "scaled by %.3g",
      photons, counts, scaled ? "has been" : "should be", std::sqrt(counts / photons));
}

std::vector<PointWindow> WindowsOfPoints(std::span<const ActivePoint> points) {
  std::vector<PointWindow> windows;
  windows.reserve(points.size());
  for (const ActivePoint& p : points) {
    const Window w = Shifted(p.window, p.refined);
    windows.push_back(
        {p.slot, w.row, w.col, w.frac_row, w.frac_col, p.refined.intensity, p.refined.variation});
  }
  return windows;
}

std::vector<ActivePoint> AsMeasured(const std::vector<FrameStore::Point>& points) {
  std::vector<ActivePoint> active;
  active.reserve(points.size());
  for (const FrameStore::Point& p : points) active.push_back({p, {}, {}});
  return active;
}

PointFit PointFitOf(const FrameFit& frame) {
  PointFit fit;
  const FitMetrics metrics = FitOf({&frame, 1});
  if (frame.amplitude > 0) fit.r_factor = static_cast<float>(metrics.r_factor);
  if (frame.non_zero > 0) fit.poisson_nll = static_cast<float>(metrics.poisson_nll);
  return fit;
}

std::vector<std::int64_t> FrameIds(const Snapshot& snapshot) {
  std::vector<std::int64_t> ids;
  for (const SnapshotPoint& p : snapshot.points) ids.push_back(p.frame_id);
  return ids;
}

std::vector<PointRefinement> RefinedOf(const Snapshot& snapshot) {
  std::vector<PointRefinement> refined;
  for (const SnapshotPoint& p : snapshot.points) refined.push_back(p.refined);
  return refined;
}

bool Contains(const Region& region, const Region& part) {
  return part.row >= region.row && part.col >= region.col &&
         part.row + part.shape.rows <= region.row + region.shape.rows &&
         part.col + part.shape.cols <= region.col + region.shape.cols;
}

// Fraction of `area` (relative to the image) that has light.
double CoveredFraction(const FloatImage& coverage, const Region& area) {
  if (coverage.data.empty()) return 0;
  const float limit =
      kCoveredFraction * *std::max_element(coverage.data.begin(), coverage.data.end());
  std::int64_t covered = 0;
  for (int r = area.row; r < area.row + area.shape.rows; ++r) {
    const float* row = coverage.data.data() + static_cast<std::int64_t>(r) * coverage.shape.cols;
    covered += std::count_if(row + area.col, row + area.col + area.shape.cols,
                             [limit](float c) { return c > limit; });
  }
  return static_cast<double>(covered) /
         static_cast<double>(std::max<std::int64_t>(1, area.shape.pixels()));
}

// The part of `region` that is inside `canvas`, at least one pixel. Both on the absolute lattice.
Region Within(const Region& region, const Region& canvas) {
  const int row_end = std::min(region.row + region.shape.rows, canvas.row + canvas.shape.rows);
  const int col_end = std::min(region.col + region.shape.cols, canvas.col + canvas.shape.cols);
  const int row = std::min(std::max(region.row, canvas.row), row_end - 1);
  const int col = std::min(std::max(region.col, canvas.col), col_end - 1);
  return {row, col, {row_end - row, col_end - col}};
}

// `scanned` and the rest are of the moment when the snapshot was begun.
std::unique_ptr<Snapshot> MakeSnapshot(Readback readback, const IterationRecord& record,
                                       const Region& scanned,
                                       const std::vector<ActivePoint>& points,
                                       const PixelSize& pixel_size) {
  auto snapshot = std::make_unique<Snapshot>();
  const Region canvas = readback.canvas;
  snapshot->iteration = record.iteration;
  snapshot->canvas = canvas;
  snapshot->pixel_size_y_m = pixel_size.y_m;
  snapshot->pixel_size_x_m = pixel_size.x_m;
  snapshot->object = std::move(readback.object);
  snapshot->probe = std::move(readback.probe);
  snapshot->coverage = std::move(readback.coverage);
  // Positions may have come in since the canvas was set; their part of the area is not here yet.
  const Region area = Within(scanned, canvas);
  snapshot->scanned = {area.row - canvas.row, area.col - canvas.col, area.shape};
  snapshot->points.reserve(points.size());
  for (const ActivePoint& p : points) {
    const Window w = Shifted(p.window, p.refined);
    snapshot->points.push_back({p.frame_id, w.row + static_cast<double>(w.frac_row) - canvas.row,
                                w.col + static_cast<double>(w.frac_col) - canvas.col, p.refined,
                                p.fit, p.slot});
  }
  snapshot->metrics = record;
  snapshot->metrics.coverage = CoveredFraction(snapshot->coverage, snapshot->scanned);
  return snapshot;
}

// Iterations do the same to any mixture of the modes, so that theirs stay as they are and the
// snapshot alone has orthogonal ones. A frozen probe is shown as it was given.
void OrderModes(bool frozen, Snapshot& snapshot) {
  if (snapshot.object.modes > 1) {
    snapshot.metrics.object_mode_powers = OrthogonaliseObject(snapshot.object, snapshot.coverage);
  }
  if (snapshot.probe.modes == 1) return;
  ComplexStack orthogonal = snapshot.probe;
  ComplexStack components =
      snapshot.probe_components != nullptr ? *snapshot.probe_components : ComplexStack();
  snapshot.metrics.mode_powers = OrthogonaliseModes(orthogonal, components);
  if (frozen) return;
  snapshot.probe = std::move(orthogonal);
  if (snapshot.probe_components != nullptr) {
    snapshot.probe_components = std::make_shared<const ComplexStack>(std::move(components));
  }
}

}  // namespace

absl::Status CheckRestored(const Checkpoint& checkpoint, const ReconstructionConfig& config,
                           std::int64_t max_object_pixels) {
  const Snapshot& snapshot = *checkpoint.snapshot;
  const auto shape_of = [](const ComplexStack& s) {
    return absl::StrFormat("%d x %d x %d", s.modes, s.shape.rows, s.shape.cols);
  };
  const auto filled = [](const ComplexStack& s) {
    return static_cast<std::int64_t>(s.data.size()) == s.modes * s.shape.pixels();
  };
  const ComplexStack& object = snapshot.object;
  const bool has_exact = checkpoint.object.modes > 0;
  for (const ComplexStack* o : {&object, has_exact ? &checkpoint.object : &object}) {
    if (o->modes >= 1 && o->modes <= config.object.modes && o->shape == snapshot.canvas.shape &&
        filled(*o)) {
      continue;
    }
    return absl::InvalidArgumentError(absl::StrFormat(
        "the restored object of %s does not fill its canvas of %d x %d, with %d modes at most",
        shape_of(*o), snapshot.canvas.shape.rows, snapshot.canvas.shape.cols, config.object.modes));
  }
  if (object.shape.pixels() < 1 || object.shape.pixels() > max_object_pixels) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the restored object of %s is not within 1 and %d pixels", shape_of(object),
                        max_object_pixels));
  }
  const Shape frame = EngineFrameShape(config.detector);
  for (const ComplexStack* probe : {&snapshot.probe, &checkpoint.probe}) {
    if (probe->modes == config.probe.modes && probe->shape == frame && filled(*probe)) continue;
    return absl::InvalidArgumentError(
        absl::StrFormat("the restored probe is %s; the session's is %d x %d x %d", shape_of(*probe),
                        config.probe.modes, frame.rows, frame.cols));
  }
  if (checkpoint.exit_waves) {
    const ComplexStack& waves = checkpoint.exit_waves->waves;
    const auto points = static_cast<std::int64_t>(snapshot.points.size());
    const int each = WavesPerPoint(config);
    if (waves.modes != points * each || waves.shape != frame || !filled(waves) ||
        std::ssize(checkpoint.exit_waves->kept_deviation) != points) {
      return absl::InvalidArgumentError(
          absl::StrFormat("the restored exit waves are %s; those of %d points with %d modes are "
                          "%d x %d x %d",
                          shape_of(waves), points, each, points * each, frame.rows, frame.cols));
    }
  }
  if (checkpoint.momentum) {
    const ComplexStack& object_velocity = checkpoint.momentum->object_velocity;
    const ComplexStack& probe_velocity = checkpoint.momentum->probe_velocity;
    if (object_velocity.modes != config.object.modes || object_velocity.shape != object.shape ||
        !filled(object_velocity) || probe_velocity.modes != config.probe.modes ||
        probe_velocity.shape != frame || !filled(probe_velocity) ||
        checkpoint.momentum->iterations < 0) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "the restored velocities are %s and %s, of %d iterations; object and "
          "probe are %s and %s",
          shape_of(object_velocity), shape_of(probe_velocity), checkpoint.momentum->iterations,
          shape_of(object), shape_of(checkpoint.probe)));
    }
  }
  for (const SnapshotPoint& p : snapshot.points) {
    const PointRefinement& r = p.refined;
    if (std::abs(r.shift_row) <= kMostShiftPx && std::abs(r.shift_col) <= kMostShiftPx &&
        r.intensity > 0 && std::isfinite(r.intensity) &&
        std::ranges::all_of(r.variation, [](float c) { return std::isfinite(c); })) {
      continue;
    }
    return absl::InvalidArgumentError(absl::StrFormat(
        "the restored frame %d is shifted by (%g, %g) pixels, has %g of the light, and "
        "coefficients "
        "%s of the probe's variation; shifts of at most %g pixels, light above 0 and finite "
        "coefficients are possible",
        p.frame_id, r.shift_row, r.shift_col, r.intensity, absl::StrJoin(r.variation, ", "),
        kMostShiftPx));
  }
  const int component_images = ProbeComponents(config) * config.probe.modes;
  for (const auto& components : {snapshot.probe_components, checkpoint.probe_components}) {
    if (components == nullptr || (components->modes == component_images &&
                                  components->shape == frame && filled(*components))) {
      continue;
    }
    return absl::InvalidArgumentError(absl::StrFormat(
        "the restored components of the probe's variation are %s; the session's are %d x %d x %d",
        shape_of(*components), component_images, frame.rows, frame.cols));
  }
  if (snapshot.background != nullptr &&
      (snapshot.background->shape != frame ||
       std::ssize(snapshot.background->data) != frame.pixels() ||
       !std::ranges::all_of(snapshot.background->data, [](float b) { return b >= 0; }))) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the restored background of %d x %d is none of frames of %d x %d, whose "
        "counts are not negative",
        snapshot.background->shape.rows, snapshot.background->shape.cols, frame.rows, frame.cols));
  }
  if (snapshot.run.stage < 0 || snapshot.run.stage >= static_cast<int>(config.schedule.size())) {
    return absl::InvalidArgumentError(absl::StrFormat("the restored run is in stage %d of %d",
                                                      snapshot.run.stage, config.schedule.size()));
  }
  return absl::OkStatus();
}

Solver::Solver(const ReconstructionConfig& config, std::unique_ptr<Backend> backend,
               FrameStore& store, RunBeside run_beside, std::shared_ptr<const Checkpoint> restored)
    : config_(config),
      pixel_size_(ObjectPixelSize(config.optics, config.detector)),
      frame_shape_(EngineFrameShape(config.detector)),
      backend_(std::move(backend)),
      store_(store),
      run_beside_(std::move(run_beside)),
      restored_(std::move(restored)),
      active_(std::make_shared<std::vector<ActivePoint>>()) {
  if (restored_ == nullptr) return;
  restored_ids_ = FrameIds(*restored_->snapshot);
  restored_refined_ = RefinedOf(*restored_->snapshot);
  refinement_ = restored_->snapshot->metrics.refinement;
  const RunPosition& run = restored_->snapshot->run;
  probe_defocus_m_ = run.probe_defocus_m;
  waves_are_stale_ =
      !KeepsExitWaves(config.schedule[static_cast<std::size_t>(run.stage)].algorithm);
}

Solver::~Solver() {
  if (snapshot_.valid()) snapshot_.wait();
}

bool Solver::NoteReady() {
  const std::vector<FrameStore::Point> points = store_.NewPoints();
  for (const FrameStore::Point& point : points) {
    (IsHeldOut(point) ? held_out_ : waiting_).push_back(point);
  }
  return !points.empty();
}

bool Solver::IsHeldOut(const FrameStore::Point& point) const {
  const int every = config_.quality.held_out_every;
  return every > 0 && (point.frame_id - config_.scan.first_frame_id) % every == every - 1;
}

absl::StatusOr<FloatImage> Solver::MeanAmplitudeOf(const std::vector<FrameStore::Point>& points) {
  std::vector<std::int32_t> slots;
  for (const FrameStore::Point& p : points) slots.push_back(p.slot);
  return backend_->MeanAmplitude(slots);
}

ComplexStack Solver::InitialProbe(const FloatImage& mean) const {
  const std::optional<FreeSpace> near_field = SpaceToDetector(config_.optics, config_.detector);
  const double distance_m =
      config_.probe.propagation_distance_m.value_or(probe_defocus_m_.value_or(0));
  const ComplexStack first_modes =
      PropagateAngularSpectrum(config_.probe.initial.modes > 0 ? config_.probe.initial
                               : near_field.has_value() ? ProbeFromNearField(mean, *near_field)
                                                        : ProbeFromMeanAmplitude(mean),
                               distance_m, config_.optics.wavelength_m, pixel_size_);
  ComplexStack probe = WithModes(first_modes, config_.probe.modes);
  const double photons = PowerOf(probe), counts = MeanCounts(mean);
  if (MayScaleProbe() && !MayCarry(photons, counts)) {
    const auto scale = static_cast<float>(std::sqrt(counts / photons));
    for (Complex64& p : probe.data) p *= scale;
  }
  return probe;
}

bool Solver::MayScaleProbe() const {
  return !config_.probe.frozen && !config_.object.amplitude_limits;
}

bool Solver::FindsDefocus() const {
  return config_.probe.initial.modes == 0 && !config_.probe.propagation_distance_m &&
         !config_.optics.near_field;
}

bool Solver::LacksDefocus() const {
  return FindsDefocus() && restored_ == nullptr && !probe_defocus_m_ &&
         std::ssize(waiting_) >= kFewestToSearch;
}

absl::Status Solver::SearchDefocus() {
  if (!defocus_search_) {
    std::sort(waiting_.begin(), waiting_.end(), ById);
    PS_ASSIGN_OR_RETURN(const FloatImage mean, MeanAmplitudeOf(waiting_));
    defocus_search_.emplace(mean, config_.probe.modes, WindowsOfPoints(AsMeasured(waiting_)),
                            config_.optics.wavelength_m, pixel_size_);
  }
  PS_RETURN_IF_ERROR(defocus_search_->Try(*backend_));
  if (!defocus_search_->done()) return absl::OkStatus();
  probe_defocus_m_ = defocus_search_->distance_m();
  defocus_search_.reset();
  PS_RETURN_IF_ERROR(backend_->SetActivePoints({}));
  PS_RETURN_IF_ERROR(MoveCanvas(store_.canvas()));
  return backend_->ClearObject(canvas_);
}

absl::StatusOr<std::optional<std::vector<std::string>>> Solver::Start() {
  if (LacksDefocus()) {
    PS_RETURN_IF_ERROR(SearchDefocus());
    return std::nullopt;
  }
  std::sort(waiting_.begin(), waiting_.end(), ById);
  PS_ASSIGN_OR_RETURN(const FloatImage mean, MeanAmplitudeOf(waiting_));
  noise_r_factor_ = NoiseRFactor(mean);
  const ComplexStack probe = InitialProbe(mean);
  PS_RETURN_IF_ERROR(backend_->SetProbe(restored_ != nullptr ? restored_->probe : probe));
  const double restored_power = restored_ != nullptr ? restored_->snapshot->probe_power : 0;
  probe_power_ = restored_power > 0 ? restored_power : PowerOf(probe);
  started_ = true;
  const bool given = config_.probe.initial.modes > 0;
  std::vector<std::string> warnings =
      StartWarnings(probe, given, mean, WindowsOfPoints(AsMeasured(waiting_)),
                    config_.optics.near_field.has_value());
  const double photons = PowerOf(config_.probe.initial), counts = MeanCounts(mean);
  if (given && !MayCarry(photons, counts)) {
    warnings.push_back(ProbePowerWarning(photons, counts, MayScaleProbe()));
  }
  return warnings;
}

absl::Status Solver::MoveCanvas(const Region& canvas) {
  if (canvas == canvas_) return absl::OkStatus();
  PS_RETURN_IF_ERROR(backend_->SetCanvas(canvas));
  canvas_ = canvas;
  return absl::OkStatus();
}

absl::Status Solver::SetObject(const ComplexStack& object, const Region& canvas) {
  PS_RETURN_IF_ERROR(MoveCanvas(canvas));
  const int modes = config_.object.modes;
  if (object.modes == modes) return backend_->SetObject(object);
  return backend_->SetObject(WithObjectModes(
      object, canvas, MakeObjectStart(InitialObject(config_.object), frame_shape_), modes));
}

absl::Status Solver::StartAnewWithHalf(int first) {
  if (all_ == nullptr) all_ = active_;
  auto half = std::make_shared<std::vector<ActivePoint>>();
  for (auto k = static_cast<std::size_t>(first); k < all_->size(); k += 2) {
    // What has been refined would tie them together: it was found from both.
    half->push_back((*all_)[k]);
    half->back().refined = {};
  }
  active_ = std::move(half);
  PS_RETURN_IF_ERROR(backend_->SetActivePoints({}));
  PS_RETURN_IF_ERROR(SetBackground(nullptr));
  PS_RETURN_IF_ERROR(SetProbeComponents(nullptr));
  PS_RETURN_IF_ERROR(backend_->ClearObject(canvas_));
  PS_ASSIGN_OR_RETURN(const FloatImage mean, MeanAmplitudeOf({active_->begin(), active_->end()}));
  const ComplexStack probe = InitialProbe(mean);
  PS_RETURN_IF_ERROR(backend_->SetProbe(probe));
  probe_power_ = PowerOf(probe);
  waves_are_stale_ = false;
  return backend_->SetActivePoints(ActiveWindows());
}

bool Solver::MayTestOrientation() const {
  return waves_are_stale_ || ExitWaveBytes() <= kMostWaveBytesToTest;
}

absl::StatusOr<std::int64_t> Solver::PrepareOrientationTest() {
  std::vector<ActivePoint> measured = *active_;
  for (ActivePoint& p : measured) p.refined = {};
  PS_ASSIGN_OR_RETURN(FloatImage mean, MeanAmplitudeOf({active_->begin(), active_->end()}));
  OrientationTest::Start start;
  start.probe = InitialProbe(mean);
  start.wavelength_m = config_.optics.wavelength_m;
  start.pixel_size = pixel_size_;
  start.twins = !config_.optics.near_field.has_value();
  start.each = config_.probe.initial.modes > 0 || !start.twins;
  if (FindsDefocus()) start.mean_amplitude = std::move(mean);
  orientation_test_.emplace(config_.detector.orientation, WindowsOfPoints(measured),
                            std::move(start));
  const std::int64_t room =
      config_.scan.bounds ? store_.canvas().shape.pixels() : config_.object.max_pixels;
  if (orientation_test_->canvas_pixels() > room) {
    return absl::FailedPreconditionError(
        absl::StrFormat("a test of the orientation needs a canvas of %d pixels, and %s allows %d",
                        orientation_test_->canvas_pixels(),
                        config_.scan.bounds ? "that of scan.bounds" : "object.max_pixels", room));
  }
  return orientation_test_->frame_iterations();
}

void Solver::BeginOrientationTest(std::shared_ptr<const Checkpoint> present) {
  before_test_ = std::move(present);
}

absl::StatusOr<std::optional<OrientationRanking>> Solver::TryOrientation() {
  PS_RETURN_IF_ERROR(orientation_test_->Try(*backend_));
  if (!orientation_test_->done()) return std::nullopt;
  OrientationRanking ranking = orientation_test_->ranking();
  PS_RETURN_IF_ERROR(EndOrientationTest());
  return ranking;
}

absl::Status Solver::EndOrientationTest() {
  if (before_test_ == nullptr) return absl::OkStatus();
  const std::shared_ptr<const Checkpoint> before = std::exchange(before_test_, nullptr);
  orientation_test_.reset();
  const Region canvas = std::exchange(canvas_, Region());  // It is the test's.
  PS_RETURN_IF_ERROR(backend_->SetActivePoints({}));
  PS_RETURN_IF_ERROR(SetStateOf(*before));
  PS_RETURN_IF_ERROR(MoveCanvas(canvas));
  PS_RETURN_IF_ERROR(backend_->SetProbe(before->probe));
  PS_RETURN_IF_ERROR(backend_->SetActivePoints(ActiveWindows()));
  PS_RETURN_IF_ERROR(SetExitWavesOf(*before));
  return SetMomentumOf(*before);
}

absl::StatusOr<Evaluation> Solver::Evaluate(std::int64_t iteration) {
  Evaluation evaluation{.iteration = iteration, .fit = {}, .held_out = {}};
  PS_ASSIGN_OR_RETURN(const std::vector<FrameFit> fits, backend_->Evaluate(ActiveWindows()));
  evaluation.fit = FitOf(fits);
  auto points = std::make_shared<std::vector<ActivePoint>>(*active_);
  for (std::size_t j = 0; j < points->size(); ++j) (*points)[j].fit = PointFitOf(fits[j]);
  active_ = std::move(points);

  // The canvas may not have come to the last ones yet.
  std::vector<PointWindow> held_out = WindowsOfPoints(AsMeasured(held_out_));
  std::erase_if(held_out, [this](const PointWindow& w) {
    return !Contains(canvas_, {w.row, w.col, {frame_shape_.rows + 1, frame_shape_.cols + 1}});
  });
  if (held_out.empty()) return evaluation;
  PS_ASSIGN_OR_RETURN(const std::vector<FrameFit> others, backend_->Evaluate(held_out));
  evaluation.held_out = FitOf(others);
  return evaluation;
}

absl::StatusOr<PlacedObject> Solver::ReadObject() {
  PS_ASSIGN_OR_RETURN(Backend::CollectReadback collect, backend_->StartReadback());
  PS_ASSIGN_OR_RETURN(Readback readback, std::move(collect)());
  ComplexStack object = StrongestMode(std::move(readback.object), readback.coverage);
  return PlacedObject{readback.canvas, std::move(object), std::move(readback.coverage),
                      store_.scanned()};
}

absl::Status Solver::GoBackTo(const Snapshot& snapshot) {
  const Region canvas = canvas_;  // The points lie in this one.
  PS_RETURN_IF_ERROR(backend_->SetActivePoints({}));
  PS_RETURN_IF_ERROR(SetObject(snapshot.object, snapshot.canvas));
  PS_RETURN_IF_ERROR(MoveCanvas(canvas));
  PS_RETURN_IF_ERROR(backend_->SetProbe(snapshot.probe));
  auto points = std::make_shared<std::vector<ActivePoint>>(*active_);
  // Coefficients mean nothing beside other components.
  for (ActivePoint& p : *points) p.refined.variation = {};
  TakeRefined(FrameIds(snapshot), RefinedOf(snapshot), *points);
  active_ = std::move(points);
  refinement_ = snapshot.metrics.refinement;
  PS_RETURN_IF_ERROR(SetBackground(snapshot.background));
  PS_RETURN_IF_ERROR(SetProbeComponents(snapshot.probe_components));
  return backend_->SetActivePoints(ActiveWindows());
}

void Solver::TakeRefined(std::span<const std::int64_t> ids,
                         std::span<const PointRefinement> refined,
                         std::vector<ActivePoint>& points) {
  for (ActivePoint& p : points) {
    const auto id = std::ranges::lower_bound(ids, p.frame_id);
    if (id != ids.end() && *id == p.frame_id) {
      p.refined = refined[static_cast<std::size_t>(id - ids.begin())];
    }
  }
}

absl::Status Solver::SetBackground(std::shared_ptr<const FloatImage> background) {
  if (background == background_) return absl::OkStatus();
  background_ = std::move(background);
  if (background_ != nullptr) return backend_->SetBackground(*background_);
  FloatImage none;
  none.shape = frame_shape_;
  none.data.resize(static_cast<std::size_t>(frame_shape_.pixels()));
  return backend_->SetBackground(none);
}

absl::Status Solver::SetProbeComponents(std::shared_ptr<const ComplexStack> components) {
  if (components == probe_components_) return absl::OkStatus();
  probe_components_ = std::move(components);
  return backend_->SetProbeComponents(probe_components_ != nullptr ? *probe_components_
                                                                   : NoProbeComponents());
}

ComplexStack Solver::NoProbeComponents() const {
  return ComplexStack(ProbeComponents(config_) * config_.probe.modes, frame_shape_);
}

std::vector<FrameStore::Point> Solver::UnknownPoints() const {
  std::vector<FrameStore::Point> unknown;
  std::copy_if(waiting_.begin(), waiting_.end(), std::back_inserter(unknown),
               [this](const FrameStore::Point& p) {
                 return !std::binary_search(restored_ids_.begin(), restored_ids_.end(), p.frame_id);
               });
  return unknown;
}

absl::Status Solver::ActivateWaiting(const ClearRegionConfig& clear_region) {
  if (waiting_.empty()) return absl::OkStatus();
  // The session may keep it; this need not.
  const std::shared_ptr<const Checkpoint> restored = std::exchange(restored_, nullptr);
  if (restored != nullptr) PS_RETURN_IF_ERROR(SetStateOf(*restored));
  PS_RETURN_IF_ERROR(MoveCanvas(store_.canvas()));
  const std::vector<FrameStore::Point> unknown = UnknownPoints();
  if (clear_region.enabled && !active_->empty() && !unknown.empty()) {
    const std::int64_t points = config_.scan.expected_points > 0
                                    ? config_.scan.expected_points
                                    : static_cast<std::int64_t>(active_->size() + waiting_.size());
    const double pixels_per_point =
        static_cast<double>(store_.scanned().shape.pixels()) / static_cast<double>(points);
    if (pixels_per_point > clear_region.min_pixels_per_point) {
      PS_RETURN_IF_ERROR(
          backend_->ClearObject(AreaOfWindows(unknown, frame_shape_, &FrameStore::Point::window)));
    }
  }
  std::sort(waiting_.begin(), waiting_.end(), ById);
  std::vector<ActivePoint> added = AsMeasured(waiting_);
  TakeRefined(restored_ids_, restored_refined_, added);
  KeepOnCanvas(canvas_, frame_shape_, added);
  auto active = std::make_shared<std::vector<ActivePoint>>();
  active->reserve(active_->size() + added.size());
  std::merge(active_->begin(), active_->end(), added.begin(), added.end(),
             std::back_inserter(*active), ById);
  active_ = std::move(active);
  waiting_.clear();

  PS_RETURN_IF_ERROR(backend_->SetActivePoints(ActiveWindows()));
  if (restored != nullptr) {
    PS_RETURN_IF_ERROR(SetExitWavesOf(*restored));
    PS_RETURN_IF_ERROR(SetMomentumOf(*restored));
  }
  return absl::OkStatus();
}

absl::Status Solver::SetStateOf(const Checkpoint& restored) {
  PS_RETURN_IF_ERROR(
      SetObject(restored.object.modes > 0 ? restored.object : restored.snapshot->object,
                restored.snapshot->canvas));
  PS_RETURN_IF_ERROR(SetBackground(restored.snapshot->background));
  return SetProbeComponents(restored.probe_components);
}

absl::Status Solver::SetExitWavesOf(const Checkpoint& restored) {
  if (!restored.exit_waves) return absl::OkStatus();
  const std::vector<std::int64_t> ids = FrameIds(*restored.snapshot);
  const std::int64_t stride = WavesPerPoint(config_) * frame_shape_.pixels();
  std::vector<ExitWaveToSet> waves;
  for (const ActivePoint& p : *active_) {
    const auto id = std::ranges::lower_bound(ids, p.frame_id);
    if (id == ids.end() || *id != p.frame_id) continue;
    const std::ptrdiff_t place = id - ids.begin();
    waves.push_back({p.slot, restored.exit_waves->waves.data.data() + place * stride,
                     restored.exit_waves->kept_deviation[static_cast<std::size_t>(place)]});
  }
  const absl::Status set = backend_->SetExitWaves(waves);
  // A run that goes on with another schedule may keep none.
  return absl::IsFailedPrecondition(set) ? absl::OkStatus() : set;
}

absl::Status Solver::SetMomentumOf(const Checkpoint& restored) {
  // With other points, or on another canvas, it would have begun anew.
  if (!restored.momentum || canvas_ != restored.snapshot->canvas ||
      !std::ranges::equal(*active_, restored.snapshot->points, {}, &FrameStore::Point::frame_id,
                          &SnapshotPoint::frame_id)) {
    return absl::OkStatus();
  }
  return backend_->SetMomentum(*restored.momentum);
}

std::vector<PointWindow> Solver::ActiveWindows() const { return WindowsOfPoints(*active_); }

std::int64_t Solver::ExitWaveBytes() const {
  return std::ssize(*active_) * WavesPerPoint(config_) * frame_shape_.pixels() *
         static_cast<std::int64_t>(sizeof(Complex64));
}

absl::Status Solver::RestartExitWaves() {
  PS_RETURN_IF_ERROR(backend_->SetActivePoints({}));
  return backend_->SetActivePoints(ActiveWindows());
}

absl::StatusOr<IterationMetrics> Solver::Iterate(const StageConfig& stage, double step_scale,
                                                 std::int64_t iteration) {
  const AlgorithmConfig algorithm =
      WithScaledStep(WithStepsFor(stage.algorithm, probe_power_, active_points()), step_scale);
  // Exit waves have not followed what another algorithm did to object and probe since.
  const bool needs_waves = KeepsExitWaves(algorithm);
  if (needs_waves && waves_are_stale_) PS_RETURN_IF_ERROR(RestartExitWaves());
  waves_are_stale_ = !needs_waves;
  if (Failpoint("device.iterate") != 0) return absl::DataLossError("a failpoint took it away");
  IterationOptions options;
  options.update_object = iteration >= config_.object.start_update;
  options.update_probe = !config_.probe.frozen && iteration >= config_.probe.start_update;
  options.amplitude_limits = config_.object.amplitude_limits;
  options.phase_limits = config_.object.phase_limits;
  PS_ASSIGN_OR_RETURN(const IterationMetrics metrics, backend_->Iterate(algorithm, options));
  if (metrics.finite && options.update_object && options.update_probe &&
      !options.amplitude_limits) {
    PS_RETURN_IF_ERROR(KeepScale(metrics.probe_power));
  }
  const int every = config_.probe.recentre_every;
  if (metrics.finite && options.update_probe && every > 0 && (iteration + 1) % every == 0) {
    PS_RETURN_IF_ERROR(Recentre());
  }
  if (metrics.finite && options.update_object && stage.refine.any() &&
      (iteration + 1) % config_.refinement.every == 0) {
    PS_RETURN_IF_ERROR(Refine(stage.refine, step_scale));
  }
  return metrics;
}

absl::Status Solver::Refine(const StageRefinement& which, double step_scale) {
  const double step = step_scale * config_.refinement.step;
  auto points = std::make_shared<std::vector<ActivePoint>>(*active_);
  ComplexStack components = probe_components_ != nullptr ? *probe_components_ : NoProbeComponents();
  if (which.variation && SeedVariation(components, config_.probe.modes, *points)) {
    PS_RETURN_IF_ERROR(backend_->SetActivePoints(WindowsOfPoints(*points)));
  }
  PS_ASSIGN_OR_RETURN(const Refinement found, backend_->Refine(which, step));
  if (which.background) {
    PS_ASSIGN_OR_RETURN(FloatImage background, backend_->ReadBackground());
    background_ = std::make_shared<const FloatImage>(std::move(background));
  }
  if (which.points()) {
    TakeRefinementSteps(config_.refinement, which, step, found.points, canvas_, frame_shape_,
                        *points);
  }
  if (which.variation) {
    components = SteppedComponents(components, config_.probe.modes, found, step);
    PS_ASSIGN_OR_RETURN(const ComplexStack probe, backend_->ReadProbe());
    MakePrincipal(probe, which, components, *points);
    PS_RETURN_IF_ERROR(
        SetProbeComponents(std::make_shared<const ComplexStack>(std::move(components))));
  }
  refinement_ =
      FiguresOf(config_.refinement, *points, background_ != nullptr ? *background_ : FloatImage());
  // A background alone leaves the points, and what hangs on them, as they are.
  if (!which.points()) return absl::OkStatus();
  active_ = std::move(points);
  return backend_->SetActivePoints(ActiveWindows());
}

absl::Status Solver::KeepScale(double probe_power) {
  const double ratio = probe_power / probe_power_;
  if (!(ratio > 0) || std::abs(std::log(ratio)) < kTolerableDrift) return absl::OkStatus();
  PS_RETURN_IF_ERROR(backend_->Rescale(std::sqrt(1 / ratio)));
  return TakeProbeComponents();
}

absl::Status Solver::Recentre() {
  PS_ASSIGN_OR_RETURN(const ComplexStack probe, backend_->ReadProbe());
  const CentreOffset offset = OffsetToCentre(probe);
  if (offset.rows == 0 && offset.cols == 0) return absl::OkStatus();
  PS_RETURN_IF_ERROR(backend_->Shift(offset.rows, offset.cols));
  return TakeProbeComponents();
}

absl::Status Solver::TakeProbeComponents() {
  if (probe_components_ == nullptr) return absl::OkStatus();
  PS_ASSIGN_OR_RETURN(ComplexStack components, backend_->ReadProbeComponents());
  probe_components_ = std::make_shared<const ComplexStack>(std::move(components));
  return absl::OkStatus();
}

absl::Status Solver::StartSnapshot(const IterationRecord& record, const RunPosition& run) {
  PS_ASSIGN_OR_RETURN(Backend::CollectReadback collect, backend_->StartReadback());
  // Shared, as a std::function must be copyable.
  const auto task = std::make_shared<std::packaged_task<decltype(snapshot_.get())()>>(
      [collect = std::move(collect), record, run, scanned = store_.scanned(), points = active_,
       background = background_, components = probe_components_, pixel_size = pixel_size_,
       probe_power = probe_power_,
       frozen = config_.probe.frozen]() mutable -> absl::StatusOr<std::unique_ptr<Snapshot>> {
        PS_ASSIGN_OR_RETURN(Readback readback, std::move(collect)());
        auto snapshot = MakeSnapshot(std::move(readback), record, scanned, *points, pixel_size);
        snapshot->run = std::move(run);
        snapshot->background = std::move(background);
        snapshot->probe_power = probe_power;
        snapshot->probe_components = std::move(components);
        OrderModes(frozen, *snapshot);
        return snapshot;
      });
  snapshot_ = task->get_future();
  run_beside_([task] { (*task)(); });
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const Checkpoint>> Solver::MakeCheckpoint(
    std::shared_ptr<const Snapshot> snapshot, std::int64_t most_wave_bytes) {
  auto checkpoint = std::make_shared<Checkpoint>();
  checkpoint->snapshot = std::move(snapshot);
  PS_ASSIGN_OR_RETURN(checkpoint->probe, backend_->ReadProbe());
  checkpoint->probe_components = probe_components_;
  if (config_.object.modes > 1) {
    PS_ASSIGN_OR_RETURN(Backend::CollectReadback collect, backend_->StartReadback());
    PS_ASSIGN_OR_RETURN(Readback readback, std::move(collect)());
    checkpoint->object = std::move(readback.object);
  }
  if (!waves_are_stale_ && ExitWaveBytes() <= most_wave_bytes) {
    PS_ASSIGN_OR_RETURN(checkpoint->exit_waves, backend_->ReadExitWaves());
  }
  PS_ASSIGN_OR_RETURN(checkpoint->momentum, backend_->ReadMomentum());
  return checkpoint;
}

absl::StatusOr<std::unique_ptr<Snapshot>> Solver::FinishSnapshot(bool wait) {
  if (!wait && snapshot_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
    return nullptr;
  }
  return snapshot_.get();
}

}  // namespace ptychoserve
