#include "client/cli/run_scan.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/exit_codes.h"
#include "client/cli/interrupt.h"
#include "client/cli/progress_line.h"
#include "client/cli/result_files.h"
#include "client/cli/scan_file.h"
#include "client/cli/session_monitor.h"
#include "client/cli/session_view.h"
#include "engine/base/status_macros.h"

namespace ptychoserve::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kPollAfterStop{50};
constexpr int kPollsAfterStop = 600;
constexpr milliseconds kPollStaged{1};
// Frames that are on their way to the device and do not move for so long are being held there,
// until more of them have come.
constexpr milliseconds kHeld{2'000};

absl::Status Check(const RunOptions& options) {
  PS_RETURN_IF_ERROR(CheckFeed(options.feed));
  PS_RETURN_IF_ERROR(CheckFaults(options.faults));
  if (options.chunks < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("--chunks is ", options.chunks, "; >= 1 is allowed"));
  }
  if (options.iterations_between < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--iterations-between is ", options.iterations_between, "; >= 0 is allowed"));
  }
  if (options.poll_ms < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--poll is ", options.poll_ms, " ms; >= 0 is allowed"));
  }
  // Before there is a result that could not be written.
  for (const std::string& path : options.outputs) {
    PS_RETURN_IF_ERROR(CheckResultPath(path));
    PS_RETURN_IF_ERROR(CheckDirectory(absl::StrCat("--out ", path),
                                      std::filesystem::path(path).parent_path().string()));
  }
  if (options.pictures.empty()) return absl::OkStatus();
  std::error_code error;
  std::filesystem::create_directories(options.pictures, error);
  if (error) {
    return absl::InvalidArgumentError(
        absl::StrCat("--pictures ", options.pictures, ": ", error.message()));
  }
  return CheckDirectory("--pictures", options.pictures);
}

// One run of a scan, from the session's creation to its end.
class ScanRun {
 public:
  ScanRun(const RunOptions& options, client::Client& client, CxiScanReader& scan)
      : options_(options), client_(client), scan_(scan) {}

  // kAlreadyExists when the session is there and has a history: its result would not be this
  // scan's.
  absl::Status Create() {
    PS_ASSIGN_OR_RETURN(const v1::SessionConfig config,
                        BuildConfig(options_.session, &scan_.info()));
    PS_ASSIGN_OR_RETURN(created_, client_.CreateSession(options_.session.session_id, config));
    if (created_.state() != v1::SESSION_STATE_CREATED) {
      return absl::AlreadyExistsError(
          absl::StrCat(created_.name(), " exists and is ", StateName(created_.state()),
                       "; choose another id with --session, or delete it"));
    }
    // At once: whoever has given a wrong unit need not wait for the end.
    for (const std::string& warning : created_.warnings()) {
      std::fprintf(stderr, "ptychoctl: warning: %s\n", warning.c_str());
    }
    SessionMonitor::Options monitor;
    monitor.poll = milliseconds(options_.poll_ms);
    monitor.show_progress = !options_.quiet;
    monitor.expected_frames = scan_.info().frames;
    monitor.it_ends_after = created_.config().run().it_ends_after();
    monitor_ = std::make_unique<SessionMonitor>(client_, created_, monitor);
    return absl::OkStatus();
  }

  // Streams the scan and waits for the session's end. kCancelled on Ctrl-C.
  absl::Status Run() {
    absl::Status status = Stream();
    if (feeder_ != nullptr) fed_ = feeder_->report();
    // A session may end by its own rules before all is sent.
    if (!status.ok() && !absl::IsCancelled(status)) {
      PS_ASSIGN_OR_RETURN(const v1::Session session, monitor_->Refresh());
      if (IsFinal(session.state())) status = absl::OkStatus();
    }
    PS_RETURN_IF_ERROR(status);
    return monitor_->WaitFor([](const v1::Session& s) { return IsFinal(s.state()); });
  }

  // After Ctrl-C: stops the session and waits until its last snapshot is there.
  absl::Status Stop() {
    const auto stopped =
        client_.StopSession(created_.name(), v1::StopSessionRequest::MODE_AFTER_ITERATION);
    // It may have ended already; and where the answer is late, the state tells.
    if (!stopped.ok() && !absl::IsFailedPrecondition(stopped.status()) &&
        !absl::IsDeadlineExceeded(stopped.status())) {
      return stopped.status();
    }
    for (int k = 0; k < kPollsAfterStop; ++k) {
      const absl::StatusOr<v1::Session> session = monitor_->Refresh();
      if (!session.ok() && !absl::IsDeadlineExceeded(session.status())) return session.status();
      if (session.ok() && IsFinal(session->state())) return absl::OkStatus();
      std::this_thread::sleep_for(kPollAfterStop);
    }
    return absl::DeadlineExceededError(
        absl::StrCat(created_.name(), " was stopped and has not ended"));
  }

