#include "server/telemetry/server_gauges.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "engine/backend/cuda/cuda_device.h"
#include "engine/base/version.h"
#include "server/service/enums.h"
#include "server/telemetry/process_usage.h"

namespace ptychoserve::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

constexpr SessionState kStates[] = {SessionState::kCreated,        SessionState::kReceiving,
                                    SessionState::kReconstructing, SessionState::kRefining,
                                    SessionState::kCompleted,      SessionState::kStopped,
                                    SessionState::kFailed};

// One family, filled value by value.
class FamilyOf {
 public:
  FamilyOf(MetricType type, const char* name, const char* help) {
    family_.type = type;
    family_.name = name;
    family_.help = help;
  }
  FamilyOf& Add(Labels labels, double value) {
    ClientMetric& metric = family_.metric.emplace_back();
    metric.label = std::move(labels);
    if (family_.type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    return *this;
  }
  operator MetricFamily() const { return family_; }  // NOLINT: what a family is for.

 private:
  MetricFamily family_;
};

FamilyOf GaugeFamily(const char* name, const char* help) { return {MetricType::Gauge, name, help}; }
FamilyOf CounterFamily(const char* name, const char* help) {
  return {MetricType::Counter, name, help};
}

// What the sessions sum up to.
struct Sum {
  std::map<SessionState, int> states;
  std::int64_t frames_waiting = 0;
  std::int64_t positions_waiting = 0;
  std::int64_t staged_frames = 0;
  double worst_r_factor = 0;
  int unsaved = 0;
};

Sum SumOf(const std::vector<std::shared_ptr<Session>>& sessions) {
  Sum sum;
  for (const auto& session : sessions) {
    const Progress progress = session->reconstruction().progress();
    ++sum.states[progress.state];
    if (!session->saved()) ++sum.unsaved;
    if (IsFinal(progress.state)) continue;
    sum.frames_waiting += progress.frames_without_position;
    sum.positions_waiting += progress.positions_without_frame;
    sum.staged_frames += progress.staged_frames;
    if (progress.last) {
      sum.worst_r_factor = std::max(sum.worst_r_factor, progress.last->metrics.r_factor);
    }
  }
  return sum;
}

}  // namespace

std::vector<MetricFamily> ServerGauges::Collect() const {
  const Sum sum = SumOf(core_.sessions.All());
  std::vector<MetricFamily> all;
  all.push_back(
      GaugeFamily("ptychoserve_build_info", "1; what runs is in the labels")
          .Add({{"version", kVersion}, {"build", BuiltWithCuda() ? "cuda" : "cpu-only"}}, 1));
  auto states = GaugeFamily("ptychoserve_sessions", "Sessions by state, ended ones included");
  for (const SessionState state : kStates) {
    const auto found = sum.states.find(state);
    states.Add({{"state", std::string(StateName(state))}},
               found == sum.states.end() ? 0 : found->second);
  }
  all.push_back(std::move(states));
  all.push_back(GaugeFamily("ptychoserve_sessions_limit", "Sessions that the server holds at most")
                    .Add({}, core_.limits.max_sessions));
  all.push_back(GaugeFamily("ptychoserve_join_waiting",
                            "Frames that have no position yet, and the other way round")
                    .Add({{"kind", "frames"}}, static_cast<double>(sum.frames_waiting))
                    .Add({{"kind", "positions"}}, static_cast<double>(sum.positions_waiting)));
  all.push_back(GaugeFamily("ptychoserve_staged_frames", "Frames on their way to a device")
                    .Add({}, static_cast<double>(sum.staged_frames)));
  all.push_back(GaugeFamily("ptychoserve_worst_r_factor",
                            "The largest R-factor of the running sessions; 0: none runs")
                    .Add({}, sum.worst_r_factor));
  all.push_back(GaugeFamily("ptychoserve_unsaved_sessions",
                            "Sessions of which something could not be kept on disk")
                    .Add({}, sum.unsaved));
  auto device_memory = GaugeFamily("ptychoserve_device_memory_bytes",
                                   "What sessions may reserve, and have reserved");
  auto lost = GaugeFamily("ptychoserve_device_lost", "1: nothing on it can be read any more");
  for (const auto& serving : core_.devices.devices()) {
    const std::string name = serving->device->name();
    device_memory
        .Add({{"device", name}, {"kind", "total"}},
             static_cast<double>(serving->memory.usable_bytes()))
        .Add({{"device", name}, {"kind", "reserved"}},
             static_cast<double>(serving->memory.reserved_bytes()));
    lost.Add({{"device", name}}, serving->lost() ? 1 : 0);
  }
  all.push_back(std::move(device_memory));
  all.push_back(std::move(lost));
  const MemoryAdmission& host = core_.devices.host_memory();
  all.push_back(
      GaugeFamily("ptychoserve_host_memory_bytes",
                  "For frames on their way to a device: what sessions may reserve, and have")
          .Add({{"kind", "total"}}, static_cast<double>(host.usable_bytes()))
          .Add({{"kind", "reserved"}}, static_cast<double>(host.reserved_bytes())));
  all.push_back(GaugeFamily("ptychoserve_streams",
                            "Open calls that send input, or wait for snapshots and events")
                    .Add({{"kind", "ingest"}}, core_.streams.open(Drainable::Kind::kIngest))
                    .Add({{"kind", "publish"}}, core_.streams.open(Drainable::Kind::kPublish)));
  all.push_back(GaugeFamily("ptychoserve_draining", "1: the server shuts down")
                    .Add({}, core_.draining ? 1 : 0));
  const AccessFailures& failures = core_.access->failures();
  all.push_back(
      CounterFamily("ptychoserve_auth_failures_total", "Calls that were not let in, by reason")
          .Add({{"reason", "missing"}}, static_cast<double>(failures.missing))
          .Add({{"reason", "unknown"}}, static_cast<double>(failures.unknown))
          .Add({{"reason", "expired"}}, static_cast<double>(failures.expired))
          .Add({{"reason", "role"}}, static_cast<double>(failures.role)));
  const ProcessUsage usage = UsageOfThisProcess();
  all.push_back(
      CounterFamily("process_cpu_seconds_total", "Time of all its threads, user and system")
          .Add({}, usage.cpu_s));
  all.push_back(GaugeFamily("process_resident_memory_bytes", "Memory that it has in use")
                    .Add({}, static_cast<double>(usage.resident_bytes)));
  all.push_back(GaugeFamily("process_open_fds", "Open file descriptors").Add({}, usage.open_fds));
  all.push_back(GaugeFamily("process_start_time_seconds", "When it began, in seconds since 1970")
                    .Add({}, usage.start_time_s));
  return all;
}

}  // namespace ptychoserve::server
