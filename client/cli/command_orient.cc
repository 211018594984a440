#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/command.h"
#include "client/cli/exit_codes.h"
#include "client/cli/interrupt.h"
#include "client/cli/orient_plan.h"
#include "client/cli/output.h"
#include "client/cli/scan_file.h"
#include "client/cli/session_flags.h"
#include "client/cli/session_view.h"
#include "client/cli/side_by_side.h"
#include "engine/base/status_macros.h"
#include "engine/io/cxi.h"
#include "engine/scan/orientation.h"
#include "engine/scan/orientation_class.h"
#include "engine/scan/orientation_ranking.h"

namespace ptychoserve::cli {
namespace {

constexpr char kOrientFooter[] = R"(
Which way frames and positions belong together is told by how well the reconstruction of some
neighbouring frames explains them. Of the 64 combinations of orientations and directions, four can
be told apart, and eight where the probe is known or in the near field; each is run in a session of
its own, which is deleted afterwards.
Exit code 0: the declared orientation (of --config; identity by default) is the best, or the twin of
the best and no worse, and others are worse by at least --margin. 4: it is not; what is recommended
is printed.
A session that is under way does the same by itself in its first iterations; --live asks it again.
Examples:
  ptychoctl orient --live scan-17
  ptychoctl orient scan.cxi --probe scan.cxi:/entry_1/instrument_1/initial_probe
  ptychoctl orient scan.cxi --config beamline.txt --frames 200 --json)";

constexpr char kDefaultSchedule[] = "dm:40,ml_grad:10";

struct OrientOptions {
  std::string path;
  std::string live_session;
  SessionFlags session;
  std::int64_t frames = 100;
  double margin = 0.1;
  bool quiet = false;
};

struct Candidate {
  Orientation orientation = Orientation::kIdentity;
  absl::string_view instead;  // See OrientationClass.
  v1::Session session;        // As it has ended.

  Orientation twin() const { return Compose(orientation, Orientation::kRot180); }

  double r_factor() const {
    return session.has_final_fit() ? session.final_fit().r_factor()
                                   : std::numeric_limits<double>::infinity();
  }
};

// The settings to run, without the orientation: a complete scan of `frames` frames.
absl::StatusOr<v1::SessionConfig> ConfigOf(const OrientOptions& options, const CxiScanInfo& scan,
                                           const std::vector<std::int64_t>& frames) {
  SessionFlags flags = options.session;
  if (flags.schedule.empty() && !flags.iterations) flags.schedule = kDefaultSchedule;
  PS_ASSIGN_OR_RETURN(v1::SessionConfig config, BuildConfig(flags, &scan));
  const auto count = static_cast<std::uint32_t>(frames.size());
  config.mutable_scan()->set_expected_points(count);
  config.mutable_scan()->set_capacity(count);
  v1::ScanBounds& bounds = *config.mutable_scan()->mutable_bounds();
  const auto range = [&frames](const std::vector<double>& values) {
    const auto less = [&values](std::int64_t a, std::int64_t b) {
      return values[static_cast<std::size_t>(a)] < values[static_cast<std::size_t>(b)];
    };
    const auto [low, high] = std::minmax_element(frames.begin(), frames.end(), less);
    return std::pair(values[static_cast<std::size_t>(*low)],
                     values[static_cast<std::size_t>(*high)]);
  };
  const auto [y_min, y_max] = range(scan.y_m);
  const auto [x_min, x_max] = range(scan.x_m);
  bounds.set_y_min_m(y_min);
  bounds.set_y_max_m(y_max);
  bounds.set_x_min_m(x_min);
  bounds.set_x_max_m(x_max);
  config.mutable_run()->set_min_points_to_start(count);
  config.mutable_quality()->Clear();
  config.mutable_quality()->set_test_orientation(false);
  return config;
}

// On one line of stderr, in place on a terminal.
class SessionsLine {
 public:
  explicit SessionsLine(bool shown) : shown_(shown && isatty(STDERR_FILENO) == 1) {}
  ~SessionsLine() {
    if (shown_) std::fputs("\r\033[K", stderr);
  }
  void Show(const std::vector<v1::Session>& under_way) const {
    if (!shown_) return;
    std::string line = absl::StrCat(under_way.size(), " sessions under way:");
    for (const v1::Session& s : under_way) {
      absl::StrAppendFormat(&line, " it %d R %.3f", s.iteration(), s.metrics().r_factor());
    }
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    std::fflush(stderr);
  }