  // Fetches the result and writes it to where it was asked for.
  absl::Status Fetch() {
    PS_ASSIGN_OR_RETURN(final_, monitor_->Refresh());
    monitor_->StopProgress();
    if (final_.snapshot_version() == 0) return absl::OkStatus();
    PS_ASSIGN_OR_RETURN(const client::Snapshot snapshot,
                        client_.GetSnapshot(created_.name(), FullSelection()));
    truth_ = ErrorAgainstTruth(snapshot, scan_.info());
    for (const std::string& path : options_.outputs) {
      PS_RETURN_IF_ERROR(BadInput(WriteResult(path, snapshot, final_, &scan_.info())));
      written_.push_back(path);
    }
    return BadInput(WriteAllPictures(snapshot));
  }

  void Delete() {
    if (options_.keep) return;
    const absl::Status status = client_.DeleteSession(created_.name(), /*force=*/true);
    if (!status.ok()) {
      std::fprintf(stderr, "ptychoctl: the session was not deleted: %s\n",
                   ErrorLine(status).c_str());
    }
  }

  // The error, and that the session is still there with what it has reached.
  absl::Status Kept(const absl::Status& status) const {
    return absl::IsNotFound(status) ? status : KeptSession(status, created_.name());
  }

  v1::SessionState state() const { return final_.state(); }
  const v1::Session& session() const { return final_; }

  Json Summary() const {
    Json out = ToJson(final_);
    out.erase("config");
    Json sent = ToJson(fed_);
    sent["dropped"] = plan_.dropped.size();
    sent["duplicates"] = plan_.duplicates;
    out["sent"] = std::move(sent);
    out["scan_file"] = NotesJson(scan_);
    if (truth_.has_value()) {
      out["truth"] = {{"complex_error", truth_->complex_error},
                      {"phase_rms_rad", truth_->phase_rms_rad}};
    }
    out["written"] = written_;
    return out;
  }

  void PrintSummary() const {
    PrintLine(absl::StrFormat("%s: %s (%s), %d iterations on %d points", final_.name(),
                              StateName(final_.state()), CompletionName(final_.completion()),
                              final_.iteration(), final_.active_points()));
    if (final_.has_probe_defocus_m()) {
      PrintLine("probe " + DescribeDefocus(final_.probe_defocus_m()));
    }
    if (final_.has_final_fit()) {
      const v1::FitMetrics& fit = final_.final_fit();
      PrintLine(absl::StrFormat("R %.4f, Fourier error %.4f, Gaussian %.4f, Poisson NLL %.4f",
                                fit.r_factor(), fit.fourier_error(), fit.gaussian(),
                                fit.poisson_nll()));
    }
    if (final_.metrics().evaluation().has_held_out()) {
      PrintLine(absl::StrFormat("%d held-out frames: %s", final_.held_out_points(),
                                DescribeFit(final_.metrics().evaluation().held_out())));
    }
    if (final_.split_halves().has_ring_correlation()) {
      PrintLine("halves: " + DescribeRings(final_.split_halves().ring_correlation()));
    }
    if (truth_.has_value()) {
      PrintLine(absl::StrFormat("against the known object: complex error %.4f, phase rms %.4f rad",
                                truth_->complex_error, truth_->phase_rms_rad));
    }
    for (const v1::Rejection& r : final_.frames().rejections()) {
      PrintLine("frames not taken: " + DescribeRejection(r));
    }
    for (const v1::Rejection& r : final_.positions().rejections()) {
      PrintLine("positions not taken: " + DescribeRejection(r));
    }
    if (const std::string lost = DescribeLoss(final_); !lost.empty())
      PrintLine("NOT SAFE: " + lost);
    for (const std::string& warning : final_.warnings()) PrintLine("warning: " + warning);
    for (const std::string& path : written_) PrintLine("wrote " + path);
  }

