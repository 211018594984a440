#ifndef PTYCHOSERVE_CLIENT_CLI_SESSION_FLAGS_H_
#define PTYCHOSERVE_CLIENT_CLI_SESSION_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/schedule_flag.h"
#include "engine/io/cxi.h"
#include "ptychoserve/v1/config.pb.h"

namespace ptychoserve::cli {

// Shorthands for the common settings of a session.
struct SessionFlags {
  std::string session_id;
  std::string config_file;
  std::string probe;  // FILE[:dataset]
  std::string schedule;
  std::optional<std::uint32_t> iterations;
  std::optional<std::uint32_t> max_iterations;
  std::optional<std::uint32_t> min_points;
  std::optional<std::uint32_t> capacity;
  std::optional<std::uint32_t> modes;
  std::optional<std::uint32_t> object_modes;
  std::optional<std::uint32_t> probe_start;
  std::optional<std::uint32_t> snapshot_every;
  std::optional<double> idle_timeout_s;
  std::string refine;
  std::optional<std::uint32_t> refine_every;
  std::optional<double> max_shift_px;
  std::optional<std::uint32_t> probe_components;
  // Optics, of files that lack them or are wrong.
  std::optional<double> wavelength_m;
  std::optional<double> photon_energy_ev;
  std::optional<double> distance_m;
  std::optional<double> pixel_size_m;  // Of the detector, both axes.
  std::optional<double> source_to_sample_m;
  bool near_field = false;
  bool frozen_probe = false;
  bool deterministic = false;
  bool keep_input = false;
  bool single_precision_waves = false;
  bool split_halves = false;
  bool no_orientation_test = false;
  std::optional<std::uint32_t> hold_out_every;
};

void AddSessionFlags(CLI::App* command, SessionFlags& flags);

// What a scan file tells: optics, frames, mask, positions' range.
v1::SessionConfig ConfigFromScan(const CxiScanInfo& scan);

// The probe of FILE or FILE:dataset, for ProbeSettings.initial. An .npy file, or HDF5 with the
// dataset's path. Errors: kInvalidArgument, kNotFound, naming --probe.
absl::StatusOr<v1::ComplexArray> ReadProbe(const std::string& file_and_dataset);

// Puts a schedule and a number of iterations after the end of data into `config`. The number wins
// over the sum of the schedule's stages; a last stage that would end before it goes on instead.
void SetSchedule(const std::optional<ScheduleFlag>& schedule,
                 const std::optional<std::uint32_t>& iterations, v1::SessionConfig& config);

// The scan's settings (if there is a scan), over them the file's, over them the flags.
// Errors, marked as bad input: those of the files and of the flags.
absl::StatusOr<v1::SessionConfig> BuildConfig(const SessionFlags& flags, const CxiScanInfo* scan);

}  // namespace ptychoserve::cli

#endif  // PTYCHOSERVE_CLIENT_CLI_SESSION_FLAGS_H_