 private:
  const bool shown_;
};

struct Verdict {
  Orientation declared = Orientation::kIdentity;
  Orientation recommended = Orientation::kIdentity;
  // By how much the R of the best one that is neither the best of all nor its twin lies above that,
  // as a part of it.
  double margin = 0;
  bool clear = false;
  bool confirmed = false;
  bool twins = true;  // Frames turned by 180 degrees explain the data as well.
};

// Of candidates by rising R. There are no `twins` in the near field.
Verdict Judge(const std::vector<Candidate>& ranked, Orientation declared, double least_margin,
              bool twins) {
  OrientationRanking ranking;
  ranking.declared = declared;
  for (const Candidate& c : ranked) {
    OrientationTrial& trial = ranking.trials.emplace_back();
    trial.orientation = c.orientation;
    if (twins) trial.twin = c.twin();
    trial.r_factor = c.r_factor();
  }
  const bool as_good = ranking.declared_is_best(least_margin);
  Verdict v;
  v.declared = declared;
  v.twins = twins;
  v.margin = ranking.margin();
  v.clear = v.margin >= least_margin;
  v.recommended = as_good ? declared : ranking.best().orientation;
  v.confirmed = v.clear && as_good;
  return v;
}

Json RankingJson(const std::vector<Candidate>& ranked, const Verdict& v, std::size_t frames) {
  Json list = Json::array();
  for (const Candidate& c : ranked) {
    const v1::FitMetrics& fit = c.session.final_fit();
    list.push_back({{"orientation", ApiName(c.orientation)},
                    {"twin", v.twins ? Json(ApiName(c.twin())) : Json(nullptr)},
                    {"or_positions", std::string(c.instead)},
                    {"r_factor", fit.r_factor()},
                    {"gaussian", fit.gaussian()},
                    {"poisson_nll", fit.poisson_nll()},
                    {"failure", c.session.failure()}});
  }
  return {{"frames", frames},
          {"declared", ApiName(v.declared)},
          {"recommended", ApiName(v.recommended)},
          {"recommended_twin",
           v.twins ? Json(ApiName(Compose(v.recommended, Orientation::kRot180))) : Json(nullptr)},
          {"margin", std::isfinite(v.margin) ? Json(v.margin) : Json(nullptr)},
          {"clear", v.clear},
          {"confirmed", v.confirmed},
          {"candidates", list}};
}

void Print(const std::vector<Candidate>& ranked, const Verdict& v) {
  constexpr char kRow[] = "%-26s %-26s %8s %10s %12s  %s";
  PrintLine(absl::StrFormat(kRow, "ORIENTATION", "ITS TWIN", "R", "GAUSSIAN", "POISSON NLL",
                            "OR, WITH THE DECLARED ONE"));
  for (const Candidate& c : ranked) {
    const v1::FitMetrics& fit = c.session.final_fit();
    const bool ended = c.session.has_final_fit();
    PrintLine(absl::StrFormat(kRow, ApiName(c.orientation), v.twins ? ApiName(c.twin()) : "none",
                              ended ? absl::StrFormat("%.4f", fit.r_factor()) : "failed",
                              ended ? absl::StrFormat("%.4f", fit.gaussian()) : "",
                              ended ? absl::StrFormat("%.3f", fit.poisson_nll()) : "",
                              c.orientation == v.declared ? "(declared)" : c.instead));
  }
  const Candidate& best = ranked[0];
  if (!v.clear) {
    PrintLine(absl::StrFormat(
        "no clear answer: the second R is %.1f %% above the best; try more --frames, more "
        "--iterations, or a better --probe",
        100 * v.margin));
  } else if (v.confirmed) {
    PrintLine(
        absl::StrFormat("the declared detector.orientation, %s, is right: the next R is "
                        "%.1f %% above its own",
                        ApiName(v.declared), 100 * v.margin));
  } else {
    PrintLine(absl::StrFormat(
        "recommended: detector.orientation = %s%s%s. The next R is %.1f %% above",
        ApiName(v.recommended),
        v.twins
            ? absl::StrCat(", or ", ApiName(best.twin()),
                           ", which explains the data as well with the other sign of all phases")
            : "",
        best.instead.empty() ? "" : absl::StrCat("; or ", best.instead), 100 * v.margin));
  }
}

// Asks a session that is under way, which does it with its own frames.
absl::Status OrientLive(const OrientOptions& options, Context& context) {
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<client::Client> client, context.Connect());
  PS_ASSIGN_OR_RETURN(const v1::OrientationTest test,
                      client->TestOrientation(options.live_session));
  PrintLine(context.json ? cli::ToJson(test).dump() : DescribeOrientationTest(test));
  if (!test.confirmed()) context.exit_code = kExitNotConfirmed;
  return absl::OkStatus();
}