 private:
  absl::Status Stream() {
    PS_ASSIGN_OR_RETURN(feeder_, Feeder::Open(client_, created_.name(), scan_, options_.feed));
    plan_ = MakeFeedPlan(scan_.info().frames, options_.faults);
    for (int k = 0; k < options_.chunks; ++k) {
      PS_RETURN_IF_ERROR(feeder_->Send(Part(plan_.order, k, options_.chunks)));
      if (k + 1 < options_.chunks && options_.iterations_between > 0) {
        PS_RETURN_IF_ERROR(feeder_->Flush());
        PS_RETURN_IF_ERROR(Iterate());
      }
    }
    // The stage was there, even where the detector lost the frame.
    PS_RETURN_IF_ERROR(feeder_->SendPositions(plan_.dropped));
    if (options_.declare_dropped) PS_RETURN_IF_ERROR(feeder_->Skip(plan_.dropped));
    PS_RETURN_IF_ERROR(feeder_->Close());
    return client_.FinishScan(created_.name()).status();
  }

  // Waits for some iterations on what has arrived, if that is enough to start.
  absl::Status Iterate() {
    const auto least = static_cast<std::int64_t>(created_.config().run().min_points_to_start());
    std::tuple<std::int64_t, std::int64_t, std::int64_t> before;
    auto moved = steady_clock::now();
    for (;;) {
      PS_ASSIGN_OR_RETURN(const v1::Session now, monitor_->Refresh());
      if (IsFinal(now.state())) return absl::OkStatus();
      if (Interrupted()) return absl::CancelledError("interrupted");
      const bool iterating = now.active_points() > 0;
      if (now.staged_frames() == 0) {
        if (iterating) break;
        if (now.joined_points() - now.empty_frames() < least) return absl::OkStatus();
      }
      const std::tuple state(now.staged_frames(), now.joined_points(), now.active_points());
      if (state != before) {
        before = state;
        moved = steady_clock::now();
      } else if (steady_clock::now() - moved >= kHeld) {
        if (iterating) break;
        return absl::OkStatus();
      }
      std::this_thread::sleep_for(kPollStaged);
    }
    const std::int64_t until = monitor_->latest().iteration() + options_.iterations_between;
    return monitor_->WaitFor(
        [until](const v1::Session& s) { return s.iteration() >= until || IsFinal(s.state()); });
  }

  absl::Status WriteAllPictures(const client::Snapshot& snapshot) {
    std::vector<std::string> stems;
    for (const std::string& path : options_.outputs) {
      const std::string stem = std::filesystem::path(path).replace_extension().string();
      if (std::find(stems.begin(), stems.end(), stem) == stems.end()) stems.push_back(stem);
    }
    if (!options_.pictures.empty()) {
      const std::filesystem::path name = std::filesystem::path(options_.scan_path).stem();
      stems = {(std::filesystem::path(options_.pictures) / name).string()};
    }
    for (const std::string& stem : stems) {
      PS_ASSIGN_OR_RETURN(const std::vector<std::string> paths, WritePictures(stem, snapshot));
      written_.insert(written_.end(), paths.begin(), paths.end());
    }
    return absl::OkStatus();
  }

  const RunOptions& options_;
  client::Client& client_;
  CxiScanReader& scan_;
  v1::Session created_;  // With the effective configuration.
  v1::Session final_;
  FeedPlan plan_;
  std::unique_ptr<Feeder> feeder_;
  FeedReport fed_;
  std::optional<ObjectError> truth_;
  std::vector<std::string> written_;
  std::unique_ptr<SessionMonitor> monitor_;
};

}  // namespace

absl::Status RunScan(const RunOptions& options, Context& context) {
  PS_RETURN_IF_ERROR(Check(options));
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<CxiScanReader> scan,
                      OpenScan(options.scan_path, options.session));
  client::ClientOptions connection;
  connection.watch_give_up_after = options.feed.GiveUpAfter();
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<client::Client> client, context.Connect(connection));
  CatchInterrupts();
  ScanRun run(options, *client, *scan);
  PS_RETURN_IF_ERROR(run.Create());
  absl::Status status = run.Run();
  const bool interrupted = absl::IsCancelled(status) && Interrupted();
  if (interrupted) status = run.Stop();
  if (status.ok()) status = run.Fetch();
  if (!status.ok()) return run.Kept(status);
  run.Delete();
  PrintChanges(*scan);
  if (context.json) {
    PrintLine(run.Summary().dump());
  } else {
    run.PrintSummary();
  }
  if (run.state() == v1::SESSION_STATE_FAILED) {
    std::fprintf(stderr, "ptychoctl: the session has failed: %s\n",
                 run.session().failure().c_str());
    context.exit_code = kExitSessionFailed;
  } else if (interrupted) {
    context.exit_code = kExitInterrupted;
  }
  return absl::OkStatus();
}

}  // namespace ptychoserve::cli