absl::Status Orient(const OrientOptions& options, Context& context) {
  if (!options.live_session.empty()) return OrientLive(options, context);
  if (options.path.empty()) {
    return BadInput(absl::InvalidArgumentError("give a scan file, or a session with --live"));
  }
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<CxiScanReader> scan,
                      OpenScan(options.path, options.session));
  const CxiScanInfo& info = scan->info();
  if (info.x_m.empty()) {
    return BadInput(absl::InvalidArgumentError(absl::StrCat(options.path, " has no positions")));
  }
  const std::vector<std::int64_t> frames = CentralFrames(info.y_m, info.x_m, options.frames);
  PS_ASSIGN_OR_RETURN(const v1::SessionConfig config, ConfigOf(options, info, frames));
  const Orientation declared = OrientationOf(config);
  const bool twins = !config.optics().has_near_field();
  std::vector<Candidate> candidates;
  std::vector<v1::SessionConfig> configs;
  for (const OrientationClass& setting : OrientationClasses(declared)) {
    candidates.push_back({setting.orientation, setting.instead, {}});
    // A probe that is given is that of one of the two, and leads the other one astray; so does the
    // near field, whose fringes are those of one sign of the phases.
    if (!twins) {
      candidates.push_back({setting.twin, setting.twin_instead, {}});
    } else if (config.probe().has_initial()) {
      candidates.push_back({setting.twin, setting.instead, {}});
    }
  }
  for (const Candidate& candidate : candidates) {
    configs.push_back(config);
    PS_RETURN_IF_ERROR(BadInput(SetOrientation(candidate.orientation, configs.back())));
  }
  PS_ASSIGN_OR_RETURN(const std::unique_ptr<client::Client> client, context.Connect());
  CatchInterrupts();
  {
    const SessionsLine line(!options.quiet);
    std::string prefix = options.session.session_id;
    if (prefix.empty()) {  // Unique among those who call it at the same time.
      prefix = absl::StrCat("orient-", getpid(), "-",
                            std::chrono::system_clock::now().time_since_epoch().count());
    }
    PS_ASSIGN_OR_RETURN(std::vector<v1::Session> ended,
                        RunSideBySide(*client, *scan, frames, configs, prefix,
                                      [&line](const auto& under_way) { line.Show(under_way); }));
    for (std::size_t k = 0; k < candidates.size(); ++k) {
      candidates[k].session = std::move(ended[k]);
    }
  }
  std::stable_sort(
      candidates.begin(), candidates.end(),
      [](const Candidate& a, const Candidate& b) { return a.r_factor() < b.r_factor(); });
  if (!candidates[0].session.has_final_fit()) {
    context.exit_code = kExitSessionFailed;
    return absl::InternalError(
        absl::StrCat("no session has a result: ", candidates[0].session.failure()));
  }
  const Verdict verdict = Judge(candidates, declared, options.margin, twins);
  if (context.json) {
    PrintLine(RankingJson(candidates, verdict, frames.size()).dump());
  } else {
    Print(candidates, verdict);
  }
  if (!verdict.confirmed) context.exit_code = kExitNotConfirmed;
  return absl::OkStatus();
}

}  // namespace

void AddOrient(CLI::App& app, Context& context) {
  auto options = std::make_shared<OrientOptions>();
  CLI::App* command = AddCommand(
      app, context, "orient", "Find the orientation of the frames by short reconstructions",
      kOrientFooter, [options, &context] { return Orient(*options, context); });
  AddServerOption(command, context);
  CLI::Option* scan = command->add_option("scan", options->path, "Scan, CXI");
  CLI::Option* live = command->add_option(
      "--live", options->live_session,
      "In place of a file: this session, which is under way, tests its own frames");
  scan->excludes(live);
  command
      ->add_option("--frames", options->frames,
                   "Reconstruct so many frames, those in the middle of the scan")
      ->capture_default_str()
      ->check(CLI::Range(4, 10'000));
  command
      ->add_option("--margin", options->margin,
                   "The second R has to be larger than the best by this part of it")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--quiet,-q", options->quiet, "No progress");
  AddSessionFlags(command, options->session);
}

}  // namespace ptychoserve::cli
